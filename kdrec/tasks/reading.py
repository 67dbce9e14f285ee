"""What was understood of a user's file, to be shown before it is used: rows, columns, labels, metric, splits, notes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from kdrec.examples import Family, Metric, Task
from kdrec.tasks.labels import as_number

_PLACEHOLDER: Final = re.compile(r"n/?a|none|null|nil|unknown|other|\?+|-+|_+|\.+|x+|todo|#.*", re.IGNORECASE)
LONG: Final = 40
"""Characters of a label from which it is taken for a text."""


@dataclass(frozen=True, kw_only=True)
class LabelCount:
    """A label or tag, and how many rows (words, of tags) have it."""

    name: str
    count: int


@dataclass(frozen=True, kw_only=True)
class ReadReport:
    """What a file was read as. `n_rows` are those with labels; a question without an answer counts as `n_unanswered`.

    `labels` are in descending order of their counts, all of them; `odd` are the names that look least like the others.
    `notes` are sentences: what was left out, merged, split, or may be meant otherwise.
    """

    file: str
    test_file: str | None
    n_rows: int
    text: tuple[str, ...]
    label: str
    family: Family
    metric: Metric
    labels: tuple[LabelCount, ...]
    odd: tuple[str, ...]
    n_unanswered: int | None
    splits: dict[str, int]
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        task: Task,
        *,
        file: str | Path,
        text: Sequence[str],
        label: str,
        test: str | Path | None = None,
        notes: Sequence[str] = (),
    ) -> Self:
        """What the task made of a file tells; `text` and `label` are the columns it was read from."""
        parts = {"train": task.train, "validation": task.validation, "test": task.test}
        spans = task.family == "qa"
        counts: Counter[str] = Counter()
        for part in () if spans else parts.values():
            counted = np.bincount(part.labels_U, minlength=len(task.labels)).tolist()
            counts.update(dict(zip(task.labels, counted, strict=True)))
        unanswered = sum(not len(part.labels_of(row)) for part in parts.values() for row in range(len(part)))
        return cls(
            file=Path(file).name,
            test_file=None if test is None else Path(test).name,
            n_rows=sum(map(len, parts.values())),
            text=(text,) if isinstance(text, str) else tuple(text),
            label=label,
            family=task.family,
            metric=task.metric,
            labels=tuple(LabelCount(name=name, count=count) for name, count in counts.most_common()),
            odd=odd(list(counts)),
            n_unanswered=unanswered if spans else None,
            splits=task.n_rows(),
            notes=(*task.notes, *notes, *_doubts(task, list(counts))),
        )

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self)

    def sentence(self) -> str:
        """All of it in one line without its last full stop, for a message."""
        return " ".join([*self.lines(), *(f"{note[:1].upper()}{note[1:]}." for note in self.notes)]).removesuffix(".")

    def lines(self) -> list[str]:
        """Two or three lines: the file, its labels, its splits."""
        columns = " and ".join(map(repr, self.text))
        splits = ", ".join(f"{count:,} {_PARTS.get(name, name)}" for name, count in self.splits.items())
        origin = f"; test rows are those of {self.test_file}" if self.test_file else ", by content"
        lines = [
            f"{self.file} was read as {self.n_rows:,} rows of {_FAMILIES[self.family]}: {columns} with {self.label!r}, "
            f"scored by {self.metric}."
        ]
        if self.n_unanswered:
            lines.append(f"{self.n_unanswered:,} of the questions have no answer.")
        if self.labels:
            lines.append(self._labels())
        return [*lines, f"Splits: {splits}{origin}."]

    def _labels(self) -> str:
        """The labels with their counts; of many the largest, the rarest and the oddest."""
        kind, unit = ("tags", "words") if self.family == "tokens" else ("labels", "rows")
        strange = f"; oddest {', '.join(map(_shown, self.odd))}" if self.odd else ""
        if len(self.labels) <= FEW:
            return f"Its {len(self.labels)} {kind}, with their {unit}: {_listed(self.labels)}{strange}."
        rarest = _listed(self.labels[:-4:-1])
        return (
            f"Its {len(self.labels)} {kind}, with their {unit}: largest {_listed(self.labels[:3])}; rarest {rarest}"
            f"{strange}."
        )


FEW: Final = 8
_PARTS: Final = {"transfer": "without labels", "teacher": "for the teacher"}
_FAMILIES: Final[dict[Family, str]] = {
    "sentence": "texts with a label",
    "pair": "pairs of texts with a label",
    "tokens": "words with tags",
    "qa": "questions about a context",
}


def odd(names: Sequence[str]) -> tuple[str, ...]:
    """At most three names that look least like the others: placeholders, numbers among words, whole texts."""
    numbers = [name for name in names if as_number(name) is not None]
    few_numbers = numbers if len(numbers) < len(names) / 2 else ()
    texts = [name for name in names if len(name) > LONG]
    holders = [name for name in names if _PLACEHOLDER.fullmatch(name)]
    negative = [name for name in numbers if name.startswith("-")] if len(numbers) == len(names) else []
    found = dict.fromkeys([*few_numbers, *holders, *texts, *(negative if len(negative) == 1 else ())])
    return tuple(found)[:3]


def _doubts(task: Task, names: Sequence[str]) -> list[str]:
    """What may be meant otherwise, though it can be read."""
    if task.family not in ("sentence", "pair"):
        return []
    several = [name for name in names if len(parts := re.split(r"\s*[;|,]\s*", name)) > 1 and {*parts} & {*names}]
    doubts = [f"{_shown(several[0])} is read as a label of its own, not as several labels"] if several else []
    numbers = [number for name in names if (number := as_number(name)) is not None]
    if len(numbers) != len(names):
        return doubts
    if -1 in numbers and min(numbers) == -1 and max(numbers) == 1:
        doubts.append("-1 is read as a label of its own; the datasets library writes it for 'no label'")
    if len(numbers) > 2:
        doubts.append(
            f"the {len(numbers)} numbers are read as classes, whose order says nothing; a quantity needs regression"
        )
    return doubts


def _listed(labels: Sequence[LabelCount]) -> str:
    return ", ".join(f"{_shown(one.name)} ({one.count:,})" for one in labels)


def _shown(name: str) -> str:
    return repr(name if len(name) <= LONG else f"{name[: LONG - 3]}...")
