"""Mappings that come with kdrec, for the tables of tools that many have: what such a tool itself decides is in them.

What only its user knows (which param is the task, what the score is called) is added: in a copy, or one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kdrec.checks import shown
from kdrec.errors import BadArgument, DataError, did_you_mean
from kdrec.history.columns import COLUMNS
from kdrec.history.mapping import TableMap, read_mapping

FOLDER: Final = Path(__file__).parent / "mappings"

_SIGNS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "mlflow": (("run_id", "status", "start_time", "end_time"), ("run_id", "experiment_id")),
    "optuna": (("number", "state"), ("number", "datetime_start"), ("state", "datetime_complete")),
    "wandb": (("Name", "State", "Runtime"), ("Name", "State", "Created"), ("_runtime", "_timestamp")),
}
"""Columns that the tables of a tool have together, and a history of kdrec has not."""

_EXPORTS: Final = {
    "mlflow": "mlflow.search_runs",
    "optuna": "Optuna's trials_dataframe",
    "wandb": "W&B",
}
_PARTS: Final = ("columns", "knobs", "constants", "factors")
_YOURS: Final = ("task", "student", "seed", "val_score")
"""What no tool decides."""


@dataclass(frozen=True, kw_only=True)
class Added:
    """What a user adds to a mapping on the command line, each as ``NAME=VALUE``; it replaces what the mapping says."""

    columns: Sequence[str] = ()
    knobs: Sequence[str] = ()
    constants: Sequence[str] = ()
    factors: Sequence[str] = ()
    parts: Mapping[str, Mapping[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        parts = {part: dict(_pair(part, text) for text in getattr(self, part)) for part in _PARTS}
        object.__setattr__(self, "parts", parts)

    def to(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """A decoded mapping with all this in it."""
        whole = dict(table)
        for part, values in self.parts.items():
            if isinstance(whole.setdefault(part, {}), dict):
                whole[part] = {**whole[part], **values}
        if self.parts["knobs"] and isinstance(whole["knobs"], dict):
            whole["knobs"].pop("*", None)  # knobs that were named are all of them
        for part, other in (("columns", "constants"), ("constants", "columns")):
            if isinstance(whole[other], dict):
                whole[other] = {name: v for name, v in whole[other].items() if name not in self.parts[part]}
        return whole


def names() -> tuple[str, ...]:
    """Tools of which a mapping comes with kdrec."""
    return tuple(_SIGNS)


def text_of(name: str) -> str:
    """The text of a mapping that comes with kdrec, to be copied and filled in."""
    if name not in _SIGNS:
        raise BadArgument(f"no mapping {name!r} comes with kdrec{did_you_mean(name, _SIGNS)}")
    return (FOLDER / f"{name}.toml").read_text(encoding="utf-8")


def chosen(name: str, added: Added, file: str, columns: Sequence[str]) -> TableMap:
    """The mapping of a name or of a TOML file, with what was added, for a file that has these columns."""
    if name in _SIGNS:
        table = added.to(read_mapping(name, text_of(name)))
        unnamed = [own for own in _YOURS if own not in table["columns"] and own not in table["constants"]]
        if not table["knobs"]:
            unnamed.append("the knobs")
        if unnamed:
            raise DataError(_what_is_missing(name, unnamed, file, columns))
        return TableMap.of(f"the mapping {name}", table)
    path = Path(name)
    if not path.exists() and not path.suffix:
        raise BadArgument(f"--mapping takes {', '.join(_SIGNS)} or a TOML file{did_you_mean(name, _SIGNS)}")
    return TableMap.of(path.name, added.to(TableMap.table(path)))


def recognised(columns: Sequence[str]) -> str | None:
    """The tool whose export has these columns, if that can be told."""
    have = set(columns)
    if any(column.startswith("knob.") for column in have):
        return None
    for name, signs in _SIGNS.items():
        if any(have.issuperset(sign) for sign in signs):
            return name
    heads = {column.split(".")[0] for column in have if "." in column}
    return "mlflow" if {"params", "metrics"} <= heads else None


def what_to_say(tool: str) -> str:
    """The words for a table of a tool that was given without its mapping."""
    return (
        f"an export of {_EXPORTS[tool]}: kdrec history import FILE --mapping {tool} reads it, and "
        f"kdrec history mapping {tool} shows what is still to be named (docs/guides/mlflow.md)"
    )


def _what_is_missing(name: str, unnamed: Sequence[str], file: str, columns: Sequence[str]) -> str:
    first = unnamed[0]
    how = "--knob NAME=COLUMN" if first == "the knobs" else f"--column {first}=COLUMN"
    if first != "the knobs":
        how += f" or --constant {first}=VALUE"
        how += " (and --knob NAME=COLUMN)" * ("the knobs" in unnamed)
    listed = ", ".join(unnamed[:-1]) + f" and {unnamed[-1]}" if len(unnamed) > 1 else first
    return f"the mapping {name} leaves {listed} to be named: {how}; {file} has {', '.join(map(str, columns))}"


def _pair(part: str, text: str) -> tuple[str, Any]:
    option = f"--{part.removesuffix('s')}"
    name, sign, value = text.partition("=")
    name, value = name.strip(), value.strip()
    if not sign or not name or not value:
        raise BadArgument(f"{option} is written NAME=VALUE, got {shown(text)}")
    if part == "columns" and name == "seconds" and "," in value:
        return name, [column.strip() for column in value.split(",")]
    if part == "factors" or (part == "constants" and name in _NUMERIC):
        try:
            return name, int(value) if name in _WHOLE else float(value)
        except ValueError:
            raise BadArgument(f"{option} {name} is a number, got {shown(value)}") from None
    return name, value


_NUMERIC: Final = frozenset(column.name for column in COLUMNS if column.kind != "text")
_WHOLE: Final = frozenset(column.name for column in COLUMNS if column.kind == "whole")
