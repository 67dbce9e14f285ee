"""CSV, TSV, JSONL, JSON and Parquet files to cells of text, with the line to blame for each; a defect is one sentence.

What the cells mean is decided in `files` and `readers`. A missing cell (empty, null, NaN) is None. CSV is read by
RFC 4180: quotes, and line breaks inside them. TSV has no quoting: a tab ends a cell, a line break ends a row. A cell is
as long as it is. A `.json` file is a list of objects, the nested layout of SQuAD, or JSONL under another name.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeGuard

from kdrec.checks import is_unicode
from kdrec.errors import DataError, did_you_mean
from kdrec.inputs import bytes_of, check_regular, parquet

Cell = str | None
CONLL: Final = ".conll"
"""Words and their tags, a line each: read by `conll`."""
CONLL_FILES: Final = (CONLL, ".conllu")
EXTENSIONS: Final = (".csv", ".tsv", ".jsonl", ".json", ".parquet", *CONLL_FILES)
_LONGEST_CELL: Final = 2**31 - 1
"""Characters of a CSV cell: the csv module stops at 131,072 unless told otherwise, and takes no more than this."""


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


def read_table(
    path: Path, wanted: Sequence[str], prepare: Mapping[str, Callable[[Any], Any]] = MappingProxyType({})
) -> Table:
    """Read the `wanted` columns of a file; the extension says how. `prepare` takes cells of a column to what they hold.

    Raises
    ------
    DataError
        For a missing file, unknown extension, missing column, text that is not UTF-8, NUL bytes, or a ragged row.
    """
    check_file(path)
    extension = path.suffix.lower()
    if extension in CONLL_FILES:
        raise DataError(f"{path.name} holds words and tags; their columns are called tokens and tags")
    if extension in (".csv", ".tsv"):
        return _read_delimited(path, decode(path), wanted, tabs=extension == ".tsv")
    return _plain(_prepared(read_raw(path, wanted), wanted, prepare), wanted)


def read_raw(path: Path, wanted: Sequence[str]) -> Table:
    """Read the `wanted` columns of a Parquet, JSONL or JSON file, whatever their cells hold.

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
    if extension == ".json":
        return _raw_json(path, decode(path), wanted)
    raise DataError(f"{path.name}: lists of words and answers are read from .parquet, .jsonl, .json and .conll files")


def decode(path: Path) -> str:
    """Text of a UTF-8 file (a byte order mark is accepted); otherwise the first offending byte is named."""
    try:
        data = bytes_of(path)
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
    csv.field_size_limit(_LONGEST_CELL)  # of the whole process, and never lowered again: other threads read as well
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
        value = _json(content, f"{path.name}, line {line}")
        if not isinstance(value, dict):
            raise DataError(f"{path.name}, line {line}: a JSON object was expected, got {content.strip()[:40]}")
        objects.append(value)
        lines.append(line)
    if not objects:
        raise DataError(f"{path.name} is empty; every line must be a JSON object")
    articles = objects[0].get("data") if len(objects) == 1 else objects
    if _is_nested(articles):
        return _table_of(path, _questions(path, articles), wanted, unit="question")
    return _table_of(path, objects, wanted, lines=lines)


def _raw_json(path: Path, text: str, wanted: Sequence[str]) -> Table:
    """A list of objects, an object whose `data` is one, SQuAD's articles; or lines, as in .jsonl."""
    lines = [line for line in text.split("\n", 200) if line.strip()]
    if len(lines) > 1 and all(_is_object(line) for line in lines[:2]):
        return _raw_jsonl(path, text, wanted)
    value = _json(text, path.name)
    rows = value.get("data") if isinstance(value, dict) else value
    if _is_nested(rows):
        return _table_of(path, _questions(path, rows), wanted, unit="question")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError(
            f"{path.name}: a list of objects, or SQuAD's 'data' of 'paragraphs', was expected, got {text.strip()[:40]}"
        )
    return _table_of(path, rows, wanted, unit="row")


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}") from None
    except RecursionError:
        raise DataError(f"{where} is not JSON that can be read: nested too deeply") from None


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _table_of(
    path: Path,
    objects: Sequence[dict[str, Any]],
    wanted: Sequence[str],
    *,
    lines: Sequence[int] = (),
    unit: str = "line",
) -> Table:
    _positions(path, list(dict.fromkeys(key for value in objects for key in value)), wanted)
    rows = tuple(tuple(value.get(column) for column in wanted) for value in objects)
    return Table(path=path, rows=rows, lines=tuple(lines or range(1, len(rows) + 1)), unit=unit)


def _is_nested(articles: Any) -> TypeGuard[list[Any]]:
    """Whether these are articles or paragraphs in SQuAD's own layout."""
    return isinstance(articles, list) and any(
        isinstance(one, dict) and ("paragraphs" in one or isinstance(one.get("qas"), list)) for one in articles
    )


def _questions(path: Path, articles: Sequence[Any]) -> list[dict[str, Any]]:
    """Questions of SQuAD's own layout, each with the context of its paragraph."""
    found: list[dict[str, Any]] = []
    try:
        for article in articles:
            for paragraph in [article] if "qas" in article else article["paragraphs"]:
                above = {"title": article.get("title"), "context": paragraph["context"]}
                found += [{"answers": [], **above, **asked} for asked in paragraph["qas"]]
    except (TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{path.name}: SQuAD's layout is 'data', 'paragraphs' with a 'context' and 'qas', and it breaks after "
            f"{len(found)} questions ({error})"
        ) from None
    if not found:
        raise DataError(f"{path.name} holds no question")
    return found


def _raw_parquet(path: Path, wanted: Sequence[str]) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        check_regular(path)
        schema = pq.read_schema(path)
        _positions(path, schema.names, wanted)
        columns = parquet(path, wanted).to_pydict()
        rows = tuple(zip(*(columns[column] for column in wanted), strict=True))
    except (pa.ArrowException, OSError, ValueError, LookupError, OverflowError) as error:
        # a text that is no UTF-8, a time zone or a date that Python does not have: seen when cells become Python's
        raise DataError(f"{path.name} cannot be read as Parquet: {error!s:.200}") from None
    names = _declared_names(schema.metadata or {}, wanted)
    return Table(path=path, rows=rows, lines=tuple(range(1, len(rows) + 1)), unit="row", names=names)


def _prepared(raw: Table, wanted: Sequence[str], prepare: Mapping[str, Callable[[Any], Any]]) -> Table:
    own = [prepare.get(column, lambda cell: cell) for column in wanted]
    return replace(raw, rows=tuple(tuple(of(cell) for of, cell in zip(own, row, strict=True)) for row in raw.rows))


def _plain(raw: Table, wanted: Sequence[str]) -> Table:
    """Cells as text; a number that stands for a declared label is that label."""
    declared = [raw.names.get(column) for column in wanted]
    for at, column in enumerate(wanted):
        _refuse_undeclared(raw, at, column)
    rows = tuple(
        tuple(_cell(raw.path, raw.where(at), named(value, names)) for value, names in zip(row, declared, strict=True))
        for at, row in enumerate(raw.rows)
    )
    return replace(raw, rows=rows)


def _refuse_undeclared(raw: Table, column: int, name: str) -> None:
    """Refuse numbers that stand for no declared label, as empty labels are."""
    found = [named(row[column], raw.names.get(name)) for row in raw.rows]
    strange = [at for at, value in enumerate(found) if isinstance(value, Undeclared)]
    if strange:
        raise DataError(
            f"{raw.path.name}: {len(strange)} of {len(found)} labels in column {name!r} are {found[strange[0]]} (first "
            f"at {raw.where(strange[0])}): no label; fill them or remove their rows"
        )


def _declared_names(metadata: dict[bytes, bytes], wanted: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Label names that the `datasets` library wrote into the schema, by column."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        own = {column: features[column] for column in wanted if column in features}
        declared = {column: feature.get("feature", feature).get("names") for column, feature in own.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {column: tuple(names) for column, names in declared.items() if isinstance(names, list)}


def named(value: Any, names: tuple[str, ...] | None) -> Any:
    """The declared label that a number stands for; a number outside of the declared ones is no label."""
    if not names or not isinstance(value, int | float) or (isinstance(value, float) and not value.is_integer()):
        return value
    return names[int(value)] if 0 <= value < len(names) else Undeclared(value=int(value), n_names=len(names))


@dataclass(frozen=True, kw_only=True)
class Undeclared:
    """A number that no declared label has: the `datasets` library writes -1 and -100 for 'no label'."""

    value: int
    n_names: int

    def __str__(self) -> str:
        return f"{self.value}, which is none of the {self.n_names} declared names"


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
