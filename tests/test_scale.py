"""The page of how costs grow is made from its records, and the stores it measured are as kdrec writes them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kdrec.home import Home

REPOSITORY = Path(__file__).parent.parent
BENCHMARKS = REPOSITORY / "benchmarks"


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_the_page_says_what_was_measured() -> None:
    import recipes
    import scale_page

    written = (REPOSITORY / "docs" / "scale.md").read_text(encoding="utf-8")
    assert written == scale_page.page(recipes.read(BENCHMARKS / "results" / "scale.jsonl")), "benchmarks/scale.py page"


def test_the_newest_record_counts_and_what_others_slowed_has_a_star() -> None:
    import scale_page

    about = {"machine": "m", "commit": "c", "versions": {"mlflow": "3"}, "date": "2026-01-01T", "load_before": 0.0}
    old = {
        **{"part": "workers", "workers": 1, "repeat": 0, "others_cores": 0.0, "wall_seconds": 50.0},
        **{"span_seconds": 40.0, "cpu_seconds": 60.0, "training_seconds": 30.0, "peak_workers_bytes": 2**20},
    }
    new = {**old, "workers": 2, "span_seconds": 20.0}
    page = scale_page.page([{**about, **old}, {**about, **new}, {**about, **new, "others_cores": 1.0}])
    assert "| 1 | 50 | 40 | 1.00 | 60 | 30 | 1 | 0.0 |" in page
    assert "| 2 | 50* | 20* | 2.00* | 60 | 30* | 1 | 1.0 |" in page
    assert page.count("Not measured yet.") == 3


def test_trials_made_in_bulk_are_those_that_kdrec_records_row_by_row(tmp_path: Path) -> None:
    import many_trials

    from kdrec.tracking import Store

    home = Home(root=tmp_path, tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    many_trials.fill(home, 102)
    read = {trial.fingerprint: trial for trial in Store.open(home).trials()[0]}
    assert len(read) == 102
    made = many_trials.trial_at(101)
    assert read[made.fingerprint].to_row() | {"run_id": ""} == made.to_row() | {"run_id": ""}
    assert many_trials.differences(home, home, [1, 101]) == []
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("UPDATE params SET value = '9.0' WHERE key = 'tau_t'")
        database.commit()
    assert many_trials.differences(home, home, [2])[0].startswith("trial 2, params:")
