"""The catalogue of models: `models/*.toml` read into `ModelCard`s. One file, one teacher and the students it may teach.

Cards are data and nothing here loads a model; whether teacher and student truly share a tokenizer is checked by hash
where they are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, Final

from kdrec.checks import decoded_toml
from kdrec.errors import BadArgument, did_you_mean
from kdrec.inputs import text_of
from kdrec.types import ModelCard

_KEYS: Final = {field.name for field in fields(ModelCard)} - {"role", "teacher"}
_FROM_TEACHER: Final = ("source", "licence", "hidden_size", "max_length")
"""What a student without a source of its own has from its teacher, whose layers it keeps."""


def cards() -> dict[str, ModelCard]:
    """All cards by name: each teacher, then its students from the largest to the smallest."""
    return dict(_shipped())


def card(name: str) -> ModelCard:
    """The card of this name.

    Raises
    ------
    BadArgument
        When there is none; the text names the nearest.
    """
    known = _shipped()
    if name not in known:
        raise BadArgument(f"unknown model {name!r}{did_you_mean(name, known)}")
    return known[name]


def teachers() -> tuple[ModelCard, ...]:
    """Cards of all teachers."""
    return tuple(entry for entry in _shipped().values() if entry.role == "teacher")


def students(teacher: str | None = None) -> tuple[ModelCard, ...]:
    """Cards of all students, or of those of one teacher."""
    if teacher is not None and card(teacher).role != "teacher":
        raise BadArgument(f"{teacher!r} is a student, not a teacher{did_you_mean('', (t.name for t in teachers()))}")
    return tuple(entry for entry in _shipped().values() if entry.role == "student" and teacher in (None, entry.teacher))


def teacher_of(student: str) -> str:
    """Name of the teacher of a student's card.

    Raises
    ------
    BadArgument
        When there is no such card, or it is a teacher's.
    """
    entry = card(student)
    if entry.teacher is None:
        own = ", ".join(other.name for other in students(student))
        raise BadArgument(f"{student!r} is a teacher, a student was expected; its students are {own}")
    return entry.teacher


@cache
def _shipped() -> dict[str, ModelCard]:
    """The cards inside an installed package, else those beside the package in a checkout."""
    package = Path(__file__).parent
    inside = package / "models"
    return read_folder(inside if inside.is_dir() else package.parent / "models")


def read_folder(folder: Path) -> dict[str, ModelCard]:
    """Read all card files of a folder; names are unique over all of them.

    Raises
    ------
    BadArgument
        When there is no card file, or one is not as it should be.
    """
    found: dict[str, ModelCard] = {}
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise BadArgument(f"no model cards (*.toml) in {folder}")
    for path in paths:
        for entry in read_file(path):
            if entry.name in found:
                raise BadArgument(f"{path.name}: a model called {entry.name!r} is in another file already")
            found[entry.name] = entry
    return found


def read_file(path: Path) -> tuple[ModelCard, ...]:
    """Read one card file: a `[teacher]` table and one `[students.NAME]` table for each student.

    Raises
    ------
    BadArgument
        When the file is not TOML, or a key is missing, unknown or has a wrong value.
    """
    try:
        tables = decoded_toml(text_of(path))
    except ValueError as error:
        raise BadArgument(f"{path.name} is not a TOML file: {error}") from None
    _check_keys(tables, {"teacher", "students"}, path.name)
    if "teacher" not in tables:
        raise BadArgument(f"{path.name}: the table [teacher] is missing")
    table = tables["teacher"]
    _check_keys(table, _KEYS, f"{path.name} [teacher]")
    teacher = _build({**table, "role": "teacher"}, f"{path.name} [teacher]")
    _check_keys(tables.get("students", {}), None, f"{path.name} [students]")
    return teacher, *(
        _student(name, entry, teacher, f"{path.name} [students.{name}]")
        for name, entry in tables.get("students", {}).items()
    )


def _student(name: str, table: Any, teacher: ModelCard, where: str) -> ModelCard:
    _check_keys(table, _KEYS - {"name"}, where)
    values = dict(table)
    if "source" not in values:
        if "layers" not in values:
            raise BadArgument(f"{where}: a student has a source of its own or the layers it keeps of its teacher")
        values = {**{key: getattr(teacher, key) for key in _FROM_TEACHER}, **values}
        if isinstance(values["layers"], list):
            values.setdefault("n_layers", len(values["layers"]))
            if any(isinstance(layer, int) and not 0 <= layer < teacher.n_layers for layer in values["layers"]):
                raise BadArgument(f"{where}: layers must be in 0..{teacher.n_layers - 1}, got {values['layers']}")
    return _build({**values, "name": name, "role": "student", "teacher": teacher.name}, where)


def _build(values: Mapping[str, Any], where: str) -> ModelCard:
    layers = values.get("layers")
    if layers is not None and not (isinstance(layers, list) and all(type(layer) is int for layer in layers)):
        raise BadArgument(f"{where}: layers must be a list of whole numbers, got {layers!r}")
    for field in fields(ModelCard):
        if field.name not in values and field.name not in ("layers", "teacher"):
            raise BadArgument(f"{where}: the key {field.name!r} is missing")
    for key in ("name", "source", "licence"):
        if not isinstance(values[key], str) or not values[key].strip():
            raise BadArgument(f"{where}: {key} must be a text, got {values[key]!r}")
    try:
        return ModelCard(**{**values, "layers": None if layers is None else tuple(layers)})
    except BadArgument as error:
        raise BadArgument(f"{where}: {error}") from None


def _check_keys(table: object, known: set[str] | None, where: str) -> None:
    if not isinstance(table, Mapping):
        raise BadArgument(f"{where}: a table was expected, got {table!r}")
    for key in table:
        if known is not None and key not in known:
            raise BadArgument(f"{where}: unknown key {key!r}{did_you_mean(key, known)}")
