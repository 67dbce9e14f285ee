"""One KDConfig on one cell becomes one Trial, idempotent by fingerprint."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kdrec import encoder, engine
from kdrec.checkpoints import Checkpoint
from kdrec.errors import KdrecError, StoreError
from kdrec.home import Home
from kdrec.signals import TeacherSignal
from kdrec.sources import locked
from kdrec.space import canonical
from kdrec.stopwatch import Stopwatch
from kdrec.studies import Cell
from kdrec.tasks import grader
from kdrec.tracking import PAUSES, Store, TrialKind
from kdrec.training import IDENTITY_VERSION, identity_of
from kdrec.trial import outbox, weights
from kdrec.trial.bench import Bench, lock
from kdrec.trial.ranks import Distil
from kdrec.types import KDConfig, ModelCard, TaskFeatures, Training, Trial


@dataclass(frozen=True, kw_only=True, eq=False)
class Seat:
    """Where a student is trained, which every process of a training knows: the bench, the student and its source."""

    bench: Bench
    student: ModelCard
    folder: Path


@dataclass(frozen=True, kw_only=True, eq=False)
class Place(Seat):
    """Where a cell's trials are made and written, which the main process knows: beside the seat, its parent run.

    `training` is that of all its trials but for the seed.
    """

    cell: Cell
    training: Training
    student_hash: str
    """Content of the student's pretrained source, with the layers it keeps."""
    features: TaskFeatures
    store: Store
    experiment_id: str
    parent_run_id: str
    still_improving: bool | None = None
    """Whether twice as many steps would help, where a calibration tried; else each trial's own curve is looked at."""


def fingerprint(
    task: str, student: str, config: KDConfig, training: Training, checkpoint: str | None, transfer: str = ""
) -> str:
    """Identity of a trial: what is trained, on what, from which teacher weights, how.

    Parameters
    ----------
    task, student : str
        Content hashes of the task, and of the student's pretrained source with the layers it keeps.
    config : KDConfig
        Canonical configuration; the name of its teacher is not part of the identity, the teacher's weights are.
    training : Training
        With the seed.
    checkpoint : str or None
        SHA-256 of the teacher's weights; None for the baseline, which has none.
    transfer : str
        Content hash of the task's rows without labels; empty where there are none. The baseline does not see them, so
        it is the same trial with and without; and without them their weight means nothing.
    """
    knobs = config.to_params()
    del knobs["teacher"]
    parts: list[Any] = [task, student, knobs, identity_of(training), checkpoint, IDENTITY_VERSION]
    if transfer and config.alpha > 0:
        parts += [transfer, training.transfer_weight]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def checkpoint_of(home: Home, identity: str) -> Checkpoint:
    """Where an interrupted trial left off."""
    return Checkpoint(path=home.folder("checkpoints") / f"{identity}.safetensors")


def run_trial(
    place: Place, config: KDConfig, training: Training, *, kind: TrialKind = "trial", keep: bool = False
) -> Trial:
    """Train one student once, or return the trial that did; two callers at once make one run.

    A run of the kind `calibration` is recorded like any other, and is no part of any history. With `keep`, the weights
    of a student that is trained now stay in the home (`kdrec.trial.weights`).
    """
    bench = place.bench
    selection = bench.teacher.selection
    config = canonical(config, aliases=selection.aliases)
    identity = fingerprint(
        bench.task.fingerprint,
        place.student_hash,
        config,
        training,
        None if config.alpha == 0 else selection.checkpoint(config.teacher),
        bench.task.transfer_fingerprint,
    )
    order = _Order(training=training, kind=kind, keep=keep)
    with locked(lock(bench.home, identity), f"the trial {config.label()}", bench.say):
        found = place.store.find(identity, kind)
        if not found:
            kept = outbox.kept(bench.home, identity, bench.say)
            found = _recorded(place, order, kept) if kept else _new_trial(place, config, order, identity)
        outbox.forget(bench.home, identity)
        if found.task != bench.task.name and kind == "trial":
            found = _under_this_name(place, order, found)
        return replace(found, config=config)


def _under_this_name(place: Place, order: _Order, found: Trial) -> Trial:
    """A trial of the same rows under another name of theirs, as one of this task: recorded, once, and not trained.

    A history tells tasks apart by name: a cell whose baseline stood under another one would have none.
    """
    own = hashlib.sha256(json.dumps([found.fingerprint, place.bench.task.name]).encode()).hexdigest()
    copied = replace(found, features=place.features, fingerprint=own, run_id="")
    return _recorded(place, order, outbox.Outcome(trial=copied, measured=()))


@dataclass(frozen=True, kw_only=True)
class _Order:
    """How one trial is trained, what kind of run it is recorded as, and whether its weights are kept."""

    training: Training
    kind: TrialKind
    keep: bool


def weights_for(place: Place, trial: Trial) -> tuple[Trial, weights.State]:
    """The trained student of a completed trial: its kept weights, or those of the same training done again.

    Training on one CPU is deterministic. Where it is not (a GPU, another version), what comes back is the trial with
    the scores that these weights have; nothing is recorded.
    """
    home = place.bench.home
    with lock(home, trial.fingerprint):
        kept = weights.kept(home, trial.fingerprint)
        if kept is None:
            training = replace(place.training, seed=trial.seed)
            outcome, classifier = _train(place, trial, training, Checkpoint.none())
            if outcome.trial.status != "completed":
                raise KdrecError(
                    f"{trial.config.label()} with seed {trial.seed} was trained again for its weights and diverged, "
                    "which it did not when it was recorded; distil with more seeds"
                )
            weights.keep(home, outcome.trial, classifier.full_state())
            kept = weights.kept(home, trial.fingerprint)
            assert kept is not None, "what was written is read"
    scores, state = kept
    return replace(trial, **scores), state  # type: ignore[arg-type]  # of names that are scores


def _new_trial(place: Place, config: KDConfig, order: _Order, identity: str) -> Trial:
    """Train a student and record it; from the end of its training on, the trial outlives a store that is away."""
    blank = Trial(
        features=place.features,
        student=place.student.name,
        config=config,
        seed=order.training.seed,
        status="failed",
        val_score=None,
        val_loss=None,
        test_score=None,
        seconds=0.0,
        fingerprint=identity,
    )
    run_id = _started(place, order, blank)
    checkpoint = checkpoint_of(place.bench.home, identity)
    started = time.monotonic()
    try:
        outcome, classifier = _train(place, blank, order.training, checkpoint)
    except Exception:
        with suppress(KdrecError):  # a store that is gone must not hide what went wrong
            place.store.finish_trial(run_id, replace(blank, seconds=time.monotonic() - started))
        raise
    if order.kind == "trial" and place.still_improving is not None and outcome.trial.status == "completed":
        outcome = replace(outcome, trial=replace(outcome.trial, still_improving=place.still_improving))
    with suppress(KdrecError):  # on a full disk the store may still take it
        outbox.keep(place.bench.home, outcome)
    if order.keep and outcome.trial.status == "completed":
        weights.keep(place.bench.home, outcome.trial, classifier.full_state())
    trial = _recorded(place, order, outcome, run_id)
    checkpoint.clear()
    return trial


def _started(place: Place, order: _Order, trial: Trial) -> str:
    """Run id of a trial that begins."""
    assert isinstance(trial.config, KDConfig)  # nothing else is trained
    return place.store.start_trial(
        place.experiment_id,
        place.parent_run_id,
        config=trial.config,
        student=trial.student,
        features=trial.features,
        seed=trial.seed,
        fingerprint=trial.fingerprint,
        training=order.training,
        kind=order.kind,
    )


def _recorded(place: Place, order: _Order, outcome: outbox.Outcome, run_id: str | None = None) -> Trial:
    """Write an outcome to the store, waiting `PAUSES` for a store that is away.

    After a failure nobody knows what arrived: the trial may be there whole, or its run half-written, which another
    replaces.
    """
    pauses = list(PAUSES)
    while True:
        try:
            if run_id is None:
                found = place.store.find(outcome.trial.fingerprint, order.kind)
                if found:
                    return found
                run_id = _started(place, order, outcome.trial)
            place.store.log_metrics(run_id, outcome.measured)
            return place.store.finish_trial(run_id, outcome.trial)
        except StoreError as error:
            if not pauses:
                raise StoreError(
                    f"{error}; the trial is trained and kept, and recorded when the study is run again"
                ) from None
            place.bench.say("a trial is trained, and waits for the tracking store, which does not take it")
        time.sleep(pauses.pop(0))
        run_id = None


def _train(
    place: Place, blank: Trial, training: Training, checkpoint: Checkpoint
) -> tuple[outbox.Outcome, encoder.Classifier]:
    """Train, with all processes that there are, and fill the blank with what came of it."""
    config, bench = blank.config, place.bench
    assert isinstance(config, KDConfig)  # nothing else is trained
    signal = bench.signal(config.teacher) if config.alpha > 0 else None
    taught_by = bench.teacher.selection.checkpoint(config.teacher) if signal else None
    bench.ranks.call(Distil(config=config, training=training, checkpoint=taught_by, fingerprint=blank.fingerprint))
    results, waiting, classifier = train(place, config, training, checkpoint, signal)
    return outbox.Outcome(trial=replace(blank, **results), measured=waiting), classifier


def train(
    seat: Seat, config: KDConfig, training: Training, checkpoint: Checkpoint, signal: TeacherSignal | None
) -> tuple[dict[str, Any], tuple[tuple[str, float, int], ...], encoder.Classifier]:
    """Train, and test the weights of the best evaluation; a run that diverged has no scores.

    Every process of a training calls this alike and gets the same.

    Returns
    -------
    results : dict
        Status, scores and seconds by their names in `Trial`. The seconds are those of the training, over all
        processes that went on from a checkpoint and without their pauses, and of the evaluation on the test split.
    measured : tuple
        Name, value and step of everything that was measured.
    classifier : Classifier
        The student, with the weights of the best evaluation.
    """
    bench, task = seat.bench, seat.bench.task
    learnt, validation, test = bench.learnt(config), bench.encoded("validation"), bench.encoded("test")
    classifier = encoder.build(seat.student, seat.folder, task, (learnt, validation, test), seed=training.seed)
    lesson = engine.Lesson(
        train=learnt,
        validation=validation,
        grade=grader(task, task.validation, validation),
        n_classes=len(task.labels),
        signal=signal,
        checkpoint=checkpoint,
    )
    results: dict[str, Any] = {"status": "diverged", "val_score": None, "val_loss": None, "test_score": None}
    results |= {"learning_rate": training.learning_rate, "epochs": float(training.epochs)}
    waiting: list[tuple[str, float, int]] = []
    for event in engine.fit(classifier, lesson, config, training, bench.accelerator):
        waiting += measured(event)
        if isinstance(event, engine.Finished):
            watch = Stopwatch()
            logits = engine.predict(classifier.model, classifier, test, bench.accelerator)
            grade = grader(task, task.test, test)(logits)
            results["seconds"] = event.seconds + watch.lap()
            waiting += [(f"test/{name}", value, event.best.step) for name, value in grade.also.items()]
            results |= {
                "status": "completed",
                "val_score": event.best.score,
                "val_loss": event.best.loss,
                "test_score": grade.score,
                "still_improving": event.still_improving,
            }
        if isinstance(event, (engine.Finished, engine.Diverged)):
            results = {"seconds": event.seconds, **results, "n_steps": event.step}
    return results, tuple(waiting), classifier


def measured(event: engine.Event) -> Sequence[tuple[str, float, int]]:
    """Names, values and step of an event, as curves for MLflow."""
    if isinstance(event, engine.Step):
        named = {
            "train/loss": event.loss,
            "train/hard_loss": event.hard_loss,
            "train/soft_loss": event.soft_loss,
            "train/kl": event.kl,
        }
    elif isinstance(event, engine.Evaluation):
        named = {"validation/score": event.score, "validation/loss": event.loss, "validation/ece": event.ece}
    elif isinstance(event, engine.Finished):
        named = {"n_tokens": float(event.n_tokens), "best_step": float(event.best.step)}
    else:
        named = {"diverged_at_step": float(event.step)}
    return [(name, value, event.step) for name, value in named.items()]
