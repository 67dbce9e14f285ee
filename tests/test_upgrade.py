"""What older versions left behind is read by this one, and said in a sentence where it needs a hand.

`tests/data` holds what kdrec wrote before it knew foreign knobs, on MLflow 3.1.0, and a history of form 2, of before it
kept how long a trial was trained: see `make_old_store.py` there.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from kdrec import history, recommend
from kdrec.cli import main
from kdrec.errors import CorruptFile, StoreError
from kdrec.history import table
from kdrec.history.columns import NEEDED_COLUMNS
from kdrec.home import Home
from kdrec.tracking import Store
from kdrec.types import (
    BASELINE_CONFIG,
    SCHEMA_2_COLUMNS,
    SCHEMA_VERSION,
    History,
    KDConfig,
    Settings,
    TaskFeatures,
    Training,
    Trial,
)

DATA = Path(__file__).parent / "data"
SYNCED_FROM = "sqlite:////tmp/kdrec-old-home/mlflow.db"
"""The store of the old history, by which its rows are known."""


def restored(text: str, file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.executescript((DATA / text).read_text(encoding="utf-8"))


@pytest.fixture
def old(tmp_path: Path) -> Home:
    """A home with the store of an older kdrec on an older MLflow."""
    restored("old-store.sql", tmp_path / "mlflow.db")
    return Home(root=tmp_path, tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")


def upgraded(home: Home) -> Home:
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", home.tracking_uri]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return home


def told(trials: History | list[Trial]) -> list[tuple[object, ...]]:
    return [(t.config, t.seed, t.status, t.val_score, t.test_score, t.fingerprint) for t in trials]


def expected() -> list[tuple[object, ...]]:
    """What `make_old_store.py` recorded; the one that failed is no evidence."""
    return [
        (BASELINE_CONFIG, 0, "completed", 100 / 3, 85.2, "old0"),
        (KDConfig(), 0, "completed", 86.1, 85.2, "old1"),
        (KDConfig(tau_t=4.0), 1, "completed", 88.5, 85.2, "old2"),
        (KDConfig(distance="mse"), 0, "completed", 80.0, None, "old3"),
        (KDConfig(alpha=1.0, scale_soft_loss="tau_t*tau_s"), 0, "completed", 79.0, 85.2, "old4"),
        (KDConfig(teacher="t_hs"), 0, "diverged", None, None, "old5"),
    ]


# ------------------------------------------------------------------------------------------------- an older MLflow


def test_tables_of_an_older_mlflow_are_left_as_they_are_and_the_command_is_named(
    old: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (old.root / "mlflow.db").read_bytes()
    sentence = f"make a copy of the database, then run: mlflow db upgrade '{old.tracking_uri}'"
    with pytest.raises(StoreError, match=r"are older than MLflow .* wants") as refused:
        Store.open(old)
    assert str(refused.value).endswith(sentence)
    monkeypatch.setenv("KDREC_TRACKING_URI", old.tracking_uri)
    assert main(["--home", str(old.root), "history", "sync"]) == 2
    assert capsys.readouterr().err.rstrip().endswith(sentence)
    assert (old.root / "mlflow.db").read_bytes() == before


def test_after_the_command_all_of_it_is_read_and_goes_on(old: Home) -> None:
    store = Store.open(upgraded(old))
    assert told(store.trials()[0]) == expected()
    assert {(t.learning_rate, t.epochs, t.n_steps, t.still_improving) for t in store.trials()[0]} == {
        (6e-4, 4.0, None, None)
    }, "a run of schema 1 says how it was trained, and not how long"
    assert told([store.find("old2")]) == expected()[2:3]  # type: ignore[list-item]
    assert history.sync(old, store.trials) == 6
    assert told(history.load(old)) == expected()
    recorded = store.recorded()
    assert (len(recorded.finished), len(recorded.begun), len(recorded.teacher_runs)) == (6, 1, 1)
    made = store.made()
    assert [(cell.task, cell.student, cell.done) for cell in made.cells] == [("trec", "small", True)]
    assert made.teachers["trec"].t_ll["loss"] == 0.3
    experiment = store.experiment("old")
    cell = store.open_cell(experiment, "trec/small", store.trials()[0][0].features, "again")
    assert len(store.ledger.runs([experiment], "cell")) == 1
    assert store.ledger.client.get_run(cell).data.tags["kdrec.schema"] == str(SCHEMA_VERSION)


def test_a_trial_of_schema_1_stays_in_its_cell_when_the_cell_is_searched_on(tmp_path: Path) -> None:
    """A cell of today knows the content of its rows, and a training may have more fields than then."""
    home = Home(root=tmp_path, tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    store = Store.open(home)
    rows = TaskFeatures(task="trec", n_train=3000, n_classes=6, teacher_score=91.0)
    others = replace(rows, data="f" * 16)
    todays = replace(rows, data="0" * 16, n_transfer=0, teacher_still_improving=False)

    def record(features: TaskFeatures, seed: int, learning_rate: float = 6e-4) -> Trial:
        training = Training(seed=seed, learning_rate=learning_rate)
        experiment = store.experiment("s")
        cell = store.open_cell(experiment, "trec/small", features, "", training=training, rows={"train": 3000})
        about = {"config": KDConfig(), "student": "small", "features": features, "seed": seed}
        run = store.start_trial(experiment, cell, **about, fingerprint=f"f{seed}", training=training)
        done = {"status": "completed", "val_score": 80.0, "val_loss": 0.5, "test_score": 80.0, "seconds": 1.0}
        return store.finish_trial(run, Trial(**about, **done, learning_rate=learning_rate))

    old = record(rows, 0)
    training = json.loads(store.ledger.client.get_run(old.run_id).data.tags["kdrec.training"])
    for name in ("evaluations_per_epoch", "gradient_accumulation_steps"):  # as if these had come later
        del training[name]
    store.ledger.write(old.run_id, tags={"kdrec.schema": "1", "kdrec.training": json.dumps(training)})
    record(others, 1)
    record(todays, 2, learning_rate=1e-3)
    new = record(todays, 3)
    (cell,) = store.outcome("s").cells
    assert [trial.seed for trial in cell.trials] == [0, 3], "not those of other rows or of another training"
    assert cell.trials == (replace(old, epochs=4.0), new)


def test_tables_of_a_newer_mlflow_ask_for_that_one(old: Home) -> None:
    with closing(sqlite3.connect(old.root / "mlflow.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'f0f0f0f0f0f0'")
    with pytest.raises(StoreError, match=r"\(f0f0f0f0f0f0\) are of a newer MLflow than .*; update mlflow here"):
        Store.open(old)


# -------------------------------------------------------------------------------------------------- an older kdrec


def in_form_1(file: Path) -> None:
    restored("old-history.sql", file)


def in_form_1_with_knobs(file: Path) -> None:
    """The last files of form 1 had the column already, empty."""
    in_form_1(file)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("ALTER TABLE trials ADD COLUMN knobs TEXT")


def test_a_history_of_form_2_is_checked_as_it_was_written_and_then_widened(tmp_path: Path) -> None:
    restored("old-history-form-2.sql", tmp_path / "history.sqlite")
    home = Home(root=tmp_path, tracking_uri=SYNCED_FROM)
    before = home.history_db.read_bytes()
    imported, *own, foreign = history.load(home)
    assert told(own) == expected()
    assert (imported.task, imported.seed, imported.fingerprint) == ("imported", 7, "")
    assert (foreign.config, foreign.fingerprint) == (Settings.of(lr=0.1, loss="kl"), "foreign")
    assert {getattr(t.features, name, getattr(t, name, None)) for t in own for name in SCHEMA_2_COLUMNS} == {None}
    assert home.history_db.read_bytes() == before
    new = replace(own[0], fingerprint="new", run_id="new", n_steps=376, still_improving=True)
    assert history.sync(home, lambda since: ([new], "10")) == 1
    assert history.load(home).trials == (imported, *own, foreign, new)
    assert history.sync(home, lambda since: ([imported], "11")) == 0, (
        "a row without a name of its own is the same in both forms"
    )
    with closing(sqlite3.connect(home.history_db)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (table.FORM,)
        assert database.execute("SELECT n_steps, still_improving FROM trials WHERE run_id = 'new'").fetchall() == [
            (376, 1)
        ]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE trials SET val_score = 86.2 WHERE run_id = 'run1'",
        "UPDATE trials SET knobs = '{}' WHERE fingerprint = 'foreign'",
        "DELETE FROM trials WHERE run_id = 'run2'",
        "ALTER TABLE trials ADD COLUMN n_steps INTEGER",
        "PRAGMA user_version = 3",
    ],
)
def test_a_damaged_history_of_form_2_is_not_believed(tmp_path: Path, damage: str) -> None:
    restored("old-history-form-2.sql", tmp_path / "history.sqlite")
    with closing(sqlite3.connect(tmp_path / "history.sqlite")) as database, database:
        database.execute(damage)
    with pytest.raises(CorruptFile, match="is damaged and was not used"):
        history.load(Home(root=tmp_path, tracking_uri=SYNCED_FROM))


@pytest.mark.parametrize("form", [in_form_1, in_form_1_with_knobs])
def test_a_history_of_an_older_form_is_read_and_written_anew(tmp_path: Path, form: Callable[[Path], None]) -> None:
    form(tmp_path / "history.sqlite")
    home = Home(root=tmp_path, tracking_uri=SYNCED_FROM)  # whose rows it holds
    before = home.history_db.read_bytes()
    loaded = history.load(home)
    assert told(loaded) == expected()
    assert home.history_db.read_bytes() == before
    foreign = Trial(**{**vars(loaded.trials[1]), "config": Settings.of(lr=0.1), "run_id": "", "fingerprint": "new"})
    assert history.sync(home, lambda since: ([foreign], "9")) == 1
    assert history.load(home).trials == (*loaded.trials, foreign)
    with closing(sqlite3.connect(home.history_db)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (table.FORM,)


def test_every_form_but_the_first_is_reached_by_one_step() -> None:
    assert sorted(table._STEPS) == list(range(1, table.FORM))


def test_a_file_of_no_form_is_damaged(tmp_path: Path) -> None:
    in_form_1(tmp_path / "history.sqlite")
    with closing(sqlite3.connect(tmp_path / "history.sqlite")) as database, database:
        database.execute("PRAGMA user_version = 0")
    with pytest.raises(CorruptFile):
        history.load(Home(root=tmp_path, tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}"))


def test_an_exported_history_of_old_is_the_same_history_and_is_answered_from(tmp_path: Path) -> None:
    past = history.read_table(DATA / "old-history.csv")
    assert told(past) == expected()
    in_form_1(tmp_path / "history.sqlite")
    assert past == history.load(Home(root=tmp_path, tracking_uri=SYNCED_FROM))
    plain = History(tuple(trial for trial in past if trial.fingerprint != "old4"))  # of another objective
    answer = recommend.suggest(plain, plain.trials[0].features, "small")
    assert answer.evidence["n_trials"] == 4  # completed ones
    lines = [line.rsplit(",", 2)[0] for line in (DATA / "old-history.csv").read_text(encoding="utf-8").splitlines()]
    assert lines[0].split(",") == list(NEEDED_COLUMNS)
    (tmp_path / "oldest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert [trial.val_score for trial in history.read_table(tmp_path / "oldest.csv")] == [t.val_score for t in past]
