"""A local store of many trials, made in seconds: one is recorded by kdrec, and its rows are the mould for all others.

`differences` records some of the same trials with kdrec in a store of its own and compares row by row, so that what is
measured on such a store is what kdrec would have written, and a change of either side is seen.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from kdrec.home import Home
from kdrec.space import Space
from kdrec.tracking import Store
from kdrec.tracking.notes import escaped, trial_name
from kdrec.tracking.runs import CELL, FINGERPRINT, NAME, NOTE, PARENT, RESULTS, base_tags, result_tags, started_tags
from kdrec.types import BASELINE_CONFIG, KDConfig, TaskFeatures, Training, Trial

SEEDS: Final = 4
STUDENTS: Final = (("base", 17_389_824), ("small", 15_615_360), ("tiny", 13_840_896))
STUDIES: Final = 10
SECONDS: Final = 30
"""Between the ends of two trials, as of one worker on small tasks."""
HOURS_AGO: Final = 2.0
"""When the last one ended."""
STEPS: Final = (10, 20, 30)
TABLES: Final = ("runs", "tags", "params", "metrics", "latest_metrics")
_UNLIKE: Final = {"runs": {"run_uuid", "experiment_id", "start_time", "end_time", "artifact_uri"}}
"""What of a row may differ between two recordings of one trial; everywhere, the run's id and moments."""


@cache
def configs() -> tuple[KDConfig, ...]:
    """What every cell has tried: labels alone, and the whole default space."""
    return (BASELINE_CONFIG, *Space().configs())


def per_cell() -> int:
    """Trials of a cell."""
    return len(configs()) * SEEDS


def trial_at(number: int) -> Trial:
    """The trial of this number, the same in every store: cell after cell, seed after seed."""
    cell, at = divmod(number, per_cell())
    seed, which = divmod(at, len(configs()))
    task, size = divmod(cell, len(STUDENTS))
    dice = random.Random(number)
    student, params = STUDENTS[size]
    score = 80 + 5 * random.Random(f"{task}").gauss(0, 1) + dice.gauss(0, 1)
    return Trial(
        features=_features(task, params),
        student=student,
        config=configs()[which],
        seed=seed,
        status="completed",
        val_score=score,
        val_loss=0.6 + dice.random() / 10,
        test_score=score + dice.gauss(0, 1),
        seconds=28 + dice.random(),
        fingerprint=sha256(f"trial {number}".encode()).hexdigest(),
    )


@cache
def _features(task: int, student_params: int) -> TaskFeatures:
    dice = random.Random(task)
    return TaskFeatures(
        task=f"task-{task:04}",
        family="sentence",
        n_train=500 + dice.randrange(1000),
        n_classes=2 + dice.randrange(6),
        label_entropy=0.5 + dice.random() / 10,
        mean_tokens=10 + 30 * dice.random(),
        teacher_score=85 + 5 * dice.random(),
        teacher_nll=0.3 + dice.random() / 10,
        teacher_ece=0.03 + dice.random() / 100,
        student_params=student_params,
        teacher_params=22_713_216,
    )


def measured(trial: Trial) -> list[tuple[str, float, int]]:
    """Short curves of all the names that a trial has."""
    names = ("train/loss", "train/hard_loss", "train/soft_loss", "train/kl")
    names += ("validation/score", "validation/loss", "validation/ece")
    points = [(name, 0.5 + step / 100, step) for step in STEPS for name in names]
    return [*points, ("n_tokens", 1e5, STEPS[-1]), ("best_step", 30.0, STEPS[-1]), ("test/accuracy", 79.5, STEPS[-1])]


def record(store: Store, trial: Trial, experiment: str, cell: str) -> Trial:
    """Record a trial as a study does."""
    assert isinstance(trial.config, KDConfig)
    run_id = store.start_trial(
        experiment,
        cell,
        config=trial.config,
        student=trial.student,
        features=trial.features,
        seed=trial.seed,
        fingerprint=trial.fingerprint,
        training=Training(seed=trial.seed),
    )
    store.log_metrics(run_id, measured(trial))
    return store.finish_trial(run_id, trial)


def cell_for(store: Store, trial: Trial, study: str) -> tuple[str, str]:
    """Experiment and parent run of a trial's cell."""
    experiment = store.experiment(study)
    return experiment, store.open_cell(experiment, f"{trial.task}/{trial.student}", trial.features, "note")


def fill(home: Home, n: int) -> None:
    """Make the home's store, with the trials 0 to n - 1 in `STUDIES` studies."""
    store = Store.open(home)
    experiments = {study: store.experiment(f"study-{study}") for study in range(STUDIES)}
    mould_at = cell_for(store, trial_at(0), "study-0")
    mould = record(store, trial_at(0), *mould_at).run_id
    assert home.store_file is not None
    cells = -(-n // per_cell())
    parents = {0: mould_at[1]} | {cell: _id(f"cell {cell}") for cell in range(1, cells)}
    now = int(time.time() * 1000)
    with closing(sqlite3.connect(home.store_file)) as database:
        database.execute("PRAGMA synchronous = OFF")
        parent_rows = _rows(database, parents[0])
        for cell in range(1, cells):
            _insert(database, _parent(parent_rows, trial_at(cell * per_cell()), parents[cell], experiments))
        rows = _rows(database, mould)
        for number in range(1, n):
            ended = now - int(HOURS_AGO * 3_600_000) - (n - number) * SECONDS * 1000
            cell = number // per_cell()
            _insert(database, _clone(rows, number, parents[cell], experiments[cell % STUDIES], ended))
        database.commit()


def differences(home: Home, apart: Home, numbers: Sequence[int]) -> list[str]:
    """What differs between rows of trials that `fill` made, and of the same trials as kdrec records them in `apart`."""
    store = Store.open(apart)
    experiment = store.experiment("study-0")
    found = []
    for number in numbers:
        trial = trial_at(number)
        made = _run_of(home, trial)
        parent = dict(_tags(home, made))[PARENT]
        recorded = record(store, trial, experiment, parent).run_id
        for table, one, other in zip(TABLES, _plain(home, made), _plain(apart, recorded), strict=True):
            if one != other:
                found.append(f"trial {number}, {table}: {one} and {other}")
    return found


def _run_of(home: Home, trial: Trial) -> str:
    """The first run of a trial's fingerprint."""
    with closing(sqlite3.connect(str(home.store_file))) as database:
        query = "SELECT run_uuid FROM tags WHERE key = ? AND value = ? ORDER BY rowid"
        return str(database.execute(query, (FINGERPRINT, trial.fingerprint)).fetchone()[0])


def _tags(home: Home, run_id: str) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(str(home.store_file))) as database:
        return database.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run_id,)).fetchall()


def _plain(home: Home, run_id: str) -> list[list[tuple[tuple[str, Any], ...]]]:
    """A run's rows of all tables without what is of one recording alone: its ids and its times."""
    with closing(sqlite3.connect(str(home.store_file))) as database:
        rows = _rows(database, run_id)
    return [
        sorted(
            tuple(
                (name, value)
                for name, value in zip(names, row, strict=True)
                if name not in {"run_uuid", "timestamp"} | _UNLIKE.get(table, set())
            )
            for row in found
        )
        for table, (names, found) in rows.items()
    ]


Rows = dict[str, tuple[list[str], list[tuple[Any, ...]]]]


def _rows(database: sqlite3.Connection, run_id: str) -> Rows:
    """By table: names of the columns, and the rows of a run."""
    rows = {}
    for table in TABLES:
        cursor = database.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", (run_id,))
        rows[table] = ([column[0] for column in cursor.description], cursor.fetchall())
    return rows


def _insert(database: sqlite3.Connection, rows: Iterator[tuple[str, list[tuple[Any, ...]]]]) -> None:
    for table, made in rows:
        database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(made[0]))})", made)


def _id(of: str) -> str:
    return UUID(sha256(of.encode()).hexdigest()[:32]).hex


def _clone(
    mould: Rows, number: int, parent: str, experiment: str, ended: int
) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """Rows of one more trial."""
    trial, run_id = trial_at(number), _id(f"run {number}")
    assert isinstance(trial.config, KDConfig)
    name = trial_name(trial.config, trial.seed)
    note = f"{escaped(trial.config.label())}, seed {trial.seed}: {escaped(trial.student)} on {escaped(trial.task)}."
    training = Training(seed=trial.seed)
    tags = base_tags("trial", trial.status, name, note, trial.fingerprint)
    tags |= started_tags(student=trial.student, features=trial.features, training=training) | result_tags(trial)
    tags |= {PARENT: parent}
    params = {**trial.config.to_params(), "seed": str(trial.seed)}
    results = {name: value for name in RESULTS if (value := getattr(trial, name)) is not None}
    about = {
        "run_uuid": run_id,
        "name": name,
        "experiment_id": int(experiment),
        "start_time": ended - int(trial.seconds * 1000),
        "end_time": ended,
    }
    yield "runs", [_with(mould["runs"], row, about) for row in mould["runs"][1]]
    yield "tags", _keyed(mould["tags"], run_id, tags)
    yield "params", _keyed(mould["params"], run_id, params)
    for table in ("metrics", "latest_metrics"):
        yield table, _keyed(mould[table], run_id, results, {"timestamp": ended})


def _parent(
    mould: Rows, trial: Trial, run_id: str, experiments: dict[int, str]
) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """Rows of one more cell."""
    cell = f"{trial.task}/{trial.student}"
    study = int(trial.task[-4:]) * len(STUDENTS) + [name for name, _ in STUDENTS].index(trial.student)
    about = {"run_uuid": run_id, "name": cell, "experiment_id": int(experiments[study % STUDIES])}
    yield "runs", [_with(mould["runs"], row, about) for row in mould["runs"][1]]
    yield "tags", _keyed(mould["tags"], run_id, {CELL: cell, NAME: cell, NOTE: "note", FINGERPRINT: _id(cell) * 2})


def _with(columns: tuple[list[str], Any], row: tuple[Any, ...], new: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(new.get(name, value) for name, value in zip(columns[0], row, strict=True))


def _keyed(
    columns: tuple[list[str], list[tuple[Any, ...]]],
    run_id: str,
    values: dict[str, Any],
    also: dict[str, Any] | None = None,
) -> list[tuple[Any, ...]]:
    """Rows of a table of keys and values for another run, with these values where a key is named."""
    key_at, made = columns[0].index("key"), []
    for row in columns[1]:
        new = {"run_uuid": run_id, **(also or {})}
        if row[key_at] in values:
            new["value"] = values[row[key_at]]
        made.append(_with(columns, row, new))
    return made


def folder_bytes(home: Path) -> int:
    """Size of the store's file with its journal."""
    return sum(path.stat().st_size for path in home.glob("mlflow.db*"))
