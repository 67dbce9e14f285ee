"""On what terms a suggestion is asked for: how much may be tried, what it may cost, how dear the default is held."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kdrec.errors import BadArgument, did_you_mean
from kdrec.recommend.cost import UNKNOWN, Cost
from kdrec.types import TRUSTS, Configuration, TrustDefault

DEFAULT_BUDGET: Final = 8
DEFAULT_TRIAL_PRICE: Final = 0.05
"""Points of the task's score that one trial must be expected to bring."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Budget in trials or in hours; price in points of a trial or of an hour; trust in the default."""

    budget: int | None = None
    hours: float | None = None
    trial_price: float | None = None
    hour_price: float | None = None
    trust_default: TrustDefault = "medium"

    def __post_init__(self) -> None:
        whole = isinstance(self.budget, int) and not isinstance(self.budget, bool)
        if self.budget is not None and (not whole or self.budget < 1):
            raise BadArgument(f"budget must be a whole number of at least 1, got {self.budget!r}")
        for name in ("trial_price", "hour_price"):
            _amount(name, getattr(self, name), "points")
        _amount("hours", self.hours, "hours", open_low=True)
        if self.trust_default not in TRUSTS:
            near = did_you_mean(str(self.trust_default), TRUSTS)
            raise BadArgument(f"trust_default must be one of {', '.join(TRUSTS)}, got {self.trust_default!r}{near}")
        for one, other, what in (("budget", "hours", "budget"), ("trial_price", "hour_price", "price")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise BadArgument(f"one {what} is enough: give {one} or {other}, not both")

    def check(self, cost: Cost | None, n_candidates: int) -> None:
        """Refuse hours where the cost of a trial is not known, and a budget larger than the space."""
        if cost is None:
            asked = "a budget in hours" if self.hours is not None else "a price of an hour" if self.hour_price else ""
            instead = "a budget of trials" if self.hours is not None else "a price of a trial"
            if asked:
                raise BadArgument(f"{asked} needs the cost of a trial: {UNKNOWN}; give {instead}")
        if self.budget is not None and self.budget > n_candidates:
            raise BadArgument(f"budget must be at most {n_candidates}, the size of the space, got {self.budget}")

    def price(self, cost: Cost | None, config: Configuration) -> float:
        """Points that one trial must be expected to bring."""
        if self.hour_price is not None:
            points = self.hour_price * cost.trial(config).seconds / 3600 if cost else 0.0
            return float(f"{points:.3g}")
        return DEFAULT_TRIAL_PRICE if self.trial_price is None else float(self.trial_price)

    def n_next(self, cost: Cost | None, configs: Sequence[Configuration]) -> int:
        """How many of the proposed trials, in this order, the budget asks for."""
        if self.hours is not None and cost is not None:
            return cost.affordable(configs, self.hours)
        return DEFAULT_BUDGET if self.budget is None else self.budget

    def at_least(self, cost: Cost | None, config: Configuration, n_candidates: int) -> int:
        """How many trials to have ready, before their order and so their exact costs are known."""
        if self.hours is not None and cost is not None:
            return max(1, min(n_candidates, math.ceil(1.5 * self.hours * 3600 / cost.trial(config).seconds)))
        return DEFAULT_BUDGET if self.budget is None else self.budget

    def nothing_fits(self, cost: Cost | None, config: Configuration) -> str:
        """Why no trial at all is named."""
        if self.hours is None or cost is None:
            return "stop: the space holds nothing else to try"
        seconds = cost.trial(config).seconds
        return f"stop: no trial fits into {self.hours:g} hours; one is expected to take {seconds / 3600:.3g} hours"


def _amount(name: str, value: object, unit: str, *, open_low: bool = False) -> None:
    if value is None:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0 or (open_low and value == 0):  # type: ignore[arg-type,operator]
        least = "above 0" if open_low else "of at least 0"
        raise BadArgument(f"{name} must be a finite number of {unit} {least}, got {value!r}")
