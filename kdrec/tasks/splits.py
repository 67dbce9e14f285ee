"""Rows to train, validation and test by content hash.

Two laws: rows of one group never straddle splits, and the split of a row depends on nothing but its own group. So a
file may grow, shrink or be shuffled, and no row moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, Literal, Protocol

import numpy as np

from kdrec.errors import DataError
from kdrec.examples import Family, Metric, Split, Task, offsets_of
from kdrec.tasks import transfer
from kdrec.tasks.rows import Row, Rows, Texts, digest, example_ids, fingerprint, normalise

TEST_SHARE: Final = 0.20
"""Share of groups that become the test split where the source has none."""
VALIDATION_SHARE: Final = 0.15
"""Share of the remaining groups that become the validation split."""

Part = Literal["train", "validation", "test"]
PARTS: Final[tuple[Part, ...]] = ("train", "validation", "test")
Group = Callable[[Texts], Texts]
"""What of a row's texts must stay together, in normal form."""
Numbered = tuple[Row, int]
"""A row and its id."""


class Limits(Protocol):
    """At most this many rows of each split; None takes all (`kdrec.studies.RowLimits` is one).

    Of rows without labels, None takes all that a source has of its own.
    """

    @property
    def train(self) -> int | None:
        """Limit of training rows."""

    @property
    def validation(self) -> int | None:
        """Limit of validation rows."""

    @property
    def test(self) -> int | None:
        """Limit of test rows."""

    @property
    def transfer(self) -> int | None:
        """Rows without labels."""

    @property
    def teacher(self) -> int | None:
        """Limit of the rows that the teacher is fine-tuned on; None: the training rows."""


def whole(texts: Texts) -> Texts:
    """The group of all duplicates: every text in normal form, in any order (a swapped pair is the same pair)."""
    return tuple(sorted(map(normalise, texts)))


def first_text(texts: Texts) -> Texts:
    """The group of all pairs that share their first text."""
    return (normalise(texts[0]),)


def word_before_colon(texts: Texts) -> Texts:
    """The group of all rows about one word, where a text reads `word: usage`."""
    return (normalise(texts[0].partition(":")[0]),)


def part_of(group: Texts, *, has_test: bool) -> Part:
    """The split of a group, drawn from its SHA-256: test and validation use independent halves of it."""
    hashed = digest("kdrec split", *group)
    if not has_test and _share(hashed[:8]) < TEST_SHARE:
        return "test"
    return "validation" if _share(hashed[8:16]) < VALIDATION_SHARE else "train"


def _share(eight_bytes: bytes) -> float:
    return int.from_bytes(eight_bytes, "big") / 2.0**64


def apart_from(train: Iterable[Row], test: Iterable[Row], group: Group) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Training rows whose group does not occur in the test split, and those whose group does."""
    held_out = {group(row.texts) for row in test}
    kept: list[Row] = []
    leaking: list[Row] = []
    for row in train:
        (leaking if group(row.texts) in held_out else kept).append(row)
    return tuple(kept), tuple(leaking)


def make_task(
    name: str,
    rows: Rows,
    *,
    family: Family,
    metric: Metric,
    licence: str,
    group: Group = whole,
    limits: Limits | None = None,
) -> Task:
    """Split rows and build the task.

    Raises
    ------
    DataError
        When a split is empty, or a label has no training row (possible when limits are small); when more rows without
        labels are asked for than there are, or none of those that there are is usable.
    """
    parts: dict[Part, list[Row]] = {part: [] for part in PARTS}
    for row in rows.train:
        parts[part_of(group(row.texts), has_test=rows.test is not None)].append(row)
    parts["test"].extend(rows.test or ())
    ordered = {part: _in_order(parts[part]) for part in PARTS}
    limited = {part: ordered[part][: None if limits is None else getattr(limits, part)] for part in PARTS}
    splits = [_split(limited[part], rows.labels, family) for part in PARTS]
    _check_splits(name, family, rows.labels, splits)
    unlabelled, notes = _transfer(name, rows, ordered, len(limited["train"]), group, limits)
    task = Task(
        name=name,
        family=family,
        labels=rows.labels,
        metric=metric,
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        fingerprint=fingerprint(family, rows.labels, metric, splits),
        licence=licence,
        notes=(*rows.notes, *notes),
    )
    n_taught = None if limits is None else limits.teacher
    return _with_more(task, unlabelled, ordered["train"][: n_taught or 0])


def _with_more(task: Task, unlabelled: Sequence[Row], taught: Sequence[Numbered]) -> Task:
    """The task with its rows without labels, and with those of its teacher where these are more than its own."""
    if unlabelled:
        split = transfer.bare_split(unlabelled, task.family)
        task = replace(task, transfer=split, transfer_fingerprint=transfer.fingerprint(split))
    if len(taught) <= len(task.train):
        return task
    split = _split(taught, task.labels, task.family)
    content = fingerprint(task.family, task.labels, task.metric, [split, task.validation, task.test])
    return replace(task, teacher_train=split, teacher_fingerprint=content)


def _transfer(
    task: str, rows: Rows, ordered: dict[Part, list[Numbered]], n_train: int, group: Group, limits: Limits | None
) -> tuple[list[Row], tuple[str, ...]]:
    """Rows without labels, and sentences that count what was left out: the source's own, else what `train` leaves."""
    limit = None if limits is None else limits.transfer
    if limit == 0 or (limit is None and rows.unlabelled is None):
        return [], ()
    if rows.unlabelled is None:
        where, candidates = "training rows that rows.train leaves over", _rows_of(ordered["train"][n_train:])
    else:
        where, candidates = rows.unlabelled_from, transfer.by_content(rows.unlabelled)
    kept, notes = transfer.usable(
        candidates,
        where,
        held_out=frozenset(group(row.texts) for part in PARTS[1:] for row in _rows_of(ordered[part])),
        groups=[group(row.texts) for row in candidates],
        train=_rows_of(ordered["train"][:n_train]),
    )
    if not kept and rows.unlabelled is not None:
        said = "; ".join(notes) or "there is none"
        raise DataError(f"task {task!r} has no usable row without labels ({where}): {said}")
    return transfer.limited(kept, limit, task, where), notes


def _rows_of(numbered: Iterable[Numbered]) -> list[Row]:
    return [row for row, _ in numbered]


def _in_order(rows: Sequence[Row]) -> list[Numbered]:
    """Rows with their ids, in the order of these, which is an order of content hashes."""
    ids_N = example_ids(rows)
    return [(rows[at], int(ids_N[at])) for at in np.argsort(ids_N)]


def _split(rows: Sequence[Numbered], labels: tuple[str, ...], family: Family) -> Split:
    """Rows in their order."""
    index = {label: at for at, label in enumerate(labels)}
    numbers = [_numbers(row, index, family) for row, _ in rows]
    several = family in ("tokens", "qa")
    return Split(
        texts=tuple(row.texts for row, _ in rows),
        labels_U=np.array([number for some in numbers for number in some], dtype=np.int64),
        ids_N=np.array([number for _, number in rows], dtype=np.int64),
        offsets_N1=offsets_of(np.array([len(some) for some in numbers], dtype=np.int64)) if several else None,
    )


def _numbers(row: Row, index: dict[str, int], family: Family) -> Sequence[int]:
    """The labels of a row as `kdrec.examples.Split` has them."""
    if family == "qa":
        return [place for span in row.spans for place in span]
    return [index[tag] for tag in row.tags] if family == "tokens" else [index[row.label]]


def _check_splits(name: str, family: Family, labels: tuple[str, ...], splits: Sequence[Split]) -> None:
    for part, split in zip(PARTS, splits, strict=True):
        if not len(split):
            raise DataError(f"task {name!r} has no {part} row: too few different texts to split; add rows")
    if family not in ("sentence", "pair"):  # a rare tag may well be absent; an answer is no label
        return
    counts = Counter(splits[0].labels_U.tolist())
    missing = [label for at, label in enumerate(labels) if not counts[at]]
    if missing:
        raise DataError(
            f"task {name!r}: {len(missing)} of {len(labels)} labels, such as {missing[0]!r}, have no row among the "
            f"{len(splits[0])} training rows; take or add more rows, or merge rare labels"
        )
