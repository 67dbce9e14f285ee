"""The statistics against definitions worked out by other means: tables by hand, formulas by dense linear algebra."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kdrec.recommend.audit import audit
from kdrec.recommend.belief import SPREAD_Q, WAYS_PRIOR, believe, effects_variance, learn_ways
from kdrec.recommend.design import found_space, knobs, similarity
from kdrec.recommend.gain import LEAVE_Z, decide, risk
from kdrec.recommend.model import (
    covariance,
    fit,
    left_out,
    loss,
    loss_and_gradient,
    problem,
    take_apart,
)
from kdrec.recommend.next_trials import knowledge_gradient
from kdrec.recommend.table import tabulate
from kdrec.space import DEFAULT_SPACE
from kdrec.types import DEFAULT_CONFIG, History, KDConfig, TaskFeatures, Trial

MSE = KDConfig(distance="mse")
HS = KDConfig(teacher="t_hs")
NEW = TaskFeatures(task="new", family="sentence", n_train=1000)
FOLLOWS = np.array([1 - 2e-12, 1e-12, 1e-12])


def trial(task, config, score, seed=0, **more):
    features = TaskFeatures(task=task, family="sentence", n_train=1000)
    status = "diverged" if score is None else "completed"
    return Trial(
        features=features, student="small", config=config, seed=seed, status=status, val_score=score, val_loss=None,
        test_score=score, seconds=1.0, **more,
    )  # fmt: skip


def grid(n_tasks=3, seed=0):
    rng = np.random.default_rng(seed)
    rows = [
        trial(f"t{n}", config, float(80 + rng.normal()), run)
        for n in range(n_tasks)
        for config in DEFAULT_SPACE.configs()[::3]
        for run in range(2)
    ]
    return History(tuple(rows))


def test_a_table_worked_by_hand():
    rows = (
        *(trial("a", DEFAULT_CONFIG, score, seed) for seed, score in enumerate((80.0, 82.0))),
        *(trial("a", HS, score, seed) for seed, score in enumerate((81.0, 83.0))),
        *(trial("a", MSE, score, seed) for seed, score in enumerate((82.0, 70.0, None))),
    )
    table = tabulate(History(rows), NEW, "small", None)
    means = {table.configs[c]: (m, n) for c, m, n in zip(table.config_R, table.mean_R, table.count_R, strict=True)}
    # cell median over means 81, 82, 76 is 81 and its robust spread 1.4826, so the floor is 81 - 5: 70 is a crash
    assert means == {DEFAULT_CONFIG: (81.0, 2.0), HS: (82.0, 2.0), MSE: (82.0, 1.0)}
    assert (table.crashes.crashed["mse"], table.crashes.runs["mse"]) == (2, 3)
    assert table.crashes.probability("mse") == pytest.approx(2.5 / 27.5)
    assert table.crashes.loss == pytest.approx((8 * 4 + 11) / 5)
    # SS = 2 + 2 on 2 degrees of freedom; the pool adds 4 of variance 0.25; each cell is shrunk by 8 of the pool
    pool = (4 + 4 * 0.25) / 6
    assert table.noise_D[0] == pytest.approx(math.sqrt((4 + 8 * pool) / 10))
    assert table.noise_df == 2


def test_a_default_that_is_bad_in_every_run_is_bad_and_not_unlucky():
    others = [c for c in DEFAULT_SPACE.configs()[:6] if c != DEFAULT_CONFIG]
    rows = [trial("a", c, 85.0 + 0.1 * i) for i, c in enumerate(others)]
    table = tabulate(History((*rows, trial("a", DEFAULT_CONFIG, 70.0))), NEW, "small", None)
    assert table.crashes.crashed["ce"] == 0
    assert 70.0 in table.mean_R


def test_gradient_equals_finite_differences():
    p = problem(tabulate(grid(), NEW, "small", None))
    theta = p.prior[0] + 0.2 * np.random.default_rng(0).standard_normal(len(p.prior[0]))
    numeric = [(loss(theta + step, p) - loss(theta - step, p)) / 2e-5 for step in 1e-5 * np.eye(len(theta))]
    np.testing.assert_allclose(loss_and_gradient(theta, p)[1], numeric, rtol=1e-5, atol=1e-5)
    assert loss(theta, p) == pytest.approx(loss_and_gradient(theta, p)[0])


def test_one_contrast_worked_by_hand():
    """One past task, the default at 80 and t_hs at 82, one run each, every scale 1: a pocket-calculator posterior."""
    rows = (trial("a", DEFAULT_CONFIG, 80.0), trial("a", HS, 82.0))
    table = tabulate(History(rows), NEW, "small", None)
    p = problem(table)
    theta = p.prior[0].copy()
    theta[-p.n_tasks :] = 0.0
    theta[-p.n_tasks - 1] = math.log(1e-6)  # no task's factor differs from 1
    belief = believe(theta[None], p, 0.5, FOLLOWS)
    mean, cov = belief.moments()
    hs = table.configs.index(HS)
    levels, own = np.exp(2 * theta[:6]), math.exp(2 * theta[-p.n_tasks - 3])
    alike = 1 + own  # one departure of weight 1, and the configuration's own part
    # between the tasks: shared by all, family, similar tasks (same meta-features), student; within: all six levels
    shared, whole = levels[0] + levels[1] + levels[2] + levels[4], levels.sum()
    expected = p.expected_C[hs]
    between, within = shared * alike + 0.08**2, whole * alike + 0.08**2  # the doubt about b is shared by all
    weight = between / (within + 2 * 0.5**2)
    assert mean[hs] - mean[0] == pytest.approx(expected + weight * (2.0 - expected), rel=1e-3)
    variance = cov[hs, hs] - 2 * cov[hs, 0] + cov[0, 0]
    assert variance == pytest.approx(within - weight * between, rel=1e-3)


def test_more_tasks_narrow_every_effect_at_the_same_scales():
    variances = []
    for n_tasks in (0, 1, 3, 6):
        p = problem(tabulate(grid(n_tasks), NEW, "small", None))
        variances.append(effects_variance(believe(p.prior[0][None], p, 0.5, FOLLOWS).moments()[1])[1:])
    assert (np.diff(variances, axis=0) < 0).all()


def test_the_block_formula_equals_leaving_a_task_out():
    table = tabulate(grid(4), NEW, "small", None)
    p = problem(table)
    theta = fit(p)
    cov_RR, _ = covariance(take_apart(theta, p), p)
    blocks = {block.task: block for block in left_out(p, take_apart(theta, p))}
    out = p.task_D[p.cell_R] == 1
    cross = cov_RR[np.ix_(out, ~out)] @ np.linalg.inv(cov_RR[np.ix_(~out, ~out)])
    np.testing.assert_allclose(blocks[1].mean_N, cross @ p.y_R[~out], atol=1e-6)
    np.testing.assert_allclose(
        blocks[1].cov_NN, cov_RR[np.ix_(out, out)] - cross @ cov_RR[np.ix_(~out, out)], atol=1e-6
    )


def tilted(signs, own=()):
    """A history where t_hs and mse bring 2 points each, times the sign of the task."""
    rows = []
    for n, sign in enumerate(signs):
        for config, effect in ((DEFAULT_CONFIG, 0.0), (HS, 2.0), (MSE, 1.8)):
            rows += [trial(f"t{n}", config, 80 + n + sign * effect + 0.1 * seed, seed) for seed in (0, 1)]
    rows += [trial("new", config, score) for config, score in own]
    return History(tuple(rows))


def test_a_task_that_contradicts_the_past_is_believed_after_one_contrast():
    """The past says +1.8 for mse; once t_hs was seen to lose on the task, mse is no longer expected to win there."""
    past = tabulate(tilted([1] * 8), NEW, "small", None)
    told = tabulate(tilted([1] * 8, own=[(DEFAULT_CONFIG, 80.0), (HS, 77.0)]), NEW, "small", None)
    means = []
    for table in (past, told):
        p = problem(table)
        mean = believe(fit(p)[None], p, 0.2, np.array([0.9, 0.07, 0.03])).moments()[0]
        means.append(mean[table.configs.index(MSE)] - mean[0])
    assert means[0] > 1.0
    assert means[1] < 0.2


def test_ways_are_learned_from_how_past_tasks_went():
    def learned(signs):
        p = problem(tabulate(tilted(signs), NEW, "small", None))
        scales = take_apart(fit(p), p)
        return learn_ways(list(left_out(p, scales)), p, scales)

    agree, odd = learned([1] * 8), learned([1] * 7 + [-1])
    assert agree.sum() == pytest.approx(1)
    assert agree[0] > odd[0]
    assert odd[1:].sum() > 1.5 * agree[1:].sum()


def test_without_rows_the_ways_are_their_prior():
    p = problem(tabulate(History(), NEW, "small", None))
    np.testing.assert_allclose(learn_ways([], p, take_apart(p.prior[0], p)), WAYS_PRIOR / WAYS_PRIOR.sum())


def test_factors_of_a_task_are_spread_like_a_standard_normal():
    assert SPREAD_Q.mean() == pytest.approx(0, abs=1e-12)
    assert (SPREAD_Q**2).mean() == pytest.approx(1)


def test_audit_counts_regret_by_hand_when_one_alternative_always_wins():
    rows = [
        trial(f"t{n}", c, 80.0 + 2.0 * (c == HS) + 0.1 * s, s)
        for n in range(4)
        for c in (DEFAULT_CONFIG, HS)
        for s in (0, 1)
    ]
    table = tabulate(History(tuple(rows)), NEW, "small", None)
    p = problem(table)
    theta = fit(p)
    scales, every_R = take_apart(theta, p), np.ones(len(table.mean_R), dtype=bool)
    danger = risk(table.configs, table.crashes)
    found = audit(list(left_out(p, scales)), p, scales, 0.3, danger, table, every_R)
    assert found.regret["always default"] == pytest.approx(2.0)
    assert found.regret["random"] == pytest.approx(1.0)
    assert found.regret["best on average"] == pytest.approx(0.0)
    assert found.regret["nearest task"] == pytest.approx(0.0)
    assert found.regret["suggested"] == pytest.approx(0.0)


def test_decide_leaves_the_default_only_when_sure_enough_and_gives_it_ties():
    net = np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.5]])
    sd = np.array([[0.0, 1.0, 2 / LEAVE_Z + 0.1], [0.0, 0.0, 0.0], [0.0, 1 / LEAVE_Z + 0.1, 0.5 / LEAVE_Z + 0.1]])
    assert decide(net, sd, 3).tolist() == [1, 0, 0]
    assert decide(net, sd, 1).tolist() == [0, 0, 0]


def test_knowledge_gradient_equals_its_closed_form_for_two_configurations():
    from scipy.stats import norm

    net, noise = np.array([0.0, -0.3]), 0.5
    cov = np.array([[1e-9, 0.0], [0.0, 1.0]])
    s = 1.0 / math.sqrt(1.0 + noise**2)
    closed = -0.3 * norm.cdf(-0.3 / s) + s * norm.pdf(-0.3 / s)
    assert knowledge_gradient(net, cov, noise, np.zeros(2))[1] == pytest.approx(closed, rel=0.02)


def test_features_count_departures_step_by_step():
    configs = (DEFAULT_CONFIG, KDConfig(tau_t=2.0), KDConfig(tau_t=4.0), KDConfig(alpha=1.0, tau_t=4.0))
    made = knobs(configs, DEFAULT_CONFIG)
    assert made.names == ("alpha=1.0", "tau_t=2.0", "tau_t=4.0")
    assert made.features_CF[:, :3].tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 1], [1, 1, 1]]
    assert not made.features_CF[0].any()


def test_a_task_of_which_nothing_is_known_resembles_no_other():
    near = similarity([TaskFeatures(task="a", n_train=10), TaskFeatures(task="b", n_train=10), TaskFeatures(task="c")])
    np.testing.assert_allclose(near, [[1, 1, 0], [1, 1, 0], [0, 0, 1]])


def test_configurations_outside_a_grid_are_kept_as_they_were_tried():
    odd = KDConfig(tau_t=2.0, tau_s=3.0)
    configs, default = found_space([odd, DEFAULT_CONFIG])
    assert set(configs) == {odd, DEFAULT_CONFIG}
    assert default == DEFAULT_CONFIG
