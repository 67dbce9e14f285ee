"""Tasks and their examples: rows of text, and what a tokenizer makes of them. Frozen nouns over flat arrays.

Shape legend, used in all names of kdrec: B batch, C classes, L padded length, N examples, T tokens of a whole split,
R places where a head is read, U units that a loss counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Literal, Self

import numpy as np
import numpy.typing as npt

from kdrec.checks import check_name, one_of
from kdrec.errors import BadArgument

Family = Literal["sentence", "pair", "tokens", "qa"]
Metric = Literal["accuracy", "macro_f1", "span_f1", "squad_f1"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FAMILIES: Final[tuple[Family, ...]] = ("sentence", "pair", "tokens", "qa")
METRICS: Final[tuple[Metric, ...]] = ("accuracy", "macro_f1", "span_f1", "squad_f1")


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Rows of one split: texts, labels, stable example ids.

    What a row's texts and labels are is said by the family: one text, or two, and the index of a label; the words of a
    `tokens` row and the index of each one's tag; the question and the context of a `qa` row and the character spans of
    its answers in the context (start, end, start, end ...; none where it has no answer). Labels are flat: row `i` has
    `labels_U[offsets_N1[i]:offsets_N1[i + 1]]`, and without offsets `labels_U[i]`.
    """

    texts: tuple[tuple[str, ...], ...]
    labels_U: Ints
    ids_N: Ints
    offsets_N1: Ints | None = None

    def __post_init__(self) -> None:
        n_labels = len(self.labels_U) if self.offsets_N1 is None else len(self.offsets_N1) - 1
        if not (len(self.texts) == n_labels == len(self.ids_N)):
            raise BadArgument("texts, labels and ids of a split must be of one length")
        if len(np.unique(self.ids_N)) != len(self.ids_N):
            raise BadArgument("example ids of a split must be unique")

    def __len__(self) -> int:
        return len(self.texts)

    def labels_of(self, row: int) -> Ints:
        """The labels of one row."""
        return self.labels_U[row : row + 1] if self.offsets_N1 is None else _piece(self.labels_U, self.offsets_N1, row)

    def every(self, step: int) -> Self:
        """Every `step`-th row."""
        if self.offsets_N1 is None:
            return replace(self, texts=self.texts[::step], labels_U=self.labels_U[::step], ids_N=self.ids_N[::step])
        labels = [self.labels_of(row) for row in range(0, len(self), step)]
        return replace(
            self,
            texts=self.texts[::step],
            labels_U=np.concatenate(labels),
            ids_N=self.ids_N[::step],
            offsets_N1=offsets_of(np.array([len(row) for row in labels])),
        )


def _piece(flat: Ints, offsets: Ints, at: int) -> Ints:
    return flat[offsets[at] : offsets[at + 1]]


def offsets_of(counts_N: Ints) -> Ints:
    """Where the piece of each of N begins in a flat array of pieces of these lengths, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(counts_N)]).astype(np.int64)


def runs(starts_N: Ints, counts_N: Ints) -> Ints:
    """Indices of runs, one after the other.

    >>> runs(np.array([7, 2]), np.array([2, 3])).tolist()
    [7, 8, 2, 3, 4]
    """
    before_N = np.cumsum(counts_N) - counts_N
    return np.repeat(starts_N - before_N, counts_N) + np.arange(int(counts_N.sum()))


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A dataset with a family, labels in a fixed order, three splits, one main metric and a content fingerprint.

    `notes` are sentences that count what its source holds and its splits do not.
    """

    name: str
    family: Family
    labels: tuple[str, ...]
    metric: Metric
    train: Split
    validation: Split
    test: Split
    fingerprint: str
    licence: str = "unknown"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name("task", self.name)
        one_of("family", self.family, FAMILIES)
        if len(self.labels) < 2:
            raise BadArgument(f"task {self.name!r} needs at least two labels, got {list(self.labels)}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """Where the head of a model is read: R places of a whole split, those of each of its N examples in a row.

    `axis` says what a softmax runs over. `classes`: every place is a unit with C logits (a labelled word). `positions`:
    each of the head's columns is a unit, whose classes are the places of its example (start and end of an answer).
    """

    axis: Literal["classes", "positions"]
    places_R: Ints
    """Position in the tokens of the example, which are counted from its first special token."""
    offsets_N1: Ints
    rows_N: Ints
    """Row of the split that the example is cut from: several examples may be windows of one row."""
    origin_R2: Ints
    """What a place stands for in its row: words (`classes`) or characters (`positions`), from and up to; -1 twice for
    the place that stands for no answer."""

    @cached_property
    def counts_N(self) -> Ints:
        """Places of every example."""
        return np.diff(self.offsets_N1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """One tokenised split, flat (and memory-mapped when it comes from the cache).

    `input_ids_T[offsets_N1[i]:offsets_N1[i + 1]]` are the tokens of example `i`, special tokens included; `labels_U` is
    what the family's head predicts, unit by unit; without a `reading` the head is read once an example, at its first
    token. `n_truncated` counts rows cut at `max_length`, `n_lost` labels and answers that no example holds for that.
    """

    input_ids_T: npt.NDArray[np.int32]
    token_type_ids_T: npt.NDArray[np.int8] | None
    offsets_N1: Ints
    labels_U: Ints
    ids_N: Ints
    n_truncated: int
    fingerprint: str
    n_lost: int = 0
    reading: Reading | None = None

    def __len__(self) -> int:
        return len(self.ids_N)

    @cached_property
    def lengths_N(self) -> Ints:
        """Unpadded length of every example, in tokens."""
        return np.diff(self.offsets_N1)

    @cached_property
    def units_N(self) -> Ints:
        """Units of every example: what a loss counts."""
        if self.reading is None:
            return np.ones(len(self), dtype=np.int64)
        if self.reading.axis == "classes":
            return self.reading.counts_N
        return np.full(len(self), len(self.labels_U) // len(self), dtype=np.int64)

    @cached_property
    def unit_offsets_N1(self) -> Ints:
        """Where the units of every example begin in `labels_U`."""
        return offsets_of(self.units_N)
