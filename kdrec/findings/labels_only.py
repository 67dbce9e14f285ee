"""Does distillation help at all: the default, and the best by validation, against training on labels alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdrec.findings.cells import NAN, Cell, baseline_scored, grouped
from kdrec.findings.intervals import Mean, over_tasks
from kdrec.types import BASELINE_CONFIG, DEFAULT_CONFIG


@dataclass(frozen=True, kw_only=True)
class OverLabels:
    """Test scores in one cell, in points, and what teaching added; NaN where labels alone were not scored."""

    task: str
    student: str
    family: str
    labels: float
    default: float
    best: float
    """Of the configuration with the best validation mean, by the same seeds."""
    default_gain: float
    best_gain: float
    """Chosen by validation on all seeds but one, judged on that one."""


@dataclass(frozen=True, kw_only=True)
class OverLabelsMean:
    """Means over cells of a group."""

    group: str
    default_gain: Mean
    best_gain: Mean


def over_labels(cell: Cell) -> OverLabels:
    """What distillation adds in one cell, paired by seed."""
    both = baseline_scored(cell)
    labels = cell.mean(BASELINE_CONFIG, "test", both)
    return OverLabels(
        task=cell.task,
        student=cell.student,
        family=cell.family,
        labels=labels,
        default=cell.mean(DEFAULT_CONFIG, "test", both),
        best=cell.mean(cell.best(cell.complete), "test"),
        default_gain=cell.mean(DEFAULT_CONFIG, "test", both) - labels,
        best_gain=_best_gain(cell, both),
    )


def over_labels_means(cells: Sequence[Cell]) -> tuple[OverLabelsMean, ...]:
    """Overall, then by family, then by student."""
    every = [over_labels(cell) for cell in cells]
    groups = {"all": every, **grouped(every, lambda one: one.family), **grouped(every, lambda one: one.student)}
    return tuple(
        OverLabelsMean(
            group=name,
            default_gain=over_tasks((one.task, one.default_gain) for one in members),
            best_gain=over_tasks((one.task, one.best_gain) for one in members),
        )
        for name, members in groups.items()
    )


def _best_gain(cell: Cell, both: Sequence[int]) -> float:
    if len(both) < 2:
        return NAN
    gains = []
    for seed in both:
        best = cell.best(cell.complete, [other for other in cell.seeds if other != seed])
        gains.append(cell.mean(best, "test", [seed]) - cell.mean(BASELINE_CONFIG, "test", [seed]))
    return sum(gains) / len(gains)
