"""Train one small lesson and write what came of it: a script for torchrun, and what its test runs in one process."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tiny_models import accuracy_on, card_of, keyword_split, signal_for, task_of

from kdrec import encoder, engine
from kdrec.types import KDConfig, Training

TRAINING = Training(learning_rate=3e-3, epochs=3, batch_size=8, gradient_accumulation_steps=2, evaluations_per_epoch=2)


def train(folder: Path) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor], int]:
    """17 examples in batches of 8: the last batch of an epoch has one, so that one of two processes has no share."""
    split, validation = keyword_split(17), keyword_split(40, seed=1)
    made = encoder.build(card_of(), folder, task_of(3), (split, validation), seed=0)
    lesson = engine.Lesson(
        train=split, validation=validation, grade=accuracy_on(validation), n_classes=3, signal=signal_for(split, 3)
    )
    accelerator = engine.make_accelerator(device="cpu")
    events = [asdict(e) for e in engine.fit(made, lesson, KDConfig(tau_t=2), TRAINING, accelerator)]
    return events, encoder.weights_of(made.model), accelerator.num_processes


if __name__ == "__main__":
    torch.set_num_threads(1)
    events, weights, n_processes = train(Path(sys.argv[1]))
    rank = torch.distributed.get_rank()
    save_file(weights, Path(sys.argv[2]) / f"weights-{rank}.safetensors")
    (Path(sys.argv[2]) / f"events-{rank}.json").write_text(json.dumps([n_processes, events]))
