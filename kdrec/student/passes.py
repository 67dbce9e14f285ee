"""Passes of a model over examples, whatever computes them, and how long they take on this machine.

`Forward` takes the tensors of a batch and gives the logits of the head. Logits are read at the places of the split, as
in training.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
MOST_WAITED: Final = 0.2
"""Share of the time of all passes that they may have waited for a processor; above, the machine is busy."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Milliseconds for one text alone, and texts a second in batches of `LARGE`, each with its interquartile range.

    The figures are of the lower quartile of the seconds: what else a machine does only ever adds to them.
    """

    milliseconds: float
    milliseconds_q75: float
    texts_per_second: float
    texts_per_second_q75: float
    """Of the upper quartile of the seconds: at most `texts_per_second`."""

    @classmethod
    def of(cls, single: Sequence[float], large: Sequence[float]) -> Speed:
        """From the seconds of passes over one text, and over batches of `LARGE`."""
        (one, one_q75), (many, many_q75) = (np.quantile(seconds, (0.25, 0.75)) for seconds in (single, large))
        return cls(
            milliseconds=float(1000 * one),
            milliseconds_q75=float(1000 * one_q75),
            texts_per_second=float(LARGE / many),
            texts_per_second_q75=float(LARGE / many_q75),
        )


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """Speeds of several models, and what the machine did beside them.

    `waited` is the share of the time of all passes in which no processor worked on them, `load` the mean of a minute.
    """

    each: tuple[Speed, ...]
    waited: float
    load: float
    n_cores: int

    @property
    def is_busy(self) -> bool:
        """Whether the machine did too much else for the seconds to mean anything."""
        return self.waited > MOST_WAITED

    @property
    def known(self) -> tuple[Speed | None, ...]:
        """The speeds, or as often None where the machine was busy."""
        return (None,) * len(self.each) if self.is_busy else self.each

    def method(self) -> str:
        """How it was measured, or why it was not, for the card."""
        waited = f"passes waited {100 * max(0.0, self.waited):.0f} % of the time"
        beside = f"load {self.load:.1f} on {self.n_cores} cores, {waited}"
        if self.is_busy:
            return (
                f"Speed was not measured: the machine was busy ({beside}; more than {100 * MOST_WAITED:.0f} % is "
                "refused). Distil again when it is quiet: nothing is trained twice, and the card is written anew"
            )
        threads = "1 thread" if torch.get_num_threads() == 1 else f"{torch.get_num_threads()} threads"
        return (
            f"Measured here: CPU, {threads}, {beside}; the forward pass alone, from tokens to logits, on texts of the "
            f"validation split, padded to the longest of a batch; lower quartile (to upper quartile) of {N_SINGLE} "
            f"single texts and of {N_LARGE} batches of {LARGE}, after {WARM_UP} passes of each that do not count; the "
            "models took turns, text by text, so that whatever else the machine did fell on all of them"
        )


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


def speeds(models: Sequence[Forward], split: Encoded, pad_id: int) -> Speeds:
    """How fast models are on the first texts of a split: tokens to logits, padded to the longest of a batch.

    They take turns at every batch, so what else the machine does meanwhile falls on all of them. Where it does so much
    that the passes waited for a processor, nothing is said of any.
    """
    single = _passes(models, _batches(split, pad_id, 1, N_SINGLE))
    large = _passes(models, _batches(split, pad_id, LARGE, N_LARGE))
    return Speeds(
        each=tuple(Speed.of(one.seconds, many.seconds) for one, many in zip(single, large, strict=True)),
        waited=1
        - sum(part.worked for part in (*single, *large)) / sum(sum(part.seconds) for part in (*single, *large)),
        load=os.getloadavg()[0],
        n_cores=os.cpu_count() or 1,
    )


def _batches(split: Encoded, pad_id: int, size: int, n: int) -> list[dict[str, torch.Tensor]]:
    """`n` batches of the same size, from the beginning again where the split is small."""
    rows = np.resize(np.arange(len(split)), size * n).reshape(n, size)
    return [batches.collate(split, some, pad_id=pad_id).inputs() for some in rows]


@dataclass(frozen=True, kw_only=True)
class _Passes:
    """Seconds of every pass of one model, and how many of all these seconds a processor worked on it."""

    seconds: tuple[float, ...]
    worked: float


def _passes(models: Sequence[Forward], inputs: Sequence[dict[str, torch.Tensor]]) -> list[_Passes]:
    """Passes of each model over the same inputs, in turns."""
    for model in models:
        for batch in inputs[:WARM_UP]:
            model(batch)
    taken: list[list[float]] = [[] for _ in models]
    worked = [0.0 for _ in models]
    for batch in inputs:
        for at, model in enumerate(models):
            started, busy = time.perf_counter(), time.process_time()
            model(batch)
            seconds = time.perf_counter() - started
            taken[at].append(seconds)
            worked[at] += min(seconds, time.process_time() - busy)  # several threads work more than a second in one
    return [_Passes(seconds=tuple(own), worked=work) for own, work in zip(taken, worked, strict=True)]
