"""The teacher of a task: fine-tuned with a trace, chosen by score (t_hs) and by loss (t_ll), asked once for its logits.

Every evaluated checkpoint of every fine-tuning run (learning rates x seeds x evaluation points) is a candidate.
`select` is a pure function of the recorded trace; only the weights of the candidates it would choose are ever on disk,
named by their hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from accelerate import Accelerator
from safetensors.torch import load_file, save

from kdrec import encoder, engine
from kdrec.errors import CorruptFile, KdrecError
from kdrec.signals import TeacherSignal, signal_key
from kdrec.sources import atomic_write, mark_used, sha256_file
from kdrec.tasks import grader
from kdrec.types import (
    BASELINE_CONFIG,
    SCHEMA_VERSION,
    Candidate,
    Encoded,
    ModelCard,
    Task,
    TeacherChoice,
    TeacherTraining,
    Training,
)

TRACE: Final = "trace.json"
"""File of a teacher's folder that holds its candidates."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The two checkpoints a student may learn from; often one and the same."""

    t_hs: Candidate
    t_ll: Candidate

    @property
    def coincide(self) -> bool:
        """Whether both names mean the same weights."""
        return self.t_hs.checkpoint == self.t_ll.checkpoint

    def checkpoint(self, choice: TeacherChoice) -> str:
        """SHA-256 of the chosen weights."""
        return (self.t_hs if choice == "t_hs" else self.t_ll).checkpoint


def select(trace: Sequence[Candidate]) -> Selection:
    """Highest validation score and lowest validation loss of a trace; ties go to the earlier candidate."""
    return Selection(t_hs=max(trace, key=lambda c: c.score), t_ll=min(trace, key=lambda c: c.loss))


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
        parts = {
            "source": encoder.source_hash(self.folder),
            "layers": self.card.layers,
            "task": self.task.fingerprint,
            "tokenizer": self.tokenizer,
            "training": asdict(training),
            "schema": SCHEMA_VERSION,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A finished teacher stage: its trace, what it selects, and the folder that holds the selected weights."""

    key: str
    trace: tuple[Candidate, ...]
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
    """Run every fine-tuning run that `folder` does not hold yet, and select.

    A finished run is recorded at once, so an interrupted stage goes on with the next run. `before_run` hears of each
    run before its training begins, `on_candidate` of each candidate as it is evaluated.

    Raises
    ------
    KdrecError
        Every run diverged.
    """
    trace, n_done = _read_trace(folder)
    mark_used(folder / TRACE)
    for training_run in training.runs()[n_done:]:
        before_run(training_run)
        trace += _run(pupil, training_run, trace, folder, accelerator, on_candidate)
        n_done += 1
        _write_trace(folder, trace, n_done)
        _drop_unselected(folder, trace)
    if not trace:
        raise KdrecError(f"every fine-tuning run of the teacher of {pupil.task.name!r} diverged: lower its rates")
    return Teacher(key=folder.name, trace=tuple(trace), selection=select(trace), folder=folder)


def is_finished(folder: Path, training: TeacherTraining) -> bool:
    """Whether `folder` holds the whole trace and the weights that it selects, so that nothing is left to run."""
    return _read_trace(folder)[1] == len(training.runs())


def signal_file(pupil: Pupil, checkpoint: str, folder: Path, max_length: int) -> Path:
    """Where the logits of a checkpoint are kept, by their key."""
    key = signal_key(
        checkpoint=checkpoint, data=pupil.train.fingerprint, tokenizer=pupil.tokenizer, max_length=max_length
    )
    return folder / f"{key}.safetensors"


def teacher_signal(
    pupil: Pupil,
    teacher: Teacher,
    choice: TeacherChoice,
    folder: Path,
    accelerator: Accelerator,
    max_length: int,
    before_pass: Callable[[], None] = lambda: None,
) -> TeacherSignal:
    """Logits of the chosen checkpoint on the training split: read from `folder`, or computed in one pass and kept.

    `before_pass` is called before they are computed, if they are.
    """
    path = signal_file(pupil, teacher.selection.checkpoint(choice), folder, max_length)
    key = path.stem
    if path.exists():
        try:
            found = TeacherSignal.load(path, key=key)
            mark_used(path)
            return found
        except CorruptFile:
            path.unlink(missing_ok=True)
    before_pass()
    reading = pupil.train.reading
    signal = TeacherSignal(
        key=key,
        ids_N=pupil.train.ids_N,
        logits_RC=live_logits(pupil, teacher.weights(choice), accelerator),
        counts_N=None if reading is None else reading.counts_N,
    )
    signal.save(path, checkpoint=teacher.selection.checkpoint(choice))
    return signal


def kept_signal(pupil: Pupil, checkpoint: str, folder: Path, max_length: int) -> TeacherSignal:
    """Logits of a checkpoint that `teacher_signal` has kept in `folder`.

    Raises
    ------
    CorruptFile
        They are not there, or damaged.
    """
    path = signal_file(pupil, checkpoint, folder, max_length)
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
    pupil: Pupil, training: Training, accelerator: Accelerator
) -> tuple[encoder.Classifier, Iterator[engine.Event]]:
    """The classifier of one fine-tuning run, and its training as it goes."""
    task = pupil.task
    classifier = encoder.build(pupil.card, pupil.folder, task, (pupil.train, pupil.validation), seed=training.seed)
    grade = grader(task, task.validation, pupil.validation)
    lesson = engine.Lesson(train=pupil.train, validation=pupil.validation, grade=grade, n_classes=len(task.labels))
    return classifier, engine.fit(classifier, lesson, BASELINE_CONFIG, training, accelerator)


def _run(
    pupil: Pupil,
    training: Training,
    before: Sequence[Candidate],
    folder: Path,
    accelerator: Accelerator,
    on_candidate: Callable[[Candidate], None],
) -> list[Candidate]:
    """Candidates of one fine-tuning run; a run that diverges keeps those it had made."""
    classifier, events = fine_tuning(pupil, training, accelerator)
    made: list[Candidate] = []
    for event in events:
        if isinstance(event, engine.Evaluation):
            candidate = Candidate(
                learning_rate=training.learning_rate,
                seed=training.seed,
                step=event.step,
                epoch=event.epoch,
                score=event.score,
                loss=event.loss,
                ece=event.ece,
                checkpoint="unsaved",
            )
            chosen = select([*before, *made, candidate])
            kept = candidate in (chosen.t_hs, chosen.t_ll)
            checkpoint = _keep(classifier, folder) if kept else ""
            made.append(Candidate(**{**asdict(candidate), "checkpoint": checkpoint}))
            on_candidate(made[-1])
    return made


def _keep(classifier: encoder.Classifier, folder: Path) -> str:
    data = save(classifier.full_state(), metadata={"format": "pt"})
    checkpoint = hashlib.sha256(data).hexdigest()
    atomic_write(folder / f"{checkpoint}.safetensors", data)
    return checkpoint


def recorded_trace(folder: Path) -> tuple[list[Candidate], int]:
    """Trace and number of finished runs as `folder` has them, its weights not looked at; a damaged trace is none."""
    try:
        return parse_trace((folder / TRACE).read_bytes())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return [], 0


def parse_trace(content: bytes) -> tuple[list[Candidate], int]:
    """Trace and number of finished runs; what is damaged or none raises one of the errors caught above."""
    record = json.loads(content)
    if record.pop("sha256") != _record_hash(record):
        raise ValueError("content and recorded hash differ")
    return [Candidate(**row) for row in record["candidates"]], int(record["finished_runs"])


def _read_trace(folder: Path) -> tuple[list[Candidate], int]:
    """Trace and number of finished runs; a damaged trace, or one whose weights are gone or changed, counts as none."""
    trace, n_done = recorded_trace(folder)
    if trace:
        chosen = select(trace)
        for checkpoint in {chosen.t_hs.checkpoint, chosen.t_ll.checkpoint}:
            path = folder / f"{checkpoint}.safetensors"
            if not path.exists() or sha256_file(path) != checkpoint:
                path.unlink(missing_ok=True)
                return [], 0
    return trace, n_done


def _write_trace(folder: Path, trace: Sequence[Candidate], n_done: int) -> None:
    record: dict[str, Any] = {"finished_runs": n_done, "candidates": [asdict(candidate) for candidate in trace]}
    record["sha256"] = _record_hash(record)
    atomic_write(folder / TRACE, json.dumps(record, indent=1).encode())


def _record_hash(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _drop_unselected(folder: Path, trace: Sequence[Candidate]) -> None:
    if not trace:
        return
    chosen = select(trace)
    for path in folder.glob("*.safetensors"):
        if path.stem not in (chosen.t_hs.checkpoint, chosen.t_ll.checkpoint):
            path.unlink(missing_ok=True)
