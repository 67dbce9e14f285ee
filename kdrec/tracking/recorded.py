"""What a store knows of the files in a home: which trials are finished, which teachers it names, where work goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from kdrec.tracking.ledger import Ledger
from kdrec.tracking.runs import EVIDENCE, FEATURES, FINGERPRINT, STATUS, key_of

Measures = tuple[float, float, float]
"""Validation score, loss and calibration error of a t_ll checkpoint: to the bit, they tell one teacher from another."""

_NAMES: Final = ("teacher_score", "teacher_nll", "teacher_ece")


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Fingerprints of trials, and the teachers that runs name: by the key of their own run, or by what they measured.

    What is in MLflow's trash is not known.
    """

    finished: frozenset[str]
    begun: frozenset[str]
    """Of trials that have a run and no result yet."""
    teacher_runs: frozenset[str]
    learned_from: frozenset[Measures]
    """Teachers of any cell or trial."""
    awaited: frozenset[Measures]
    """Of them, teachers of cells or trials that are not finished."""

    def names(self, teacher: str, measures: Measures | None) -> bool:
        """Whether some run is of this teacher, by its key, or learned from it."""
        return key_of("teacher", teacher) in self.teacher_runs or measures in self.learned_from

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever recorded."""
        return not (self.finished or self.begun or self.teacher_runs or self.learned_from)


def recorded(ledger: Ledger, experiments: Sequence[str]) -> Recorded:
    """Read the runs of trials, cells and teachers."""
    trials, cells = ledger.runs(experiments, "trial"), ledger.runs(experiments, "cell")
    trials += ledger.runs(experiments, "calibration")  # which leave checkpoints and learn from teachers alike
    finished = _fingerprints(run for run in trials if _status(run) in EVIDENCE)
    open_trials = [run for run in trials if _fingerprint(run) not in finished]
    open_cells = [run for run in cells if _status(run) != "completed"]
    return Recorded(
        finished=finished,
        begun=_fingerprints(open_trials),
        teacher_runs=_fingerprints(ledger.runs(experiments, "teacher")),
        learned_from=_measured(chain(trials, cells)),
        awaited=_measured(chain(open_trials, open_cells)),
    )


def _fingerprints(runs: Iterable[Any]) -> frozenset[str]:
    return frozenset(_fingerprint(run) for run in runs)


def _fingerprint(run: Any) -> str:
    return str(run.data.tags.get(FINGERPRINT, ""))


def _status(run: Any) -> str:
    return str(run.data.tags.get(STATUS, ""))


def _measured(runs: Iterable[Any]) -> frozenset[Measures]:
    found = (_measures(run.data.tags) for run in runs)
    return frozenset(measures for measures in found if measures is not None)


def _measures(tags: Mapping[str, str]) -> Measures | None:
    try:
        features = json.loads(tags[FEATURES])
        score, loss, ece = (float(features[name]) for name in _NAMES)
    except (KeyError, ValueError, TypeError, RecursionError):
        return None
    return score, loss, ece
