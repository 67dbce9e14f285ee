"""Worlds are what they say: known, repeatable, and different from one another in the way their situation names."""

from __future__ import annotations

import numpy as np
import pytest

from kdrec.errors import BadArgument
from kdrec.recommend.simulate import SITUATIONS, greedy_history, make_world


def effects(world):
    """Expected effects over the default: an array of (cells, configurations), cells in order."""
    return np.array([world.expected(*cell) - world.expected(*cell)[0] for cell in world.truth])


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_world_is_repeatable_and_another_seed_is_another_world(situation):
    one, same, other = (make_world(situation, seed, n_tasks=3) for seed in (1, 1, 2))
    for cell, truth in one.truth.items():
        np.testing.assert_array_equal(truth, same.truth[cell])
    assert not np.array_equal(effects(one)[:, 1:], effects(other)[:, 1:]) or situation == "no knob matters"


def test_where_no_knob_matters_every_configuration_has_one_expected_score():
    assert np.ptp(effects(make_world("no knob matters", 0))) == 0


def test_where_the_default_is_best_little_is_above_it():
    best = np.concatenate([effects(make_world("default is best", seed)).max(axis=1) for seed in range(6)])
    usual = np.concatenate([effects(make_world("effects depend on size", seed)).max(axis=1) for seed in range(6)])
    assert best.mean() < 0.4 * usual.mean()


def test_one_task_is_opposite_to_the_mean_of_all():
    world = make_world("one task opposite", 3)
    by_task = effects(world).reshape(len(world.features), -1)
    agreement = by_task @ by_task.mean(axis=0)
    assert (agreement < 0).sum() >= 1
    assert (agreement > 0).sum() >= 8


def test_tasks_of_different_scale_differ_in_scale():
    def spread(situation):
        worlds = [make_world(situation, seed) for seed in range(4)]
        sizes = [np.abs(effects(world)).reshape(len(world.features), -1).mean(axis=1) for world in worlds]
        return np.mean([np.log(size).std() for size in sizes])

    assert spread("tasks of different scale") > 1.5 * spread("effects depend on size")


def test_only_mse_crashes_and_only_where_the_situation_says_so():
    world = make_world("crashes of one distance", 0)
    risky = {config.distance for config, chance in zip(world.configs, world.crash_C, strict=True) if chance > 0}
    assert risky == {"mse"}
    assert not make_world("default is best", 0).crash_C.any()


def test_runs_scatter_around_the_truth_with_the_noise_of_their_cell():
    world = make_world("default is best", 0)
    task, student = next(iter(world.truth))
    rng = np.random.default_rng(0)
    runs = [world.run(task, student, world.configs[3], seed, rng) for seed in range(3000)]
    for scores in ([run.val_score for run in runs], [run.test_score for run in runs]):
        assert np.mean(scores) == pytest.approx(world.truth[task, student][3], abs=0.05)
        assert np.std(scores) == pytest.approx(world.noise[task, student][3], rel=0.1)
    shared = np.corrcoef([run.val_score for run in runs], [run.test_score for run in runs])[0, 1]
    assert shared == pytest.approx(0.8, abs=0.05)


def test_a_greedy_history_holds_the_default_everywhere_and_leaves_cells_of_the_grid_empty():
    world = make_world("default is best", 0, n_tasks=4)
    past = greedy_history(world, list(world.features), np.random.default_rng(0))
    cells = {(trial.task, trial.student) for trial in past}
    assert cells == set(world.truth)
    for cell in cells:
        tried = {trial.config for trial in past if (trial.task, trial.student) == cell}
        assert world.configs[0] in tried
        assert 5 <= len(tried) < len(world.configs)
        assert all(sum((t.task, t.student, t.config) == (*cell, config) for t in past) == 2 for config in tried)


def test_an_unknown_situation_names_the_nearest():
    with pytest.raises(BadArgument, match="did you mean 'no knob matters'"):
        make_world("no knob maters", 0)
    with pytest.raises(BadArgument, match="n_tasks must be at least 2, got 1"):
        make_world("no knob matters", 0, n_tasks=1)
