"""CSV, TSV, JSONL and Parquet files to cells of text, with the line to blame for each; every defect is one sentence.

What the cells mean is decided in `files` and `readers`. A missing cell (empty, null, NaN) is None. CSV is read by
RFC 4180: quotes, and line breaks inside them. TSV has no quoting: a tab ends a cell, a line break ends a row.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from kdrec.checks import is_unicode
from kdrec.errors import DataError, did_you_mean

Cell = str | None
CONLL: Final = ".conll"
"""Words and their tags, a line each: read by `structured`."""
EXTENSIONS: Final = (".csv", ".tsv", ".jsonl", ".parquet", CONLL)


@dataclass(frozen=True, kw_only=True)
class Table:
    """The wanted columns of a file, row by row: cells of text (`read_table`), or as the file has them (`read_raw`).

    `lines` are where rows begin, counted from 1: lines of a text file, rows of a Parquet file (`unit` says which).
    `names` are the label names a Parquet file declares for a column (as the `datasets` library writes them).
    """

    path: Path
    rows: tuple[tuple[Any, ...], ...]
    lines: tuple[int, ...]
    unit: str = "line"
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def where(self, at: int) -> str:
        """Where row `at` begins: `line 7`."""
        return f"{self.unit} {self.lines[at]}"

    def only(self, rows: Sequence[int]) -> Table:
        """The same of these rows alone."""
        return replace(self, rows=tuple(self.rows[at] for at in rows), lines=tuple(self.lines[at] for at in rows))


def read_table(path: Path, wanted: Sequence[str]) -> Table:
    """Read the `wanted` columns of a file; the extension says how.

    Raises
    ------
    DataError
        For a missing file, unknown extension, missing column, text that is not UTF-8, NUL bytes, or a ragged row.
    """
    check_file(path)
    extension = path.suffix.lower()
    if extension == CONLL:
        raise DataError(f"{path.name} holds words and tags; their columns are called tokens and tags")
    if extension == ".parquet":
        return _plain(_raw_parquet(path, wanted), wanted)
    text = decode(path)
    if extension == ".jsonl":
        return _plain(_raw_jsonl(path, text, wanted), wanted)
    return _read_delimited(path, text, wanted, tabs=extension == ".tsv")


def read_raw(path: Path, wanted: Sequence[str]) -> Table:
    """Read the `wanted` columns of a Parquet or JSONL file, whatever their cells hold.

    Raises
    ------
    DataError
        For a missing file, another extension, a missing column, or content that is not what the extension says.
    """
    check_file(path)
    extension = path.suffix.lower()
    if extension == ".parquet":
        return _raw_parquet(path, wanted)
    if extension == ".jsonl":
        return _raw_jsonl(path, decode(path), wanted)
    raise DataError(f"{path.name}: lists of words and answers are read from .parquet, .jsonl and .conll files")


def decode(path: Path) -> str:
    """Text of a UTF-8 file (a byte order mark is accepted); otherwise the first offending byte is named."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path.name} is UTF-16 text; save it as UTF-8")
    if b"\0" in data:
        at = data.index(b"\0")
        raise DataError(f"{path.name} holds a NUL byte at line {_line(data, at)}; save it as UTF-8 text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad, line = error.object[error.start], _line(data, error.start)
        raise DataError(
            f"{path.name} is not UTF-8: byte 0x{bad:02x} at line {line} (offset {error.start}); save it as UTF-8"
        ) from None


def _line(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1


def check_file(path: Path) -> None:
    """Refuse what is no file of a known kind, with the nearest name."""
    try:
        missing = not path.exists()
    except OSError as error:  # a name too long, a folder that may not be entered
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if missing:
        folder = path.parent
        siblings = [p.name for p in folder.iterdir() if p.suffix.lower() in EXTENSIONS] if folder.is_dir() else []
        raise DataError(f"no file at {path}{did_you_mean(path.name, siblings)}")
    if not path.is_file():
        raise DataError(f"{path} is a folder; name a file of the kind {', '.join(EXTENSIONS)}")
    if path.suffix.lower() not in EXTENSIONS:
        raise DataError(f"{path.name} has an unknown extension; known are {', '.join(EXTENSIONS)}")


def _positions(path: Path, header: Sequence[str], wanted: Sequence[str]) -> list[int]:
    for column in wanted:
        if column not in header:
            near = did_you_mean(column, header)
            if len(header) == 1 and any(sign in header[0] for sign in ";\t|"):
                near = f"; its only column is {header[0]!r}: separate columns by a comma in .csv, by a tab in .tsv"
            raise DataError(f"{path.name} has no column {column!r}{near}")
        if (copies := list(header).count(column)) > 1:
            raise DataError(f"{path.name} has {copies} columns named {column!r}; rename all but one")
    return [list(header).index(column) for column in wanted]


def _read_delimited(path: Path, text: str, wanted: Sequence[str], *, tabs: bool) -> Table:
    records = _records(path, text, tabs=tabs)
    try:
        _, header = next(records)
    except StopIteration:
        raise DataError(f"{path.name} is empty; its first line must name the columns") from None
    positions = _positions(path, [name.strip() for name in header], wanted)
    rows, lines = [], []
    for line, record in records:
        if len(record) != len(header):
            hint = "" if tabs else "; text with a comma or a line break in it needs quotes"
            raise DataError(
                f"{path.name}, line {line}: {len(header)} cells were expected as in the header, got {len(record)}{hint}"
            )
        rows.append(tuple(_cell(path, f"line {line}", record[at]) for at in positions))
        lines.append(line)
    return Table(path=path, rows=tuple(rows), lines=tuple(lines))


def _records(path: Path, text: str, *, tabs: bool) -> Iterator[tuple[int, list[str]]]:
    """Records with the line each begins at; blank lines are no records."""
    stream = io.StringIO(text, newline="")
    reader = csv.reader(stream, delimiter="	", quoting=csv.QUOTE_NONE) if tabs else csv.reader(stream, strict=True)
    begins = 1
    try:
        for record in reader:
            if record:
                yield begins, record
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path.name}, record at line {begins}: {error}") from None


def _raw_jsonl(path: Path, text: str, wanted: Sequence[str]) -> Table:
    objects: list[dict[str, Any]] = []
    lines = []
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            value = json.loads(content)
        except ValueError as error:
            raise DataError(f"{path.name}, line {line} is not JSON: {error}") from None
        except RecursionError:
            raise DataError(f"{path.name}, line {line} is not JSON that can be read: nested too deeply") from None
        if not isinstance(value, dict):
            raise DataError(f"{path.name}, line {line}: a JSON object was expected, got {content.strip()[:40]}")
        objects.append(value)
        lines.append(line)
    if not objects:
        raise DataError(f"{path.name} is empty; every line must be a JSON object")
    _positions(path, list(dict.fromkeys(key for value in objects for key in value)), wanted)
    rows = tuple(tuple(value.get(column) for column in wanted) for value in objects)
    return Table(path=path, rows=rows, lines=tuple(lines))


def _raw_parquet(path: Path, wanted: Sequence[str]) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        schema = file.schema_arrow
        _positions(path, schema.names, wanted)
        columns = file.read(columns=list(wanted)).to_pydict()
        rows = tuple(zip(*(columns[column] for column in wanted), strict=True))
    except (pa.ArrowException, OSError, ValueError, LookupError, OverflowError) as error:
        # a text that is no UTF-8, a time zone or a date that Python does not have: seen when cells become Python's
        raise DataError(f"{path.name} cannot be read as Parquet: {error!s:.200}") from None
    names = _declared_names(schema.metadata or {}, wanted)
    return Table(path=path, rows=rows, lines=tuple(range(1, len(rows) + 1)), unit="row", names=names)


def _plain(raw: Table, wanted: Sequence[str]) -> Table:
    """Cells as text; a number that stands for a declared label is that label."""
    declared = [raw.names.get(column) for column in wanted]
    rows = tuple(
        tuple(_cell(raw.path, raw.where(at), _named(value, names)) for value, names in zip(row, declared, strict=True))
        for at, row in enumerate(raw.rows)
    )
    return replace(raw, rows=rows)


def _declared_names(metadata: dict[bytes, bytes], wanted: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Label names that the `datasets` library wrote into the schema, by column."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        own = {column: features[column] for column in wanted if column in features}
        declared = {column: feature.get("feature", feature).get("names") for column, feature in own.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {column: tuple(names) for column, names in declared.items() if isinstance(names, list)}


def _named(value: Any, names: tuple[str, ...] | None) -> Any:
    return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else value


def _cell(path: Path, where: str, value: Any) -> Cell:
    """One cell as text: whole numbers without a point, so that label 4.0 and label 4 are one."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (list, dict, bytes)):
        raise DataError(f"{path.name}, {where}: text or a number was expected, got {str(value)[:40]}")
    text = str(value)
    if "\0" in text or not is_unicode(text):
        raise DataError(f"{path.name}, {where}: text holds a NUL or half a surrogate pair, which no tokenizer reads")
    return text
