"""One KDConfig on one cell becomes one Trial, idempotent by fingerprint."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from kdrec import encoder, engine
from kdrec.checkpoints import Checkpoint
from kdrec.errors import KdrecError
from kdrec.space import canonical
from kdrec.studies import Cell
from kdrec.tasks import grader
from kdrec.tracking import Store
from kdrec.trial.bench import Bench, lock
from kdrec.types import SCHEMA_VERSION, KDConfig, ModelCard, Status, TaskFeatures, Training, Trial


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """Where a cell's trials are made and written: its bench, its student, its parent run in the store."""

    bench: Bench
    cell: Cell
    student: ModelCard
    folder: Path
    student_hash: str
    """Content of the student's pretrained source, with the layers it keeps."""
    features: TaskFeatures
    store: Store
    experiment_id: str
    parent_run_id: str


def fingerprint(task: str, student: str, config: KDConfig, training: Training, checkpoint: str | None) -> str:
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
    """
    knobs = config.to_params()
    del knobs["teacher"]
    parts = [task, student, knobs, asdict(training), checkpoint, SCHEMA_VERSION]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def run_trial(place: Place, config: KDConfig, seed: int) -> Trial:
    """Train one student once, or return the trial that did; two callers at once make one run."""
    bench = place.bench
    selection = bench.teacher.selection
    config = canonical(config, teachers_coincide=selection.coincide)
    training = bench.study.training_for(place.cell, seed)
    identity = fingerprint(
        bench.task.fingerprint,
        place.student_hash,
        config,
        training,
        None if config.alpha == 0 else selection.checkpoint(config.teacher),
    )
    with lock(bench.home, identity):
        found = place.store.find(identity)
        return replace(found, config=config) if found else _new_trial(place, config, training, identity)


def _new_trial(place: Place, config: KDConfig, training: Training, identity: str) -> Trial:
    run_id = place.store.start_trial(
        place.experiment_id,
        place.parent_run_id,
        config=config,
        student=place.student.name,
        features=place.features,
        seed=training.seed,
        fingerprint=identity,
        training=training,
    )
    checkpoint = Checkpoint(path=place.bench.home.folder("checkpoints") / f"{identity}.safetensors")
    started = time.monotonic()

    def ended(status: Status, best: engine.Evaluation | None = None, test_score: float | None = None) -> Trial:
        trial = Trial(
            features=place.features,
            student=place.student.name,
            config=config,
            seed=training.seed,
            status=status,
            val_score=best.score if best else None,
            val_loss=best.loss if best else None,
            test_score=test_score,
            seconds=time.monotonic() - started,
            run_id=run_id,
            fingerprint=identity,
        )
        return place.store.finish_trial(run_id, trial)

    try:
        best, test_score = _train(place, config, training, checkpoint, run_id)
    except Exception:
        with suppress(KdrecError):  # a store that is gone must not hide what went wrong
            ended("failed")
        raise
    trial = ended("completed", best, test_score) if best else ended("diverged")
    checkpoint.clear()
    return trial


def _train(
    place: Place, config: KDConfig, training: Training, checkpoint: Checkpoint, run_id: str
) -> tuple[engine.Evaluation | None, float | None]:
    """Train and log what happens; the best evaluation and its weights' test score, or None twice when it diverged."""
    bench, task = place.bench, place.bench.task
    train, validation, test = (bench.encoded(split) for split in ("train", "validation", "test"))
    classifier = encoder.build(place.student, place.folder, task, (train, validation, test), seed=training.seed)
    lesson = engine.Lesson(
        train=train,
        validation=validation,
        grade=grader(task, task.validation, validation),
        n_classes=len(task.labels),
        signal=bench.signal(config.teacher) if config.alpha > 0 else None,
        checkpoint=checkpoint,
    )
    best: engine.Evaluation | None = None
    waiting: list[tuple[str, float, int]] = []
    for event in engine.fit(classifier, lesson, config, training, bench.accelerator):
        waiting += measured(event)
        if isinstance(event, engine.Finished):
            best = event.best
    test_score = None
    if best is not None:
        grade = grader(task, task.test, test)(engine.predict(classifier.model, classifier, test, bench.accelerator))
        waiting += [(f"test/{name}", value, best.step) for name, value in grade.also.items()]
        test_score = grade.score
    place.store.log_metrics(run_id, waiting)
    return best, test_score


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
