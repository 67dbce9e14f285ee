"""Which examples share a batch, in which order, and how a batch of them becomes padded tensors.

The plan is a pure function of lengths, batch size, epochs and seed; its hash is logged, so that two runs can prove that
they saw the same batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from kdrec.errors import BadArgument, MismatchError
from kdrec.examples import Encoded, Ints, runs
from kdrec.signals import TeacherSignal

BUCKET_BATCHES = 32
"""Batches whose examples are sorted by length together: enough to leave about a tenth of padding, few enough that the
order of examples stays random between epochs."""


def plan_epoch(lengths_N: Ints, batch_size: int, *, seed: int, epoch: int) -> list[Ints]:
    """Shuffle examples, sort them by length within buckets of `BUCKET_BATCHES` batches, shuffle the batches.

    Every example is in exactly one batch; only one batch may be short.
    """
    rng = np.random.default_rng([seed, epoch])
    order_N = rng.permutation(len(lengths_N))
    batches: list[Ints] = []
    for start in range(0, len(order_N), batch_size * BUCKET_BATCHES):
        bucket = order_N[start : start + batch_size * BUCKET_BATCHES]
        bucket = bucket[np.argsort(lengths_N[bucket], kind="stable")]
        batches += [bucket[i : i + batch_size] for i in range(0, len(bucket), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def plan(lengths_N: Ints, batch_size: int, *, n_steps: int, seed: int) -> list[Ints]:
    """The batches of a whole training run, in order: epoch after epoch, the last one cut where the steps end."""
    if len(lengths_N) == 0:
        raise BadArgument("a training split needs at least one example, got none")
    batches: list[Ints] = []
    epoch = 0
    while len(batches) < n_steps:
        batches += plan_epoch(lengths_N, batch_size, seed=seed, epoch=epoch)
        epoch += 1
    return batches[:n_steps]


def plan_hash(batches: Sequence[Ints], ids_N: Ints) -> str:
    """Hash of the example ids in the order in which they are seen."""
    digest = hashlib.sha256()
    for batch in batches:
        digest.update(np.ascontiguousarray(ids_N[batch], dtype=np.int64).tobytes())
        digest.update(b"|")
    return digest.hexdigest()[:16]


def evaluation_batches(lengths_N: Ints, max_tokens: int = 4096) -> Iterator[Ints]:
    """Batches of nearly equal lengths, at most `max_tokens` padded tokens each (a longer example stands alone)."""
    order_N = np.argsort(lengths_N, kind="stable")
    batch: list[int] = []
    for i in order_N:
        if batch and (len(batch) + 1) * lengths_N[i] > max_tokens:
            yield np.asarray(batch, dtype=np.int64)
            batch = []
        batch.append(int(i))
    if batch:
        yield np.asarray(batch, dtype=np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Padded tensors of B examples; `teacher_RC` is there when a teacher is.

    `counts_B` and `places_R` say where the head is read (`kdrec.examples.Reading`); None: once an example.
    """

    input_ids_BL: torch.Tensor
    attention_mask_BL: torch.Tensor
    token_type_ids_BL: torch.Tensor | None
    labels_U: torch.Tensor
    teacher_RC: torch.Tensor | None = None
    counts_B: torch.Tensor | None = None
    places_R: torch.Tensor | None = None

    def inputs(self) -> dict[str, torch.Tensor]:
        """Keyword arguments of a transformers encoder."""
        inputs = {"input_ids": self.input_ids_BL, "attention_mask": self.attention_mask_BL}
        return inputs if self.token_type_ids_BL is None else {**inputs, "token_type_ids": self.token_type_ids_BL}

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""
        moved = {name: value.to(device, non_blocking=True) for name, value in vars(self).items() if value is not None}
        return replace(self, **moved)


def collate(
    split: Encoded,
    rows_B: Ints,
    *,
    pad_id: int,
    vocabulary_V: Ints | None = None,
    signal: TeacherSignal | None = None,
) -> Batch:
    """Pad the examples `rows_B` of a flat split, joined to the teacher's logits by example id.

    Parameters
    ----------
    split : Encoded
        The tokenised split.
    rows_B : numpy.ndarray
        Examples of the batch.
    pad_id : int
        Padding token, in the vocabulary the model speaks.
    vocabulary_V : numpy.ndarray, optional
        New index of every token id, where the model's vocabulary was made compact.
    signal : TeacherSignal, optional
        The teacher.
    """
    lengths_B = split.lengths_N[rows_B]
    inside_BL = np.arange(lengths_B.max())[None, :] < lengths_B[:, None]
    at_T = _flat(split.offsets_N1, rows_B)
    tokens_T: npt.NDArray[Any] = split.input_ids_T[at_T]
    input_ids_BL = np.full(inside_BL.shape, pad_id, dtype=np.int64)
    if vocabulary_V is not None:
        tokens_T = vocabulary_V[tokens_T]
        if tokens_T.min() < 0:
            raise MismatchError("the split holds tokens that the model's compact vocabulary was not built for")
    input_ids_BL[inside_BL] = tokens_T
    token_type_ids_BL = None
    if split.token_type_ids_T is not None:
        token_type_ids_BL = np.zeros(inside_BL.shape, dtype=np.int64)
        token_type_ids_BL[inside_BL] = split.token_type_ids_T[at_T]
    reading = split.reading
    return Batch(
        input_ids_BL=torch.from_numpy(input_ids_BL),
        attention_mask_BL=torch.from_numpy(inside_BL.astype(np.int64)),
        token_type_ids_BL=None if token_type_ids_BL is None else torch.from_numpy(token_type_ids_BL),
        labels_U=_tensor(split.labels_U[_flat(split.unit_offsets_N1, rows_B)]),
        teacher_RC=None if signal is None else torch.from_numpy(signal.lookup(np.asarray(split.ids_N[rows_B]))),
        counts_B=None if reading is None else _tensor(reading.counts_N[rows_B]),
        places_R=None if reading is None else _tensor(reading.places_R[_flat(reading.offsets_N1, rows_B)]),
    )


def _flat(offsets_N1: Ints, rows_B: Ints) -> Ints:
    """Indices of all that flat arrays hold of these examples, one after the other."""
    return runs(offsets_N1[rows_B], offsets_N1[rows_B + 1] - offsets_N1[rows_B])


def _tensor(values: Ints) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64))
