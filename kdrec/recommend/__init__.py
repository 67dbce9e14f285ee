"""The recommender: from a history and a task's features to a configuration, what tuning would buy, and what to try.

One door, `suggest`. It reads no store and loads no training library; `docs/recommender.md` explains every number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from threadpoolctl import threadpool_limits

from kdrec.checks import number
from kdrec.errors import BadArgument
from kdrec.history import told_apart
from kdrec.recommend.answer import answer
from kdrec.recommend.audit import Audit, audit
from kdrec.recommend.belief import Belief, believe, learn_ways
from kdrec.recommend.cost import learn_cost, summary
from kdrec.recommend.evidence import gather
from kdrec.recommend.gain import leave_z, risk
from kdrec.recommend.model import FIT_ROWS, fit, laplace_draws, left_out, nearest_rows, problem, take_apart
from kdrec.recommend.normal import Z80
from kdrec.recommend.table import Table, tabulate
from kdrec.recommend.terms import DEFAULT_BUDGET, DEFAULT_TRIAL_PRICE, Terms
from kdrec.resolution import resolved, worth
from kdrec.space import Space
from kdrec.types import Configuration, Floats, Gain, History, NextTrial, Suggestion, TaskFeatures, TrustDefault

CAUTION: Final = 2.0
"""How many times its price a trial must be forecast to bring. Forecasts are right on average; those large enough to go
on were picked for being large, and came true by about half (`benchmarks/recommender.py`)."""

__all__ = ["DEFAULT_BUDGET", "DEFAULT_TRIAL_PRICE", "suggest"]


def suggest(
    history: History,
    features: TaskFeatures,
    student: str,
    *,
    budget: int | None = None,
    hours: float | None = None,
    trial_price: float | None = None,
    hour_price: float | None = None,
    trust_default: TrustDefault = "medium",
    space: Space | Sequence[Configuration] | None = None,
    resolution: float | None = None,
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
    budget : int, optional
        How many next trials to propose: from 1 to the size of the space; 8 by default.
    hours : float, optional
        Instead of a budget: as many next trials as are expected to be done in this time.
    trial_price : float, optional
        Points that a trial must be expected to bring to be worth making; 0.05 by default.
    hour_price : float, optional
        Instead of a trial's price: points that an hour of trials must be expected to bring.
    trust_default : {"medium", "low", "high"}
        How much evidence is demanded before the default is left: another configuration must be better with probability
        0.7 (medium), 0.5 (low) or 0.9 (high).
    space : Space or sequence of Configuration, optional
        Configurations that may be suggested; the first of a sequence is the default. By default those of the history
        (of the default space if it is empty).
    resolution : float, optional
        Points that one validation row is: forecasts are whole multiples of it, and what is less is not tuned for.
    seed : int
        Seed of the draws: same history, arguments and seed, same bytes.

    Returns
    -------
    Suggestion
        Gains in points of the *true* expected score over the suggested configuration, after 1, 2, 4, 8 and all trials.

    Raises
    ------
    BadArgument
        A budget, price, trust, student or seed that cannot be meant, two that exclude each other, and hours or a price
        of an hour where the history does not say how long a trial takes.
    DataError
        A history in fractions, or of tasks that turn different knobs.
    """
    _check(student, seed)
    if resolution is not None:
        number("resolution", resolution, 0, 100, open_low=True)
    terms = Terms(
        budget=budget, hours=hours, trial_price=trial_price, hour_price=hour_price, trust_default=trust_default
    )
    table = tabulate(history, features, student, space)
    rng = generator(seed)
    with one_thread():
        cost = learn_cost(told_apart(history, features).history, table.tasks[table.asked_task], student)
        terms.check(cost, table.n_candidates)
        ready = terms.at_least(cost, table.configs[0], table.n_candidates)
        belief, audited = learn(table, rng)
        found = answer(table, belief, ready, rng, leave_z(terms.trust_default))
    chosen, gains = found.chosen, resolved(found.gains, resolution)
    proposed = tuple(
        NextTrial(config=table.configs[config], worth=worth(round(float(value), 4) + 0.0, resolution))
        for config, value in zip(found.order, found.worth, strict=True)
    )
    upcoming = proposed[: terms.n_next(cost, [trial.config for trial in proposed])]
    price = terms.price(cost, table.configs[chosen])
    stop, reason = True, terms.nothing_fits(cost, proposed[0].config)
    if upcoming:
        stop, reason = _verdict(upcoming, _reached(gains, terms, upcoming), price)
        unseen, _ = (
            (stop, "") if resolution is None else _verdict(upcoming, _reached(found.gains, terms, upcoming), price)
        )
        if stop and not unseen:
            reason = f"stop: {_unseen(resolution)}"
    effect = _effect(found.net_C[chosen], found.sd_C[chosen])
    evidence = gather(table, chosen, *effect, audited.widen, len(found.order))
    evidence["price"] = price
    evidence["resolution"] = resolution
    evidence["cost"] = summary(cost, table.configs[chosen], [trial.config for trial in upcoming])
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


def one_thread() -> AbstractContextManager[Any]:
    """Keep linear algebra to one thread: more gain nothing here, and bytes would depend on how many."""
    limits: AbstractContextManager[Any] = threadpool_limits(limits=1, user_api="blas")
    return limits


def generator(seed: int) -> np.random.Generator:
    """The source of all randomness of one answer."""
    return np.random.default_rng([seed, 20240106356])


def _check(student: str, seed: int) -> None:
    """Refuse what cannot be meant."""
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise BadArgument(f"seed must be a whole number of at least 0, got {seed!r}")
    if not isinstance(student, str) or not student:
        raise BadArgument(f"student must be a name, got {student!r}")


def _reached(gains: Sequence[Gain], terms: Terms, upcoming: Sequence[NextTrial]) -> Sequence[Gain]:
    """Gains that the budget can reach."""
    return gains if terms.hours is None else _within(gains, len(upcoming))


def _unseen(resolution: float | None) -> str:
    return (
        f"further trials are expected to bring less than {resolution:.1f} points, which is one row of the validation "
        "split: it cannot show what they gain; add validation rows and ask again"
    )


def _within(gains: Sequence[Gain], n_trials: int) -> tuple[Gain, ...]:
    """Gains of as many trials as the hours allow: the others cannot be had for this budget."""
    return tuple(gain for gain in gains if isinstance(gain.trials, int) and gain.trials <= n_trials)


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
    return np.array([mean, mean - Z80 * sd, mean + Z80 * sd]), better


def _verdict(upcoming: Sequence[NextTrial], gains: Sequence[Gain], price: float) -> tuple[bool, str]:
    """Stop when no number of further trials is expected to bring twice its price: the gain counts, not a single worth.

    A worth is what a trial adds to the best expected score; a gain is what is left of it once the tuner has chosen by
    noisy scores and left the suggestion only for good reason.
    """
    if not upcoming:
        return True, "stop: the space holds nothing else to try"
    per_trial, n_trials, total = max((g.mean / g.trials, -g.trials, g.mean) for g in gains if isinstance(g.trials, int))
    made = "the next trial is" if n_trials == -1 else f"the next {-n_trials} trials are"
    digits = 2 if round(per_trial, 2) != round(CAUTION * price, 2) else 3  # what differs must look different
    what = f"{made} expected to bring {total:.{digits}f} points"
    each = "" if n_trials == -1 else f", {per_trial:.{digits}f} each"
    if per_trial < CAUTION * price:
        return True, f"stop: {what}{each}, less than twice the price of {price:g} points a trial"
    return False, f"go on: {what}{each}, at least twice the price of {price:g} points a trial"
