"""A teacher that is worse than its student without it: the one sign, known early, that distillation will lose."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from kdrec.noise import cell_noise
from kdrec.types import Trial

LEAST_POINTS: Final = 2.0
"""A smaller gap is no warning, however small the noise."""
LEAST_NOISES: Final = 2 * math.sqrt(2)
"""Nor is one within twice the noise of a difference of two runs."""


@dataclass(frozen=True, kw_only=True)
class WeakTeacher:
    """Validation scores of a teacher and of the student that labels alone made better than it."""

    teacher: float
    labels_only: float

    def __str__(self) -> str:
        return (
            f"the teacher ({self.teacher:.1f} on validation) is worse than this student trained on labels alone "
            f"({self.labels_only:.1f}): train the teacher further; meanwhile distil with tau_t = 4 and tau_s = 1, or "
            "use labels alone"
        )


def weak_teacher(trials: Iterable[Trial], teacher_score: float | None) -> WeakTeacher | None:
    """Whether labels alone, in the mean over seeds, beat the teacher by more than 2 points and more than seed noise.

    Parameters
    ----------
    trials : iterable of Trial
        Of one cell; all of them say how loud seeds are, those of labels alone are compared.
    teacher_score : float or None
        Validation score of the cell's teacher in points; None where it is not known.
    """
    trials = tuple(trials)
    plain = [
        t.val_score for t in trials if t.config.is_baseline and t.status == "completed" and t.val_score is not None
    ]
    if not plain or teacher_score is None:
        return None
    found = WeakTeacher(teacher=teacher_score, labels_only=fmean(plain))
    gap = found.labels_only - found.teacher
    return found if gap > max(LEAST_POINTS, LEAST_NOISES * cell_noise(trials)) else None
