"""What is trained next, worked by hand: ladders of rates, lengths that double, budgets that bind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdrec import autotune
from kdrec.autotune import Calibration, Run, Sizes, bound_by_budget, next_rate, next_student_run, next_teacher_run
from kdrec.training import Budget, StudentTraining, TeacherTraining, Training
from kdrec.types import FineTuning

SIZES = Sizes(steps_per_epoch=10, n_validation=300)
FIRST = 60  # max(60, 2 epochs)

AUTO, UNBOUNDED = StudentTraining(), Budget()

Quality = Callable[[float, int], tuple[float, float]]
"""Score and loss of a learning rate and a length."""


def walked(
    quality: Quality, wanted: StudentTraining = AUTO, budget: Budget = UNBOUNDED, sizes: Sizes = SIZES
) -> tuple[list[tuple[float, int]], Calibration]:
    """Runs that a calibration makes of a student of this quality, and what it comes to."""
    done: list[Run] = []
    while isinstance(following := next_student_run(wanted, done, sizes, budget), Training):
        n_steps = following.n_steps or following.epochs * sizes.steps_per_epoch
        score, loss = quality(following.learning_rate, n_steps)
        assert following.seed == autotune.CALIBRATION_SEED
        done.append(
            Run(learning_rate=following.learning_rate, seed=0, n_steps=n_steps, score=score, loss=loss, seconds=10.0)
        )
        assert len(done) < 30
    return [(run.learning_rate, run.n_steps) for run in done], following


def peak_at(rate: float, flat_after: int) -> Quality:
    """Best at one rate, rising by 10 points with every doubling until a length."""

    def quality(learning_rate: float, n_steps: int) -> tuple[float, float]:
        ratio = max(rate, learning_rate) / min(rate, learning_rate)
        doublings = sum(n_steps >= FIRST * 2**k and FIRST * 2**k <= flat_after for k in range(1, 9))
        return 40 + 10.0 * doublings - 5 * ratio, 1.0

    return quality


# The ladder


def test_a_ladder_tries_its_rungs_and_stops_when_the_best_is_inside():
    rungs = (1.0, 2.0, 4.0)
    assert next_rate({}, rungs) == 1.0
    assert next_rate({1.0: (3, 0), 2.0: (5, 0)}, rungs) == 4.0
    assert next_rate({1.0: (3, 0), 2.0: (5, 0), 4.0: (4, 0)}, rungs) is None


def test_a_ladder_is_widened_at_the_end_where_the_best_lies():
    rungs = (1e-4, 2e-4)
    assert next_rate({1e-4: (3, 0), 2e-4: (5, 0)}, rungs) == 4e-4
    assert next_rate({1e-4: (5, 0), 2e-4: (3, 0)}, rungs) == 5e-5
    assert next_rate({1e-4: (5, -1.0), 2e-4: (5, -0.5)}, rungs) == 4e-4, "of equal scores the lower loss is better"


def test_a_ladder_of_one_and_one_at_its_bounds_are_not_widened():
    assert next_rate({1e-4: (3, 0)}, (1e-4,)) is None
    assert next_rate({3e-3: (5, 0), 1e-3: (3, 0)}, (1e-3, 3e-3)) is None
    five = {1e-4 * 2**k: (float(k), 0.0) for k in range(autotune.MOST_RUNGS)}
    assert next_rate(five, (1e-4, 2e-4)) is None


# Students


def test_a_calibration_climbs_the_ladder_short_then_doubles_at_the_best_rate_and_at_half_of_it():
    runs, found = walked(peak_at(6e-4, flat_after=120))
    ladder = [(3e-4, 60), (6e-4, 60), (1.2e-3, 60)]
    assert runs == [*ladder, (6e-4, 120), (3e-4, 120), (6e-4, 240), (3e-4, 240)]
    assert found == Calibration(learning_rate=6e-4, n_steps=120, reason="flat", still_improving=False)


def test_a_calibration_that_is_flat_at_once_keeps_its_first_length():
    runs, found = walked(peak_at(6e-4, flat_after=0))
    assert runs[-2:] == [(6e-4, 120), (3e-4, 120)]
    assert (found.n_steps, found.reason) == (60, "flat")


def test_a_lower_loss_at_no_lower_score_is_worth_a_longer_training():
    _, found = walked(lambda rate, n_steps: (50 - 1e3 * abs(rate - 6e-4), 100 / min(n_steps, 240)))
    assert found.n_steps == 240


def test_a_longer_training_that_helps_at_half_the_rate_alone_is_found():
    """A short training likes a high rate, at which twice as long is worse."""

    def quality(rate: float, n_steps: int) -> tuple[float, float]:
        wanted = {60: 1.2e-3, 120: 6e-4}.get(n_steps, 3e-4)
        return 50.0 + min(n_steps, 240) / 20 - 2e4 * abs(rate - wanted), 1.0

    found = walked(quality)[1]
    assert (found.learning_rate, found.n_steps, found.reason) == (3e-4, 240, "cap")


def test_a_calibration_ends_at_its_cap_and_says_that_students_still_improve():
    runs, found = walked(peak_at(6e-4, flat_after=10**9), budget=Budget(max_steps=300))
    assert max(n_steps for _, n_steps in runs) == 240
    assert (found.n_steps, found.reason, found.still_improving) == (240, "cap", True)


def test_a_budget_of_few_steps_still_calibrates_the_rate():
    runs, found = walked(peak_at(6e-4, flat_after=0), budget=Budget(max_steps=5))
    assert {n_steps for _, n_steps in runs} == {5}
    assert (found.learning_rate, found.n_steps, found.reason) == (6e-4, 5, "cap")


@pytest.mark.parametrize(("minutes", "n_runs"), [(0.01, 1), (0.5, 3), (0.6, 4), (99, 7)])
def test_minutes_that_are_spent_end_a_calibration_after_at_least_one_run(minutes: float, n_runs: int):
    """Every run takes ten seconds; what is known by then is used."""
    runs, found = walked(peak_at(6e-4, flat_after=120), budget=Budget(minutes=minutes))
    assert len(runs) == n_runs
    assert (found.reason == "budget") == (minutes < 1)
    assert (found.learning_rate, found.n_steps) in runs


def test_numbers_of_the_study_win():
    runs, found = walked(peak_at(6e-4, flat_after=120), StudentTraining(learning_rate=2e-3))
    assert {rate for rate, _ in runs} == {2e-3}
    assert (found.learning_rate, found.n_steps) == (2e-3, 120)
    runs, found = walked(peak_at(6e-4, flat_after=120), StudentTraining(epochs=7))
    assert {n_steps for _, n_steps in runs} == {70}
    assert (found.learning_rate, found.reason) == (6e-4, "given")
    made = autotune.calibrated(StudentTraining(epochs=7), 6e-4, 70, SIZES, seed=3)
    assert made == Training(learning_rate=6e-4, epochs=7, seed=3)


def test_students_that_all_diverge_are_tried_at_lower_rates():
    def quality(rate: float, n_steps: int) -> tuple[float | None, float | None]:
        return (None, None) if rate > 2e-4 else (50.0, 1.0)

    _, found = walked(quality)
    assert found.learning_rate < 3e-4


@given(
    seed=st.integers(0, 10**6),
    noise=st.floats(0, 5),
    steps=st.integers(1, 2000),
    rows=st.integers(1, 5000),
    most=st.one_of(st.none(), st.integers(1, 5000)),
)
def test_every_calibration_ends_soon_with_a_run_it_made(
    seed: int, noise: float, steps: int, rows: int, most: int | None
) -> None:
    def quality(rate: float, n_steps: int) -> tuple[float, float]:
        draw = hash((seed, rate, n_steps)) % 1000 / 1000
        return 50 + noise * draw, 1 + draw

    budget, sizes = Budget(max_steps=most), Sizes(steps_per_epoch=steps, n_validation=rows)
    runs, found = walked(quality, budget=budget, sizes=sizes)
    assert (found.learning_rate, found.n_steps) in runs
    assert len(set(runs)) == len(runs) <= autotune.MOST_RUNGS + 12
    assert all(n_steps <= sizes.cap(budget) for _, n_steps in runs)


@pytest.mark.parametrize(
    ("flat_after", "expected", "reason"), [(60, 60, "flat"), (120, 120, "flat"), (10**9, 240, "cap")]
)
def test_students_with_more_rows_train_at_least_as_long_and_as_long_as_it_helps(
    flat_after: int, expected: int, reason: str
):
    """From the 60 steps that labels alone came to, doubled while that helps, within the cap of 400."""
    found = Calibration(learning_rate=6e-4, n_steps=60, reason="flat", still_improving=False)
    done: list[Run] = []
    while isinstance(length := autotune.next_transfer_length(found, done, SIZES, UNBOUNDED), int):
        score, loss = peak_at(6e-4, flat_after)(6e-4, length)
        done.append(Run(learning_rate=6e-4, seed=0, n_steps=length, score=score, loss=loss, seconds=9.0))
    assert (length.n_steps, length.reason, length.learning_rate) == (expected, reason, 6e-4)
    budget = Budget(minutes=0.1)
    after_one = autotune.next_transfer_length(found, done[:1], SIZES, budget, before=5.0)
    assert isinstance(after_one, Calibration)
    assert (after_one.n_steps, after_one.reason) == (60, "budget")


# Teachers


def teacher_runs(wanted: TeacherTraining, quality: Callable[[float], float], sizes: Sizes = SIZES) -> list[Training]:
    made: list[Training] = []
    done: list[Run] = []
    while following := next_teacher_run(wanted, done, sizes):
        made.append(following)
        done.append(
            Run(
                learning_rate=following.learning_rate,
                seed=following.seed,
                n_steps=9,
                score=quality(following.learning_rate),
                loss=1.0,
                seconds=60.0,
            )
        )
    return made


def test_rates_and_epochs_that_are_given_are_all_that_is_run():
    wanted = TeacherTraining(learning_rates=(2e-4, 1e-4), seeds=(1, 0), epochs=3)
    made = teacher_runs(wanted, lambda rate: 0.0)
    assert [(run.learning_rate, run.seed) for run in made] == [(2e-4, 1), (2e-4, 0), (1e-4, 1), (1e-4, 0)]
    assert all((run.epochs, run.patience, run.n_steps) == (3, None, None) for run in made)


def test_a_teacher_of_two_seeds_repeats_the_best_rate_alone():
    made = teacher_runs(TeacherTraining(seeds=(0, 1)), lambda rate: -abs(rate - 3e-4))
    assert [(run.learning_rate, run.seed) for run in made] == [(1e-4, 0), (3e-4, 0), (9e-4, 0), (3e-4, 1)]


def test_evaluations_of_a_teacher_cost_no_more_than_a_third_of_its_training():
    (first, *_) = teacher_runs(TeacherTraining(learning_rates=(1e-4,)), lambda rate: 0.0)
    assert first.patience == autotune.PATIENCE
    assert first.evaluate_every == 13  # 4/3 of 300 rows in batches of 32, more than half an epoch of 10 steps
    assert first.n_steps == 400
    large = Sizes(steps_per_epoch=1000, n_validation=300)
    (first, *_) = teacher_runs(TeacherTraining(learning_rates=(1e-4,)), lambda rate: 0.0, large)
    assert (first.evaluate_every, first.n_steps) == (500, 6000)


def test_a_budget_bounds_a_teacher():
    (first, *rest) = teacher_runs(TeacherTraining(max_steps=5, minutes=1.5), lambda rate: 0.0)
    assert (first.n_steps, first.evaluate_every) == (5, 5)
    assert len(rest) == 1, "after the second minute there is no third run"


def test_a_teacher_that_a_budget_ended_is_told_with_its_number_of_runs():
    run = FineTuning(learning_rate=1e-4, seed=0, n_steps=9, ending="cap", still_improving=True, seconds=40.0)
    assert bound_by_budget(TeacherTraining(minutes=1.0), [run]) is None
    assert bound_by_budget(TeacherTraining(), [run] * 9) is None
    said = bound_by_budget(TeacherTraining(minutes=1.0), [run, run])
    assert said == (
        "the 1 minutes that the budget gives a teacher were spent after 2 fine-tuning runs: the best so far is taken"
    )


def test_minutes_that_cut_a_ladder_short_are_the_reason_even_at_the_cap():
    _, found = walked(peak_at(6e-4, flat_after=0), budget=Budget(minutes=0.01, max_steps=60))
    assert (found.reason, found.still_improving) == ("budget", True)
