"""Is it right about what it does not know? Judged in worlds whose truth is known and whose making is not its model."""

from __future__ import annotations

import numpy as np
import pytest

from kdrec.recommend import learn, suggest
from kdrec.recommend.belief import effects_variance
from kdrec.recommend.simulate import SITUATIONS, greedy_history, make_world
from kdrec.recommend.table import tabulate
from kdrec.types import History

PAIR = ("base", "tiny")
N_TASKS = 6


def cases(n_worlds, n_left, situations=SITUATIONS):
    """Worlds of `situations` in turn, histories of all but one task, the task left out, a student."""
    for number in range(n_worlds):
        rng = np.random.default_rng([77, number])
        world = make_world(situations[number % len(situations)], 77 + number, n_tasks=N_TASKS)
        trials = {task: greedy_history(world, [task], rng, students=PAIR) for task in world.features}
        for task in list(world.features)[:n_left]:
            past = History(tuple(t for other in trials if other != task for t in trials[other]))
            student = PAIR[int(rng.integers(2))]
            yield world, past, world.asked(task, student), student, rng


def inside(world, past, features, student):
    """Share of the configurations whose true effect over the default lies in the believed central 80 %."""
    table = tabulate(past, features, student, None)
    mean_C, cov_CC = learn(table, np.random.default_rng(0))[0].moments()
    true = dict(zip(world.configs, world.truth[features.task, student], strict=True))
    truth = np.array([true[config] for config in table.configs])
    wrong = (truth - truth[0]) - (mean_C - mean_C[0])
    return np.mean(np.abs(wrong[1:]) <= 1.2816 * np.sqrt(effects_variance(cov_CC))[1:])


def test_intervals_of_80_percent_hold_the_truth_that_often_over_60_new_tasks():
    usual = tuple(s for s in SITUATIONS if s not in ("no knob matters", "one task opposite"))
    coverage = [inside(world, past, features, student) for world, past, features, student, _ in cases(20, 3, usual)]
    assert len(coverage) == 60
    assert 0.70 <= np.mean(coverage) <= 0.92


def test_the_forecast_gain_is_unbiased_within_a_fifth_of_a_point():
    errors, regrets, defaults = [], [], []
    for world, past, features, student, rng in cases(14, 1):
        answer = suggest(past, features, student)
        gain = next(g for g in answer.gain if g.trials == 8)
        expected = dict(zip(world.configs, world.expected(features.task, student), strict=True))
        runs = [answer.config, *(trial.config for trial in answer.next[:8])]
        own = tuple(world.run(features.task, student, config, 100, rng) for config in runs)
        after = suggest(History((*past, *own)), features, student)
        errors.append(gain.mean - (expected[after.config] - expected[answer.config]))
        regrets.append(max(expected.values()) - expected[answer.config])
        defaults.append(max(expected.values()) - expected[world.configs[0]])
    assert abs(np.mean(errors)) <= 0.2 + np.std(errors) / np.sqrt(len(errors))
    assert np.mean(regrets) <= 0.6 * np.mean(defaults)


@pytest.mark.parametrize("situation", ["no knob matters"])
def test_where_no_knob_matters_little_is_promised(situation):
    promised = [
        next(g.mean for g in suggest(past, features, student).gain if g.trials == 8)
        for _, past, features, student, _ in cases(8, 1, (situation,))
    ]
    assert abs(np.mean(promised)) <= 0.2
