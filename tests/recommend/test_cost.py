"""Laws of the cost model, on histories whose seconds follow a known rule; and of the terms a suggestion is asked on."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from kdrec.errors import BadArgument
from kdrec.recommend import cost, suggest
from kdrec.recommend.cost import learn_cost
from kdrec.recommend.terms import Terms
from kdrec.space import DEFAULT_SPACE
from kdrec.types import DEFAULT_CONFIG, History, KDConfig, TaskFeatures, Trial

MSE = KDConfig(distance="mse")
CONFIGS = (DEFAULT_CONFIG, MSE, KDConfig(alpha=1.0), KDConfig(teacher="t_hs"), KDConfig(tau_t=4.0))
STUDENTS = {"small": 15_000_000, "tiny": 5_000_000}


def features(number: int, student: str = "small", **more: object) -> TaskFeatures:
    values = dict(n_train=500 * 2**number, mean_tokens=20.0, n_classes=4, family="sentence")
    return TaskFeatures(task=f"t{number}", student_params=STUDENTS[student], **{**values, **more})


def rule(number: int, student: str, config: KDConfig) -> float:
    """Seconds in truth: in proportion to the rows, twice as many for the larger student, a tenth more for mse."""
    return 2.0 * 2**number * (2.0 if student == "small" else 1.0) * (1.1 if config == MSE else 1.0)


def trial(number: int, student: str, config: KDConfig, seconds: float, seed: int = 0, status: str = "completed"):
    score = 80.0 if status == "completed" else None
    return Trial(
        features=features(number, student),
        student=student,
        config=config,
        seed=seed,
        status=status,
        val_score=score,
        val_loss=None,
        test_score=score,
        seconds=seconds,
        run_id=f"{number}-{student}-{config.label()}-{seed}",
    )


def past(tasks, *, noise: float = 0.05, students=tuple(STUDENTS)) -> tuple[Trial, ...]:
    rng = np.random.default_rng(0)
    return tuple(
        trial(n, s, c, rule(n, s, c) * math.exp(noise * rng.standard_normal()))
        for n in tasks
        for s in students
        for c in CONFIGS
    )


def test_a_new_task_is_foretold_from_its_size_within_the_interval():
    cost = learn_cost(History(past(range(5))), features(6), "small")
    told, truth = cost.trial(DEFAULT_CONFIG), rule(6, "small", DEFAULT_CONFIG)
    assert told.lo80 < truth < told.hi80
    assert truth / 1.6 < told.seconds < truth * 1.6
    assert cost.trial(MSE).seconds > 1.03 * told.seconds


def test_own_trials_dominate_whatever_the_pool_says():
    own = tuple(replace(t, seconds=40 * t.seconds) for t in past([6], students=("small",)))
    cost = learn_cost(History(past(range(5)) + own), features(6), "small")
    truth = 40 * rule(6, "small", DEFAULT_CONFIG)
    assert cost.n_own_trials == len(CONFIGS)
    assert 0.85 * truth < cost.trial(DEFAULT_CONFIG).seconds < 1.15 * truth
    assert cost.trial(DEFAULT_CONFIG).hi80 / cost.trial(DEFAULT_CONFIG).lo80 < 2


def test_an_outlier_moves_little():
    plain = past(range(4))
    slept = tuple(replace(t, seconds=200 * t.seconds) if place == 0 else t for place, t in enumerate(plain))
    before, after = (learn_cost(History(rows), features(0), "small").trial(DEFAULT_CONFIG) for rows in (plain, slept))
    assert 0.8 < after.seconds / before.seconds < 1.25


def test_what_is_not_known_widens_the_interval():
    history = History(past(range(5)))

    def width(asked: TaskFeatures, student: str = "small") -> float:
        told = learn_cost(history, asked, student).trial(DEFAULT_CONFIG)
        return math.log(told.hi80 / told.lo80)

    own, new = features(2), features(6)
    assert width(own) < width(new) < width(replace(new, n_train=None, mean_tokens=None))
    assert width(new) < width(replace(new, student_params=None), "unheard-of")


@pytest.mark.parametrize("told", [{"n_train": 1_000_000}, {"student_params": 300_000_000}])
def test_a_size_that_no_past_trial_has_beside_it_tells_nothing(told):
    nothing = {"n_train": None, "mean_tokens": None, "student_params": None}
    history = History(tuple(replace(t, features=replace(t.features, **nothing)) for t in past(range(5))))
    asked = replace(features(6), **nothing)
    with_size, without = (learn_cost(history, f, "new").trial(MSE) for f in (replace(asked, **told), asked))
    assert with_size == without
    assert with_size.lo80 < rule(4, "tiny", MSE) < with_size.hi80


def test_taking_tasks_out_of_the_equations_changes_no_answer():
    """Against the joint solution of all effects at once, as dense algebra gives it."""
    rng, loss = np.random.default_rng(1), ("ce", "mse", "labels only")
    names = [(f"t{n}", s, w) for n in range(4) for s in STUDENTS for w in loss[: 2 + n % 2]]
    rows = [
        {("level", ""): 1.0, ("slope", "size"): int(task[1]) - 1.5, ("student", s): 1.0, ("loss", w): 1.0}
        | {("task", task): 1.0, ("cell", f"{task}/{s}"): 1.0}
        for task, s, w in names
    ]
    weight_G, pull_G = rng.uniform(1, 9, len(rows)), rng.standard_normal(len(rows))
    every = sorted({column for row in rows for column in row})
    dense_GE = np.array([[row.get(column, 0.0) for column in every] for row in rows])
    mean_E, sd_E = np.array([cost._prior(*column) for column in every]).T
    cov_EE = np.linalg.inv((dense_GE.T * weight_G) @ dense_GE + np.diag(sd_E**-2))
    mean_E = cov_EE @ (dense_GE.T @ pull_G + mean_E / sd_E**2)
    for asked in ("t0", "t2", "new"):
        design = cost._Design.of(rows, [task for task, _, _ in names], asked)
        assert len(design.others) == (4 if asked == "new" else 3)
        at = [every.index(column) for column in design.columns]
        mean_P, cov_PP, expected_G = cost._solve(design, weight_G, pull_G, *cost._priors(design.columns))
        np.testing.assert_allclose(mean_P, mean_E[at], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(cov_PP, cov_EE[np.ix_(at, at)], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(expected_G, dense_GE @ mean_E, rtol=1e-9)


def test_one_group_worked_by_hand():
    """Nothing but two equal trials: every effect stays where its prior is, except along the one sum they measure.

    log s = level + task + student + loss + cell; the level's prior centre is the median, here the value itself, so the
    mean is the value, and the variance is 1 / (1/prior + 2/noise^2).
    """
    rows = tuple(trial(0, "small", DEFAULT_CONFIG, 30.0, seed) for seed in (0, 1))
    cost = learn_cost(History(rows), features(0), "small")
    prior = 2.0**2 + 0.4**2 + 0.5**2 + 0.15**2 + 0.3**2
    noise = cost.noise**2
    variance = 1 / (1 / prior + 2 * 1.25 / noise)  # both residuals are 0: weight (4 + 1) / 4
    told = cost.trial(DEFAULT_CONFIG)
    assert told.seconds == pytest.approx(30 * math.exp((variance + noise) / 2), rel=1e-9)
    assert told.hi80 == pytest.approx(30 * math.exp(1.2816 * math.sqrt(variance + noise)), rel=1e-9)


def test_a_sum_is_the_sum_of_its_parts_and_surer_than_one_part():
    cost = learn_cost(History(past(range(3))), features(1), "tiny")
    total = cost.total(CONFIGS)
    assert total.seconds == pytest.approx(sum(cost.trial(config).seconds for config in CONFIGS))
    assert total.hi80 / total.lo80 < cost.trial(DEFAULT_CONFIG).hi80 / cost.trial(DEFAULT_CONFIG).lo80
    assert cost.total(()).seconds == 0


def test_order_diverged_and_untimed_trials_change_nothing():
    rows = past(range(3))
    aside = (trial(0, "small", MSE, 0.1, 7, "diverged"), trial(0, "small", MSE, 0.0, 8))
    first = learn_cost(History(rows), features(1), "tiny")
    second = learn_cost(History(aside + rows[::-1]), features(1), "tiny")
    assert first.total(CONFIGS) == second.total(CONFIGS)
    assert learn_cost(History(aside), features(1), "tiny") is None


def test_hours_buy_the_next_trials_that_fit_and_no_more():
    history = History(past(range(4)))
    whole = suggest(history, features(3), "small", budget=24)
    cost = learn_cost(history, features(3), "small")
    for hours in (0.02, 0.05):
        answer = suggest(history, features(3), "small", hours=hours)
        configs = [t.config for t in answer.next]
        assert answer.next == whole.next[: len(configs)]
        assert 0 < len(configs) < 24
        assert (
            cost.total(configs).seconds
            <= hours * 3600
            < cost.total([t.config for t in whole.next][: len(configs) + 1]).seconds
        )
        assert answer.evidence["cost"]["next_trials_seconds"] == pytest.approx(cost.total(configs).seconds, rel=0.01)
    assert len(suggest(history, features(3), "small", hours=1000.0).next) == len(DEFAULT_SPACE.configs())


def test_a_time_too_short_for_one_trial_stops():
    answer = suggest(History(past(range(4))), features(3), "small", hours=0.001)
    assert answer.stop
    assert answer.next == ()
    assert answer.reason.startswith("stop: no trial fits into 0.001 hours; one is expected to take 0.0")
    assert answer.evidence["cost"]["seconds_per_trial"] > 3.6


def test_the_price_of_an_hour_is_that_of_a_trial_times_its_share_of_an_hour():
    history = History(past(range(4)))
    seconds = learn_cost(history, features(3), "small").trial(DEFAULT_CONFIG).seconds
    by_hour = suggest(history, features(3), "small", hour_price=36.0)
    assert by_hour.evidence["price"] == pytest.approx(36.0 * seconds / 3600, rel=0.005)
    by_trial = suggest(history, features(3), "small", trial_price=by_hour.evidence["price"])
    assert by_trial == by_hour


@pytest.mark.parametrize(
    ("terms", "sentence"),
    [
        ({"hours": 2.0}, "a budget in hours needs the cost of a trial: no completed trial .*; give a budget of trials"),
        ({"hour_price": 1.0}, "a price of an hour needs the cost of a trial: .*; give a price of a trial"),
        ({"hours": 2.0, "budget": 3}, "one budget is enough: give budget or hours, not both"),
        ({"hour_price": 2.0, "trial_price": 3.0}, "one price is enough: give trial_price or hour_price, not both"),
        ({"hours": 0.0}, "hours must be a finite number of hours above 0, got 0.0"),
        ({"hours": math.nan}, "hours must be a finite number"),
        ({"hour_price": -1}, "hour_price must be a finite number of points of at least 0, got -1"),
        ({"trust_default": "hihg"}, "trust_default must be one of low, medium, high, got 'hihg'; did you mean 'high'"),
    ],
)
def test_terms_that_cannot_be_met_are_refused_in_a_sentence(terms, sentence):
    with pytest.raises(BadArgument, match=sentence):
        suggest(History(), features(0), "small", **terms)


def test_without_any_seconds_the_cost_is_not_known_and_said_so():
    assert suggest(History(), features(0), "small").evidence["cost"] is None


def test_an_hour_without_a_price_is_priced_by_the_trial():
    assert Terms().price(None, DEFAULT_CONFIG) == 0.05
    assert Terms(trial_price=0).price(None, DEFAULT_CONFIG) == 0
