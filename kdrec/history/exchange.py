"""Tables for people and other tools: a history as CSV or Parquet, in the form of `docs/history-schema.md`.

Reading is strict: a cell that is not what its column says is refused with its column, line and value, because a number
misread here is a wrong suggestion later.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kdrec.config import CONTROLS, NUMBER_TEXT
from kdrec.errors import BadArgument, CorruptFile, DataError, NoHistory, did_you_mean
from kdrec.history.columns import COLUMNS, NEEDED_COLUMNS, Column, Kind, identities, row_of
from kdrec.history.mapping import TableMap, check_scale
from kdrec.history.ready import recognised, what_to_say
from kdrec.inputs import bytes_of, parquet
from kdrec.sources import atomic_write
from kdrec.space import check_one_space
from kdrec.types import HISTORY_COLUMNS, KNOB_PREFIX, KNOBS, History, KDConfig, Settings, Trial, history_columns

_BY_NAME: Final = {column.name: column for column in COLUMNS}
_WHOLE: Final = re.compile(r"[+-]?\d{1,19}(\.0+)?", re.ASCII)
_EXPECTED: Final = {"text": "a text", "whole": "a whole number", "number": "a finite number"}

_ELSEWHERE: Final = "; --mapping MAP.toml says what the columns of another tool's table mean (docs/guides/mlflow.md)"

Numbered = tuple[str, Sequence[Any]]
"""Where a row stands (`line 7`), and its cells."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What was taken from a table, and how many of its rows were not: failed runs, and repeated ones."""

    history: History
    n_failed: int = 0
    n_repeated: int = 0


def read_table(path: str | Path, mapping: TableMap | None = None) -> History:
    """Read a table that `write_table` wrote, that another tool made to the documented schema, or any, with a mapping.

    Parameters
    ----------
    path : str or pathlib.Path
        A ``.csv`` (UTF-8) or ``.parquet`` file. Columns may come in any order; `scale_soft_loss` and `fingerprint` may
        be absent. Columns called ``knob.NAME`` stand in the place of kdrec's own knobs.
    mapping : TableMap, optional
        What the columns of another tool's table mean; those it does not name are left aside.

    Returns
    -------
    History
        Completed and diverged trials; rows of one fingerprint or run id (or equal in all, where both are empty) are
        kept once. Rows that failed are left out, and nothing else in them is judged.

    Raises
    ------
    DataError
        For a missing file, a missing or unknown column, or a cell that is not what its column says.
    CorruptFile
        For a Parquet file that cannot be decoded.
    NoHistory
        When no row is a completed or diverged trial.
    """
    return take(path, mapping).history


def take(path: str | Path, mapping: TableMap | None = None) -> Taken:
    """As `read_table`; it says as well how many rows were left out."""
    path = Path(path)
    names, rows = _reader(path)(path)
    if mapping is not None:
        names, rows = mapping.laid_out(path.name, names, rows)
    _check_header(path.name, names)
    status_at = names.index("status")
    seen: set[str] = set()
    trials, n_failed, n_repeated = [], 0, 0
    for where, cells in rows:
        if len(cells) != len(names):
            raise DataError(
                f"{path.name}, {where}: {len(names)} cells were expected, as in the header, got {len(cells)}"
            )
        if cells[status_at] == "failed":  # no evidence: what else is in its cells decides nothing
            n_failed += 1
            continue
        trial = _trial(f"{path.name}, {where}", names, cells)
        words = identities(row_of(trial))
        if seen.isdisjoint(words):
            seen.update(words)
            trials.append(trial)
        else:
            n_repeated += 1
    if not trials:
        left = f", and {n_failed} failed" if n_failed else ""
        raise NoHistory(f"{path.name} holds no usable row: at least one completed or diverged trial was expected{left}")
    if mapping is not None:
        check_scale(path.name, mapping, trials)
    return Taken(history=History(tuple(trials)), n_failed=n_failed, n_repeated=n_repeated)


def columns_of(path: str | Path) -> list[str]:
    """Names of the columns of a table that may be any tool's."""
    return _reader(Path(path))(Path(path))[0]


def write_table(history: History, path: str | Path) -> None:
    """Write a history as a ``.csv`` or ``.parquet`` file, wholly or not at all; `read_table` is the inverse.

    Raises
    ------
    BadArgument
        For another ending.
    DataError
        For a history of both kdrec's own knobs and foreign ones: no table holds both.
    KdrecError
        When the file cannot be written.
    """
    path = Path(path)
    encode = {".csv": _to_csv, ".parquet": _to_parquet}.get(path.suffix.lower())
    if encode is None:
        raise _other_ending(path)
    if not path.parent.is_dir():
        raise DataError(f"there is no folder {path.parent} to write {path.name} to")
    names, rows = _laid_out(history)
    atomic_write(path, encode(names, rows))


def _laid_out(history: History) -> tuple[tuple[str, ...], list[Sequence[Any]]]:
    """Names of the columns, and rows of typed cells under them."""
    foreign = [isinstance(trial.config, Settings) for trial in history]
    if not any(foreign):
        return HISTORY_COLUMNS, [row_of(trial) for trial in history]
    if not all(foreign):
        check_one_space(history)
    names = history_columns(trial.config for trial in history)
    flat = (
        dict(zip(HISTORY_COLUMNS, row_of(trial), strict=False))
        | {f"{KNOB_PREFIX}{k}": v for k, v in trial.config.knobs().items()}
        for trial in history
    )
    return names, [[row.get(name) for name in names] for row in flat]


def _to_csv(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)  # lines end as in RFC 4180
    writer.writerow(names)
    writer.writerows([repr(cell) if isinstance(cell, float) else cell for cell in row] for row in rows)
    return text.getvalue().encode()


def _to_parquet(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    types = {"text": pyarrow.string(), "whole": pyarrow.int64(), "number": pyarrow.float64()}
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    arrays = []
    for name, cells in zip(names, columns, strict=True):
        kind = _BY_NAME[name].kind if name in _BY_NAME else _knob_kind(cells)
        worded = [repr(c) if kind == "text" and isinstance(c, float) else c for c in cells]
        arrays.append(pyarrow.array(worded, types[kind]))
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(arrays, names=list(names)), sink)
    return bytes(sink.getvalue())


def _knob_kind(cells: Iterable[Any]) -> Kind:
    """Numbers when every value of the knob is one; a column of Parquet has one type."""
    return "text" if any(isinstance(cell, str) for cell in cells) else "number"


def _reader(path: Path) -> Callable[[Path], tuple[list[str], Iterable[Numbered]]]:
    reader = {".csv": _from_csv, ".parquet": _from_parquet}.get(path.suffix.lower())
    if reader is None:
        raise _other_ending(path)
    if not path.is_file():
        near = did_you_mean(path.name, (p.name for p in path.parent.glob(f"*{path.suffix}")))
        raise DataError(f"there is no history file at {path}{near}")
    return reader


def _other_ending(path: Path) -> BadArgument:
    return BadArgument(f"a history is a .csv or .parquet file, got {path.name!r}")


def _from_csv(path: Path) -> tuple[list[str], Iterable[Numbered]]:
    try:
        text = bytes_of(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} must be UTF-8 text; byte {error.start} is not") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    rows = _csv_rows(path.name, text)
    _, names = next(rows, ("", []))
    return list(names), rows


def _csv_rows(name: str, text: str) -> Iterator[Numbered]:
    """Rows that are not blank, each with the line on which it starts."""
    csv.field_size_limit(len(text) + 1)  # MLflow keeps whole models in a tag
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield f"line {line}", cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{name}, line {line}: not a CSV row ({error})") from None


def _from_parquet(path: Path) -> tuple[list[str], Iterable[Numbered]]:
    import pyarrow

    try:
        table = parquet(path)
        names, columns = list(table.column_names), [column.to_pylist() for column in table.columns]
    except (pyarrow.ArrowException, OSError, ValueError, LookupError, OverflowError, RecursionError) as error:
        # a text that is no UTF-8, a time zone or a date that Python does not have: seen when cells become Python's
        raise CorruptFile(f"{path.name} cannot be read as Parquet: {error!s:.200}") from None
    return names, ((f"row {at}", row) for at, row in enumerate(zip(*columns, strict=True), 1))


def _check_header(file: str, names: Sequence[str]) -> None:
    """Refuse a table whose columns are not those of a history: kdrec's own knobs, or knobs named there."""
    tool = recognised(names)
    if tool is not None:
        raise DataError(f"{file} is no history of kdrec, and looks like {what_to_say(tool)}")
    own = [name for name in names if name in KDConfig.__dataclass_fields__]
    foreign = [name for name in names if name.startswith(KNOB_PREFIX)]
    expected = f"the columns {', '.join(KNOBS)} or columns called {KNOB_PREFIX}NAME"
    if own and foreign:
        raise DataError(f"{file} has both {own[0]} and {foreign[0]}: {expected} were expected")
    missing = [name for name in NEEDED_COLUMNS if name not in names and not (foreign and name in KNOBS)]
    unknown = [name for name in names if name not in HISTORY_COLUMNS and name not in foreign]
    if set(missing) == set(KNOBS):
        came = f", got {', '.join(unknown)}" if unknown else ", got neither"
        raise DataError(f"{file} names no knobs: {expected} were expected{came}{_ELSEWHERE}")
    if missing:
        near = did_you_mean(missing[0], unknown) if unknown else ""
        near = near.replace("did you mean", "is it").replace("known are", "unknown columns are")
        near += _ELSEWHERE * (len(missing) > 5)
        raise DataError(f"{file} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}{near}")
    if unknown:
        raise DataError(f"{file} has an unknown column {unknown[0]!r}{did_you_mean(unknown[0], HISTORY_COLUMNS)}")
    repeated = [name for at, name in enumerate(names) if name in names[:at]]
    if repeated:
        raise DataError(f"{file} has the column {repeated[0]!r} twice")


def _trial(where: str, names: Sequence[str], cells: Sequence[Any]) -> Trial:
    row = {
        name: _cell(where, _BY_NAME[name], cell) if name in _BY_NAME else _knob(cell)
        for name, cell in zip(names, cells, strict=True)
    }
    try:
        return Trial.from_row(row)
    except BadArgument as error:
        raise DataError(f"{where}: {error}") from None


def _knob(cell: Any) -> Any:
    """The cell of a foreign knob: None where it does not apply. `Settings` says what else it may be."""
    return None if cell is None or (isinstance(cell, str) and not cell.strip()) else cell


def _cell(where: str, column: Column, cell: Any) -> str | int | float | None:
    """One cell as what its column says; an empty one is None where that is allowed."""
    if cell is None or cell == "":
        if column.optional:
            return None
        raise DataError(f"{where}, column {column.name!r}: {_EXPECTED[column.kind]} was expected, got an empty cell")
    value = _value(column, cell)
    if value is None:
        raise DataError(f"{where}, column {column.name!r}: {_EXPECTED[column.kind]} was expected, got {cell!r}")
    return value


def _value(column: Column, cell: Any) -> str | int | float | None:
    """The typed value of a cell that is not empty, or None when it is of another kind."""
    if column.kind == "text":
        return cell if isinstance(cell, str) else None
    if isinstance(cell, str):
        form, text = (_WHOLE if column.kind == "whole" else NUMBER_TEXT), cell.strip()
        if not form.fullmatch(text) or CONTROLS.search(cell):
            return None
        cell = int(text.partition(".")[0]) if column.kind == "whole" else float(text)
    if isinstance(cell, bool) or not isinstance(cell, (int, float)) or not math.isfinite(cell):
        return None
    if column.kind == "number":
        return float(cell)
    return int(cell) if cell == int(cell) and abs(cell) < 2**63 else None
