"""How long a run trains and at which rate: known lengths as in transformers, unknown ones by patience."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_linear_schedule_with_warmup

from kdrec.schedule import COOLDOWN, Schedule, learning_rate_at, least_gain, still_improving
from kdrec.types import Training

OPEN = Training(learning_rate=0.1, n_steps=400, evaluate_every=10, patience=3)


def evaluated(training: Training, steps_per_epoch: int) -> set[int]:
    schedule = Schedule(training=training, steps_per_epoch=steps_per_epoch)
    return {step for step in range(1, schedule.most_steps + 1) if schedule.evaluates(step)}


def run(schedule: Schedule, scores: Sequence[float], losses: Sequence[float]) -> list[int]:
    """The steps at which a run is evaluated whose evaluations come out as given, the last one again and again."""
    step, at = 0, []
    while step < schedule.last_step:
        step += 1
        if schedule.evaluates(step):
            schedule.saw(step, *(some[min(len(at), len(some) - 1)] for some in (scores, losses)))
            at.append(step)
    return at


def test_learning_rate_warms_up_and_decays_as_transformers_schedule_does():
    """One step ahead of theirs in the warm-up, where theirs wastes the first step on a rate of 0."""
    training = Training(learning_rate=0.1, warmup_ratio=0.25)
    ours = [learning_rate_at(step, 20, training) for step in range(20)]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = get_linear_schedule_with_warmup(optimizer, 5, 20)
    theirs = []
    for _ in range(20):
        theirs.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert ours[5:] == pytest.approx(theirs[5:])
    assert ours[:5] == pytest.approx(theirs[1:6])
    assert min(ours) > 0
    assert [learning_rate_at(s, 3, Training(learning_rate=1, warmup_ratio=0)) for s in range(3)] == [1, 2 / 3, 1 / 3]
    assert [learning_rate_at(s, 2, Training(learning_rate=1, warmup_ratio=1)) for s in range(2)] == [0.5, 1]


@pytest.mark.parametrize(
    ("steps", "parts", "expected"),
    [(8, 1, {8, 16}), (8, 2, {4, 8, 12, 16}), (3, 2, {2, 3, 5, 6}), (1, 4, {1, 2}), (5, 5, set(range(1, 11)))],
)
def test_evaluations_are_evenly_spaced_and_end_every_epoch(steps: int, parts: int, expected: set[int]):
    assert evaluated(Training(epochs=2, evaluations_per_epoch=parts), steps) == expected


def test_a_length_in_steps_stands_in_the_place_of_epochs():
    training = Training(n_steps=25, epochs=9, evaluate_every=10)
    assert Schedule(training=training, steps_per_epoch=7).last_step == 25
    assert evaluated(training, 7) == {10, 20, 25}
    assert evaluated(Training(n_steps=25), 10) == {10, 20, 25}


# Runs of unknown length


def test_patience_waits_for_score_and_loss_both():
    """The loss was best at the second evaluation, the score at the fifth: three more, then the cool-down."""
    schedule = Schedule(training=OPEN, steps_per_epoch=10)
    at = run(schedule, [10, 20, 30, 40, 50, 50, 50, 50], [1.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.9, 0.9])
    assert schedule.cooldown_from == 80
    assert at[-1] == schedule.last_step == 80 + round(COOLDOWN * 80)
    assert schedule.ending == "patience"
    late_loss = Schedule(training=OPEN, steps_per_epoch=10)
    run(late_loss, [50], [0.9 ** (1 + n) for n in range(9)] + [1.0])
    assert late_loss.cooldown_from == 120


def test_gains_below_the_least_count_when_they_add_up():
    slow = [60 + 0.3 * n for n in range(12)] + [63.3]
    patient = Schedule(training=OPEN, steps_per_epoch=10, least_gain=0.5)
    run(patient, slow, [1.0])
    assert patient.cooldown_from == 140, "every second evaluation is half a point better"
    stubborn = Schedule(training=OPEN, steps_per_epoch=10, least_gain=5.0)
    run(stubborn, slow, [1.0])
    assert stubborn.cooldown_from == 40


def test_a_run_that_never_stops_improving_cools_down_within_its_cap():
    schedule = Schedule(training=OPEN, steps_per_epoch=10)
    at = run(schedule, [float(n) for n in range(99)], [1.0])
    assert schedule.cooldown_from is not None
    assert at[-1] == schedule.last_step <= 400
    assert schedule.last_step > 380, "nearly all of it is used"
    assert schedule.ending == "cap"


def test_the_rate_of_a_run_depends_on_no_end_before_it_is_known():
    short, long = (Schedule(training=Training(**{**vars(OPEN), "n_steps": n}), steps_per_epoch=10) for n in (100, 4000))
    assert [short.learning_rate(s) for s in range(60)] == [long.learning_rate(s) for s in range(60)]
    run(short, [50], [1.0])
    rates = [short.learning_rate(s) for s in range(short.last_step)]
    assert rates[:10] == pytest.approx([0.01 * n for n in range(1, 11)])
    assert rates[10 : short.cooldown_from] == [0.1] * (short.cooldown_from - 10)
    falls = rates[short.cooldown_from :]
    assert falls == sorted(falls, reverse=True)
    assert min(rates) > 0


@given(
    scores=st.lists(st.floats(0, 100), min_size=1, max_size=40),
    losses=st.lists(st.floats(0.01, 9), min_size=40, max_size=40),
    cap=st.integers(1, 300),
    every=st.integers(1, 50),
    stop=st.integers(0, 300),
)
def test_every_run_ends_within_its_cap_evaluated_and_resumes_as_it_was(
    scores: list[float], losses: list[float], cap: int, every: int, stop: int
) -> None:
    training = Training(n_steps=cap, evaluate_every=every, patience=2)
    whole = Schedule(training=training, steps_per_epoch=7)
    at = run(whole, scores, losses)
    assert at[-1] == whole.last_step <= cap
    resumed, step, seen = Schedule(training=training, steps_per_epoch=7), 0, 0
    while step < resumed.last_step:
        step += 1
        if resumed.evaluates(step):
            resumed.saw(step, *(some[min(seen, len(some) - 1)] for some in (scores, losses)))
            seen += 1
        if step == stop:
            state = json.loads(json.dumps(resumed.state()))
            resumed = Schedule(training=training, steps_per_epoch=7)
            resumed.restore(state)
    assert (step, resumed.cooldown_from) == (whole.last_step, whole.cooldown_from)


def test_one_row_of_a_small_validation_split_is_no_gain():
    assert least_gain(20) == 5
    assert least_gain(2000) == 0.5
    assert least_gain(0) == 100


def test_a_rising_end_is_told_from_a_flat_one():
    assert still_improving([10, 20, 30, 40, 50, 60, 70, 80]) is True
    assert still_improving([10, 70, 79.5, 79, 80, 80, 80, 80]) is False
    assert still_improving([80, 70, 60, 50]) is False
    assert still_improving([10, 20, 30]) is None
