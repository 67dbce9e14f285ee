"""Tables of other tools: what their columns mean, so that they are read as a history without being rewritten first.

A mapping only says which cell goes where, and which rows are no evidence; every cell of the others is then judged as
strictly as in a table of kdrec's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self

from kdrec.checks import decoded_toml, number, one_of
from kdrec.config import NUMBER_TEXT
from kdrec.errors import BadArgument, DataError, did_you_mean
from kdrec.history.columns import COLUMNS
from kdrec.history.times import seconds_between, seconds_of
from kdrec.inputs import text_of
from kdrec.types import HISTORY_COLUMNS, KNOB_PREFIX, KNOBS, STATUSES, KDConfig, Trial

_NUMBERS: Final = tuple(column.name for column in COLUMNS if column.kind == "number")
_NEEDED: Final = ("task", "student", "seed", "status", "seconds")
"""What every history row has beside its knobs."""
_PARTS: Final = ("columns", "knobs", "constants", "statuses", "factors")
_MEASURED: Final = ("val_score", "val_loss", "test_score")
_LEFT_OUT: Final = ("diverged", "failed")
_LARGEST: Final = 1.7e308
"""MLflow's SQL stores keep infinity as the largest number that they can."""
_ALL: Final = "*"
"""The name of a knob that stands for every column of a form such as `params.*` that nothing else reads."""

Place = int | tuple[int, int]
"""Where a value stands in a row; a time may be between two columns."""


@dataclass(frozen=True, kw_only=True)
class TableMap:
    """What the columns of another tool's table mean.

    `columns` and `knobs` name, for a column of a history and for a knob, the table's column; `seconds` may name two, of
    the start and the end of a run. The knob ``*`` is every column of a form (``params.*``) that nothing else reads,
    under the name that stands for the star. `constants` are values that all rows share; `statuses` translates the
    tool's words for how a run ended; `factors` multiplies numbers (100 for scores between 0 and 1, 60 for minutes).
    Without `knobs`, the knobs are kdrec's own, among the `columns`.

    Rows that failed are left out whatever else is in them. `non_finite` says what a completed row is whose score or
    loss is infinite or NaN, and `without_score` one without a validation score: diverged, or failed. By default,
    such a row is refused.
    """

    columns: Mapping[str, str | Sequence[str]]
    knobs: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str | int | float] = field(default_factory=dict)
    statuses: Mapping[str, str] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)
    non_finite: str | None = None
    without_score: str | None = None

    def __post_init__(self) -> None:
        for part in _PARTS:
            if not isinstance(getattr(self, part), Mapping):
                raise BadArgument(f"{part} must be a table, got {getattr(self, part)!r}")
        for name in (*self.columns, *self.constants):
            if name not in HISTORY_COLUMNS:
                raise BadArgument(f"a history has no column {name!r}{did_you_mean(name, HISTORY_COLUMNS)}")
        needed = _NEEDED if self.knobs else (*_NEEDED, *KNOBS)
        for name in needed:
            if name not in self.columns and name not in self.constants:
                raise BadArgument(f"{name!r} is neither among columns nor constants, and every trial has one")
        twice = sorted(set(self.columns) & set(self.constants))
        if twice:
            raise BadArgument(f"{twice[0]!r} is among columns and among constants; one was expected")
        for name in ("non_finite", "without_score"):
            if getattr(self, name) is not None:
                one_of(name, getattr(self, name), _LEFT_OUT)
        for name, column in (*self.columns.items(), *self.knobs.items()):
            _check_column(name, column)
        for word in self.statuses.values():
            if word not in STATUSES:
                raise BadArgument(f"a status is one of {', '.join(STATUSES)}, got {word!r}")
        for name, factor in self.factors.items():
            if name not in _NUMBERS:
                raise BadArgument(f"factors multiply numbers, {name!r} is none{did_you_mean(name, _NUMBERS)}")
            number(f"the factor of {name}", factor, 0, open_low=True)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a mapping from a TOML file whose keys are the fields of this class."""
        return cls.of(Path(path).name, cls.table(path))

    @staticmethod
    def table(path: str | Path) -> dict[str, Any]:
        """The decoded TOML table in a file that has yet to become a mapping."""
        path = Path(path)
        try:
            text = text_of(path)
        except OSError as error:
            raise DataError(f"the mapping {path} cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise DataError(f"{path.name} is not a TOML file: {error}") from None
        return read_mapping(path.name, text)

    @classmethod
    def of(cls, name: str, table: Mapping[str, Any]) -> Self:
        """The mapping that a decoded TOML table is; `name` is what a refusal calls it."""
        known = [f.name for f in fields(cls)]
        for key in table:
            if key not in known:
                raise BadArgument(f"{name}: unknown key {key!r}{did_you_mean(key, known)}")
        try:
            return cls(**{"columns": {}, **table})
        except BadArgument as error:
            raise BadArgument(f"{name}: {error}") from None

    def laid_out(
        self, file: str, names: Sequence[str], rows: Iterable[tuple[str, Sequence[Any]]]
    ) -> tuple[list[str], Iterator[tuple[str, Sequence[Any]]]]:
        """Header and rows of the history that a table is, each row with the place where it stands.

        Raises
        ------
        DataError
            When the table lacks a column of the mapping, or a row has another number of cells than the header.
        """
        knobs = self._knobs_of(names)
        taken = {**self.columns, **{f"{KNOB_PREFIX}{name}": column for name, column in knobs.items()}}
        at = {name: _place(file, name, column, names) for name, column in taken.items()}
        own = [n for n in HISTORY_COLUMNS if not (self.knobs and n in KDConfig.__dataclass_fields__)]
        header = [*own, *(name for name in taken if name not in own)]
        return header, self._rows(file, len(names), header, at, rows)

    def _knobs_of(self, names: Sequence[str]) -> dict[str, str]:
        """Knobs by their columns, those of the star too."""
        named = {name: column for name, column in self.knobs.items() if name != _ALL}
        head, _, tail = self.knobs.get(_ALL, "").partition(_ALL)
        read = {*named.values()}
        for column in self.columns.values():
            read |= {column} if isinstance(column, str) else {*column}
        if _ALL in self.knobs:
            for name in names:
                if name.startswith(head) and name.endswith(tail) and len(name) > len(head + tail) and name not in read:
                    named.setdefault(name[len(head) : len(name) - len(tail)], name)
        return named

    def _rows(
        self,
        file: str,
        width: int,
        header: Sequence[str],
        at: Mapping[str, Place],
        rows: Iterable[tuple[str, Sequence[Any]]],
    ) -> Iterator[tuple[str, Sequence[Any]]]:
        for where, cells in rows:
            if len(cells) != width:
                raise DataError(f"{file}, {where}: {width} cells were expected, as in the header, got {len(cells)}")
            given = {**self.constants, **{name: self._cell(name, _at(cells, place)) for name, place in at.items()}}
            self._judge(f"{file}, {where}", given)
            yield where, [given.get(name) for name in header]

    def _judge(self, where: str, given: dict[str, Any]) -> None:
        """Give a completed row that diverged, or has no score, the status that the mapping says of such rows."""
        endless = [name for name in _MEASURED if _is_endless(given.get(name))]
        completed = given["status"] == "completed"
        if completed and endless:
            if self.non_finite is None:
                raise DataError(
                    f"{where}, column {endless[0]!r}: a finite number was expected, got {given[endless[0]]!r}; "
                    'non_finite = "diverged" in the mapping says that such a run diverged'
                )
            given["status"] = self.non_finite
        elif completed and given.get("val_score") in (None, "") and self.without_score:
            given["status"] = self.without_score
        if given["status"] == "diverged":
            given.update(dict.fromkeys(endless))

    def _cell(self, name: str, cell: Any) -> Any:
        """A cell in the words and units of a history; one that is not understood is left to be refused as it is."""
        if name == "status":
            return self.statuses.get("" if cell is None else str(cell).strip(), cell)
        if name == "seconds":
            cell = seconds_between(*cell) if isinstance(cell, tuple) else seconds_of(cell)
        factor = self.factors.get(name)
        if factor is None or cell is None:
            return cell
        text = str(cell).strip()
        return float(text) * factor if NUMBER_TEXT.fullmatch(text) else cell


def read_mapping(name: str, text: str) -> dict[str, Any]:
    """The table that the TOML text of a mapping is."""
    try:
        return decoded_toml(text)
    except ValueError as error:
        raise DataError(f"{name} is not a TOML file: {error}") from None


def check_scale(file: str, mapping: TableMap, trials: Sequence[Trial]) -> None:
    """Refuse fractions that would be believed as points: a factor, 1 too, says that somebody thought of it."""
    for name in ("val_score", "test_score"):
        scores = [score for trial in trials if (score := getattr(trial, name)) is not None]
        if name not in mapping.factors and name in mapping.columns and 0 < max(scores, default=0) <= 1:
            raise DataError(
                f"{file}: no {name} is above 1, and points from 0 to 100 were expected: the mapping needs the factor "
                f"{name} = 100 for fractions, or {name} = 1 where these are points"
            )


def _check_column(name: str, column: object) -> None:
    """Refuse what is neither a column, nor (of `seconds`) a start and an end."""
    if name == "seconds" and isinstance(column, (list, tuple)):
        if len(column) != 2 or not all(isinstance(part, str) for part in column):
            raise BadArgument(f"seconds is a column, or the two columns of start and end, got {list(column)!r}")
    elif not isinstance(column, str):
        raise BadArgument(f"{name} must be the name of a column, got {column!r}")
    elif name == _ALL and column.count(_ALL) != 1:
        raise BadArgument(f"the knob '*' reads columns of a form with one star, such as 'params.*', got {column!r}")


def _place(file: str, name: str, column: str | Sequence[str], names: Sequence[str]) -> Place:
    if not isinstance(column, str):
        start, end = (_place(file, name, part, names) for part in column)
        assert isinstance(start, int)
        assert isinstance(end, int)
        return start, end
    if column not in names:
        raise DataError(f"{file} has no column {column!r} to read {name} from{did_you_mean(column, names)}")
    if names.count(column) > 1:
        raise DataError(f"{file} has the column {column!r} twice")
    return names.index(column)


def _at(cells: Sequence[Any], place: Place) -> Any:
    return cells[place] if isinstance(place, int) else (cells[place[0]], cells[place[1]])


def _is_endless(cell: Any) -> bool:
    """Whether a cell says that a number is infinite or not a number."""
    try:
        return not math.isfinite(value := float(cell)) or abs(value) > _LARGEST
    except (TypeError, ValueError, OverflowError):
        return False
