"""One configuration with every seed, and the weights of the best student on validation: what is taken home.

The trials are those of a cell that lists one configuration: recorded once, found by fingerprint, the labels-only
baseline among them.
"""

from __future__ import annotations

from dataclasses import dataclass

from kdrec import catalog
from kdrec.errors import KdrecError
from kdrec.home import Home
from kdrec.studies import Study
from kdrec.trial import weights
from kdrec.trial.bench import Bench
from kdrec.trial.cell import OnProgress, _Runner, _silent, prepare_teacher
from kdrec.trial.one import Place, weights_for
from kdrec.types import KDConfig, Trial


@dataclass(frozen=True, kw_only=True, eq=False)
class Taught:
    """A trained student with all that it came from.

    `trials` and `baseline` are one a seed; `best` is the trial of `state`, with the scores of these very weights, which
    differ from the recorded ones only where training is not deterministic.
    """

    place: Place
    trials: tuple[Trial, ...]
    baseline: tuple[Trial, ...]
    best: Trial
    state: weights.State
    notes: tuple[str, ...] = ()

    @property
    def config(self) -> KDConfig:
        """What the student was taught with."""
        assert isinstance(self.best.config, KDConfig)  # nothing else is trained
        return self.best.config

    @property
    def teacher_checkpoint(self) -> str:
        """SHA-256 of the teacher's weights."""
        return self.place.bench.teacher.selection.checkpoint(self.config.teacher)


def teach(study: Study, home: Home, on_progress: OnProgress = _silent) -> Taught:
    """Make, or find, the trials of a study of one cell and one listed configuration, and the weights of the best.

    Raises
    ------
    KdrecError
        Every seed diverged.
    """
    (cell,) = study.cells()
    teacher = catalog.teacher_of(cell.student)
    prepare_teacher(study, cell.task, teacher, home, on_progress)
    runner = _Runner(Bench(study, cell.task, teacher, home), cell, on_progress, keep=True)
    made = runner.search().trials
    trials = tuple(trial for trial in made if not trial.config.is_baseline)
    done = [trial for trial in trials if trial.status == "completed"]
    if not done:
        raise KdrecError(
            f"every seed of {trials[0].config.label()} diverged on {cell}: there is no student to take home; lower the "
            "learning rate of its students"
        )
    best = max(done, key=_rank)
    for trial in done:
        if trial is not best:
            weights.forget(home, trial.fingerprint)
    again, state = weights_for(runner.place, best)
    return Taught(
        place=runner.place,
        trials=trials,
        baseline=tuple(trial for trial in made if trial.config.is_baseline),
        best=again,
        state=state,
        notes=runner.place.bench.left_out() + _differences(best, again),
    )


def _differences(recorded: Trial, again: Trial) -> tuple[str, ...]:
    """A sentence where the weights that could be had score otherwise than the trial as it was recorded."""
    if all(getattr(recorded, name) == getattr(again, name) for name in weights.SCORES):
        return ()
    return (
        f"the trial was recorded with {recorded.val_score:.2f} on validation, and trained again for its weights it "
        f"scores {again.val_score:.2f}: it was made on another machine, on a GPU or with other versions",
    )


def _rank(trial: Trial) -> tuple[float, float]:
    """Higher validation score, then lower loss; of equals, `max` takes the first seed."""
    assert trial.val_score is not None, "a completed trial has a validation score"
    return trial.val_score, -(trial.val_loss or 0.0)
