"""Means over tasks with an interval: the expanded percentile bootstrap, tasks being the clusters.

Cells of one task share its data and its teacher, so they are no independent witnesses: they are averaged first, and
tasks are resampled. A plain percentile interval of a dozen tasks or fewer is too narrow; its quantiles are moved
outwards to where Student's t would have them (Hesterberg 2015, "What teachers should know about the bootstrap",
section 4.4).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from kdrec.types import Floats

RESAMPLES: Final = 4000
Z95: Final = 1.6448536269514722
_T95: Final = (6.3138, 2.92, 2.3534, 2.1318, 2.015, 1.9432, 1.8946, 1.8595, 1.8331, 1.8125, 1.7959, 1.7823)
"""The 95 % quantile of Student's t with 1, 2, ... degrees of freedom."""


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over tasks and its 90 % interval; both ends are NaN with one task, and all is NaN with none."""

    mean: float
    lo90: float
    hi90: float
    n_tasks: int
    n_cells: int

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.lo90)

    def within(self, margin: float) -> bool:
        """Whether the interval lies wholly between minus and plus `margin`."""
        return self.known and -margin <= self.lo90 and self.hi90 <= margin


def over_tasks(values: Iterable[tuple[str, float]], seed: int = 0) -> Mean:
    """Mean of the tasks' means of ``(task, value)`` with a 90 % interval; values that are NaN are left out."""
    groups: dict[str, list[float]] = defaultdict(list)
    for task, value in values:
        if not math.isnan(value):
            groups[task].append(value)
    n_cells = sum(len(group) for group in groups.values())
    mean_T = np.array([np.mean(groups[task]) for task in sorted(groups)])
    if len(mean_T) < 2:
        mean = float(mean_T[0]) if len(mean_T) else math.nan
        return Mean(mean=mean, lo90=math.nan, hi90=math.nan, n_tasks=len(mean_T), n_cells=n_cells)
    lo90, hi90 = _interval(mean_T, seed)
    return Mean(mean=float(mean_T.mean()), lo90=lo90, hi90=hi90, n_tasks=len(mean_T), n_cells=n_cells)


def _interval(mean_T: Floats, seed: int) -> tuple[float, float]:
    n = len(mean_T)
    rng = np.random.default_rng(seed)
    drawn = mean_T[rng.integers(n, size=(RESAMPLES, n))].mean(axis=1)
    tail = 0.5 * math.erfc(math.sqrt(n / (n - 1)) * t95(n - 1) / math.sqrt(2))
    low, high = np.quantile(drawn, (tail, 1 - tail))
    return float(low), float(high)


def t95(degrees: int) -> float:
    """The 95 % quantile of Student's t: a table, then Cornish and Fisher's expansion."""
    if degrees <= len(_T95):
        return _T95[degrees - 1]
    z = Z95
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
