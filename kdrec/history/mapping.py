"""Tables of other tools: what their columns mean, so that they are read as a history without being rewritten first.

A mapping only says which cell goes where; every cell is then judged as strictly as in a table of kdrec's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self

from kdrec.checks import decoded_toml, number
from kdrec.config import NUMBER_TEXT
from kdrec.errors import BadArgument, DataError, did_you_mean
from kdrec.history.columns import COLUMNS
from kdrec.types import HISTORY_COLUMNS, KNOB_PREFIX, KNOBS, STATUSES, KDConfig

_SPAN: Final = re.compile(r"(?:(\d+) days? )?(\d+):(\d\d):(\d\d(?:\.\d+)?)", re.ASCII)
_NUMBERS: Final = tuple(column.name for column in COLUMNS if column.kind == "number")
_NEEDED: Final = ("task", "student", "seed", "status", "seconds")
"""What every history row has beside its knobs."""


@dataclass(frozen=True, kw_only=True)
class TableMap:
    """What the columns of another tool's table mean.

    `columns` and `knobs` name, for a column of a history and for a knob, the table's column; `constants` are values
    that all rows share; `statuses` translates the tool's words for how a run ended; `factors` multiplies numbers (100
    for scores between 0 and 1, 60 for minutes). Without `knobs`, the knobs are kdrec's own, among the `columns`.
    """

    columns: Mapping[str, str]
    knobs: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str | int | float] = field(default_factory=dict)
    statuses: Mapping[str, str] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part in (f.name for f in fields(self)):
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
        for word in self.statuses.values():
            if word not in STATUSES:
                raise BadArgument(f"a status is one of {', '.join(STATUSES)}, got {word!r}")
        for name, factor in self.factors.items():
            if name not in _NUMBERS:
                raise BadArgument(f"factors multiply numbers, {name!r} is none{did_you_mean(name, _NUMBERS)}")
            number(f"the factor of {name}", factor, 0, open_low=True)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a mapping from a TOML file with the tables `columns`, `knobs`, `constants`, `statuses` and `factors`."""
        path = Path(path)
        try:
            table = decoded_toml(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"the mapping {path} cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise DataError(f"{path.name} is not a TOML file: {error}") from None
        known = [f.name for f in fields(cls)]
        for key in table:
            if key not in known:
                raise BadArgument(f"{path.name}: unknown key {key!r}{did_you_mean(key, known)}")
        try:
            return cls(**{"columns": {}, **table})
        except BadArgument as error:
            raise BadArgument(f"{path.name}: {error}") from None

    def laid_out(
        self, file: str, names: Sequence[str], rows: Iterable[tuple[str, Sequence[Any]]]
    ) -> tuple[list[str], Iterator[tuple[str, Sequence[Any]]]]:
        """Header and rows of the history that a table is, each row with the place where it stands.

        Raises
        ------
        DataError
            When the table lacks a column of the mapping, or a row has another number of cells than the header.
        """
        taken = {**self.columns, **{f"{KNOB_PREFIX}{name}": column for name, column in self.knobs.items()}}
        for name, column in taken.items():
            if column not in names:
                near = did_you_mean(str(column), names)
                raise DataError(f"{file} has no column {column!r} to read {name} from{near}")
        at = {name: names.index(column) for name, column in taken.items()}
        own = [n for n in HISTORY_COLUMNS if not (self.knobs and n in KDConfig.__dataclass_fields__)]
        header = [*own, *(name for name in taken if name not in own)]
        return header, self._rows(file, len(names), header, at, rows)

    def _rows(
        self,
        file: str,
        width: int,
        header: Sequence[str],
        at: Mapping[str, int],
        rows: Iterable[tuple[str, Sequence[Any]]],
    ) -> Iterator[tuple[str, Sequence[Any]]]:
        for where, cells in rows:
            if len(cells) != width:
                raise DataError(f"{file}, {where}: {width} cells were expected, as in the header, got {len(cells)}")
            given = {**self.constants, **{name: self._cell(name, cells[place]) for name, place in at.items()}}
            yield where, [given.get(name) for name in header]

    def _cell(self, name: str, cell: Any) -> Any:
        """A cell in the words and units of a history; one that is not understood is left to be refused as it is."""
        if name == "status":
            return self.statuses.get(cell, cell) if isinstance(cell, str) else cell
        if name == "seconds":
            cell = _seconds(cell)
        factor = self.factors.get(name)
        if factor is None or cell is None:
            return cell
        text = str(cell).strip()
        return float(text) * factor if NUMBER_TEXT.fullmatch(text) else cell


def _seconds(cell: Any) -> Any:
    """A span of time, as pandas writes it (``0 days 00:01:12.500000``), in seconds; anything else as it is."""
    span = _SPAN.fullmatch(cell.strip()) if isinstance(cell, str) else None
    if span is None:
        return cell
    days, hours, minutes, seconds = (float(part or 0) for part in span.groups())
    return 86_400 * days + 3600 * hours + 60 * minutes + seconds
