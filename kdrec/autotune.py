"""What to train next when a study leaves the training to us: pure functions of the runs made so far.

A *ladder* of learning rates is climbed for teacher and student alike: every rung is tried, and where the best lies at
an end one more rung is added there, `MOST_RUNGS` at most. A teacher's run then ends by patience (`kdrec.schedule`). A
student's length is found by doubling it while that still helps, on the labels-only baseline of its cell, and is
then held over all knobs: each of these runs has the very schedule that the trials will have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from kdrec.schedule import least_gain
from kdrec.training import Budget, StudentTraining, TeacherTraining, Training
from kdrec.types import FineTuning

TEACHER_RATES: Final = (1e-4, 3e-4)
STUDENT_RATES: Final = (3e-4, 6e-4, 1.2e-3)
"""Rungs that are always tried."""
MOST_RUNGS: Final = 5
LOWEST_RATE, HIGHEST_RATE = 1e-5, 5e-3

PATIENCE: Final = 4
"""Evaluations without a better one after which a teacher's run cools down; docs/training.md has the measurement."""
MOST_EPOCHS: Final = 40
LEAST_CAP, MOST_CAP = 400, 6000
"""The most steps of a run, where no budget says so: 40 epochs, within these bounds and at least 3 epochs."""

EPOCHS_EXPECTED: Final = 12
"""Of a run whose end is not known yet; only a guess of what is left to do depends on it."""

FIRST_EPOCHS, FIRST_STEPS = 2, 60
"""Length of a calibration's first runs: 2 epochs, at least 60 steps."""
EVALUATIONS: Final = 8
"""Evaluations of a student's run of calibrated length."""
LOWER_LOSS: Final = 0.05
"""A doubled length that gains no score still helps where it lowers the loss by this share."""
CALIBRATION_SEED: Final = 1_000_003
"""Its own, so that the baseline of no seed was chosen as the best of several on its validation split."""

VERSION: Final = 1
"""Of these rules; part of the key of a teacher that was trained by them."""

Reason = Literal["flat", "cap", "budget", "given"]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the length of a run is measured with: steps of an epoch, and rows of the validation split."""

    steps_per_epoch: int
    n_validation: int

    def cap(self, budget: Budget) -> int:
        """The most steps of one run."""
        if budget.max_steps is not None:
            return budget.max_steps
        return max(3 * self.steps_per_epoch, min(MOST_CAP, max(LEAST_CAP, MOST_EPOCHS * self.steps_per_epoch)))


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run: how it was trained, and the best of its evaluations (None where it diverged)."""

    learning_rate: float
    seed: int
    n_steps: int
    score: float | None
    loss: float | None
    seconds: float

    @property
    def rank(self) -> tuple[float, float]:
        """Higher score, then lower loss; below everything where it diverged."""
        if self.score is None or self.loss is None:
            return float("-inf"), float("-inf")
        return self.score, -self.loss


def next_rate(done: Mapping[float, tuple[float, float]], rungs: Sequence[float], *, widen: bool = True) -> float | None:
    """The next learning rate of a ladder; None when the best lies inside what was tried.

    Parameters
    ----------
    done : mapping of float to tuple
        What each tried rate came to; larger is better.
    rungs : sequence of float
        Rates that are tried in any case, in this order.
    widen : bool
        Whether a rung may be added at an end where the best lies.

    >>> next_rate({1e-4: (1.0, 0.0), 3e-4: (2.0, 0.0)}, (1e-4, 3e-4))
    0.0009
    """
    for rate in rungs:
        if rate not in done:
            return rate
    if not widen or len(rungs) < 2 or len(done) >= MOST_RUNGS:
        return None
    factor = rungs[1] / rungs[0]
    best = max(done, key=lambda rate: done[rate])
    wider = best * factor if best == max(done) else best / factor if best == min(done) else None
    if wider is None or not LOWEST_RATE <= wider <= HIGHEST_RATE:
        return None
    return float(f"{wider:.6g}")


def next_teacher_run(training: TeacherTraining, done: Sequence[Run], sizes: Sizes) -> Training | None:
    """The next fine-tuning run of a teacher: its ladder with the first seed, then the best rate with the others.

    A teacher whose rates and length are given makes every rate with every seed.
    """
    if done and over(done, training.budget):
        return None
    if training.learning_rates is not None:
        wanted = [(rate, seed) for rate in training.learning_rates for seed in training.seeds]
        following = wanted[len(done)] if len(done) < len(wanted) else None
    else:
        first = {run.learning_rate: run.rank for run in done if run.seed == training.seeds[0]}
        rate = next_rate(first, TEACHER_RATES)
        if rate is not None:
            following = (rate, training.seeds[0])
        else:
            best = max(first, key=lambda rate: first[rate])
            made = {run.seed for run in done if run.learning_rate == best}
            left = [seed for seed in training.seeds if seed not in made]
            following = (best, left[0]) if left else None
    return None if following is None else _teacher_run(training, *following, sizes)


def _teacher_run(training: TeacherTraining, rate: float, seed: int, sizes: Sizes) -> Training:
    known = training.run(rate, seed)
    if training.epochs is not None:
        return known
    cap = sizes.cap(training.budget)
    within_epoch = -(-sizes.steps_per_epoch // training.evaluations_per_epoch)
    # A pass over validation rows costs a third of a step over as many: together they stay below a quarter of training.
    affordable = -(-4 * sizes.n_validation // (3 * training.batch_size))
    every = min(cap, max(within_epoch, affordable))
    return _replaced(known, n_steps=cap, evaluate_every=every, patience=training.patience or PATIENCE)


def expected_evaluations(training: TeacherTraining) -> int:
    """Evaluations that a teacher will have; a guess where its rates or its length are left to be found."""
    # a ladder of two is always widened, as the better of two lies at an end
    n_rates = len(TEACHER_RATES) + 1 if training.learning_rates is None else len(training.learning_rates)
    return n_rates * len(training.seeds) * (training.epochs or EPOCHS_EXPECTED) * training.evaluations_per_epoch


def bound_by_budget(training: TeacherTraining, runs: Sequence[FineTuning]) -> str | None:
    """A sentence where the minutes of a budget ended the search for a teacher's training."""
    minutes = training.minutes
    if minutes is None or sum(run.seconds for run in runs) < 60 * minutes:
        return None
    made = "1 fine-tuning run" if len(runs) == 1 else f"{len(runs)} fine-tuning runs"
    return f"the {minutes:g} minutes that the budget gives a teacher were spent after {made}: the best so far is taken"


def over(done: Sequence[Run], budget: Budget, before: float = 0.0) -> bool:
    """Whether the minutes of a budget are spent; what a run took is recorded, so a second look says the same."""
    return budget.minutes is not None and before + sum(run.seconds for run in done) >= 60 * budget.minutes


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a calibration came to; `still_improving` where it ended before doubling the length stopped helping."""

    learning_rate: float
    n_steps: int
    reason: Reason
    still_improving: bool


def next_student_run(
    wanted: StudentTraining, done: Sequence[Run], sizes: Sizes, budget: Budget
) -> Training | Calibration:
    """The next run of a student's calibration, or what it came to.

    First the ladder of rates at a short length, then twice the length, at the best rate and at half of it, for as long
    as one of them helps: a longer training may want a lower rate, and at the higher one would look as if it were over.
    """
    cap = sizes.cap(budget)
    first = min(cap, max(FIRST_STEPS, FIRST_EPOCHS * sizes.steps_per_epoch))
    if wanted.has_length:
        given = wanted.resolved(learning_rate=1.0)
        first = cap = given.n_steps or given.epochs * sizes.steps_per_epoch
    by_run = {(run.learning_rate, run.n_steps): run for run in done}
    spent = bool(done) and over(done, budget)

    def run(rate: float, n_steps: int) -> Training:
        return calibrated(wanted, rate, n_steps, sizes, seed=CALIBRATION_SEED)

    def best(n_steps: int) -> float:
        return max((rate for rate, steps in by_run if steps == n_steps), key=lambda rate: by_run[rate, n_steps].rank)

    rungs = STUDENT_RATES if wanted.learning_rate is None else (wanted.learning_rate,)
    tried = {rate: by_run[rate, steps].rank for rate, steps in by_run if steps == first}
    rate = next_rate(tried, rungs)
    cut_short = rate is not None and spent
    if rate is not None and not spent:
        return run(rate, first)
    rate, length = best(first), first
    reason: Reason = "cap"
    while 2 * length <= cap:
        half = float(f"{rate / 2:.6g}")
        longer = [(rate, 2 * length)] if wanted.learning_rate is not None else [(rate, 2 * length), (half, 2 * length)]
        missing = next((one for one in longer if one not in by_run), None)
        if missing is not None and spent:
            reason = "budget"
            break
        if missing is not None:
            return run(*missing)
        better = max(longer, key=lambda one: by_run[one].rank)
        if not helps(by_run[rate, length], by_run[better], sizes):
            reason = "flat"
            break
        rate, length = better
    if wanted.has_length:
        reason = "given"
    if cut_short:
        reason = "budget"
    rising = reason in ("cap", "budget")
    return Calibration(learning_rate=rate, n_steps=length, reason=reason, still_improving=rising)


def next_transfer_length(
    found: Calibration, done: Sequence[Run], sizes: Sizes, budget: Budget, *, before: float = 0.0
) -> int | Calibration:
    """The next length to try of students that also see rows without labels, or what the calibration then comes to.

    Parameters
    ----------
    found : Calibration
        What labels alone came to: its rate is kept, its length is the shortest.
    done : sequence of Run
        Runs with these rows, at that rate.
    sizes : Sizes
        Of all rows that are learned from.
    budget : Budget
    before : float
        Seconds that the runs on labels alone took.
    """
    made = {run.n_steps: run for run in done}
    if found.n_steps not in made:
        return found.n_steps
    spent = over(done, budget, before)
    length, reason = _lengthened(made, found.n_steps, max(found.n_steps, sizes.cap(budget)), sizes, spent=spent)
    if reason is None:
        return length
    rising = reason in ("cap", "budget")
    return Calibration(learning_rate=found.learning_rate, n_steps=length, reason=reason, still_improving=rising)


def _lengthened(
    made: Mapping[int, Run], length: int, cap: int, sizes: Sizes, *, spent: bool
) -> tuple[int, Reason | None]:
    """The length that doubling comes to and why it ended there; without a reason, a length to be run first."""
    while 2 * length <= cap:
        if 2 * length not in made:
            return (length, "budget") if spent else (2 * length, None)
        if not helps(made[length], made[2 * length], sizes):
            return length, "flat"
        length *= 2
    return length, "cap"


def helps(shorter: Run, longer: Run, sizes: Sizes) -> bool:
    """Whether a longer run is better by more than noise: by score, or by a clearly lower loss at no lower score."""
    if longer.score is None or longer.loss is None:
        return False
    if shorter.score is None or shorter.loss is None:
        return True
    gain, least = longer.score - shorter.score, least_gain(sizes.n_validation)
    return gain > least or (gain >= 0 and longer.loss < (1 - LOWER_LOSS) * shorter.loss)


def calibrated(wanted: StudentTraining, rate: float, n_steps: int, sizes: Sizes, *, seed: int) -> Training:
    """One run of a student at this rate and length, evaluated `EVALUATIONS` times."""
    every = wanted.evaluate_every or -(-n_steps // EVALUATIONS)
    epochs = max(1, -(-n_steps // sizes.steps_per_epoch))
    if wanted.has_length:
        return wanted.resolved(seed=seed, learning_rate=rate)
    return wanted.resolved(seed=seed, learning_rate=rate, n_steps=n_steps, evaluate_every=every, epochs=epochs)


def _replaced(training: Training, **values: int) -> Training:
    return Training(**{**vars(training), **values})
