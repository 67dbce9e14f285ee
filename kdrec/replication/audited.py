"""The recommender's audit on the shipped trials, kept beside the page with the hash of its trials: it takes minutes.

A mark is met, failed, or cannot be measured on a real history; which marks there are is in `docs/recommender.md`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kdrec.errors import DataError
from kdrec.recommend.replay import REALISED_STAGES
from kdrec.recommend.scorecard import Difference, Effects, Estimate, Forecast, Scorecard, audit_history
from kdrec.types import History

FILE: Final = "audit.json"
NOT_MEASURED: Final = (
    ("regret over always-default's where a family or size breaks the default", "≤ 0.45"),
    ("coverage of 90 % intervals of gains", "0.86-0.97"),
    ("width of 80 % intervals over a split-seed bootstrap's", "< 1"),
    ("bias of the mean gain where no knob matters", "within 0.20"),
    ("stop rule, net of cost, at least the best fixed budget", "7 of 8 situations"),
    ("a suggestion from 1,000 trials", "≤ 3 s"),
)
"""Marks that need a known truth, or that the audit does not record; the simulator and the benchmarks measure them."""
LEFT_OUT: Final = ("audited", "cells")


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One pass mark: its value as text, what it must be, and whether it is met; None where that cannot be said."""

    name: str
    value: str
    must: str
    met: bool | None

    @property
    def word(self) -> str:
        """`met`, `failed` or `not measured here`."""
        return "not measured here" if self.met is None else "met" if self.met else "failed"


def digest(history: History) -> str:
    """Hash of the trials an audit belongs to."""
    rows = ", ".join(trial.spelled() for trial in history)
    return hashlib.sha256(f"[{rows}]".encode()).hexdigest()


def audit(history: History, *, quick: bool = False) -> dict[str, Any]:
    """Leave every task out in turn, as plain values for the file; minutes, or seconds when `quick`."""
    card = audit_history(history, stages=() if quick else REALISED_STAGES)
    values = card.to_dict()
    if not card.audited:
        return {"of": digest(history), **values}
    return {"of": digest(history), **{name: value for name, value in values.items() if name not in LEFT_OUT}}


def kept(folder: Path, history: History) -> dict[str, Any] | None:
    """The audit beside the page, if there is one and it is of these trials."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        raise DataError(f"{path} is damaged; delete it, and the audit is made anew") from None
    return values if isinstance(values, dict) and values.get("of") == digest(history) else None


def to_text(values: Mapping[str, Any]) -> str:
    """The file's text."""
    return json.dumps(values, indent=1, allow_nan=False) + "\n"


def card_of(values: Mapping[str, Any]) -> Scorecard:
    """A scorecard read back, without its single cells."""
    counts = {name: values[name] for name in ("n_tasks", "n_cells", "n_trials", "n_shipped_trials")}
    if "regret" not in values:
        return Scorecard(**counts)
    effects = values["effects"]
    return Scorecard(
        **counts,
        regret={name: _estimate(value) for name, value in values["regret"].items()},
        over_default={name: Difference(**_numbers(value)) for name, value in values["over_default"].items()},
        effects=None if effects is None else Effects(**{**effects, **_coverages(effects, "coverage80", "coverage90")}),
        gains=tuple(Forecast(**{**gain, **_coverages(gain, "bias", "coverage80")}) for gain in values["gains"]),
    )


def marks(card: Scorecard) -> tuple[Mark, ...]:
    """The pass marks of the recommender on this history."""
    return tuple(_marks(card))


def _marks(card: Scorecard) -> Iterator[Mark]:
    ours, plain = card.regret["suggested"].mean, card.regret["always default"].mean
    ratio = ours / plain if plain else math.nan
    yield Mark(name="regret over always-default's", value=f"{ratio:.2f}", must="≤ 0.60", met=ratio <= 0.60)
    yield Mark(
        name="regret less always-default's", value=f"{ours - plain + 0.0:+.2f}", must="≤ 0.05", met=ours - plain <= 0.05
    )
    for gain in card.gains:
        after = f"after {gain.trials} trial{'' if gain.trials == 1 else 's'}"
        yield _coverage_mark(f"coverage of 80 % intervals of gains {after}", gain.coverage80.mean, 0.75, 0.90)
        value, met = f"{gain.bias.mean + 0.0:+.2f}", abs(gain.bias.mean) <= 0.20
        yield Mark(name=f"bias of the mean gain {after}", value=value, must="within 0.20", met=met)
    if card.effects is not None:
        yield _coverage_mark("coverage of 80 % intervals of effects", card.effects.coverage80.mean, 0.75, 0.90)
        yield _coverage_mark("coverage of 90 % intervals of effects", card.effects.coverage90.mean, 0.86, 0.97)
    for name, must in NOT_MEASURED:
        yield Mark(name=name, value="", must=must, met=None)


def _coverage_mark(name: str, found: float, low: float, high: float) -> Mark:
    """Too few inside says that intervals are too narrow, too many that they are too wide."""
    side = ", too wide" if found > high else ", too narrow" if found < low else ""
    return Mark(
        name=name,
        value=f"{found:.3f}{side}",
        must=f"{low:.2f}-{high:.2f}",
        met=not side,
    )


def _estimate(values: Mapping[str, Any]) -> Estimate:
    return Estimate(**_numbers(values))


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Null is a number that is not known."""
    return {name: math.nan if value is None else value for name, value in values.items()}


def _coverages(values: Mapping[str, Any], *names: str) -> dict[str, Estimate]:
    return {name: _estimate(values[name]) for name in names}
