"""How finished studies were run, as their runs tell it: for whoever ships trials and must say where they come from."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from kdrec.errors import StoreError
from kdrec.tracking.ledger import Ledger
from kdrec.tracking.runs import CELL, FEATURES, ROWS, SETTINGS, STATUS, TRAINING, finished, key_of, trial_of
from kdrec.types import TEACHERS, KDConfig


@dataclass(frozen=True, kw_only=True)
class CellMade:
    """A cell's parent run: what was not a knob, and examples by split."""

    task: str
    student: str
    training: Mapping[str, float]
    rows: Mapping[str, int]
    done: bool
    """Whether its search came to its end."""
    settings: Mapping[str, Any] | None = None
    """Rows, training, teacher and budget as the study asked for them; None in runs of earlier versions."""
    data: str | None = None
    """As in `TaskFeatures`: which rows they are."""


@dataclass(frozen=True, kw_only=True)
class TeacherMade:
    """A task's teacher run: its model card, and the chosen candidates as plain values."""

    task: str
    teacher: str
    t_ll: Mapping[str, Any]
    t_hs: Mapping[str, Any]
    t_llg: Mapping[str, Any] | None = None
    """None in stores of earlier versions."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """All of it; the newest run of a cell or teacher counts."""

    cells: tuple[CellMade, ...]
    teachers: Mapping[str, TeacherMade]
    curves: Mapping[tuple[str, str], tuple[float, ...]]
    """By task and student: validation score after each evaluation of training on labels alone, mean over seeds."""
    wall_hours: float
    """From the start of the first trial to the end of the last one."""


def made(ledger: Ledger, experiments: Sequence[str]) -> Made:
    """Read the parent runs of cells, the runs of teachers, and the times of trials."""
    cells = {run.data.tags[CELL]: run for run in _by_start(ledger.runs(experiments, "cell")) if ROWS in run.data.tags}
    teachers = [run for run in _by_start(ledger.runs(experiments, "teacher")) if _completed(run)]
    trials = finished(ledger.runs(experiments, "trial"))
    ends = [run.info.end_time for run in trials if run.info.end_time]
    starts = [run.info.start_time for run in trials if run.info.start_time]
    try:
        return Made(
            cells=tuple(_cell(name, run) for name, run in sorted(cells.items())),
            teachers={run.data.params["task"]: _teacher(run) for run in teachers},
            curves=_curves(ledger, trials),
            wall_hours=(max(ends) - min(starts)) / 3_600_000 if ends and starts else 0.0,
        )
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"the runs of a cell or a teacher cannot be read ({error!s:.120})") from None


def cells_made(ledger: Ledger, experiments: Sequence[str], cell: str) -> tuple[CellMade, ...]:
    """The parent runs of one cell that say how it was run, the earliest first."""
    found = _by_start(ledger.runs(experiments, "cell", key_of("cell", cell)))
    try:
        return tuple(_cell(cell, run) for run in found if {ROWS, TRAINING} <= set(run.data.tags))
    except (KeyError, ValueError) as error:
        raise StoreError(f"the runs of a cell cannot be read ({error!s:.120})") from None


def _curves(ledger: Ledger, runs: Sequence[Any]) -> dict[tuple[str, str], tuple[float, ...]]:
    found: defaultdict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
    for run in runs:
        trial = trial_of(run)
        if isinstance(trial.config, KDConfig) and trial.config.is_baseline and trial.status == "completed":
            found[trial.task, trial.student].append(ledger.curve(run.info.run_id, "validation/score"))
    return {cell: _mean(curves) for cell, curves in found.items()}


def _mean(curves: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    """Point by point; curves of one cell have one length, as its students are trained alike."""
    return tuple(fmean(values) for values in zip(*curves, strict=False))


def _by_start(runs: Sequence[Any]) -> list[Any]:
    return sorted(runs, key=lambda run: (run.info.start_time or 0, run.info.run_id))


def _completed(run: Any) -> bool:
    return bool(run.data.tags.get(STATUS) == "completed")


def _cell(name: str, run: Any) -> CellMade:
    task, _, student = name.rpartition("/")
    tags = run.data.tags
    training = {key: value for key, value in json.loads(tags[TRAINING]).items() if key != "seed"}
    return CellMade(
        task=task,
        student=student,
        training=training,
        rows=json.loads(tags[ROWS]),
        done=_completed(run),
        settings=json.loads(tags[SETTINGS]) if SETTINGS in tags else None,
        data=json.loads(tags.get(FEATURES, "{}")).get("data"),
    )


def _teacher(run: Any) -> TeacherMade:
    tags, params = run.data.tags, run.data.params
    chosen = {name: json.loads(tags[f"kdrec.{name}"]) for name in TEACHERS if f"kdrec.{name}" in tags}
    return TeacherMade(task=params["task"], teacher=params["teacher"], **chosen)
