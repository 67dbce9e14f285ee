"""One configuration with every seed, and the weights of the best student on validation: what is taken home.

The trials are those of a cell that lists one configuration: recorded once, found by fingerprint, the labels-only
baseline among them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from kdrec import catalog
from kdrec.errors import KdrecError
from kdrec.home import Home
from kdrec.studies import Study
from kdrec.trial import weights
from kdrec.trial.bench import Bench
from kdrec.trial.cell import OnProgress, _Runner, _silent, prepare_teacher
from kdrec.trial.one import Place, weights_for
from kdrec.types import KDConfig, Trial

SHOWN: Final = {
    "val_score": ("validation score", 2),
    "val_loss": ("validation loss", 4),
    "test_score": ("test score", 2),
}
"""Scores of a trial in words, and the digits in which a card shows them."""
TOLERANCES: Final = {name: 0.5 * 10.0**-digits for name, (_, digits) in SHOWN.items()}
"""Differences that are none: half of the last digit shown."""


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
    """A sentence that names what differs, where the weights that could be had score otherwise than the recorded trial.

    What no card shows is no difference: training is repeated to the bit on one machine alone.
    """
    differing = [
        f"{words} {_shown(old, digits)}, now {_shown(new, digits)}"
        for name, (words, digits) in SHOWN.items()
        if _apart(old := getattr(recorded, name), new := getattr(again, name)) > TOLERANCES[name]
    ]
    if not differing:
        return ()
    return (
        "these weights are of the same training done again, and differ from the recorded trial "
        f"({'; '.join(differing)}): training repeats its scores exactly only on the same kind of "
        "processor with the same versions",
    )


def _apart(old: float | None, new: float | None) -> float:
    """Distance of two scores; infinite where only one of them is known."""
    if old is None or new is None:
        return 0.0 if old is new else math.inf
    return abs(old - new)


def _shown(score: float | None, digits: int) -> str:
    return "unknown" if score is None else f"{score:.{digits}f}"


def _rank(trial: Trial) -> tuple[float, float]:
    """Higher validation score, then lower loss; of equals, `max` takes the first seed."""
    assert trial.val_score is not None, "a completed trial has a validation score"
    return trial.val_score, -(trial.val_loss or 0.0)
