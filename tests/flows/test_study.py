from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from running import Running, gone

from kdrec import history
from kdrec.home import Home
from kdrec.tracking import Store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def first(mini: Path, shared_home: Home) -> Running:
    """The study, run from nothing."""
    run = Running(str(mini), "--home", str(shared_home.root))
    run.wait_for("questions/tiny 0/")
    family = run.family()
    assert run.wait() == 0, run.text
    assert gone(family), "workers and server end with the study"
    return run


def tables(text: str) -> list[str]:
    """The lines between the last progress and the count of trials."""
    lines = text.splitlines()
    start = lines.index("questions/tiny")
    return lines[start : next(at for at, line in enumerate(lines) if line.endswith("found in the store."))]


def test_a_study_runs_from_nothing_and_shows_its_trials_and_its_way(first: Running, shared_home: Home) -> None:
    assert "Study mini: 5 trials, 5 new and 0 found in the store." in first.text
    assert "questions/tiny 5/5 done" in first.text
    after = first.text.split("found in the store.")[1]
    assert f"kdrec --home {shared_home.root} suggest questions --student tiny" in after
    trials, _ = Store.open(shared_home).trials()
    assert len(trials) == 5
    shown = "\n".join(tables(first.text))
    for trial in trials:
        assert f"{trial.config.label()} {trial.val_score:.2f} {trial.val_loss:.4f} {trial.test_score:.2f}" in shown
    for words in ("configuration val score val loss test score", "1. all: tried", "best"):
        assert words in shown
    assert {trial.run_id for trial in history.load(shared_home)} == {trial.run_id for trial in trials}


def test_a_second_run_finds_every_trial_and_shows_the_same_tables_though_its_shelf_is_away(
    first: Running, mini: Path, shared_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDREC_SHARED", "file:///nowhere/to/be/found")
    before = Store.open(shared_home).trials()[0]
    second = Running(str(mini), "--home", str(shared_home.root), "--workers", "1")
    assert second.wait() == 0, second.text
    assert second.text.count("the shared shelf file:///nowhere/to/be/found cannot be") == 1, "all pieces meet it"
    assert "Study mini: 5 trials, 0 new and 5 found in the store." in second.text
    assert tables(second.text) == tables(first.text)
    assert Store.open(shared_home).trials()[0] == before


def test_what_a_study_found_is_recommended_by_a_refresh(first: Running, shared_home: Home) -> None:
    run = Running("--home", str(shared_home.root), module="flows.refresh")
    assert run.wait() == 0, run.text
    assert "questions/tiny: asked (1 of 1)." in run.text
    assert "published for the first time, 1 cell." in run.text
    bulletin = Store.open(shared_home).bulletin()
    assert bulletin is not None
    assert [(line.name, line.n_trials) for line in bulletin.lines] == [("questions/tiny", 5)]
    with sqlite3.connect(shared_home.root / "prefect" / "prefect.db") as database:
        shown = dict(database.execute("SELECT key, data FROM artifact"))
    assert {"study-mini", "recommendations", "recommendations-table"} <= shown.keys()
    for key in ("study-mini", "recommendations"):
        assert "| questions | tiny |" in json.loads(shown[key])


def test_a_refused_task_is_one_sentence_at_the_end_and_keeps_no_other_from_its_end(
    first: Running, mini: Path, shared_home: Home
) -> None:
    study = mini.read_text(encoding="utf-8").replace('["questions"]', '["questions", "few"]')
    study += '\n[data.few]\npath = "few.csv"\ntext = "text"\nlabel = "label"\n'
    file = mini.with_name("two.toml")
    file.write_text(study, encoding="utf-8")
    mini.with_name("few.csv").write_text("text,label\nhello,greeting\nbye,farewell\n", encoding="utf-8")
    run = Running(str(file), "--home", str(shared_home.root), "--quiet")
    assert run.wait() == 2
    assert run.lines[0].strip() == "questions/tiny", "nothing on the way, the result at once"
    assert tables(run.text) == tables(first.text)
    assert run.lines[-1].startswith("kdrec: few/minilm: few.csv has 2 rows; ")
    assert "Traceback" not in run.text
