"""The recommender: from a history and a task's features to a configuration, what tuning would buy, and what to try.

One door, `suggest`. It reads no store and loads no training library; `docs/recommender.md` explains every number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from kdrec.errors import BadArgument
from kdrec.recommend.answer import answer
from kdrec.recommend.audit import Audit, audit
from kdrec.recommend.belief import Belief, believe, learn_ways
from kdrec.recommend.evidence import gather
from kdrec.recommend.gain import risk
from kdrec.recommend.model import FIT_ROWS, fit, laplace_draws, left_out, nearest_rows, problem, take_apart
from kdrec.recommend.table import Table, tabulate
from kdrec.space import Space
from kdrec.types import Configuration, Floats, Gain, History, NextTrial, Suggestion, TaskFeatures

DEFAULT_BUDGET: Final = 8
DEFAULT_TRIAL_PRICE: Final = 0.05
"""Points of the task's score that one trial must be expected to bring."""

__all__ = ["DEFAULT_BUDGET", "DEFAULT_TRIAL_PRICE", "suggest"]


def suggest(
    history: History,
    features: TaskFeatures,
    student: str,
    *,
    budget: int = DEFAULT_BUDGET,
    trial_price: float | None = None,
    space: Space | Sequence[Configuration] | None = None,
    seed: int = 0,
) -> Suggestion:
    """Answer for one task and student size: what to start from, what tuning would buy, what to try, whether to stop.

    Parameters
    ----------
    history : History
        Past trials, in any order, of any tasks; may be empty. Trials of the asked task and student are used too, by
        their validation scores only.
    features : TaskFeatures
        What is known of the task; unknown features stay None.
    student : str
        Name of the student size; one that the history does not know is judged by `features.student_params`.
    budget : int
        How many next trials to propose: from 1 to the size of the space.
    trial_price : float, optional
        Points that a trial must be expected to bring to be worth making; 0.05 by default.
    space : Space or sequence of Configuration, optional
        Configurations that may be suggested; the first of a sequence is the default. By default those of the history
        (of the default space if it is empty).
    seed : int
        Seed of the draws: same history, arguments and seed, same bytes.

    Returns
    -------
    Suggestion
        Gains in points of the *true* expected score over the suggested configuration, after 1, 2, 4, 8 and all trials.

    Raises
    ------
    BadArgument
        A budget, price, student or seed that cannot be meant.
    DataError, MismatchError
        A history in fractions, of tasks that turn different knobs, or one that contradicts itself or the features.
    """
    price = _checked(budget, trial_price, student, seed)
    table = tabulate(history, features, student, space)
    if budget > table.n_candidates and budget != DEFAULT_BUDGET:
        raise BadArgument(f"budget must be at most {table.n_candidates}, the size of the space, got {budget}")
    rng = generator(seed)
    belief, audited = learn(table, rng)
    found = answer(table, belief, budget, rng)
    chosen, gains = found.chosen, found.gains
    upcoming = tuple(
        NextTrial(config=table.configs[config], worth=round(float(value), 4) + 0.0)
        for config, value in zip(found.order[:budget], found.worth[:budget], strict=True)
    )
    stop, reason = _verdict(upcoming, gains, price)
    effect = _effect(found.net_C[chosen], found.sd_C[chosen])
    evidence = gather(table, chosen, *effect, audited.widen, len(found.order))
    return Suggestion(
        task=features.task,
        student=student,
        config=table.configs[chosen],
        is_default=chosen == 0,
        gain=gains,
        next=upcoming,
        stop=stop,
        reason=reason,
        evidence=evidence,
        audit=audited.to_dict(),
    )


def generator(seed: int) -> np.random.Generator:
    """The source of all randomness of one answer."""
    return np.random.default_rng([seed, 20240106356])


def _checked(budget: int, trial_price: float | None, student: str, seed: int) -> float:
    """Refuse what cannot be meant; return the price of a trial."""
    for name, value, low in (("budget", budget, 1), ("seed", seed, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise BadArgument(f"{name} must be a whole number of at least {low}, got {value!r}")
    if not isinstance(student, str) or not student:
        raise BadArgument(f"student must be a name, got {student!r}")
    if trial_price is None:
        return DEFAULT_TRIAL_PRICE
    number = isinstance(trial_price, (int, float)) and not isinstance(trial_price, bool)
    if not number or not math.isfinite(trial_price) or trial_price < 0:
        raise BadArgument(f"trial_price must be a finite number of points of at least 0, got {trial_price!r}")
    return float(trial_price)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """What the past teaches about a task, whichever of its students is asked about."""

    draws: Floats
    """Equally likely scales, one parameter vector a row."""
    ways: Floats
    """How often a task follows the rest, goes its own way, is opposite."""
    audit: Audit


def learn(table: Table, rng: np.random.Generator) -> tuple[Belief, Audit]:
    """Fit the scales on the nearest tasks, foretell every task from the others, draw what the asked cell may be."""
    lesson = study(table, rng)
    return believe_cell(table, lesson), lesson.audit


def study(table: Table, rng: np.random.Generator) -> Lesson:
    """Fit the scales on the nearest tasks, and see how every task follows from the others."""
    keep_R = nearest_rows(table, FIT_ROWS)
    fitted = problem(table, keep_R)
    theta = fit(fitted)
    scales, draws = take_apart(theta, fitted), laplace_draws(theta, fitted, rng)
    spread = float(np.exp(theta[len(theta) - fitted.n_tasks - 1]))
    blocks = list(left_out(fitted, scales))
    audited = audit(blocks, fitted, scales, spread, risk(table.configs, table.crashes), table, keep_R)
    return Lesson(draws=draws, ways=learn_ways(blocks, fitted, scales), audit=audited)


def believe_cell(table: Table, lesson: Lesson) -> Belief:
    """What the asked cell may be like after a lesson, with intervals as wide as the audit found necessary."""
    asked = problem(table, nearest_rows(table, FIT_ROWS))
    belief = believe(lesson.draws, asked, float(table.noise_D[table.asked]), lesson.ways)
    return replace(belief, cov_MCC=belief.cov_MCC * lesson.audit.widen**2)


def _effect(mean: float, sd: float) -> tuple[Floats, float]:
    """Mean and 80 % interval of the net effect over the default, and the probability that it is positive."""
    better = 0.5 * (1 + math.erf(mean / sd / math.sqrt(2))) if sd > 0 else 0.5
    return np.array([mean, mean - 1.2816 * sd, mean + 1.2816 * sd]), better


def _verdict(upcoming: Sequence[NextTrial], gains: Sequence[Gain], price: float) -> tuple[bool, str]:
    """Stop when no number of further trials is expected to bring its price: the gain counts, not a single worth.

    A worth is what a trial adds to the best expected score; a gain is what is left of it once the tuner has chosen by
    noisy scores and left the suggestion only for good reason.
    """
    if not upcoming:
        return True, "stop: the space holds nothing else to try"
    per_trial, n_trials, total = max((g.mean / g.trials, -g.trials, g.mean) for g in gains if isinstance(g.trials, int))
    made = "the next trial is" if n_trials == -1 else f"the next {-n_trials} trials are"
    what = f"{made} expected to bring {total:.2f} points"
    each = "" if n_trials == -1 else f", {per_trial:.2f} each"
    if per_trial < price:
        return True, f"stop: {what}{each}, less than the price of {price:g} points a trial"
    return False, f"go on: {what}{each}, at least the price of {price:g} points a trial"
