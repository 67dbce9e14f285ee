"""The teacher of a task: fine-tuned with a trace, chosen by score, by loss or by both, asked once for its logits.

Every evaluated checkpoint of every fine-tuning run (learning rates x seeds x evaluation points) is a candidate.
`select` is a pure function of the recorded trace. On disk, named by their hash, are the weights of the candidates that
it may still choose (`may_be_chosen`), and at the end of those that it chose.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from accelerate import Accelerator
from safetensors.torch import load_file, save

from kdrec import autotune, encoder, engine, schedule
from kdrec.checkpoints import Checkpoint
from kdrec.errors import CorruptFile, KdrecError
from kdrec.signals import TeacherSignal, signal_key
from kdrec.sources import atomic_write, mark_used, remove
from kdrec.tasks import grader
from kdrec.trace import TRACE, Selection, Trace, may_be_chosen, read_trace, select, write_trace
from kdrec.training import IDENTITY_VERSION, identity_of
from kdrec.types import (
    BASELINE_CONFIG,
    Candidate,
    Encoded,
    FineTuning,
    ModelCard,
    Task,
    TeacherChoice,
    TeacherTraining,
    Training,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pupil:
    """All that a teacher of one task is made from: its card and weights, the task, and its tokenised splits."""

    card: ModelCard
    folder: Path
    task: Task
    train: Encoded
    validation: Encoded
    tokenizer: str
    """SHA-256 of tokenizer.json."""

    def key(self, training: TeacherTraining) -> str:
        """Hash of everything that the trace depends on."""
        parts: dict[str, Any] = {
            "source": encoder.source_hash(self.folder),
            "layers": self.card.layers,
            "task": self.task.fingerprint,
            "tokenizer": self.tokenizer,
            "training": identity_of(training),
            "schema": IDENTITY_VERSION,
        }
        if training.is_auto:
            parts["search"] = [autotune.TEACHER_RATES, autotune.PATIENCE, schedule.COOLDOWN, autotune.VERSION]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A finished teacher stage: its trace, what it selects, and the folder that holds the selected weights."""

    key: str
    trace: tuple[Candidate, ...]
    runs: tuple[FineTuning, ...]
    selection: Selection
    folder: Path

    def weights(self, choice: TeacherChoice) -> Path:
        """File of the chosen checkpoint."""
        return self.folder / f"{self.selection.checkpoint(choice)}.safetensors"


def fine_tune(
    pupil: Pupil,
    training: TeacherTraining,
    folder: Path,
    accelerator: Accelerator,
    on_candidate: Callable[[Candidate], None] = lambda candidate: None,
    before_run: Callable[[Training], None] = lambda training: None,
) -> Teacher:
    """Make every fine-tuning run that `folder` does not hold yet, and select.

    A finished run is recorded at once and one at work leaves checkpoints, so an interrupted stage goes on where it was.
    `before_run` hears of each run before its training begins, `on_candidate` of each candidate as it is evaluated.

    Raises
    ------
    KdrecError
        Every run diverged.
    """
    record = read_trace(folder)
    mark_used(folder / TRACE)
    while following := next_run(pupil, training, record):
        before_run(following)
        _run(pupil, following, record, folder, accelerator, on_candidate)
        record.complete = next_run(pupil, training, record) is None
        write_trace(folder, record)
        _keep_only(folder, record.wanted())
    trace, runs = tuple(record.candidates), tuple(record.runs)
    if not trace:
        raise KdrecError(f"every fine-tuning run of the teacher of {pupil.task.name!r} diverged: lower its rates")
    return Teacher(key=folder.name, trace=trace, runs=runs, selection=select(trace, runs), folder=folder)


def next_run(pupil: Pupil, training: TeacherTraining, record: Trace) -> Training | None:
    """The fine-tuning run that follows those of a trace, or None when nothing is left to run."""
    steps = -(-len(pupil.train) // training.batch_size)
    sizes = autotune.Sizes(steps_per_epoch=steps, n_validation=len(pupil.validation))
    return autotune.next_teacher_run(training, record.as_runs(), sizes)


def is_finished(pupil: Pupil, folder: Path, training: TeacherTraining) -> bool:
    """Whether `folder` holds the whole trace and the weights that it selects, so that nothing is left to run."""
    return next_run(pupil, training, read_trace(folder)) is None


def signal_file(pupil: Pupil, checkpoint: str, folder: Path, max_length: int, split: Encoded | None = None) -> Path:
    """Where the logits of a checkpoint on a split (default: the training split) are kept, by their key."""
    data = (pupil.train if split is None else split).fingerprint
    key = signal_key(checkpoint=checkpoint, data=data, tokenizer=pupil.tokenizer, max_length=max_length)
    return folder / f"{key}.safetensors"


def teacher_signal(
    pupil: Pupil,
    teacher: Teacher,
    choice: TeacherChoice,
    folder: Path,
    accelerator: Accelerator,
    max_length: int,
    before_pass: Callable[[], None] = lambda: None,
    split: Encoded | None = None,
) -> TeacherSignal:
    """Logits of the chosen checkpoint on a split: read from `folder`, or computed in one pass and kept.

    The split is the training split where none is given. `before_pass` is called before they are computed, if they are.
    """
    split = pupil.train if split is None else split
    path = signal_file(pupil, teacher.selection.checkpoint(choice), folder, max_length, split)
    key = path.stem
    if path.exists():
        try:
            found = TeacherSignal.load(path, key=key)
            mark_used(path)
            return found
        except CorruptFile:
            remove(path)
    before_pass()
    reading = split.reading
    signal = TeacherSignal(
        key=key,
        ids_N=split.ids_N,
        logits_RC=live_logits(pupil, teacher.weights(choice), accelerator, split),
        counts_N=None if reading is None else reading.counts_N,
    )
    signal.save(path, checkpoint=teacher.selection.checkpoint(choice))
    return signal


def kept_signal(
    pupil: Pupil, checkpoint: str, folder: Path, max_length: int, split: Encoded | None = None
) -> TeacherSignal:
    """Logits of a checkpoint that `teacher_signal` has kept in `folder`.

    Raises
    ------
    CorruptFile
        They are not there, or damaged.
    """
    path = signal_file(pupil, checkpoint, folder, max_length, split)
    return TeacherSignal.load(path, key=path.stem)


def live_logits(
    pupil: Pupil, weights: Path, accelerator: Accelerator, split: Encoded | None = None
) -> npt.NDArray[np.float32]:
    """Logits (R, C) at the places of a split by the teacher in `weights`, in eval mode, without gradients.

    The split is the training split where none is given.

    The model is not prepared by `accelerator`, whose mixed precision would round them: the whole pass is in fp32.
    """
    split = pupil.train if split is None else split
    classifier = encoder.build(pupil.card, pupil.folder, pupil.task, (split,), seed=0)
    classifier.load_full_state(load_file(weights))
    return engine.predict(classifier.model.to(accelerator.device), classifier, split, accelerator)


def fine_tuning(
    pupil: Pupil, training: Training, accelerator: Accelerator, checkpoint: Checkpoint | None = None
) -> tuple[encoder.Classifier, Iterator[engine.Event]]:
    """The classifier of one fine-tuning run, and its training as it goes."""
    task = pupil.task
    classifier = encoder.build(pupil.card, pupil.folder, task, (pupil.train, pupil.validation), seed=training.seed)
    lesson = engine.Lesson(
        train=pupil.train,
        validation=pupil.validation,
        grade=grader(task, task.validation, pupil.validation, with_error=True),
        n_classes=len(task.labels),
        checkpoint=checkpoint or Checkpoint.none(),
    )
    return classifier, engine.fit(classifier, lesson, BASELINE_CONFIG, training, accelerator)


def run_checkpoint(folder: Path, training: Training) -> Checkpoint:
    """Where an interrupted fine-tuning run left off; every process of a training reads the same one."""
    return Checkpoint(path=folder / f"lr-{training.learning_rate:g}-seed-{training.seed}.state")


def _run(
    pupil: Pupil,
    training: Training,
    record: Trace,
    folder: Path,
    accelerator: Accelerator,
    on_candidate: Callable[[Candidate], None],
) -> None:
    """Make one fine-tuning run and add it to the trace; a run that diverges keeps the candidates it had made."""
    checkpoint = run_checkpoint(folder, training)
    if not checkpoint.exists():
        record.unfinished = []
    classifier, events = fine_tuning(pupil, training, accelerator, checkpoint)
    started = time.monotonic()
    for event in events:
        if isinstance(event, engine.Evaluation):
            # what was evaluated after the checkpoint that this process went on from is evaluated again
            made = [candidate for candidate in record.unfinished if candidate.step < event.step]
            candidate = Candidate(
                learning_rate=training.learning_rate,
                seed=training.seed,
                step=event.step,
                epoch=event.epoch,
                score=event.score,
                loss=event.loss,
                ece=event.ece,
                checkpoint="unsaved",
                score_se=event.score_se,
            )
            kept = candidate in may_be_chosen([*record.candidates, *made, candidate])
            candidate = replace(candidate, checkpoint=_keep(classifier, folder) if kept else "")
            record.unfinished = [*made, candidate]
            write_trace(folder, record)  # before the engine saves a checkpoint, from which a run would go on
            _keep_only(folder, record.wanted())
            on_candidate(candidate)
    record.runs.append(
        FineTuning(
            learning_rate=training.learning_rate,
            seed=training.seed,
            n_steps=event.step,
            ending=event.ending if isinstance(event, engine.Finished) else "diverged",
            still_improving=event.still_improving if isinstance(event, engine.Finished) else None,
            seconds=event.seconds if isinstance(event, engine.Finished) else time.monotonic() - started,
        )
    )
    record.candidates += record.unfinished
    record.unfinished = []
    checkpoint.clear()


def _keep(classifier: encoder.Classifier, folder: Path) -> str:
    data = save(classifier.full_state(), metadata={"format": "pt"})
    checkpoint = hashlib.sha256(data).hexdigest()
    atomic_write(folder / f"{checkpoint}.safetensors", data, over_folder=True)
    return checkpoint


def _keep_only(folder: Path, checkpoints: Collection[str]) -> None:
    """Delete the other weights of a teacher."""
    for path in folder.glob("*.safetensors"):
        if path.stem not in checkpoints:
            remove(path)
