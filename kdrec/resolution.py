"""What a split of few rows can show: its scores move in steps of one row, and nothing finer than a step is seen in it.

A step is 100/n points for n rows: exactly so of accuracy, about so of F1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from kdrec.types import BASELINE_CONFIG, DEFAULT_CONFIG, Configuration, Gain, Trial

FEW_ROWS: Final = 50
"""Validation rows below which one of them is more than two points."""
_EQUAL: Final = 1e-9
"""Difference of two means, in points, that is no more than rounding."""


def step(n_rows: int) -> float:
    """Points that one row of a split is."""
    return 100 / max(1, n_rows)


def cannot_tell(n_validation: int) -> str | None:
    """A sentence where the validation split is too small to show whether a training has ended."""
    if n_validation >= FEW_ROWS:
        return None
    return f"{_size(n_validation)}: it cannot tell when training is done; add rows, or give learning_rate and epochs"


def cannot_show(n_validation: int) -> str | None:
    """A sentence where the validation split is too small to show what configurations differ by."""
    if n_validation >= FEW_ROWS:
        return None
    return (
        f"{_size(n_validation)}: smaller differences between configurations cannot be seen in it, and equal scores are "
        "no tie of students; add validation rows"
    )


def _size(n_validation: int) -> str:
    rows = "1 row, which" if n_validation == 1 else f"{n_validation} rows, one of which"
    return f"the validation split has {rows} is {step(n_validation):.1f} points"


def resolved(gains: Sequence[Gain], points: float | None) -> tuple[Gain, ...]:
    """Forecasts in whole steps: means and lower ends towards nothing and below, upper ends up; None leaves them."""
    if points is None:
        return tuple(gains)
    return tuple(
        replace(
            gain,
            mean=worth(gain.mean, points),
            lo80=_below(gain.lo80, points),
            hi80=_above(gain.hi80, points),
            lo90=_below(gain.lo90, points),
            hi90=_above(gain.hi90, points),
        )
        for gain in gains
    )


def worth(value: float, points: float | None) -> float:
    """What is expected of a trial, in whole steps towards nothing."""
    if points is None:
        return value
    return _below(value, points) if value > 0 else _above(value, points)


def _below(value: float, points: float) -> float:
    return _spelled(math.floor(round(value / points, 6)) * points)


def _above(value: float, points: float) -> float:
    return _spelled(math.ceil(round(value / points, 6)) * points)


def _spelled(value: float) -> float:
    """As forecasts are: a thousandth of a point, and no negative zero."""
    return round(value, 3) + 0.0


def tied(trials: Iterable[Trial], best: Configuration) -> tuple[Configuration, ...]:
    """Other configurations whose mean validation score is that of the best one; the default first, then labels alone.

    Only those with seeds that all ended are compared.
    """
    scores: dict[Configuration, list[float | None]] = {}
    for trial in trials:
        scores.setdefault(trial.config, []).append(trial.val_score if trial.status == "completed" else None)
    means = {config: _mean(values) for config, values in scores.items()}
    top = means.get(best)
    if top is None:
        return ()
    equal = [c for c, mean in means.items() if c != best and mean is not None and abs(mean - top) < _EQUAL]
    return tuple(sorted(equal, key=lambda config: (config != DEFAULT_CONFIG, config != BASELINE_CONFIG)))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
