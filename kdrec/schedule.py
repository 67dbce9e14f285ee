"""How long one run trains, at which learning rate, and when it is evaluated: a function of steps and evaluations.

A run of known length warms up and decays linearly to 0. A run with `patience` has no known end: after a warm-up its
learning rate is constant for as long as an evaluation of the last `patience` ones was the best yet, by score or by
loss; then it goes back to its best weights and cools down, which is where a constant rate gives what it has learnt (Hu
et al. 2024, arXiv 2404.06395; Hägele et al. 2024, arXiv 2405.18392). So no step of it depends on a length that nobody
knows beforehand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Self

from kdrec.training import Training

COOLDOWN: Final = 0.5
"""Steps of the cool-down, as a share of the steps before it (measured: docs/training.md)."""

RISING_POINTS: Final = 1.0
"""What the last quarter of a run has to gain, in points of the score, for the run to count as still improving."""

LEAST_GAIN: Final = 0.5
"""Points of the score that count as better; where one row of the validation split is more, that."""
LEAST_LOSS: Final = 0.01
"""Share by which a loss that counts as better is lower."""

Ending = Literal["length", "patience", "cap"]
"""Why a run ended: its length was given, its evaluations stopped improving, or it came to the most steps allowed."""


@dataclass(frozen=True)
class Flatness:
    """How long ago the last evaluations were that counted as better, in evaluations: all that patience looks at."""

    best_score: float = float("-inf")
    best_loss: float = float("inf")
    since_score: int = 0
    since_loss: int = 0

    def after(self, score: float, loss: float, least: float = 0.0) -> Self:
        """The same with one more evaluation; what is better by less than `least` points may add up, and then counts."""
        higher, lower = score > self.best_score + least, loss < self.best_loss * (1 - LEAST_LOSS)
        return replace(
            self,
            best_score=score if higher else self.best_score,
            best_loss=loss if lower else self.best_loss,
            since_score=0 if higher else self.since_score + 1,
            since_loss=0 if lower else self.since_loss + 1,
        )

    def lasts(self, patience: int) -> bool:
        """Whether neither was better for `patience` evaluations: t_hs and t_ll each have a flat tail of their own."""
        return min(self.since_score, self.since_loss) >= patience


@dataclass(kw_only=True)
class Schedule:
    """The schedule of one run, fed with its evaluations by `saw`; `state` and `restore` carry it over a checkpoint."""

    training: Training
    steps_per_epoch: int
    least_gain: float = LEAST_GAIN
    """What counts as a better score, in points."""
    cooldown_from: int | None = None
    """The step at which a run with patience began to cool down."""
    flatness: Flatness = field(default_factory=Flatness)
    _evaluated: frozenset[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._evaluated = _evaluation_steps(self.steps_per_epoch, self.training)

    @property
    def most_steps(self) -> int:
        """Optimizer steps that the run makes at most; those it makes, where its length is known."""
        return self.training.n_steps or self.training.epochs * self.steps_per_epoch

    @property
    def last_step(self) -> int:
        """Where the run ends, as far as it is known by now."""
        if self.training.patience is None or self.cooldown_from is None:
            return self.most_steps
        return min(self.most_steps, self.cooldown_from + self._cooldown_steps(self.cooldown_from))

    @property
    def ending(self) -> Ending:
        """Why the run ended, once it has."""
        if self.training.patience is None:
            return "length"
        return "patience" if self.flatness.lasts(self.training.patience) else "cap"

    def still_improving(self, scores: Sequence[float]) -> bool | None:
        """Whether the run, with these scores, still improved when it ended; None where they cannot tell."""
        return still_improving(scores) if self.training.patience is None else self.ending == "cap"

    def learning_rate(self, step: int) -> float:
        """Rate of the optimizer step `step`, counted from 0."""
        training = self.training
        if training.patience is None:
            return learning_rate_at(step, self.most_steps, training)
        warmup = training.evaluate_every or self.steps_per_epoch
        if step < warmup:
            return training.learning_rate * (step + 1) / warmup
        if self.cooldown_from is None or step < self.cooldown_from:
            return training.learning_rate
        return training.learning_rate * (self.last_step - step) / (self.last_step - self.cooldown_from)

    def evaluates(self, step: int) -> bool:
        """Whether the run is evaluated after `step` optimizer steps."""
        every = self.training.evaluate_every
        if every is None:
            return step in self._evaluated
        return step % every == 0 or step == self.last_step

    def saw(self, step: int, score: float, loss: float) -> bool:
        """Note an evaluation after `step` steps; tells whether it is the one at which the run begins to cool down."""
        if self.training.patience is None or self.cooldown_from is not None:
            return False
        self.flatness = self.flatness.after(score, loss, self.least_gain)
        every = self.training.evaluate_every or self.steps_per_epoch
        last_chance = step + every + self._cooldown_steps(step + every) > self.most_steps
        if self.flatness.lasts(self.training.patience) or last_chance:
            self.cooldown_from = step
        return self.cooldown_from is not None

    def state(self) -> dict[str, Any]:
        """Plain values of all that a run has to remember."""
        return {"cooldown_from": self.cooldown_from, "flatness": list(vars(self.flatness).values())}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` told."""
        self.cooldown_from = state["cooldown_from"]
        self.flatness = Flatness(*state["flatness"])

    def _cooldown_steps(self, step: int) -> int:
        return max(1, self.training.evaluate_every or 1, round(COOLDOWN * step))


def least_gain(n_validation: int) -> float:
    """Points by which a score must be higher to be called better: one row of the validation split decides nothing."""
    return max(LEAST_GAIN, 100 / max(1, n_validation))


def learning_rate_at(step: int, n_steps: int, training: Training) -> float:
    """Warm-up, then linear decay to 0: a function of the step (from 0) alone, so it needs no state and no scheduler."""
    warmup = round(training.warmup_ratio * n_steps)
    if step < warmup:
        return training.learning_rate * (step + 1) / warmup
    return training.learning_rate * (n_steps - step) / (n_steps - warmup)


def still_improving(scores: Sequence[float]) -> bool | None:
    """Whether a run's last quarter of evaluations raised its best score by more than `RISING_POINTS`.

    None where there are fewer than four evaluations: so few cannot tell.

    >>> still_improving([50, 60, 65, 70]), still_improving([50, 69.5, 65, 70]), still_improving([50, 60])
    (True, False, None)
    """
    if len(scores) < 4:
        return None
    before = len(scores) - len(scores) // 4
    return max(scores[before:]) > max(scores[:before]) + RISING_POINTS


def _evaluation_steps(steps_per_epoch: int, training: Training) -> frozenset[int]:
    """Evenly spaced steps, the last of each epoch among them."""
    parts = min(training.evaluations_per_epoch, steps_per_epoch)
    within: Iterable[int] = [round(steps_per_epoch * (part + 1) / parts) for part in range(parts)]
    last = training.n_steps or training.epochs * steps_per_epoch
    epochs = range(-(-last // steps_per_epoch))
    found = {epoch * steps_per_epoch + step for epoch in epochs for step in within}
    return frozenset({step for step in found if step < last} | {last})
