"""Laws of a cell's sheet: which difference is what, and when it is noise; worked by hand."""

from __future__ import annotations

import math

import pytest
from recorded_study import BEST, MSE, cell, diverged, grid, trial

from kdrec.outcome import CellOutcome
from kdrec.page.sheet import Noise, Sheet
from kdrec.space import Space
from kdrec.types import BASELINE_CONFIG, DEFAULT_CONFIG, KDConfig


def sheet(outcome: CellOutcome, space: Space | None = None) -> Sheet:
    return Sheet.of(outcome, space, aliases={})


def test_a_difference_is_taken_over_the_seeds_that_both_were_scored_with() -> None:
    trials = (
        trial("t", DEFAULT_CONFIG, 80, 70),
        trial("t", DEFAULT_CONFIG, 80, 90, seed=1),
        trial("t", MSE, 80, 71),
        trial("t", MSE, 80, 93, seed=1),
        trial("t", BEST, 80, 100, seed=1),
    )
    here, noise = sheet(cell("t", trials)), Noise(points=1.0, degrees=0)
    both = here.difference(MSE, DEFAULT_CONFIG, noise)
    one = here.difference(BEST, DEFAULT_CONFIG, noise)
    assert both is not None and one is not None  # noqa: PT018
    assert (both.points, both.n_seeds) == (2.0, 2)
    assert (one.points, one.n_seeds) == (10.0, 1)
    assert both.half_width == pytest.approx(1.6449, abs=1e-4)
    assert one.half_width == pytest.approx(1.6449 * math.sqrt(2), abs=1e-4)


def test_noise_is_what_lies_within_the_interval_of_seeds_alone() -> None:
    here = sheet(cell("t", (trial("t", DEFAULT_CONFIG, 80, 80), trial("t", MSE, 80, 82))))
    for points, is_noise in ((0.5, False), (1.0, True)):
        found = here.difference(MSE, DEFAULT_CONFIG, Noise(points=points, degrees=0))
        assert found is not None
        assert found.is_noise is is_noise


def test_nothing_is_compared_with_a_diverged_run() -> None:
    here = sheet(cell("t", (trial("t", DEFAULT_CONFIG, 80, 80), diverged("t", MSE))))
    assert here.difference(MSE, DEFAULT_CONFIG, Noise(points=1.0, degrees=0)) is None
    assert here.n_diverged() == 1
    assert math.isnan(here.mean(MSE, "test_score"))
    assert here.best([DEFAULT_CONFIG, MSE]) == DEFAULT_CONFIG


def test_a_configuration_does_not_differ_from_itself_and_is_no_noise_either_way() -> None:
    here = sheet(cell("t", grid("t")))
    same = here.difference(DEFAULT_CONFIG, DEFAULT_CONFIG, Noise(points=1.0, degrees=0))
    assert same is not None
    assert (same.points, same.half_width) == (0.0, 0.0)


def test_own_seeds_say_how_noisy_a_cell_is_when_there_are_enough() -> None:
    noise = sheet(cell("t", grid("t"))).own_noise()
    assert noise is not None
    assert noise.degrees == 25  # one of two seeds in each of 24 configurations and the baseline
    assert noise.points == pytest.approx(0.2 / math.sqrt(2))
    assert sheet(cell("t", grid("t", seeds=(0,)))).own_noise() is None


def test_the_walk_is_greedy_on_what_was_recorded_and_ends_at_the_best() -> None:
    path = sheet(cell("t", grid("t"))).walk()
    assert [step.knob for step in path[:4]] == ["distance", "teacher", "temperatures", "alpha"]
    assert path[-1].kept == BEST
    assert path[2].reason == "moved: +3.00 points on validation"


def test_there_is_no_walk_where_it_would_need_a_trial_that_was_not_made() -> None:
    trials = (trial("t", DEFAULT_CONFIG, 80, 80), trial("t", MSE, 81, 81))
    assert sheet(cell("t", trials)).walk() == ()


def test_a_search_of_another_space_begins_at_its_own_default() -> None:
    soft = KDConfig(tau_t=2, tau_s=2, scale_soft_loss="tau_t*tau_s")
    trials = (trial("t", BASELINE_CONFIG, 70, 70), trial("t", soft, 80, 80))
    assert sheet(cell("t", trials)).default == soft
    space = Space(teacher_temperatures=(2.0,), student_temperatures=("tau_t",), scale_soft_loss="tau_t*tau_s")
    assert sheet(cell("t", trials), space).default == soft
