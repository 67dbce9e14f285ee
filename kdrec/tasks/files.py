"""The user's own file to a task; what cannot be used is refused in one sentence that says what to do, never dropped.

Rules: at least `MIN_ROWS` rows and `MIN_ROWS_PER_LABEL` of every label (validation and test rows are taken out by hash,
so fewer would leave labels without a row in some split), of tags more than one word; at least `MIN_TEST_ROWS` rows in a
test file. Duplicates stay (they are the user's data) and never straddle splits. Labels are text; numbers are ordered as
numbers.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from kdrec.errors import BadArgument, DataError
from kdrec.examples import EMPTY_LABELS
from kdrec.tasks import labels
from kdrec.tasks.family import FAMILIES
from kdrec.tasks.labels import Places, as_number
from kdrec.tasks.qa import LABELS
from kdrec.tasks.rows import Row, Rows
from kdrec.tasks.splits import Limits, apart_from, make_task
from kdrec.tasks.structured import (
    Found,
    Kind,
    alone,
    bare_words_of,
    find_questions,
    find_words,
    has_spans,
    kind_of,
    questions_of,
    read_bare_words,
    words_of,
)
from kdrec.tasks.tables import CONLL_FILES, Table, read_raw, read_table
from kdrec.types import Family, Task

MIN_ROWS: Final = 50
MIN_ROWS_PER_LABEL: Final = 10
MIN_TEST_ROWS: Final = 10
MAX_NAME: Final = 80
MARK_DIGITS: Final = 8
"""Of the hash that stands for what a name cannot spell."""


def load_file(
    path: str | Path,
    *,
    text: str | Sequence[str],
    label: str,
    name: str | None = None,
    test: str | Path | None = None,
    unlabelled: str | Path | None = None,
    rows: Limits | None = None,
) -> Task:
    """Make a task of a CSV, TSV, JSONL, JSON, Parquet or CoNLL file; what its columns hold says the family.

    Parameters
    ----------
    path : path
        File of the rows; the extension says its kind. Text files are UTF-8.
    text : str or sequence of one or two str
        Column of the text, two for pairs of texts; or of a list of words; or the question and the context.
    label : str
        Column of the label; or of a list of tags, one a word (family `tokens`); or of the answers (family `qa`). See
        `kdrec.tasks.structured` for the last two.
    name : str, optional
        Name of the task; by default made of the file's name.
    test : path, optional
        File of the test split, with the same columns. Without it 20 % of the rows become the test split, by content
        hash. The validation split is always 15 % of what is left for training.
    unlabelled : path, optional
        File of rows without labels, with the same text columns; or `EMPTY_LABELS`, for the rows of `path` whose label
        cell is empty, which are refused otherwise.
    rows : Limits, optional
        At most this many rows of each split. Where `rows.transfer` is given and `unlabelled` is not, rows without
        labels are the training rows that `rows.train` leaves over.

    Returns
    -------
    Task
        Its metric is accuracy, or macro-F1 where the largest class of the file has more than four times the rows of the
        smallest; of tags, span F1 where they are BIO; of answers, SQuAD's F1.

    Raises
    ------
    BadArgument
        For columns that cannot be: three texts, or the label as text.
    DataError
        For a file that cannot be used as it is.
    """
    columns, path = _text_columns(text, label), Path(path)
    kind = kind_of(path, columns, label)
    family = _family(kind, path, columns, label)
    train, bare, origin = _read_all(path, kind, columns, label, unlabelled)
    counts = _checked_counts(train, kind, path, label)
    held_out = None if test is None else _test_rows(Path(test), kind, columns, label, train.rows, path)
    return make_task(
        name or _name_of(path),
        Rows(
            labels=tuple(sorted(counts, key=_label_order)) or LABELS,
            train=train.rows,
            test=None if held_out is None else held_out.rows,
            unlabelled=bare,
            unlabelled_from=origin,
            notes=(*train.notes, *(() if held_out is None else held_out.notes)),
        ),
        family=family,
        metric=FAMILIES[family].metric(counts),
        licence="own data",
        group=FAMILIES[family].group,
        limits=rows,
    )


def _family(kind: Kind, path: Path, columns: Sequence[str], label: str) -> Family:
    """The family that the label column tells, with as many text columns as it has."""
    if kind == "label":
        return "sentence" if len(columns) == 1 else "pair"
    if kind == "tags" and len(columns) != 1:
        raise DataError(f"{path.name}: column {label!r} holds tags, which need one column of words, got {len(columns)}")
    if kind == "answers" and len(columns) != 2:
        raise DataError(
            f"{path.name}: column {label!r} holds answers, which need two columns, the question and the context, got 1"
        )
    return "tokens" if kind == "tags" else "qa"


def _read_all(
    path: Path, kind: Kind, columns: Sequence[str], label: str, unlabelled: str | Path | None
) -> tuple[Found, tuple[Row, ...] | None, str]:
    """Rows with labels, those without (None where none were spoken of), and in words where these are."""
    if unlabelled is None:
        return _read(path, kind, columns, label), None, ""
    if unlabelled == EMPTY_LABELS:
        return (*_read_parted(path, kind, columns, label), f"of {path.name}, its label cell empty")
    more = Path(unlabelled)
    if not more.suffix and not more.exists():
        raise DataError(f"no file at {more}: unlabelled names a file, or says {EMPTY_LABELS!r}, got {more.name!r}")
    bare = read_bare_words(more, columns[0]) if kind == "tags" else _bare_texts(read_table(more, columns), columns)
    return _read(path, kind, columns, label), bare, f"of {more.name}"


def _read(path: Path, kind: Kind, columns: Sequence[str], label: str, as_in: Iterable[str] = ()) -> Found:
    """Rows of a file with their labels as they are meant; `as_in` are the labels of the training file."""
    if kind == "answers":
        return find_questions(path, columns[0], columns[1], label)
    if kind == "tags":
        found = find_words(path, columns[0], label)
    else:
        found = _usable(_labelled(path, columns, label), columns, label)
    return _meant(found, as_in)


def _meant(found: Found, as_in: Iterable[str] = ()) -> Found:
    """The same rows, their labels as they are meant."""
    spelled = labels.places(_names(found.rows), found.where)
    name_of = labels.meant(spelled, as_in)
    meant = tuple(
        replace(row, label=name_of.get(row.label, ""), tags=tuple(name_of[tag] for tag in row.tags))
        for row in found.rows
    )
    return replace(found, rows=meant, notes=(*found.notes, *labels.merged(spelled, name_of)))


def _labelled(path: Path, columns: Sequence[str], label: str) -> Table:
    return read_table(path, [*columns, label], prepare={label: alone})


def _read_parted(path: Path, kind: Kind, columns: Sequence[str], label: str) -> tuple[Found, tuple[Row, ...]]:
    """Rows of one file with a label, and those whose label cell is empty."""
    if path.suffix.lower() in CONLL_FILES:
        raise DataError(
            f"{path.name}: a {path.suffix} file has no empty labels; put words without tags into a file of theirs"
        )
    table = _labelled(path, columns, label) if kind == "label" else read_raw(path, [*columns, label])
    spans = has_spans(table)  # where an empty list says that a text has none
    empty = [_has_no_label(row[-1]) and not (spans and row[-1] == []) for row in table.rows]
    if not any(empty):
        raise DataError(f"{path.name}: no cell of column {label!r} is empty, so that every row has a label")
    full = table.only([at for at, hole in enumerate(empty) if not hole])
    bare = table.only([at for at, hole in enumerate(empty) if hole])
    if kind == "tags":
        return _meant(words_of(full, label)), bare_words_of(bare)
    found = questions_of(full) if kind == "answers" else _meant(_usable(full, columns, label))
    return found, _bare_texts(bare, columns)


def _has_no_label(cell: Any) -> bool:
    """Whether a label cell is empty; a question that has no answer has a table of none."""
    return cell is None or cell == [] or (isinstance(cell, str) and _is_hole(cell))


def _bare_texts(table: Table, columns: Sequence[str]) -> tuple[Row, ...]:
    """Rows of the text columns of a table, which stand first in it."""
    _check_texts(table, columns)
    return tuple(Row(texts=tuple(str(cell) for cell in row[: len(columns)])) for row in table.rows)


def _names(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The label or the tags of every row."""
    return [row.tags or ((row.label,) if row.label else ()) for row in rows]


def _checked_counts(found: Found, kind: Kind, path: Path, label: str) -> Counter[str]:
    """How often each label or tag occurs, where there are enough rows and enough of each."""
    rows = found.rows
    if len(rows) < MIN_ROWS:
        of_every = f", and {MIN_ROWS_PER_LABEL} of every label" if kind == "label" else ""
        raise DataError(f"{path.name} has {len(rows)} rows; at least {MIN_ROWS} are needed{of_every}")
    if kind == "answers":
        return Counter()
    places = labels.places(_names(rows), found.where)
    counts = Counter({name: place.count for name, place in places.items()})
    column = f"{path.name}: column {label!r}"
    if kind == "label":
        labels.check_lists(places, column)
        labels.check_classes(places, column)
    labels.check_none(places, column)
    labels.check_alike(places, column)
    if kind == "label":
        _check_labels(rows, counts, path)
    else:
        _check_tags(counts, kind, path)
    return counts


def _check_tags(counts: Counter[str], kind: Kind, path: Path) -> None:
    if kind == "tags" and len(counts) == 1:
        raise DataError(f"{path.name}: every word has the tag {next(iter(counts))!r}; a task needs at least two tags")
    once = sorted(tag for tag, n in counts.items() if n == 1)
    if once:
        raise DataError(
            f"{path.name}: {len(once)} of {len(counts)} tags occur once, such as {once[0]!r}: nothing can be learned "
            "from one word and scored on none; add rows, or merge or remove rare tags"
        )


def _text_columns(text: str | Sequence[str], label: str) -> tuple[str, ...]:
    columns = (text,) if isinstance(text, str) else tuple(text)
    if len(columns) not in (1, 2):
        raise BadArgument(f"one text column, or two for pairs of texts, were expected, got {len(columns)}")
    if len({*columns, label}) != len(columns) + 1:
        raise BadArgument(f"text and label must be different columns, got {', '.join([*columns, label])}")
    return columns


def _name_of(path: Path) -> str:
    """A name for a file's task; what no name can spell, such as letters of other scripts, is told apart by a hash.

    >>> _name_of(Path("my reviews.csv"))
    'my-reviews'
    >>> _name_of(Path("отзывы-2024.csv"))
    '2024-6b3616f5'
    """
    stem = unicodedata.normalize("NFC", path.stem)
    spelled = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:MAX_NAME]
    if spelled and stem.isascii():
        return spelled
    mark = hashlib.sha256(stem.encode("utf-8", "surrogateescape")).hexdigest()[:MARK_DIGITS]
    return f"{(spelled or 'own-data')[: MAX_NAME - 1 - MARK_DIGITS]}-{mark}"


def _usable(table: Table, columns: Sequence[str], label: str) -> Found:
    """Rows without a hole; every text and every label must be there."""
    _check_texts(table, columns)
    refuse_holes(table, "labels", label, [_is_hole(row[-1]) for row in table.rows])
    rows = tuple(Row(texts=tuple(str(c) for c in row[:-1]), label=str(row[-1])) for row in table.rows)
    return Found(rows=rows, where=tuple(table.where(at) for at in range(len(rows))))


def _check_texts(table: Table, columns: Sequence[str]) -> None:
    for at, column in enumerate(columns):
        refuse_holes(table, "texts", column, [_is_hole(row[at]) for row in table.rows])
        if table.rows and all(as_number(row[at] or "") is not None for row in table.rows):
            raise DataError(f"{table.path.name}: column {column!r} holds only numbers; name the column of the text")


def _is_hole(cell: str | None) -> bool:
    return cell is None or not cell.strip() or cell.strip().lower() == "nan"


def refuse_holes(table: Table, kind: str, column: str, holes: Sequence[bool]) -> None:
    """Refuse a column with empty cells, and say how many and where the first one is."""
    if any(holes):
        raise DataError(
            f"{table.path.name}: {sum(holes)} of {len(holes)} {kind} in column {column!r} are empty (first at "
            f"{table.where(holes.index(True))}); fill them or remove their rows"
        )


def _label_order(label: str) -> tuple[bool, float, str]:
    number = as_number(label)
    wordy = number is None or math.isnan(number)  # "-nan" reads as a number, and as one it stands nowhere
    return wordy, 0.0 if wordy else float(number or 0), label


def _check_labels(rows: Sequence[Row], counts: Counter[str], path: Path) -> None:
    """At least two classes, and enough rows of each."""
    if len(counts) == 1:
        raise DataError(f"{path.name}: every row has the label {rows[0].label!r}; a task needs at least two labels")
    rare = sorted((n, value) for value, n in counts.items() if n < MIN_ROWS_PER_LABEL)
    if rare:
        n, value = rare[0]
        raise DataError(
            f"{path.name}: {len(rare)} of {len(counts)} labels have fewer than {MIN_ROWS_PER_LABEL} rows, such as "
            f"{value!r} with {n}; add rows, or merge or remove rare labels"
        )


def _test_rows(path: Path, kind: Kind, columns: Sequence[str], label: str, train: Sequence[Row], source: Path) -> Found:
    """Rows of the test file: enough, with labels that can be learned, and none that is also in the training file."""
    if (other := kind_of(path, columns, label)) != kind:
        raise DataError(f"column {label!r} holds {other} in {path.name} and {kind} in {source.name}")
    known = {name for row in train for name in (row.label, *row.tags)}
    found = _read(path, kind, columns, label, known)
    rows = found.rows
    if len(rows) < MIN_TEST_ROWS:
        raise DataError(f"{path.name} has {len(rows)} rows; a test file needs at least {MIN_TEST_ROWS}")
    _check_strangers(labels.places(_names(rows), found.where), known, path, source)
    leaking = apart_from(train, rows, FAMILIES[_family(kind, path, columns, label)].group)[1]
    if leaking:
        text = " ".join(leaking[0].texts) if kind == "tags" else leaking[0].texts[-1 if kind == "answers" else 0]
        raise DataError(
            f"{len(leaking)} rows of {source.name} are also in {path.name}, such as {text[:60]!r}; "
            "remove them from one of the two, or give no test file and let kdrec split"
        )
    return found


def _check_strangers(found: Places, known: set[str], path: Path, source: Path) -> None:
    """Refuse labels of a test file that the training file does not have; one that is spelled otherwise is named."""
    strangers = sorted((-place.count, name) for name, place in found.items() if name not in known)
    if not strangers:
        return
    name = strangers[0][1]
    twin = next((other for other in sorted(known) if labels.near(other) == labels.near(name)), None)
    todo = "so it cannot be learned; add training rows of it or remove it from the test file"
    if twin is not None:
        todo = f"where {twin!r} differs from it only in {labels.difference(name, twin)}; write them alike"
    raise DataError(f"{path.name}: the label {name!r} ({found[name]}) does not occur in {source.name}, {todo}")
