"""An examination with known truth: what a recommender said of a simulated task, and what then came true.

`examine` plays one task left out of a world's history, `marks` turns many outcomes into the mark sheet. Every mark can
be failed: tests hold intervals half as wide, and a recommender that always moves to the best mean, against it.

A gain is what the definition in `docs/recommender.md` says: the suggestion and the first k proposals are run, one seed
each, handed back, and the expected test score of what is suggested then is compared with the first suggestion's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

import numpy as np

from kdrec.recommend.gain import STAGES
from kdrec.recommend.simulate import SITUATIONS, World
from kdrec.types import Configuration, Floats, Gain, History, Suggestion, TaskFeatures, Trial

PRICE: Final = 0.05
"""Points a trial must bring in the marks of the stop rule: the documented default."""
Suggest = Callable[[History, TaskFeatures, str], Suggestion]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One task and student, left out of a world's history and then tuned: what was said, and what came true."""

    situation: str
    world: int
    task: str
    student: str
    regret: float
    default_regret: float
    forecast: tuple[Gain, ...]
    realised: tuple[float, ...]
    bootstrap_widths: tuple[float, ...]
    """Width of the 80 % interval that a bootstrap over seeds of the past cells gives, by stage."""
    trials: tuple[int, ...]
    """Trials that each stage took."""
    stop_trials: int
    stop_gain: float

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild an outcome from `dataclasses.asdict`, as read from JSON."""
        lists = {name: tuple(values[name]) for name in ("realised", "bootstrap_widths", "trials")}
        return cls(**{**values, **lists, "forecast": tuple(Gain(**gain) for gain in values["forecast"])})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def examine(
    world: World, number: int, past: History, task: str, student: str, suggest: Suggest, rng: np.random.Generator
) -> Outcome:
    """Ask about `task`, of which `past` holds nothing, then tune it in every way that the marks speak of.

    Parameters
    ----------
    world : World
        The truth.
    number : int
        The world's number, so that outcomes of one world can be told to depend on each other.
    past : History
        What is known of other tasks.
    suggest : callable
        The recommender under examination.
    rng : numpy.random.Generator
        Luck of the runs made on the task.
    """
    features, expected_C = world.asked(task, student), world.expected(task, student)
    place: dict[Configuration, int] = {config: index for index, config in enumerate(world.configs)}
    runs: dict[int, Trial] = {}

    def run(index: int) -> Trial:
        if index not in runs:
            runs[index] = world.run(task, student, world.configs[index], 1000, rng)
        return runs[index]

    def told(indices: Sequence[int]) -> Suggestion:
        return suggest(History((*past, *(run(index) for index in indices))), features, student)

    first = told(())
    start = place[first.config]
    order = [start, *(place[trial.config] for trial in first.next if place[trial.config] != start)]
    stages = [min(k, len(order) - 1) for k in (*STAGES, len(order) - 1)]
    ends = {k: place[told(order[: k + 1]).config] for k in sorted(set(stages))}
    stop_trials, end = _play_stop_rule(first, told, place)
    return Outcome(
        situation=world.situation,
        world=number,
        task=task,
        student=student,
        regret=float(expected_C.max() - expected_C[start]),
        default_regret=float(expected_C.max() - expected_C[0]),
        forecast=first.gain,
        realised=tuple(float(expected_C[ends[k]] - expected_C[start]) for k in stages),
        bootstrap_widths=split_seed_widths(past, stages, rng),
        trials=tuple(stages),
        stop_trials=stop_trials,
        stop_gain=float(expected_C[end] - expected_C[start]),
    )


def _play_stop_rule(
    first: Suggestion, told: Callable[[Sequence[int]], Suggestion], place: Mapping[Any, int]
) -> tuple[int, int]:
    """Run proposals until told to stop: further trials made after the first suggestion's own, and where it ended."""
    answer, made = first, [place[first.config]]
    while not answer.stop:
        new = [place[trial.config] for trial in answer.next if place[trial.config] not in made]
        if not new:
            break
        made += new[: max(1, len(made) // 2)]  # one at a time at first, then half as many again
        answer = told(made)
    return len(made) - 1, place[answer.config]


def split_seed_widths(
    past: History, stages: Sequence[int], rng: np.random.Generator, n_draws: int = 400
) -> tuple[float, ...]:
    """Width of the naive 80 % interval of a gain: choose by one seed of a past cell, score by another, and resample.

    A draw takes a cell, its default and k other configurations, chooses by the validation score of one seed and takes
    the difference of test scores to the default in the other seed.
    """
    cells: dict[tuple[str, str], dict[Any, list[Trial]]] = {}
    for trial in past:
        if trial.status == "completed" and trial.test_score is not None:
            cells.setdefault((trial.task, trial.student), {}).setdefault(trial.config, []).append(trial)
    pairs = []
    for runs in cells.values():
        twice = [both[:2] for both in runs.values() if len(both) > 1]
        if len(twice) > 1:
            pairs.append(np.array([[(t.val_score, t.test_score) for t in both] for both in twice], dtype=float))
    if not pairs:
        return tuple(math.inf for _ in stages)
    widths = []
    for k in stages:
        gains = []
        for _ in range(n_draws):
            runs_C22 = pairs[int(rng.integers(len(pairs)))]
            others = rng.permutation(len(runs_C22) - 1)[:k] + 1
            tried = np.append(0, others)
            first = int(rng.integers(2))
            best = tried[int(np.argmax(runs_C22[tried, first, 0]))]
            gains.append(runs_C22[best, 1 - first, 1] - runs_C22[0, 1 - first, 1])
        widths.append(float(np.quantile(gains, 0.9) - np.quantile(gains, 0.1)))
    return tuple(widths)


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One line of the sheet: a value with its Monte Carlo error, what it must be, and whether it is."""

    name: str
    value: float
    error: float
    bound: str
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """All marks, and the numbers of every situation behind them."""

    marks: tuple[Mark, ...]
    situations: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether no mark was missed."""
        return all(mark.passed for mark in self.marks)


def marks(outcomes: Sequence[Outcome]) -> Sheet:
    """The mark sheet of many outcomes; errors come from the spread between worlds.

    Errors are printed beside the values and never added to a bound, except for the stop rule, where "at least the best
    fixed budget" is meant within one standard error: that budget is picked with hindsight.
    """
    rows = {name: _numbers(same) for name in SITUATIONS if (same := [o for o in outcomes if o.situation == name])}
    every = _numbers(outcomes)
    made = [*_regret_marks(every, rows), *_coverage_marks(every, rows), *_forecast_marks(every, rows), _stop_mark(rows)]
    return Sheet(marks=tuple(made), situations=rows)


Row = Mapping[str, float]
Rows = Mapping[str, Row]


def _regret_marks(every: Row, rows: Rows) -> Iterator[Mark]:
    broken = [("where " + s, rows[s], 0.45) for s in (SITUATIONS[1], SITUATIONS[3]) if s in rows]
    for where, row, most in [("all situations", every, 0.60), *broken]:
        default = max(row["default regret"], 1e-9)
        value, error = row["regret"] / default, row["regret error"] / default
        yield _at_most(f"regret over always-default's, {where}", value, error, most)
    worst = max(rows, key=lambda s: rows[s]["regret"] - rows[s]["default regret"])
    excess = rows[worst]["regret"] - rows[worst]["default regret"]
    yield _at_most(f"regret less always-default's, worst: {worst}", excess, rows[worst]["excess error"], 0.05)


def _at_most(name: str, value: float, error: float, most: float) -> Mark:
    return Mark(name=name, value=value, error=error, bound=f"<= {most:.2f}", passed=value <= most)


def _coverage_marks(every: Row, rows: Rows) -> Iterator[Mark]:
    for level, low, high, least in ((80, 0.75, 0.90, 0.72), (90, 0.86, 0.97, 0.82)):
        key, name = f"cover{level}", f"coverage of {level} % intervals"
        value = every[key]
        bound, passed = f"{low:.2f} to {high:.2f}", low <= value <= high
        yield Mark(name=name, value=value, error=every[f"{key} error"], bound=bound, passed=passed)
        worst = min(rows, key=lambda s: rows[s][key])
        value, error = rows[worst][key], rows[worst][f"{key} error"]
        bound = f">= {least:.2f}"
        yield Mark(name=f"{name}, worst: {worst}", value=value, error=error, bound=bound, passed=value >= least)


def _forecast_marks(every: Row, rows: Rows) -> Iterator[Mark]:
    ratio = every["width"] / max(every["bootstrap width"], 1e-9)
    name = "width of 80 % intervals over the split-seed bootstrap's"
    yield Mark(name=name, value=ratio, error=0.0, bound="< 1", passed=ratio < 1)
    for where, row in [("all situations", every), *((s, rows[s]) for s in (SITUATIONS[2],) if s in rows)]:
        value, name = row["bias"], f"bias of the mean gain, {where}"
        yield Mark(name=name, value=value, error=row["bias error"], bound="within 0.20", passed=abs(value) <= 0.2)


def _stop_mark(rows: Rows) -> Mark:
    kept = sum(row["stop net"] + row["stop net error"] >= row["best fixed net"] for row in rows.values())
    need = max(len(rows) - 1, 1)
    name = "situations where the stop rule, net of cost, is at least the best fixed budget"
    return Mark(name=name, value=float(kept), error=0.0, bound=f">= {need} of {len(rows)}", passed=kept >= need)


def _numbers(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Means over outcomes, with errors between worlds."""
    world_N = np.array([f"{o.situation} {o.world}" for o in outcomes])
    regret_N = np.array([o.regret for o in outcomes])
    default_N = np.array([o.default_regret for o in outcomes])
    real_NS = np.array([o.realised for o in outcomes])

    def told(name: str) -> Floats:
        return np.array([[getattr(gain, name) for gain in o.forecast] for o in outcomes])

    near = 0.0006  # forecasts are rounded to a thousandth of a point
    inside = {
        level: ((told(f"lo{level}") - near <= real_NS) & (real_NS <= told(f"hi{level}") + near)).mean(axis=1)
        for level in (80, 90)
    }
    bias_N = (told("mean") - real_NS).mean(axis=1)
    cost_NS = PRICE * np.array([o.trials for o in outcomes])
    fixed_S = np.append((real_NS - cost_NS).mean(axis=0), 0.0)
    best = int(np.argmax(fixed_S))
    best_N = np.column_stack([real_NS - cost_NS, np.zeros(len(real_NS))])[:, best]
    net_N = np.array([o.stop_gain - PRICE * o.stop_trials for o in outcomes])
    return {
        "n": float(len(outcomes)),
        "regret": float(regret_N.mean()),
        "regret error": _error(regret_N, world_N),
        "default regret": float(default_N.mean()),
        "excess error": _error(regret_N - default_N, world_N),
        "cover80": float(inside[80].mean()),
        "cover80 error": _error(inside[80], world_N),
        "cover90": float(inside[90].mean()),
        "cover90 error": _error(inside[90], world_N),
        "width": float((told("hi80") - told("lo80")).mean()),
        "bootstrap width": float(np.mean([o.bootstrap_widths for o in outcomes])),
        "forecast": float(told("mean").mean()),
        "realised": float(real_NS.mean()),
        "bias": float(bias_N.mean()),
        "bias error": _error(bias_N, world_N),
        "stop net": float(net_N.mean()),
        "stop net error": _error(net_N - best_N, world_N),
        "stop trials": float(np.mean([o.stop_trials for o in outcomes])),
        "best fixed net": float(fixed_S[best]),
        "best fixed trials": float(np.append(np.mean([o.trials for o in outcomes], axis=0), 0.0)[best]),
    }


def _error(values_N: Floats, world_N: Any) -> float:
    """Standard error of a mean over worlds (over outcomes where there is one world)."""
    names = np.unique(world_N)
    means = np.array([values_N[world_N == name].mean() for name in names]) if len(names) > 1 else values_N
    return float(means.std(ddof=1) / math.sqrt(len(means))) if len(means) > 1 else 0.0
