"""The calibration of a cell: learning rate and length of its students, found on labels alone before any knob is turned.

Every run of it is recorded, as a run of the kind `calibration`, which no history holds: a second study finds them all,
walks the same way through them and trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kdrec import autotune
from kdrec.training import Training
from kdrec.trial.one import Place, run_trial
from kdrec.types import BASELINE_CONFIG, Trial

FEW_ROWS: Final = 50
"""Validation rows below which one of them is more than two points."""


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """How the students of a cell are trained, and how that was found; `found` is None where the study says it all."""

    training: Training
    found: autotune.Calibration | None = None
    n_runs: int = 0

    def sentence(self) -> str:
        """What came of it, for a person."""
        if self.found is None:
            return ""
        found, ran = self.found, f"{self.n_runs} short run{'' if self.n_runs == 1 else 's'}"
        what = f"students train {found.n_steps} steps at {found.learning_rate:g} ({ran} on labels alone)"
        ends = {
            "flat": "twice as many steps are no better",
            "cap": "twice as many steps would be more than the budget allows, and students still improve",
            "budget": "the minutes of the budget were spent, and students still improve",
            "given": "their length is given",
        }
        return f"{what}: {ends[found.reason]}"


def calibrate(place: Place, tell: Callable[[Training, Trial], None]) -> Calibrated:
    """Make, or find, the calibration of a cell.

    Parameters
    ----------
    place : Place
        The cell; its `training` is not looked at.
    tell : callable
        Hears of every run as it is done.

    Returns
    -------
    Calibrated
        What the study gives stays as given.
    """
    study = place.bench.study
    wanted = study.training_for(place.cell)
    if not wanted.is_auto:
        return Calibrated(training=wanted.resolved())
    sizes = sizes_of(place)
    done: list[autotune.Run] = []
    while isinstance(following := autotune.next_student_run(wanted, done, sizes, study.budget), Training):
        trial = run_trial(place, BASELINE_CONFIG, following, kind="calibration")
        done.append(
            autotune.Run(
                learning_rate=following.learning_rate,
                seed=following.seed,
                n_steps=following.n_steps or following.epochs * sizes.steps_per_epoch,
                score=trial.val_score,
                loss=trial.val_loss,
                seconds=trial.seconds,
            )
        )
        tell(following, trial)
    training = autotune.calibrated(wanted, following.learning_rate, following.n_steps, sizes, seed=0)
    return Calibrated(training=training, found=following, n_runs=len(done))


def sizes_of(place: Place) -> autotune.Sizes:
    """What lengths of this cell's trainings are measured with."""
    wanted = place.bench.study.training_for(place.cell)
    return autotune.Sizes(
        steps_per_epoch=-(-len(place.bench.encoded("train")) // wanted.batch_size),
        n_validation=len(place.bench.task.validation),
    )


def cannot_tell(n_validation: int) -> str | None:
    """A sentence where the validation split is too small to show whether a training has ended."""
    if n_validation >= FEW_ROWS:
        return None
    return (
        f"the validation split has {n_validation} rows, one of which is {100 / max(1, n_validation):.1f} points: it "
        "cannot tell when training is done; add rows, or give learning_rate and epochs"
    )
