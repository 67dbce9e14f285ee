"""Passes of a model over examples, whatever computes them, and how long they take on this machine.

`Forward` takes the tensors of a batch and gives the logits of the head. Logits are read at the places of the split, as
in training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from kdrec import batches, heads
from kdrec.examples import runs
from kdrec.types import Encoded

Forward = Callable[[dict[str, torch.Tensor]], torch.Tensor]

WARM_UP: Final = 3
N_SINGLE: Final = 40
N_LARGE: Final = 8
LARGE: Final = 32


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Medians: milliseconds for one text alone, and texts a second in batches of `LARGE`."""

    milliseconds: float
    texts_per_second: float


def forward_of(model: Any) -> Forward:
    """The passes of a transformers model in eval mode."""

    def forward(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.inference_mode():
            return heads.logits_of(model(**inputs))

    return forward


def logits_on(forward: Forward, split: Encoded, pad_id: int) -> npt.NDArray[np.float32]:
    """Logits (R, C) in fp32 at every place of a split, in its order."""
    ends_N1 = np.arange(len(split) + 1) if split.reading is None else split.reading.offsets_N1
    parts: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = []
    for rows in batches.evaluation_batches(split.lengths_N):
        batch = batches.collate(split, rows, pad_id=pad_id)
        logits = heads.at_places(forward(batch.inputs()), batch.counts_B, batch.places_R)
        parts.append((runs(ends_N1[rows], ends_N1[rows + 1] - ends_N1[rows]), logits.float().numpy()))
    logits_RC = np.empty((int(ends_N1[-1]), parts[0][1].shape[1]), dtype=np.float32)
    for at_R, part in parts:
        logits_RC[at_R] = part
    return logits_RC


def speeds(models: Sequence[Forward], split: Encoded, pad_id: int) -> list[Speed]:
    """How fast models are on the first texts of a split: tokens to logits, padded to the longest of a batch.

    They take turns at every batch, so what else the machine does meanwhile falls on all of them.
    """
    single = _seconds(models, _batches(split, pad_id, 1, N_SINGLE))
    large = _seconds(models, _batches(split, pad_id, LARGE, N_LARGE))
    return [
        Speed(milliseconds=1000 * one, texts_per_second=LARGE / many) for one, many in zip(single, large, strict=True)
    ]


def method() -> str:
    """How `speeds` measures, in one sentence for the card."""
    threads = "1 thread" if torch.get_num_threads() == 1 else f"{torch.get_num_threads()} threads"
    return (
        f"CPU, {threads}; the forward pass alone, from tokens to logits, on texts of the validation split, padded to "
        f"the longest of a batch; median of {N_SINGLE} single texts and of {N_LARGE} batches of {LARGE}, after "
        f"{WARM_UP} passes of each that do not count; the models took turns, text by text, so that whatever else the "
        "machine did fell on all of them"
    )


def _batches(split: Encoded, pad_id: int, size: int, n: int) -> list[dict[str, torch.Tensor]]:
    """`n` batches of the same size, from the beginning again where the split is small."""
    rows = np.resize(np.arange(len(split)), size * n).reshape(n, size)
    return [batches.collate(split, some, pad_id=pad_id).inputs() for some in rows]


def _seconds(models: Sequence[Forward], inputs: Sequence[dict[str, torch.Tensor]]) -> list[float]:
    """Median seconds of a pass of each model."""
    for model in models:
        for batch in inputs[:WARM_UP]:
            model(batch)
    taken: list[list[float]] = [[] for _ in models]
    for batch in inputs:
        for model, own in zip(models, taken, strict=True):
            started = time.perf_counter()
            model(batch)
            own.append(time.perf_counter() - started)
    return [median(own) for own in taken]
