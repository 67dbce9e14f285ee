"""The teacher of a task: fine-tuned with a trace, chosen by score, by loss or by both, asked once for its logits.

Every evaluated checkpoint of every fine-tuning run (learning rates x seeds x evaluation points) is a candidate.
`select` is a pure function of the recorded trace. On disk, named by their hash, are the weights of the candidates that
it may still choose (`may_be_chosen`), and at the end of those that it chose.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from accelerate import Accelerator
from safetensors.torch import load_file, save

from kdrec import autotune, encoder, engine, schedule
from kdrec.checkpoints import Checkpoint
from kdrec.errors import CorruptFile, KdrecError
from kdrec.signals import TeacherSignal, signal_key
from kdrec.sources import atomic_write, mark_used, sha256_file
from kdrec.space import Aliases, aliases_of
from kdrec.tasks import grader
from kdrec.training import IDENTITY_VERSION, identity_of
from kdrec.types import (
    BASELINE_CONFIG,
    TEACHERS,
    Candidate,
    Encoded,
    FineTuning,
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
    """The checkpoints a student may learn from; often one and the same."""

    t_ll: Candidate
    t_hs: Candidate
    t_llg: Candidate
    still_improving: bool | None = None
    """Whether the run of t_hs still improved when it ended; None where that cannot be told."""
    ending: str = ""
    """Why that run ended (`FineTuning`); empty where it was not recorded."""

    def of(self, choice: TeacherChoice) -> Candidate:
        """The chosen candidate."""
        return {"t_ll": self.t_ll, "t_hs": self.t_hs, "t_llg": self.t_llg}[choice]

    def warning(self, task: str) -> str:
        """What to say of a teacher that was still improving when it stopped."""
        why = {"cap": "it reached the most steps allowed", "length": "its epochs ended"}.get(self.ending, "it ended")
        return (
            f"the teacher of {task} was still improving when {why} ({self.t_hs.score:.1f} on validation): leave epochs "
            "out, or allow more steps"
        )

    def checkpoint(self, choice: TeacherChoice) -> str:
        """SHA-256 of the chosen weights."""
        return self.of(choice).checkpoint

    @property
    def checkpoints(self) -> frozenset[str]:
        """SHA-256 of all weights that are chosen."""
        return frozenset(map(self.checkpoint, TEACHERS))

    @property
    def aliases(self) -> Aliases:
        """Which choices are the same weights."""
        return aliases_of({choice: self.checkpoint(choice) for choice in TEACHERS})


def select(trace: Sequence[Candidate], runs: Sequence[FineTuning] = ()) -> Selection:
    """Choose from a trace: t_ll has the lowest validation loss, t_hs the highest validation score.

    t_llg, the guarded one, has the lowest loss among candidates whose score is within one standard error of the
    highest: loss alone may pick a checkpoint from long before the score has risen. Ties go to the earlier candidate.
    Where any candidate has no standard error, as in traces of earlier versions, t_llg is t_ll. `runs` are the finished
    fine-tuning runs, which tell whether the teacher was still improving.
    """
    t_ll, t_hs = min(trace, key=lambda c: c.loss), max(trace, key=lambda c: c.score)
    t_llg = t_ll
    if is_guarded(trace) and t_hs.score_se is not None:
        floor = t_hs.score - t_hs.score_se
        t_llg = min((c for c in trace if c.score >= floor), key=lambda c: c.loss)
    made = next((run for run in runs if (run.learning_rate, run.seed) == (t_hs.learning_rate, t_hs.seed)), None)
    chosen = Selection(t_ll=t_ll, t_hs=t_hs, t_llg=t_llg)
    return chosen if made is None else replace(chosen, still_improving=made.still_improving, ending=made.ending)


def is_guarded(trace: Sequence[Candidate]) -> bool:
    """Whether the standard error of every score is known, so that t_llg is one of its own."""
    return all(candidate.score_se is not None for candidate in trace)


def may_be_chosen(trace: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Candidates that `select` chooses from this trace or may choose from a longer one that begins with it.

    t_hs and t_ll can only lose their place, but the score that t_llg must reach moves both ways: any candidate may be
    next of which no other has at least its score and a lower loss (or an equal one, and came earlier).
    """
    if not trace:
        return ()
    chosen = select(trace)
    kept = {id(chosen.t_ll), id(chosen.t_hs)}
    if is_guarded(trace):
        highest = -math.inf
        for candidate in sorted(trace, key=lambda c: c.loss):  # stable: of equal losses the earlier first
            if candidate.score > highest:
                kept.add(id(candidate))
                highest = candidate.score
    return tuple(candidate for candidate in trace if id(candidate) in kept)


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
    record = _read_trace(folder)
    mark_used(folder / TRACE)
    while following := next_run(pupil, training, record):
        before_run(following)
        _run(pupil, following, record, folder, accelerator, on_candidate)
        record.complete = next_run(pupil, training, record) is None
        _write_trace(folder, record)
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
    return next_run(pupil, training, _read_trace(folder)) is None


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
            path.unlink(missing_ok=True)
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
            _write_trace(folder, record)  # before the engine saves a checkpoint, from which a run would go on
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
    atomic_write(folder / f"{checkpoint}.safetensors", data)
    return checkpoint


@dataclass(kw_only=True)
class Trace:
    """What a teacher's folder records: candidates and runs that are finished, and candidates of a run at work."""

    candidates: list[Candidate] = field(default_factory=list)
    runs: list[FineTuning] = field(default_factory=list)
    unfinished: list[Candidate] = field(default_factory=list)
    complete: bool = False
    """Whether no run follows, so that the weights that it selects are all that is wanted."""

    def wanted(self) -> frozenset[str]:
        """SHA-256 of the weights that are selected, or may yet be."""
        known = [*self.candidates, *self.unfinished]
        if self.complete and known:
            return select(known).checkpoints
        return frozenset(candidate.checkpoint for candidate in may_be_chosen(known))

    def as_runs(self) -> list[autotune.Run]:
        """The finished runs, each with its best evaluation."""
        made = []
        for run in self.runs:
            own = [c for c in self.candidates if (c.learning_rate, c.seed) == (run.learning_rate, run.seed)]
            best = max(own, key=lambda c: (c.score, -c.loss), default=None)
            made.append(
                autotune.Run(
                    learning_rate=run.learning_rate,
                    seed=run.seed,
                    n_steps=run.n_steps,
                    score=None if best is None else best.score,
                    loss=None if best is None else best.loss,
                    seconds=run.seconds,
                )
            )
        return made


def recorded_trace(folder: Path) -> Trace:
    """The trace as `folder` has it, its weights not looked at; a damaged one is none."""
    try:
        return parse_trace((folder / TRACE).read_bytes())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Trace()


def parse_trace(content: bytes) -> Trace:
    """A trace; what is damaged or none raises one of the errors caught above.

    A trace of an older kdrec has a number in the place of its runs, and every rate with every seed was run.
    """
    record = json.loads(content)
    if record.pop("sha256") != _record_hash(record):
        raise ValueError("content and recorded hash differ")
    candidates = [Candidate(**row) for row in record["candidates"]]
    if "runs" not in record:
        return Trace(candidates=candidates, runs=_older_runs(candidates, int(record["finished_runs"])), complete=True)
    return Trace(
        candidates=candidates,
        runs=[FineTuning(**row) for row in record["runs"]],
        unfinished=[Candidate(**row) for row in record["unfinished"]],
        complete=bool(record["complete"]),
    )


def _older_runs(candidates: Sequence[Candidate], n_done: int) -> list[FineTuning]:
    """Runs of a trace that recorded their number alone; one that left no candidate diverged at once."""
    groups = dict.fromkeys((candidate.learning_rate, candidate.seed) for candidate in candidates)
    runs = []
    for rate, seed in groups:
        own = [c for c in candidates if (c.learning_rate, c.seed) == (rate, seed)]
        rising = schedule.still_improving([c.score for c in own])
        runs.append(
            FineTuning(
                learning_rate=rate,
                seed=seed,
                n_steps=own[-1].step,
                ending="length",
                still_improving=rising,
                seconds=0.0,
            )
        )
    lost = FineTuning(learning_rate=0.0, seed=0, n_steps=0, ending="diverged", still_improving=None, seconds=0.0)
    return (runs + [lost] * n_done)[:n_done]


def _read_trace(folder: Path) -> Trace:
    """The trace; a damaged one, or one whose weights are gone or changed, counts as none."""
    record = recorded_trace(folder)
    for checkpoint in record.wanted():
        path = folder / f"{checkpoint}.safetensors"
        if not path.exists() or sha256_file(path) != checkpoint:
            path.unlink(missing_ok=True)
            return Trace()
    return record


def _write_trace(folder: Path, trace: Trace) -> None:
    record: dict[str, Any] = {
        "finished_runs": len(trace.runs),
        "candidates": [asdict(candidate) for candidate in trace.candidates],
        "runs": [asdict(run) for run in trace.runs],
        "unfinished": [asdict(candidate) for candidate in trace.unfinished],
        "complete": trace.complete,
    }
    record["sha256"] = _record_hash(record)
    atomic_write(folder / TRACE, json.dumps(record, indent=1).encode())


def _record_hash(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _keep_only(folder: Path, checkpoints: Collection[str]) -> None:
    """Delete the other weights of a teacher."""
    for path in folder.glob("*.safetensors"):
        if path.stem not in checkpoints:
            path.unlink(missing_ok=True)
