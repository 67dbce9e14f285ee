"""Rows as they come from a source, and what identifies them: normal form, example ids, fingerprint of a task.

No file is opened here and nothing is split; a row is a row whatever file, order or neighbours it came with.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from kdrec.types import Family, Ints, Metric, Split

Texts = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, order=True)
class Row:
    """One example of a source: its texts, and what its family has for a label.

    That is the name of one label; or a tag for each word, which its texts then are; or the character spans (from and up
    to) of the answers in its second text, none where there is no answer.
    """

    texts: Texts
    label: str = ""
    tags: tuple[str, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def truth(self) -> tuple[str, ...]:
        """All of its label, tags and spans, as texts."""
        return (self.label, *self.tags, *(str(place) for span in self.spans for place in span))


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What a reader made of a source: label names in a fixed order, rows, and what it left out, in sentences.

    `test` is None where the source publishes no test split. `unlabelled` are rows whose labels nobody knows, and
    `unlabelled_from` says in words where they are; None where the source has none of its own.
    """

    labels: tuple[str, ...]
    train: tuple[Row, ...]
    test: tuple[Row, ...] | None = None
    notes: tuple[str, ...] = ()
    unlabelled: tuple[Row, ...] | None = None
    unlabelled_from: str = ""


def normalise(text: str) -> str:
    r"""Text up to case and white space: what makes two rows duplicates of each other.

    >>> normalise(" Good\n  Phone ")
    'good phone'
    """
    return " ".join(text.casefold().split())


def digest(*parts: str) -> bytes:
    """SHA-256 of texts; lengths are hashed too, so that ("ab", "c") and ("a", "bc") differ."""
    hashed = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(8, "big"))
        hashed.update(data)
    return hashed.digest()


def example_ids(rows: Sequence[Row], kind: str = "") -> Ints:
    """Int64 ids: the first 8 bytes of the hash of texts, labels and occurrence among identical rows.

    Rows of another `kind` have other ids, whatever their texts.
    """
    seen: Counter[Row] = Counter()
    ids_N = np.empty(len(rows), dtype=np.int64)
    for at, row in enumerate(rows):
        hashed = digest(*filter(None, [kind]), *row.texts, *row.truth, str(seen[row]))
        ids_N[at] = int.from_bytes(hashed[:8], "big", signed=True)
        seen[row] += 1
    return ids_N


def once_each(rows: Iterable[Row]) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """One row per text in normal form, and sentences that count what was left out.

    Of several spellings the first in alphabetical order stays. A text that occurs with contradictory labels has no
    truth to learn or to be scored on, so it is left out with all its copies.
    """
    spellings: defaultdict[Texts, set[Row]] = defaultdict(set)
    n_rows = 0
    for row in rows:
        n_rows += 1
        spellings[tuple(map(normalise, row.texts))].add(row)
    agreed = [min(copies) for copies in spellings.values() if len({row.truth for row in copies}) == 1]
    repeats, contradicted = n_rows - len(spellings), len(spellings) - len(agreed)
    notes = []
    if repeats:
        notes.append(f"{repeats} of {n_rows} rows repeat the text of another row and were left out")
    if contradicted:
        notes.append(f"{contradicted} texts with contradictory labels were left out")
    return tuple(sorted(agreed)), tuple(notes)


def fingerprint(family: Family, labels: Sequence[str], metric: Metric, splits: Sequence[Split]) -> str:
    """SHA-256 of what a task is: family, labels in order, metric and the rows of every split; not its name."""
    hashed = hashlib.sha256(digest(family, metric, *labels))
    for split in splits:
        hashed.update(len(split).to_bytes(8, "big"))
        for numbers in (split.labels_U, split.offsets_N1):
            hashed.update(b"" if numbers is None else numbers.astype("<i8").tobytes())
        for texts in split.texts:
            hashed.update(digest(*texts))
    return hashed.hexdigest()
