"""Teachers and their logits between a home and the shelf: made once for all machines that share one.

A teacher lies on the shelf as its trace and the weights that it selects. The weights are put there first and the trace
last, so a trace that is there is whole; one whose weights are missing or damaged counts as none. Where two machines
make a teacher at once, the first to bring it is everybody's: hardware may round differently, and students compare only
with students of the same teacher.

Tokens are not shared: a machine has read the rows before it knows their key, and tokenises them in seconds; and they
are the texts. Nor are checkpoints of running trials: hundreds of megabytes every half minute, to save a trial.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open

from kdrec import encoder
from kdrec.checks import count, number
from kdrec.errors import CorruptFile, MismatchError
from kdrec.shelf import Shelf
from kdrec.signals import TeacherSignal
from kdrec.sources import atomic_write, sha256_file
from kdrec.teacher import (
    Pupil,
    Teacher,
    fine_tune,
    is_finished,
    next_run,
    signal_file,
    teacher_signal,
)
from kdrec.trace import TRACE, parse_trace, select
from kdrec.types import TEACHERS, Candidate, Encoded, TeacherChoice, TeacherTraining, Training

_HEADER: Final = 4 << 20
"""Most bytes of a trace, and of what a file of tensors has beside them."""


def teacher(
    pupil: Pupil,
    training: TeacherTraining,
    folder: Path,
    accelerator: Accelerator,
    shelf: Shelf,
    on_candidate: Callable[[Candidate], None] = lambda candidate: None,
    before_run: Callable[[Training], None] = lambda training: None,
) -> Teacher:
    """As `fine_tune`, for the first machine alone: the others find its teacher on the shelf.

    Raises
    ------
    KdrecError
        Every run diverged, or the disk is full.
    """
    here = is_finished(pupil, folder, training) or _borrowed(pupil, training, folder, shelf)
    made = fine_tune(pupil, training, folder, accelerator, on_candidate, before_run)
    if not here and _borrowed(pupil, training, folder, shelf):  # another machine was faster
        made = fine_tune(pupil, training, folder, accelerator)
    if not shelf.holds(_name(folder, TRACE)):
        for weights in {made.weights(choice) for choice in TEACHERS}:
            shelf.offer(_name(folder, weights.name), weights)
        shelf.offer(_name(folder, TRACE), folder / TRACE)
    return made


def signal(
    pupil: Pupil,
    made: Teacher,
    choice: TeacherChoice,
    folder: Path,
    accelerator: Accelerator,
    max_length: int,
    shelf: Shelf,
    before_pass: Callable[[], None] = lambda: None,
    split: Encoded | None = None,
) -> TeacherSignal:
    """As `teacher_signal`, for the first machine alone: the others find its logits on the shelf."""
    split = pupil.train if split is None else split
    path = signal_file(pupil, made.selection.checkpoint(choice), folder, max_length, split)
    name = f"logits/{path.name}"

    def fitting(copy: Path) -> None:
        _check_fits(TeacherSignal.load(copy, key=path.stem), split, len(pupil.task.labels))

    if not path.exists():
        n_bytes = 4 * _n_places(split) * len(pupil.task.labels) + 16 * len(split) + _HEADER
        shelf.fetch(name, path, most_bytes=n_bytes, check=fitting)
    found = teacher_signal(pupil, made, choice, folder, accelerator, max_length, before_pass, split)
    shelf.offer(name, path)
    return found


def _name(folder: Path, file: str) -> str:
    return f"teachers/{folder.name}/{file}"


def _borrowed(pupil: Pupil, training: TeacherTraining, folder: Path, shelf: Shelf) -> bool:
    """Whether a finished teacher was on the shelf and is in `folder` now, its trace written last here too."""
    name = _name(folder, TRACE)
    content = shelf.read(name, most_bytes=_HEADER)
    if content is None:
        return False
    try:
        chosen = select(_checked(content, pupil, training))
    except ValueError as error:
        shelf.refuse(name, str(error))
        return False
    form = _form(pupil)
    n_bytes = sum(tensor.nbytes for tensor in form.values()) + _HEADER
    came = []
    for checkpoint in chosen.checkpoints:

        def of_form(copy: Path, checkpoint: str = checkpoint) -> bool:
            return _check_weights(copy, checkpoint, form)

        file = f"{checkpoint}.safetensors"
        came.append(shelf.fetch(_name(folder, file), folder / file, most_bytes=n_bytes, check=of_form))
    if not all(came):  # all were tried, so that whatever is damaged is replaced
        if not shelf.is_away:
            shelf.refuse(name, "the weights that it selects are not there")
        return False
    atomic_write(folder / TRACE, content)
    return True


def _checked(content: bytes, pupil: Pupil, training: TeacherTraining) -> tuple[Candidate, ...]:
    """Candidates of a trace that a stranger may have written; a `ValueError` where it is not one of this training."""
    try:
        record = parse_trace(content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("it is damaged, or no trace") from None
    trace = record.candidates
    for run in record.runs:
        number("learning_rate", run.learning_rate, 0)
        count("seed", run.seed, 0)
        count("n_steps", run.n_steps, 0)
        number("seconds", run.seconds, 0)
    for one in trace:
        count("step", one.step)
        number("epoch", one.epoch, 0)
        number("score", one.score, 0, 100)
        number("loss", one.loss, 0)
        number("ece", one.ece, 0, 1)
        if one.score_se is not None:
            number("score_se", one.score_se, 0)
    runs = {(run.learning_rate, run.seed) for run in record.runs}
    if training.learning_rates is not None:
        runs &= {(rate, seed) for rate in training.learning_rates for seed in training.seeds}
    strange = any((one.learning_rate, one.seed) not in runs for one in trace)
    if not trace or strange or record.unfinished or next_run(pupil, training, record) is not None:
        raise ValueError("it is the trace of another training")
    if not all(re.fullmatch("[0-9a-f]{64}", str(checkpoint)) for checkpoint in select(trace).checkpoints):
        raise ValueError("a checkpoint is not named by its hash")
    return tuple(trace)


def _form(pupil: Pupil) -> dict[str, torch.Tensor]:
    """Weights as this teacher's have to be, of other values."""
    made = encoder.build(pupil.card, pupil.folder, pupil.task, (pupil.train, pupil.validation), seed=0)
    return made.full_state()


def _check_weights(copy: Path, checkpoint: str, form: dict[str, torch.Tensor]) -> bool:
    if sha256_file(copy) != checkpoint:
        raise CorruptFile("its content is not what its name says")
    try:
        with safe_open(copy, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise CorruptFile(f"it cannot be read: {error}") from None
    found, wanted = ({name: (one.dtype, one.shape) for name, one in some.items()} for some in (tensors, form))
    if found != wanted:
        raise MismatchError("its weights are of another model")
    return True


def _n_places(split: Encoded) -> int:
    return len(split) if split.reading is None else len(split.reading.places_R)


def _check_fits(found: TeacherSignal, split: Encoded, n_classes: int) -> None:
    """Refuse logits of other examples or another number of classes, though their key be right."""
    order = np.argsort(split.ids_N, kind="stable")
    counts = None if split.reading is None else split.reading.counts_N[order]
    if counts is None or found.counts_N is None:
        same = counts is found.counts_N
    else:
        same = np.array_equal(found.counts_N, counts)
    same = same and np.array_equal(found.ids_N, split.ids_N[order])
    if not same or found.logits_RC.shape != (_n_places(split), n_classes):
        raise MismatchError("its logits are of other examples or other classes")
