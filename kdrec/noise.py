"""Seed noise: how far the score of one run lies from what it is on average, told from few runs and from what is usual.

One formula for all who need it; the recommender's pool is its history, elsewhere it is the trials that come with kdrec.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kdrec.types import Configuration, Floats, Trial

SHRINKAGE: Final = 8.0
"""Degrees of freedom that the pooled noise counts for in the noise of one cell."""
TYPICAL: Final = 1.18
"""Standard deviation over seeds of a validation score, in points, pooled over the trials that come with kdrec."""


def shrunk(squares: float | Floats, degrees: float | Floats, pooled: float) -> npt.NDArray[Any]:
    """Standard deviation from squared deviations and their degrees of freedom, drawn to a pooled variance."""
    return np.asarray(np.sqrt((squares + SHRINKAGE * pooled) / (degrees + SHRINKAGE)))


def cell_noise(trials: Iterable[Trial]) -> float:
    """Standard deviation over seeds of a validation score of one cell, from its trials and from what is typical."""
    scores: dict[Configuration, list[float]] = {}
    for trial in trials:
        if trial.status == "completed" and trial.val_score is not None:
            scores.setdefault(trial.config, []).append(trial.val_score)
    squares = sum((score - fmean(runs)) ** 2 for runs in scores.values() for score in runs)
    return float(shrunk(squares, sum(len(runs) - 1 for runs in scores.values()), TYPICAL**2))
