"""Train small lessons and write what came of each: a script for torchrun, and what its test runs in one process."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tiny_tasks
import torch
from safetensors.torch import save_file
from tiny_models import accuracy_on, card_of, keyword_split, signal_for, task_of

from kdrec import encoder, engine, tasks
from kdrec.home import Home
from kdrec.signals import TeacherSignal
from kdrec.types import Family, KDConfig, Training

TRAINING = Training(learning_rate=3e-3, epochs=3, batch_size=8, gradient_accumulation_steps=2, evaluations_per_epoch=2)


def train(folder: Path, family: Family | None = None) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor], int]:
    """Train on the lesson by keywords, or on a small task of a family."""
    accelerator = engine.make_accelerator(device="cpu")
    made, lesson = keywords(folder) if family is None else of_family(folder, family, accelerator)
    events = [asdict(e) for e in engine.fit(made, lesson, KDConfig(tau_t=2), TRAINING, accelerator)]
    return events, encoder.weights_of(made.model), accelerator.num_processes


def keywords(folder: Path) -> tuple[encoder.Classifier, engine.Lesson]:
    """17 examples in batches of 8: the last batch of an epoch has one, so that one of two processes has no share."""
    split, validation = keyword_split(17), keyword_split(40, seed=1)
    made = encoder.build(card_of(), folder, task_of(3), (split, validation), seed=0)
    return made, engine.Lesson(
        train=split, validation=validation, grade=accuracy_on(validation), n_classes=3, signal=signal_for(split, 3)
    )


def of_family(folder: Path, family: Family, accelerator: Any) -> tuple[encoder.Classifier, engine.Lesson]:
    """Units differ in number between the shares of two processes: words of a text, windows of a question."""
    task, home = tiny_tasks.task_of(family, train=30), Home.at(folder.parent)
    split, validation = (
        tasks.encode(part, task, folder / "tokenizer.json", 32, home) for part in (task.train, task.validation)
    )
    made, teacher = (
        encoder.build(tiny_tasks.speaker_card(), folder, task, (split, validation), seed=seed) for seed in (0, 1)
    )
    logits = engine.predict(teacher.model, teacher, split, accelerator)
    counts = None if split.reading is None else split.reading.counts_N
    return made, engine.Lesson(
        train=split,
        validation=validation,
        grade=tasks.grader(task, task.validation, validation),
        n_classes=len(task.labels),
        signal=TeacherSignal(key="k", ids_N=split.ids_N, logits_RC=logits, counts_N=counts),
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    out, lessons = Path(sys.argv[1]), sys.argv[2:]
    for at in range(0, len(lessons), 2):
        events, weights, n_processes = train(Path(lessons[at]), lessons[at + 1] or None)  # type: ignore[arg-type]
        name = f"{lessons[at + 1]}-{torch.distributed.get_rank()}"
        save_file(weights, out / f"weights-{name}.safetensors")
        (out / f"events-{name}.json").write_text(json.dumps([n_processes, events]))
