"""Seed noise: how much two runs of one configuration differ, beside how much configurations do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdrec.findings.cells import NAN, Cell, Split


@dataclass(frozen=True, kw_only=True)
class SeedNoise:
    """Standard deviations in one cell, in points: over seeds of one configuration, and between configurations."""

    task: str
    student: str
    family: str
    validation: float
    test: float
    between: float
    """Of the configurations' expected test scores: the variance of their means less what seeds put into it."""
    degrees: int
    """Of freedom of the seeds' deviation."""


def seed_noise(cell: Cell) -> SeedNoise:
    """Pooled deviation over seeds on each split, and that between configurations with the seeds' part taken off."""
    spread, degrees = pooled_sd(cell, "test")
    return SeedNoise(
        task=cell.task,
        student=cell.student,
        family=cell.family,
        validation=pooled_sd(cell, "validation")[0],
        test=spread,
        between=_between(cell, spread),
        degrees=degrees,
    )


def pooled_sd(cell: Cell, split: Split) -> tuple[float, int]:
    """Root of the pooled within-configuration variance, and its degrees of freedom; NaN with none.

    The labels-only baseline counts as well: it is noisy in the same way.
    """
    squares, degrees = 0.0, 0
    for config in cell.runs:
        scores = [getattr(cell.runs[config][seed], split) for seed in cell.scored(config)]
        if len(scores) > 1:
            squares += float(np.sum((np.array(scores) - np.mean(scores)) ** 2))
            degrees += len(scores) - 1
    return (math.sqrt(squares / degrees), degrees) if degrees else (NAN, 0)


def pool(noises: Sequence[SeedNoise], split: Split) -> float:
    """One deviation over many cells: the root of the mean variance, weighted by degrees of freedom."""
    known = [(getattr(noise, split) ** 2, noise.degrees) for noise in noises if noise.degrees]
    total = sum(degrees for _, degrees in known)
    return math.sqrt(sum(variance * degrees for variance, degrees in known) / total) if total else NAN


def _between(cell: Cell, spread: float) -> float:
    means = [cell.mean(config, "test") for config in cell.complete]
    if len(means) < 2:
        return NAN
    of_means = float(np.var(means, ddof=1))
    return of_means**0.5 if math.isnan(spread) else math.sqrt(max(0.0, of_means - spread**2 / len(cell.seeds)))
