"""A replayed history in a few numbers, each with its doubt.

Tasks are the sample: cells of one task are averaged first, standard errors and the bootstrap are over tasks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from dataclasses import replace as changed
from typing import Any, Final

import numpy as np

from kdrec.history import told_apart
from kdrec.recommend.audit import MIN_TASKS
from kdrec.recommend.normal import Z80, Z90
from kdrec.recommend.replay import (
    REALISED_STAGES,
    STRATEGIES,
    CellReplay,
    Foretold,
    Stage,
    Tuned,
    judge,
    measured_cells,
    replay,
)
from kdrec.types import Floats, History

BOOTSTRAPS: Final = 4000
"""Resamples of the tasks."""
DIGITS: Final = 4


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over tasks and its standard error."""

    mean: float
    se: float


@dataclass(frozen=True, kw_only=True)
class Difference(Estimate):
    """A mean paired difference over tasks; the 90 % interval is the percentile bootstrap's."""

    lo90: float
    hi90: float


@dataclass(frozen=True, kw_only=True)
class Effects:
    """How often intervals of effects over the default held what was measured, and how wide they were, in points.

    Widths are of the intervals that are judged: noise of the measured difference included.
    """

    n: int
    coverage80: Estimate
    coverage90: Estimate
    width80: float
    width90: float


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Foretold and realised gains of tuning with `trials` further trials, in points; bias is their difference."""

    trials: Stage
    n: int
    forecast: float
    realised: float
    bias: Estimate
    coverage80: Estimate


@dataclass(frozen=True, kw_only=True)
class Scorecard:
    """What leaving one task out says of the recommender and of the baselines. Points; lower regret is better."""

    n_tasks: int
    n_cells: int
    n_trials: int
    n_shipped_trials: int = 0
    """How many of them came with kdrec."""
    regret: Mapping[str, Estimate] = field(default_factory=dict)
    over_default: Mapping[str, Difference] = field(default_factory=dict)
    """Effect of a strategy's choice over always taking the default: positive is better."""
    effects: Effects | None = None
    gains: tuple[Forecast, ...] = ()
    cells: tuple[CellReplay, ...] = ()

    @property
    def audited(self) -> bool:
        """Whether there was enough to leave out."""
        return bool(self.regret)

    @property
    def verdict(self) -> str:
        """The outcome in plain words."""
        if not self.audited:
            return (
                f"This history cannot be audited: leaving one task out needs {MIN_TASKS} tasks with the default and an "
                "alternative measured, so that each can be foretold from two others; here "
                f"{_are(self.n_tasks, 'such task')}."
            )
        lost, plain = self.regret["suggested"].mean, self.regret["always default"].mean
        return (
            f"On this history suggestions lost {lost:.2f} points to the best measured configuration; always taking the "
            f"default lost {plain:.2f}. {_compared(self.over_default['suggested'])}{self._beaten()}"
        )

    def _beaten(self) -> str:
        """A sentence that names the simple strategy that did better, if one did."""
        best = min((name for name in self.regret if name != "suggested"), key=lambda name: self.regret[name].mean)
        if round(self.regret[best].mean, 2) >= round(self.regret["suggested"].mean, 2):
            return ""
        return f" The simple strategy {best!r} lost less: {self.regret[best].mean:.2f}."

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        counts = {name: getattr(self, name) for name in ("n_tasks", "n_cells", "n_trials", "n_shipped_trials")}
        if not self.audited:
            return {"audited": False, **counts, "verdict": self.verdict}
        made = {"regret": self.regret, "over_default": self.over_default}
        return {
            "audited": True,
            **counts,
            "verdict": self.verdict,
            **{name: {key: _plain(asdict(value)) for key, value in by.items()} for name, by in made.items()},
            "effects": None if self.effects is None else _plain(asdict(self.effects)),
            "gains": [_plain(asdict(gain)) for gain in self.gains],
            "cells": [_cell(cell) for cell in self.cells],
        }


def audit_history(history: History, *, stages: Sequence[Stage] = REALISED_STAGES, seed: int = 0) -> Scorecard:
    """Replay the whole history and reduce it to a scorecard.

    Parameters
    ----------
    history : History
        Past trials, in any order.
    stages : sequence of int or "all"
        After which numbers of further trials realised gains are measured; none if empty.
    seed : int
        Seed of the draws and of the bootstrap: same history and seed, same numbers.

    Returns
    -------
    Scorecard
        With `audited` false and the counts alone when fewer than three tasks can be left out.
    """
    history = told_apart(history, unite=True).history
    return score(history, replay(history, stages=stages, seed=seed), seed=seed)


def score(history: History, replayed: Iterable[CellReplay], *, seed: int = 0) -> Scorecard:
    """The scorecard of `replayed`, the replay of `history`."""
    cells = tuple(replayed)
    measured = measured_cells(judge(history))
    counted = Scorecard(
        n_tasks=len({cell.features.task for cell in measured}),
        n_cells=len(measured),
        n_trials=len(history),
        n_shipped_trials=sum(trial.is_shipped for trial in history),
    )
    if not cells:
        return counted
    rng = np.random.default_rng(seed)
    regret = {name: _estimate((cell.task, cell.regret[name]) for cell in cells) for name in STRATEGIES}
    over = {name: _difference([(c.task, c.effect[name]) for c in cells], rng) for name in STRATEGIES}
    del over["always default"]  # against itself
    return changed(
        counted,
        regret=regret,
        over_default=over,
        effects=_effects(cells),
        gains=_forecasts(cells),
        cells=cells,
    )


def coverage(cells: Iterable[CellReplay], z: float) -> Estimate:
    """Share of the effects that lie within `z` standard deviations of what was foretold."""
    return _estimate((c.task, float(np.mean([f.holds(z) for f in c.foretold]))) for c in cells if c.foretold)


def _effects(cells: Sequence[CellReplay]) -> Effects | None:
    every: list[Foretold] = [effect for cell in cells for effect in cell.foretold]
    if not every:
        return None
    return Effects(
        n=len(every),
        coverage80=coverage(cells, Z80),
        coverage90=coverage(cells, Z90),
        width80=float(np.mean([2 * effect.half_width(Z80) for effect in every])),
        width90=float(np.mean([2 * effect.half_width(Z90) for effect in every])),
    )


def _forecasts(cells: Sequence[CellReplay]) -> tuple[Forecast, ...]:
    by_stage: dict[Stage, list[tuple[str, Tuned]]] = defaultdict(list)
    for cell in cells:
        for tuned in cell.tuned:
            by_stage[tuned.trials].append((cell.task, tuned))
    ordered = sorted(by_stage, key=lambda stage: np.inf if isinstance(stage, str) else stage)
    return tuple(_forecast(stage, by_stage[stage]) for stage in ordered)


def _forecast(stage: Stage, tuned: Sequence[tuple[str, Tuned]]) -> Forecast:
    return Forecast(
        trials=stage,
        n=len(tuned),
        forecast=_estimate((task, t.forecast) for task, t in tuned).mean,
        realised=_estimate((task, t.realised) for task, t in tuned).mean,
        bias=_estimate((task, t.forecast - t.realised) for task, t in tuned),
        coverage80=_estimate((task, float(t.held)) for task, t in tuned),
    )


def _by_task(values: Iterable[tuple[str, float]]) -> Floats:
    """Means of the values of every task."""
    groups: dict[str, list[float]] = defaultdict(list)
    for task, value in values:
        groups[task].append(value)
    return np.array([np.mean(group) for group in groups.values()])


def _estimate(values: Iterable[tuple[str, float]]) -> Estimate:
    mean_T = _by_task(values)
    se = float(mean_T.std(ddof=1) / np.sqrt(len(mean_T))) if len(mean_T) > 1 else float("nan")
    return Estimate(mean=float(mean_T.mean()), se=se)


def _difference(values: Sequence[tuple[str, float]], rng: np.random.Generator) -> Difference:
    mean_T = _by_task(values)
    resampled = mean_T[rng.integers(len(mean_T), size=(BOOTSTRAPS, len(mean_T)))].mean(axis=1)
    low, high = np.quantile(resampled, (0.05, 0.95))
    estimate = _estimate(values)
    return Difference(mean=estimate.mean, se=estimate.se, lo90=float(low), hi90=float(high))


def _compared(over: Difference) -> str:
    """One sentence on whether the difference from the default stands out of the doubt."""
    interval = f"90 % interval {over.lo90:+.2f} to {over.hi90:+.2f}"
    if over.lo90 > 0:
        return f"They beat the default by {over.mean:.2f} points ({interval})."
    if over.hi90 < 0:
        return f"They were worse than the default by {-over.mean:.2f} points ({interval})."
    if over.lo90 == over.hi90 == 0:
        return "They never left the default, or left it for nothing."
    return f"That they beat the default is not certain: {over.mean:+.2f} points ({interval})."


def _are(number: int, noun: str) -> str:
    return f"is {number} {noun}" if number == 1 else f"are {number} {noun}s"


def _plain(value: Any) -> Any:
    """Rounded numbers all the way down; what is not a number (the error of a single task) is null."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, float):
        return round(value, DIGITS) + 0.0 if np.isfinite(value) else None
    return value


def _cell(cell: CellReplay) -> dict[str, Any]:
    held = [effect.holds(Z80) for effect in cell.foretold]
    made = {
        "task": cell.task,
        "student": cell.student,
        "n_configurations": cell.n_configs,
        "best": cell.best.label(),
        "chosen": {name: config.label() for name, config in cell.chosen.items()},
        "effect": dict(cell.effect),
        "regret": cell.regret,
        "n_effects": len(held),
        "coverage80": float(np.mean(held)) if held else None,
    }
    tuned = [{**_plain(asdict(tuned)), "held": tuned.held} for tuned in cell.tuned]
    return {**{name: _plain(value) for name, value in made.items()}, "gains": tuned}
