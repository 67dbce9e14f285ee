"""Rows to train, validation and test by content hash.

Two laws: rows of one group never straddle splits, and the split of a row depends on nothing but its own group. So a
file may grow, shrink or be shuffled, and no row moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, Protocol

import numpy as np

from kdrec.errors import DataError
from kdrec.examples import Family, Metric, Split, Task, offsets_of
from kdrec.tasks.rows import Row, Rows, Texts, digest, example_ids, fingerprint, normalise

TEST_SHARE: Final = 0.20
"""Share of groups that become the test split where the source has none."""
VALIDATION_SHARE: Final = 0.15
"""Share of the remaining groups that become the validation split."""

Part = Literal["train", "validation", "test"]
PARTS: Final[tuple[Part, ...]] = ("train", "validation", "test")
Group = Callable[[Texts], Texts]
"""What of a row's texts must stay together, in normal form."""


class Limits(Protocol):
    """At most this many rows of each split; None takes all (`kdrec.studies.RowLimits` is one)."""

    @property
    def train(self) -> int | None:
        """Limit of training rows."""

    @property
    def validation(self) -> int | None:
        """Limit of validation rows."""

    @property
    def test(self) -> int | None:
        """Limit of test rows."""


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
        When a split is empty, or a label has no training row (possible when limits are small).
    """
    parts: dict[Part, list[Row]] = {part: [] for part in PARTS}
    for row in rows.train:
        parts[part_of(group(row.texts), has_test=rows.test is not None)].append(row)
    parts["test"].extend(rows.test or ())
    limited = [(parts[part], None if limits is None else getattr(limits, part)) for part in PARTS]
    splits = [_split(some, rows.labels, family, limit) for some, limit in limited]
    _check_splits(name, family, rows.labels, splits)
    return Task(
        name=name,
        family=family,
        labels=rows.labels,
        metric=metric,
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        fingerprint=fingerprint(family, rows.labels, metric, splits),
        licence=licence,
        notes=rows.notes,
    )


def _split(rows: Sequence[Row], labels: tuple[str, ...], family: Family, limit: int | None) -> Split:
    """Rows in the order of their ids, which is an order of content hashes; at most `limit` of them."""
    ids_N = example_ids(rows)
    order_N = np.argsort(ids_N)[:limit]
    index = {label: at for at, label in enumerate(labels)}
    numbers = [_numbers(rows[at], index, family) for at in order_N]
    several = family in ("tokens", "qa")
    return Split(
        texts=tuple(rows[at].texts for at in order_N),
        labels_U=np.array([number for some in numbers for number in some], dtype=np.int64),
        ids_N=ids_N[order_N],
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
