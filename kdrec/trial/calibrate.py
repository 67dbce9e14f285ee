"""The calibration of a cell: learning rate and length of its students, found on labels alone before any knob is turned.

Every run of it is recorded, as a run of the kind `calibration`, which no history holds: a second study finds them all,
walks the same way through them and trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kdrec import autotune
from kdrec.training import Training
from kdrec.trial.one import Place, run_trial
from kdrec.types import BASELINE_CONFIG, KDConfig, Trial


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """How the students of a cell are trained, and how that was found; `found` is None where the study says it all."""

    training: Training
    found: autotune.Calibration | None = None
    n_runs: int = 0
    with_transfer: bool = False
    """Whether some of its runs saw rows without labels."""
    diverged: bool = False
    """Whether every one of its runs diverged, so that nothing was measured."""

    def sentence(self) -> str:
        """What came of it, for a person."""
        if self.found is None:
            return ""
        found, ran = self.found, _counted(self.n_runs, "short run")
        beside = ", some with rows without labels" if self.with_transfer else " on labels alone"
        what = f"students train {_counted(found.n_steps, 'step')} at {found.learning_rate:g} ({ran}{beside})"
        if self.diverged:
            return f"{what}: every run of the calibration diverged, so lower learning_rate, or leave it out"
        ends = {
            "flat": "twice as many steps are no better",
            "cap": "twice as many steps would be more than are allowed, so students may still improve",
            "budget": "the minutes of the budget were spent, so students may still improve",
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
    done: list[autotune.Run] = []

    def made(training: Training, config: KDConfig) -> autotune.Run:
        trial = run_trial(place, config, training, kind="calibration")
        tell(training, trial)
        return autotune.Run(
            learning_rate=training.learning_rate,
            seed=training.seed,
            n_steps=training.n_steps or training.epochs * sizes.steps_per_epoch,
            score=trial.val_score,
            loss=trial.val_loss,
            seconds=trial.seconds,
        )

    sizes = _sizes(place, BASELINE_CONFIG)
    while isinstance(following := autotune.next_student_run(wanted, done, sizes, study.budget), Training):
        done.append(made(following, BASELINE_CONFIG))
    n_runs, diverged = len(done), all(run.score is None for run in done)
    if place.bench.task.transfer is not None and not wanted.has_length:
        # A comparison with labels alone must not be one of training lengths: both train as long as either needs.
        config = study.configs[0] if study.configs else study.space.default()
        more: list[autotune.Run] = []
        all_rows, before = _sizes(place, config), sum(run.seconds for run in done)
        while isinstance(
            length := autotune.next_transfer_length(following, more, all_rows, study.budget, before=before), int
        ):
            training = autotune.calibrated(
                wanted, following.learning_rate, length, sizes, seed=autotune.CALIBRATION_SEED
            )
            more.append(made(training, config))
        following, n_runs = length, n_runs + len(more)
        diverged = diverged and all(run.score is None for run in more)
    training = autotune.calibrated(wanted, following.learning_rate, following.n_steps, sizes, seed=0)
    return Calibrated(
        training=training, found=following, n_runs=n_runs, with_transfer=n_runs > len(done), diverged=diverged
    )


def length_told(training: Training) -> str:
    """The length of one run, for a person."""
    return _counted(training.n_steps, "step") if training.n_steps else _counted(training.epochs, "epoch")


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _sizes(place: Place, config: KDConfig) -> autotune.Sizes:
    """What lengths of trainings with this configuration are measured with."""
    wanted = place.bench.study.training_for(place.cell)
    return autotune.Sizes(
        steps_per_epoch=-(-len(place.bench.learnt(config)) // wanted.batch_size),
        n_validation=len(place.bench.task.validation),
    )
