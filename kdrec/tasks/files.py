"""The user's own file to a task; what cannot be used is refused in one sentence that says what to do, never dropped.

Rules: at least `MIN_ROWS` rows and `MIN_ROWS_PER_LABEL` of every label (validation and test rows are taken out by hash,
so fewer would leave labels without a row in some split); at least `MIN_TEST_ROWS` rows in a test file. Duplicates stay
(they are the user's data) and never straddle splits. Labels are text; numbers are ordered as numbers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kdrec.errors import BadArgument, DataError
from kdrec.tasks.family import FAMILIES
from kdrec.tasks.rows import Row, Rows
from kdrec.tasks.splits import Limits, apart_from, make_task
from kdrec.tasks.tables import Table, read_table
from kdrec.types import Family, Task

MIN_ROWS: Final = 50
MIN_ROWS_PER_LABEL: Final = 10
MIN_TEST_ROWS: Final = 10
MAX_NUMERIC_LABELS: Final = 1000


def load_file(
    path: str | Path,
    *,
    text: str | Sequence[str],
    label: str,
    name: str | None = None,
    test: str | Path | None = None,
    rows: Limits | None = None,
) -> Task:
    """Make a task of a CSV, TSV, JSONL or Parquet file.

    Parameters
    ----------
    path : path
        File of the rows; the extension says its kind. Text files are UTF-8.
    text : str or sequence of one or two str
        Column of the text; two columns make a task of the family `pair`.
    label : str
        Column of the label.
    name : str, optional
        Name of the task; by default made of the file's name.
    test : path, optional
        File of the test split, with the same columns. Without it 20 % of the rows become the test split, by content
        hash. The validation split is always 15 % of what is left for training.
    rows : Limits, optional
        At most this many rows of each split.

    Returns
    -------
    Task
        Its metric is accuracy, or macro-F1 where the largest class of the file has more than four times the rows of the
        smallest.

    Raises
    ------
    BadArgument
        For columns that cannot be: three texts, or the label as text.
    DataError
        For a file that cannot be used as it is.
    """
    columns = _text_columns(text, label)
    path = Path(path)
    train = _usable(read_table(path, [*columns, label]), columns, label)
    _check_labels(train, path, label)
    counts = Counter(row.label for row in train)
    labels = tuple(sorted(counts, key=_label_order))
    held_out = None if test is None else _test_rows(Path(test), columns, label, train, path)
    family: Family = "sentence" if len(columns) == 1 else "pair"
    return make_task(
        name or _name_of(path),
        Rows(labels=labels, train=train, test=held_out),
        family=family,
        metric=FAMILIES[family].metric(counts),
        licence="own data",
        group=FAMILIES[family].group,
        limits=rows,
    )


def _text_columns(text: str | Sequence[str], label: str) -> tuple[str, ...]:
    columns = (text,) if isinstance(text, str) else tuple(text)
    if len(columns) not in (1, 2):
        raise BadArgument(f"one text column, or two for pairs of texts, were expected, got {len(columns)}")
    if len({*columns, label}) != len(columns) + 1:
        raise BadArgument(f"text and label must be different columns, got {', '.join([*columns, label])}")
    return columns


def _name_of(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")[:80] or "own-data"


def _usable(table: Table, columns: Sequence[str], label: str) -> tuple[Row, ...]:
    """Rows without a hole; every text and every label must be there."""
    for at, column in enumerate(columns):
        _refuse_holes(table, "texts", column, [_is_hole(row[at]) for row in table.rows])
        if table.rows and all(_as_number(row[at] or "") is not None for row in table.rows):
            raise DataError(f"{table.path.name}: column {column!r} holds only numbers; name the column of the text")
    _refuse_holes(table, "labels", label, [_is_hole(row[-1]) for row in table.rows])
    return tuple(Row(texts=tuple(str(c) for c in row[:-1]), label=str(row[-1]).strip()) for row in table.rows)


def _is_hole(cell: str | None) -> bool:
    return cell is None or not cell.strip() or cell.strip().lower() == "nan"


def _refuse_holes(table: Table, kind: str, column: str, holes: Sequence[bool]) -> None:
    if any(holes):
        raise DataError(
            f"{table.path.name}: {sum(holes)} of {len(holes)} {kind} in column {column!r} are empty (first at "
            f"{table.where(holes.index(True))}); fill them or remove their rows"
        )


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _label_order(label: str) -> tuple[bool, float, str]:
    number = _as_number(label)
    return number is None, number or 0.0, label


def _check_labels(rows: Sequence[Row], path: Path, label: str) -> None:
    """Enough rows, at least two classes, enough rows of each, and classes rather than measurements."""
    if len(rows) < MIN_ROWS:
        raise DataError(
            f"{path.name} has {len(rows)} rows; at least {MIN_ROWS} are needed, and {MIN_ROWS_PER_LABEL} of every label"
        )
    counts = Counter(row.label for row in rows)
    if len(counts) == 1:
        raise DataError(f"{path.name}: every row has the label {rows[0].label!r}; a task needs at least two labels")
    numeric = all(_as_number(value) is not None for value in counts)
    if numeric and (len(counts) > MAX_NUMERIC_LABELS or len(counts) > len(rows) / 2):
        raise DataError(
            f"{path.name}: column {label!r} holds {len(counts)} different numbers in {len(rows)} rows, which looks "
            "like a quantity to predict (regression); kdrec needs classes: put the numbers into a few ranges first"
        )
    rare = sorted((n, value) for value, n in counts.items() if n < MIN_ROWS_PER_LABEL)
    if rare:
        n, value = rare[0]
        raise DataError(
            f"{path.name}: {len(rare)} of {len(counts)} labels have fewer than {MIN_ROWS_PER_LABEL} rows, such as "
            f"{value!r} with {n}; add rows, or merge or remove rare labels"
        )


def _test_rows(path: Path, columns: Sequence[str], label: str, train: Sequence[Row], source: Path) -> tuple[Row, ...]:
    """Rows of the test file: enough, with labels that can be learned, and none that is also in the training file."""
    rows = _usable(read_table(path, [*columns, label]), columns, label)
    if len(rows) < MIN_TEST_ROWS:
        raise DataError(f"{path.name} has {len(rows)} rows; a test file needs at least {MIN_TEST_ROWS}")
    known = {row.label for row in train}
    strangers = Counter(row.label for row in rows if row.label not in known)
    if strangers:
        value, n = strangers.most_common(1)[0]
        raise DataError(
            f"{path.name}: the label {value!r} ({n} rows) does not occur in {source.name}, so it cannot be learned; "
            f"add training rows of it or remove it from the test file"
        )
    family = FAMILIES["sentence" if len(columns) == 1 else "pair"]
    leaking = apart_from(train, rows, family.group)[1]
    if leaking:
        raise DataError(
            f"{len(leaking)} rows of {source.name} are also in {path.name}, such as {leaking[0].texts[0][:60]!r}; "
            "remove them from one of the two, or give no test file and let kdrec split"
        )
    return rows
