"""Small histories written as tables, so that a finding can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kdrec.findings.cells import Cell, cells
from kdrec.types import BASELINE_CONFIG, DEFAULT_CONFIG, Family, History, KDConfig, TaskFeatures, Trial

LABELS, DEFAULT = BASELINE_CONFIG, DEFAULT_CONFIG
MSE = KDConfig(distance="mse")
HS = KDConfig(teacher="t_hs")
TAU2 = KDConfig(tau_t=2.0)
TIED2 = KDConfig(tau_t=2.0, tau_s=2.0)
ALPHA1 = KDConfig(alpha=1.0)

Row = Sequence[tuple[float, float] | None]
"""One pair (validation, test) a seed; None is a run that diverged."""


def trials(
    rows: Mapping[KDConfig, Row], task: str = "one", student: str = "small", family: Family = "sentence"
) -> list[Trial]:
    features = TaskFeatures(task=task, family=family)
    return [
        Trial(
            features=features,
            student=student,
            config=config,
            seed=seed,
            status="diverged" if scores is None else "completed",
            val_score=None if scores is None else scores[0],
            val_loss=None if scores is None else 1.0,
            test_score=None if scores is None else scores[1],
            seconds=1.0,
        )
        for config, row in rows.items()
        for seed, scores in enumerate(row)
    ]


def cell(rows: Mapping[KDConfig, Row], task: str = "one", student: str = "small", family: Family = "sentence") -> Cell:
    (found,) = cells(History(tuple(trials(rows, task, student, family))))
    return found


def same(*scores: float) -> Row:
    """Runs whose validation and test scores are one."""
    return [(score, score) for score in scores]
