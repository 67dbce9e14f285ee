"""Rows without labels: which of them a student may see, and how many of them there are.

A row that also stands in the validation or test split would be learnt from the teacher's answer to it, and then asked;
one that repeats a training text has a label already. Both are left out, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from kdrec.errors import DataError
from kdrec.examples import UNLABELLED, Family, Ints, Split, offsets_of
from kdrec.tasks.rows import Row, Texts, digest, example_ids, normalise

KIND: Final = "transfer"
"""Part of the id of every row without labels, so that none is taken for a labelled row."""


def spelling(texts: Texts) -> Texts:
    """Texts in normal form, in their order: what makes a row without labels a repeat of a training row."""
    return tuple(map(normalise, texts))


def usable(
    rows: Sequence[Row], where: str, *, held_out: frozenset[Texts], groups: Sequence[Texts], train: Iterable[Row]
) -> tuple[list[Row], tuple[str, ...]]:
    """Rows that a student may see without their labels, in their order, and sentences that count the others.

    Parameters
    ----------
    rows : sequence of Row
        Candidates.
    where : str
        Where they are, in words.
    held_out : frozenset of tuple of str
        Groups of all validation and test rows.
    groups : sequence of tuple of str
        Group of every candidate.
    train : iterable of Row
        The student's labelled rows.
    """
    labelled = {spelling(row.texts) for row in train}
    apart = [row for row, group in zip(rows, groups, strict=True) if group not in held_out]
    kept = [row for row in apart if spelling(row.texts) not in labelled]
    notes = []
    for n, why in (
        (len(rows) - len(apart), "that also stand in the validation or test split"),
        (len(apart) - len(kept), "that repeat a training row"),
    ):
        if n:
            notes.append(f"{n} of {len(rows)} rows without labels ({where}) {why} were left out")
    return kept, tuple(notes)


def limited(rows: list[Row], limit: int | None, task: str, where: str) -> list[Row]:
    """The first `limit` rows.

    Raises
    ------
    DataError
        When fewer are there.
    """
    if limit is not None and limit > len(rows):
        raise DataError(
            f"task {task!r}: rows.transfer asks for {limit} rows without labels, and there are {len(rows)} usable ones "
            f"({where}); lower it"
        )
    return rows[:limit]


def bare_split(rows: Sequence[Row], family: Family) -> Split:
    """Rows of any kind as a split without labels, in their order: labels are dropped at the door."""
    bare = _bare(rows)
    counts = np.array([len(row.texts) if family == "tokens" else 2 for row in bare], dtype=np.int64)
    several = family in ("tokens", "qa")
    return Split(
        texts=tuple(row.texts for row in bare),
        labels_U=np.full(int(counts.sum()) if several else len(bare), UNLABELLED, dtype=np.int64),
        ids_N=example_ids(bare, KIND),
        offsets_N1=offsets_of(counts) if several else None,
    )


def by_content(rows: Sequence[Row]) -> list[Row]:
    """Rows without labels in the order of their content hash, whatever order they came in."""
    bare = _bare(rows)
    order_N: Ints = np.argsort(example_ids(bare, KIND))
    return [bare[at] for at in order_N]


def _bare(rows: Sequence[Row]) -> list[Row]:
    return [Row(texts=row.texts) for row in rows]


def fingerprint(split: Split) -> str:
    """SHA-256 of what the rows are."""
    return digest(KIND, *(digest(*texts).hex() for texts in split.texts)).hex()
