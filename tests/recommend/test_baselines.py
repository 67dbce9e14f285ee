"""Each baseline on a table small enough to work by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from kdrec.recommend.baselines import (
    BASELINES,
    always_default,
    best_on_average,
    effects,
    nearest_task,
    random,
    ridge,
    ridge_weights,
)
from kdrec.recommend.table import tabulate
from kdrec.recommend.views import restricted, without_task
from kdrec.types import DEFAULT_CONFIG, History, KDConfig, TaskFeatures, Trial

MSE, HS, ONE = KDConfig(distance="mse"), KDConfig(teacher="t_hs"), KDConfig(alpha=1.0)


def trial(task, config, score, seed=0, *, n_train=1000, family="sentence", student="small"):
    return Trial(
        features=TaskFeatures(task=task, family=family, n_train=n_train),
        student=student,
        config=config,
        seed=seed,
        status="diverged" if score is None else "completed",
        val_score=score,
        val_loss=None,
        test_score=score,
        seconds=1.0,
    )


def cell(task, scores, **more):
    """One run of each configuration of `scores`."""
    return tuple(trial(task, config, score, **more) for config, score in scores.items())


def table(*rows, n_train=1000, family="sentence"):
    return tabulate(History(rows), TaskFeatures(task="new", family=family, n_train=n_train), "small", None)


def chosen(choose, seen):
    return seen.configs[choose(seen, np.random.default_rng(0))]


# effects over the default:         MSE   HS   ONE
PAST = (
    *cell("a", {DEFAULT_CONFIG: 80.0, MSE: 82.0, HS: 81.0}),  # +2   +1
    *cell("b", {DEFAULT_CONFIG: 60.0, MSE: 59.0, HS: 61.0, ONE: 60.5}),  # -1   +1   +0.5
)


def test_always_default_is_the_default():
    assert chosen(always_default, table(*PAST)) == DEFAULT_CONFIG


def test_best_on_average_takes_the_mean_over_the_cells_that_measured_a_configuration():
    assert chosen(best_on_average, table(*PAST)) == HS  # means 0.5, 1 and 0.5
    assert chosen(best_on_average, table(*PAST, *cell("c", {DEFAULT_CONFIG: 90.0, ONE: 93.0}))) == ONE  # (0.5 + 3) / 2


def test_a_cell_without_the_default_says_nothing():
    assert chosen(best_on_average, table(*PAST, *cell("c", {MSE: 99.0, HS: 10.0}))) == HS


def test_nearest_task_takes_the_best_of_the_task_of_nearest_features():
    rows = (*cell("near", {DEFAULT_CONFIG: 80.0, MSE: 81.0}), *cell("far", {DEFAULT_CONFIG: 80.0, HS: 85.0}, n_train=9))
    assert chosen(nearest_task, table(*rows, n_train=900)) == MSE
    assert chosen(nearest_task, table(*rows, n_train=10)) == HS


def test_nearest_task_falls_back_on_the_default_when_nothing_is_known_of_the_task():
    assert chosen(nearest_task, table(*PAST, n_train=None)) == DEFAULT_CONFIG


def test_a_task_of_which_only_the_default_was_measured_is_not_near():
    rows = (*cell("twin", {DEFAULT_CONFIG: 80.0}), *cell("a", {DEFAULT_CONFIG: 80.0, HS: 85.0}, n_train=9))
    assert chosen(nearest_task, table(*rows)) == HS


def test_ridge_learns_that_a_family_turns_an_effect_round():
    rows = [
        row
        for number in range(8)
        for family, sign in (("sentence", 1.0), ("pair", -1.0))
        for row in cell(
            f"{family}{number}", {DEFAULT_CONFIG: 70.0, MSE: 70 + 2 * sign, HS: 70 - sign, ONE: 70.0}, family=family
        )
    ]
    assert chosen(best_on_average, table(*rows)) == DEFAULT_CONFIG
    assert chosen(ridge, table(*rows, family="sentence")) == KDConfig(distance="mse")
    assert chosen(ridge, table(*rows, family="pair")).teacher == "t_hs"


def test_ridge_weights_equal_scikit_learns_at_the_strength_of_lowest_generalised_error():
    from sklearn.linear_model import RidgeCV

    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((40, 6)), np.array([1.0, 0, 0, 2, 0, -1])
    y = x @ w + rng.standard_normal(40)
    grid = 10.0 ** np.arange(5, -4, -1)

    def score(strength):  # Golub, Heath & Wahba: RSS / (n - trace of the hat matrix)^2
        hat = x @ np.linalg.solve(x.T @ x + strength * np.eye(6), x.T)
        return ((y - hat @ y) ** 2).sum() / (40 - np.trace(hat)) ** 2

    strength = min(grid, key=score)
    model = RidgeCV(alphas=[strength], fit_intercept=False).fit(x, y)
    np.testing.assert_allclose(ridge_weights(x, y), model.coef_, rtol=1e-8)


def test_a_single_observation_is_shrunk_as_far_as_it_goes():
    assert abs(ridge_weights(np.array([[1.0]]), np.array([5.0]))[0]) < 1e-3


def test_random_takes_every_candidate_about_as_often_and_no_other():
    seen = restricted(table(*PAST), [0, 3, 5])
    rng = np.random.default_rng(0)
    drawn = Counter(random(seen, rng) for _ in range(3000))
    assert sorted(drawn) == [0, 1, 2]
    assert all(900 < count < 1100 for count in drawn.values())


def test_effects_count_a_crash_as_the_default_less_its_cost():
    rows = (*PAST, trial("a", HS, None, seed=1), trial("a", ONE, None))
    seen = table(*rows)
    loss = seen.crashes.loss
    place = {config: index for index, config in enumerate(seen.configs)}
    first = effects(seen)[0]
    assert first[0] == 0.0
    assert first[place[HS]] == pytest.approx((1 - loss) / 2)  # one run at +1, one lost
    assert first[place[ONE]] == pytest.approx(-loss)
    assert np.isnan(effects(seen)[1][place[KDConfig(tau_t=2.0)]])


def test_restricted_leaves_what_was_measured_and_narrows_what_may_be_chosen():
    seen = table(*PAST)
    place = {config: index for index, config in enumerate(seen.configs)}
    few = restricted(seen, [0, place[ONE], place[MSE]])
    assert few.configs[:3] == (DEFAULT_CONFIG, ONE, MSE)
    assert sorted(few.configs) == sorted(seen.configs)
    before = {(c, seen.configs[k], m) for c, k, m in zip(seen.cell_R, seen.config_R, seen.mean_R, strict=True)}
    assert {(c, few.configs[k], m) for c, k, m in zip(few.cell_R, few.config_R, few.mean_R, strict=True)} == before
    assert chosen(best_on_average, few) in (MSE, ONE)
    with pytest.raises(ValueError, match="default"):
        restricted(seen, [1, 0])


def test_without_task_forgets_every_row_of_the_task():
    seen = table(*PAST, trial("a", HS, 99.0, student="big"))
    without = without_task(seen, 0)
    assert {seen.tasks[t].task for t in without.task_D[without.cell_R]} == {"b"}
    assert {t.task for t in without.trials} == {"b"}
    assert without.tasks[without.asked_task].task == "a"


def test_the_names_of_the_baselines_are_said_in_the_order_of_their_cunning():
    assert list(BASELINES) == ["always default", "best on average", "nearest task", "ridge", "random"]
