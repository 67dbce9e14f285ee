"""A study whose trainings are replaced by a sleep, so that what is left is all that stands around them.

    python benchmarks/asleep.py STUDY [what python -m flows.study takes]
    python benchmarks/asleep.py --bare STUDY --home DIR

With `--bare`, one process does all pieces one after the other, without Prefect.

The command is the product's own, with one exchange: workers do `do` of this file, which replaces three functions in
their process alone: the training of a trial sleeps for `KDREC_ASLEEP_SECONDS`, a teacher is a made-up trace, and its
logits are zeros. Everything else is as it is: rows, tokens, hashes of the weights, locks, outbox, MLflow, Prefect.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from flows import pieces
from kdrec import history, question
from kdrec.home import Home
from kdrec.tracking import Store

SECONDS: Final = "KDREC_ASLEEP_SECONDS"

_awake = pieces.do


def do(piece: pieces.Piece, tell: Callable[[pieces.Told], None]) -> pieces.Outcome | None:
    """One piece in a worker, asleep where it would train."""
    import kdrec.lending
    import kdrec.trial.one

    for room, name, asleep in (
        (kdrec.trial.one, "_train", _train),
        (kdrec.lending, "teacher", _teacher),
        (kdrec.lending, "signal", _signal),
    ):
        assert hasattr(room, name), f"{room.__name__} has no {name} any more: the study would train"
        setattr(room, name, asleep)
    return _awake(piece, tell)


def _train(place: Any, blank: Any, training: Any, checkpoint: Any) -> Any:
    """Sleep, and come to scores that differ."""
    from many_trials import measured

    from kdrec.trial import outbox

    time.sleep(float(os.environ[SECONDS]))
    score = 80 + int(blank.fingerprint[:4], 16) / 2**14
    trial = replace(blank, status="completed", val_score=score, val_loss=0.6, test_score=score)
    return outbox.Outcome(trial=trial, measured=tuple(measured(trial))), None


def _teacher(pupil: Any, training: Any, folder: Path, *others: Any) -> Any:
    """A trace of one candidate, without weights."""
    from kdrec.teacher import Teacher
    from kdrec.trace import select
    from kdrec.types import Candidate

    trace = (
        Candidate(
            learning_rate=1e-4, seed=0, step=10, epoch=1.0, score=85.0, loss=0.4, ece=0.03, checkpoint=folder.name
        ),
    )
    return Teacher(key=folder.name, trace=trace, runs=(), selection=select(trace), folder=folder)


def _signal(pupil: Any, *others: Any) -> Any:
    """Logits of nobody; no trial that sleeps looks at them."""
    import numpy as np

    from kdrec.signals import TeacherSignal

    logits_RC = np.zeros((len(pupil.train), len(pupil.task.labels)), dtype=np.float32)
    return TeacherSignal(key="asleep", ids_N=pupil.train.ids_N, logits_RC=logits_RC)


def bare(study: str, home: Home) -> int:
    """All pieces of a study in this process; says the same at the end as the command does."""
    before = known_trials(home)
    plan = pieces.find_study(study)
    Store.open(home).experiment(plan.name)
    found = [outcome for piece in pieces.cut(plan, home) if (outcome := do(piece, lambda told: None))]
    ids = [trial.run_id for outcome in found for trial in outcome.trials]
    old = sum(run_id in before for run_id in ids)
    print(f"Study {plan.name}: {len(ids)} trials, {len(ids) - old} new and {old} found in the store.")
    return 0


def known_trials(home: Home) -> frozenset[str]:
    """Run ids of the trials that the store has now, as a study looks for them."""
    question.sync(home)
    return frozenset(trial.run_id for trial in history.load(home))


def main() -> int:
    """Run the command of studies with workers that sleep."""
    if sys.argv[1:2] == ["--bare"]:
        study, _, home = sys.argv[2:5]
        return bare(study, Home.at(home))
    import asleep  # by the name under which workers will import it

    pieces.do = asleep.do
    from flows.command import main as command

    return command(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
