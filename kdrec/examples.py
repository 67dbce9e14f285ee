"""Tasks and their examples: rows of text, and what a tokenizer makes of them. Frozen nouns over flat arrays.

Shape legend, used in all names of kdrec: B batch, C classes, L padded length, N examples, T tokens of a whole split,
R places where a head is read, U units that a loss counts.
"""

from __future__ import annotations

import hashlib
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

UNLABELLED: Final = -1
"""Label of a unit whose label nobody knows: the teacher alone says something of it."""
EMPTY_LABELS: Final = "empty labels"
"""In place of a file of rows without labels: they are the rows of the main file whose label cell is empty."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Rows of one split: texts, labels, stable example ids.

    What a row's texts and labels are is said by the family: one text, or two, and the index of a label; the words of a
    `tokens` row and the index of each one's tag; the question and the context of a `qa` row and the character spans of
    its answers in the context (start, end, start, end ...; none where it has no answer). Labels are flat: row `i` has
    `labels_U[offsets_N1[i]:offsets_N1[i + 1]]`, and without offsets `labels_U[i]`. A row without labels has
    `UNLABELLED` in the place of every one: once, once a word, or once for start and once for end.
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

    `notes` are sentences that count what its source holds and its splits do not. `transfer` are texts without labels,
    which a student learns from its teacher's answers; `teacher_train` is what the teacher is fine-tuned on where that
    is more than `train`. Neither is part of `fingerprint`: each has its own.
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
    transfer: Split | None = None
    transfer_fingerprint: str = ""
    """SHA-256 of `transfer`; empty where there is none."""
    teacher_train: Split | None = None
    teacher_fingerprint: str = ""
    """What `fingerprint` would be if `teacher_train` were `train`; empty where there is none."""

    def __post_init__(self) -> None:
        check_name("task", self.name)
        one_of("family", self.family, FAMILIES)
        if len(self.labels) < 2:
            raise BadArgument(f"task {self.name!r} needs at least two labels, got {list(self.labels)}")
        for split, fingerprint in (
            (self.transfer, self.transfer_fingerprint),
            (self.teacher_train, self.teacher_fingerprint),
        ):
            if (split is None) != (not fingerprint) or (split is not None and not len(split)):
                raise BadArgument(f"task {self.name!r}: rows that are there have a fingerprint, and no others")

    def for_teacher(self) -> Self:
        """The task as its teacher is fine-tuned on it: without the rows that only students see."""
        bare = replace(self, transfer=None, transfer_fingerprint="")
        if bare.teacher_train is None:
            return bare
        return replace(
            bare,
            train=bare.teacher_train,
            fingerprint=bare.teacher_fingerprint,
            teacher_train=None,
            teacher_fingerprint="",
        )

    def n_rows(self) -> dict[str, int]:
        """Rows of every split there is, by the names that limits of rows have."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        more = {"transfer": self.transfer, "teacher": self.teacher_train}
        return {name: len(split) for name, split in (splits | more).items() if split is not None}


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


def joined(first: Encoded, second: Encoded) -> Encoded:
    """The examples of two tokenised splits of one task, one after the other, as one; rows are counted through.

    Raises
    ------
    BadArgument
        When the two are not read alike.
    """
    if (first.reading and first.reading.axis) != (second.reading and second.reading.axis):
        raise BadArgument("splits that are joined must be read alike: at the same kind of places, or once an example")
    types_T = None
    if first.token_type_ids_T is not None or second.token_type_ids_T is not None:
        types_T = np.concatenate([_types_of(first), _types_of(second)])
    return Encoded(
        input_ids_T=np.concatenate([first.input_ids_T, second.input_ids_T]),
        token_type_ids_T=types_T,
        offsets_N1=_joined_offsets(first.offsets_N1, second.offsets_N1),
        labels_U=np.concatenate([first.labels_U, second.labels_U]),
        ids_N=np.concatenate([first.ids_N, second.ids_N]),
        n_truncated=first.n_truncated + second.n_truncated,
        n_lost=first.n_lost + second.n_lost,
        fingerprint=hashlib.sha256(f"{first.fingerprint} {second.fingerprint}".encode()).hexdigest(),
        reading=_joined_reading(first.reading, second.reading),
    )


def _types_of(split: Encoded) -> npt.NDArray[np.int8]:
    """Token types; a tokenizer that makes them all zero leaves them out."""
    return np.zeros(len(split.input_ids_T), dtype=np.int8) if split.token_type_ids_T is None else split.token_type_ids_T


def _joined_offsets(first_N1: Ints, second_N1: Ints) -> Ints:
    return np.concatenate([first_N1, second_N1[1:] + first_N1[-1]])


def _joined_reading(first: Reading | None, second: Reading | None) -> Reading | None:
    if first is None or second is None:
        return None
    n_rows = int(first.rows_N[-1]) + 1  # every row has an example, and examples are in the order of their rows
    return Reading(
        axis=first.axis,
        places_R=np.concatenate([first.places_R, second.places_R]),
        offsets_N1=_joined_offsets(first.offsets_N1, second.offsets_N1),
        rows_N=np.concatenate([first.rows_N, second.rows_N + n_rows]),
        origin_R2=np.concatenate([first.origin_R2, second.origin_R2]),
    )
