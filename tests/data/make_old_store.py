"""Make what an older kdrec on an older MLflow left behind, as text: what `tests/test_upgrade.py` reads.

What is committed was written by kdrec before it knew foreign knobs, on the oldest MLflow of our range::

    git archive ddb5c28^ kdrec | tar x -C /tmp/old
    python -m venv /tmp/old/venv && /tmp/old/venv/bin/pip install mlflow==3.1.0 'sqlalchemy<2.1' filelock
    PYTHONPATH=/tmp/old /tmp/old/venv/bin/python tests/data/make_old_store.py tests/data

`old-history-form-2.sql` was written by `form_2` with the last kdrec of that form (`c8fbd4c`).

To keep the form of today's version for the next one, run it with today's kdrec, into another folder.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from kdrec import history
from kdrec.home import Home
from kdrec.tracking import Store
from kdrec.types import BASELINE_CONFIG, Candidate, History, KDConfig, Settings, TaskFeatures, Training, Trial

HOME = Path("/tmp/kdrec-old-home")  # the path stands in the dump, as that of the artifacts
FEATURES = TaskFeatures(
    task="trec",
    family="sentence",
    n_train=3000,
    n_classes=6,
    label_entropy=0.1 + 0.2,
    mean_tokens=11.5,
    teacher_score=91.0,
    teacher_nll=0.3,
    teacher_ece=0.05,
    student_params=5_000_000,
    teacher_params=22_000_000,
)
TRIAL = Trial(
    features=FEATURES,
    student="small",
    config=KDConfig(),
    seed=0,
    status="completed",
    val_score=86.1,
    val_loss=0.1 + 0.2,
    test_score=85.2,
    seconds=31.25,
)
TRIALS = (
    replace(TRIAL, config=BASELINE_CONFIG, val_score=100 / 3),
    TRIAL,
    replace(TRIAL, config=KDConfig(tau_t=4.0), val_score=88.5, seed=1),
    replace(TRIAL, config=KDConfig(distance="mse"), val_score=80.0, test_score=None),
    replace(TRIAL, config=KDConfig(alpha=1.0, scale_soft_loss="tau_t*tau_s"), val_score=79.0),
    replace(TRIAL, config=KDConfig(teacher="t_hs"), status="diverged", val_score=None, val_loss=None, test_score=None),
    replace(TRIAL, config=KDConfig(tau_t=2.0), status="failed", val_score=None, val_loss=None, test_score=None),
)


def main(folder: Path) -> None:
    """Write the three files."""
    home = Home(root=HOME, tracking_uri=f"sqlite:///{HOME / 'mlflow.db'}")
    store = Store.open(home)
    experiment = store.experiment("old")
    cell = store.open_cell(
        experiment, "trec/small", FEATURES, "An old cell.", training=Training(), rows={"train": 3000}
    )
    first = Candidate(learning_rate=1e-4, seed=0, step=10, epoch=1.0, score=91.0, loss=0.3, ece=0.05, checkpoint="ab")
    about = {"task": "trec", "teacher": "minilm-l6", "epochs": "4"}
    store.log_teacher(experiment, "trec", [first], {"t_hs": first, "t_ll": first}, about)
    for number, trial in enumerate(TRIALS):
        run = store.start_trial(
            experiment,
            cell,
            config=trial.config,
            student=trial.student,
            features=trial.features,
            seed=trial.seed,
            fingerprint=f"old{number}",
            training=Training(seed=trial.seed),
        )
        store.log_metrics(run, [("validation/score", 80.0, 10)])
        store.finish_trial(run, replace(trial, fingerprint=f"old{number}"))
    store.close_cell(cell, {"val_score": 86.1}, "The end of an old cell.")
    history.sync(home, store.trials)
    history.write_table(history.load(home), folder / "old-history.csv")
    dump(home.root / "mlflow.db", folder / "old-store.sql")
    dump(home.history_db, folder / "old-history.sql")


def form_2(folder: Path) -> None:
    """Write a history of today's form: trials of a store, one that was imported, one of foreign knobs."""
    home = Home(root=HOME, tracking_uri=f"sqlite:///{HOME / 'mlflow.db'}")
    made = [replace(trial, run_id=f"run{n}", fingerprint=f"old{n}") for n, trial in enumerate(TRIALS)]
    foreign = replace(TRIAL, config=Settings.of(lr=0.1, loss="kl"), fingerprint="foreign")
    history.add(home, History((replace(TRIAL, seed=7, features=TaskFeatures(task="imported")),)))
    history.sync(home, lambda since: ([*made, foreign], "9"))
    dump(home.history_db, folder / "old-history-form-2.sql")


def dump(file: Path, text: Path) -> None:
    """Spell a SQLite file as SQL."""
    with closing(sqlite3.connect(file)) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        lines = [f"PRAGMA user_version = {version};", *database.iterdump()]
    text.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
