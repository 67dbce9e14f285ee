"""A Study: which cells are searched, how, and with which seeds; read from one TOML file under `flows/studies/`.

Only the form of the file is known here. Whether a task or a student exists is asked by `trial`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from kdrec.cells import OVERRIDE_KEYS, Override
from kdrec.cells import Cell as Cell
from kdrec.cells import RowLimits as RowLimits
from kdrec.checks import decoded_toml
from kdrec.errors import BadArgument, DataError, did_you_mean
from kdrec.examples import EMPTY_LABELS
from kdrec.inputs import text_of
from kdrec.space import Space, canonical
from kdrec.training import AUTO, Budget, StudentTraining, TeacherTraining
from kdrec.types import TEACHERS, TRUSTS, KDConfig, TeacherChoice, TrustDefault, check_name

Strategy = Literal["greedy", "full", "suggested", "listed"]
STRATEGIES: tuple[Strategy, ...] = ("greedy", "full", "suggested", "listed")
OWN_KEYS = {"trial_price": "suggested", "trust_default": "suggested", "batch": "suggested", "configs": "listed"}
"""Keys that one strategy alone reads: beside another they would be dropped in silence, so they are refused."""
_PLAIN = ("name", "tasks", "students", "search", "seeds", "trial_price", "trust_default", "batch")
"""Keys whose values stand for themselves."""
MOST_SEEDS = 1000
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class OwnData:
    """A task of the user's own: a CSV, TSV, JSONL or Parquet file, its text column (two for a pair) and its label.

    `unlabelled` is a file of rows without labels, or `EMPTY_LABELS` for those of `path` whose label cell is empty.
    """

    path: str
    text: str | tuple[str, ...]
    label: str
    test: str | None = None
    unlabelled: str | None = None

    def __post_init__(self) -> None:
        columns = self.text if isinstance(self.text, tuple) else (self.text,)
        if len(columns) not in (1, 2) or not all(isinstance(column, str) for column in columns):
            raise BadArgument(f"text must be the name of one column, or a list of two, got {self.text!r}")
        for name in ("path", "label", "test", "unlabelled"):
            value = getattr(self, name)
            may_be_none = name in ("test", "unlabelled")
            if not (isinstance(value, str) and value) and not (may_be_none and value is None):
                raise BadArgument(f"{name} must be a text, got {value!r}")

    def located(self, base: Path) -> Self:
        """The same with paths made absolute from the folder of the study file."""
        more = self.unlabelled
        return replace(
            self,
            path=str(base / self.path),
            test=self.test and str(base / self.test),
            unlabelled=more if more in (None, EMPTY_LABELS) else str(base / more),
        )

    def files(self) -> tuple[str, ...]:
        """Every file that its rows are in."""
        more = None if self.unlabelled == EMPTY_LABELS else self.unlabelled
        return tuple(file for file in (self.path, self.test, more) if file)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A set of cells, a search strategy and seeds.

    `trial_price` (points), `trust_default` and `batch` (trials between two questions to the recommender) steer the
    search `suggested` and are None where they are left to it; `configs` are what the search `listed` runs. `aliases`
    names tasks of the catalogue anew, so that one study can hold several row regimes of one (`[data.NAME] task = ...`).
    """

    name: str
    tasks: tuple[str, ...]
    students: tuple[str, ...]
    search: Strategy = "greedy"
    seeds: tuple[int, ...] = (0,)
    space: Space = field(default_factory=Space)
    rows: RowLimits = field(default_factory=RowLimits)
    teacher: TeacherTraining = field(default_factory=TeacherTraining)
    training: StudentTraining = field(default_factory=StudentTraining)
    budget: Budget = field(default_factory=Budget)
    overrides: tuple[Override, ...] = ()
    data: Mapping[str, OwnData] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    trial_price: float | None = None
    trust_default: TrustDefault | None = None
    batch: int | None = None
    configs: tuple[KDConfig, ...] = ()

    def __post_init__(self) -> None:
        check_name("name of a study", self.name)
        for name in self.tasks + self.students:
            check_name("task or student", name)
        if len(self.seeds) > MOST_SEEDS:
            raise BadArgument(f"a study has at most {MOST_SEEDS:,} seeds, got {len(self.seeds):,}")
        for seed in self.seeds:
            self.training.resolved(seed=seed, learning_rate=1.0)  # checks itself
        for kind in ("tasks", "students", "seeds"):
            values = getattr(self, kind)
            if not values or len(set(values)) != len(values):
                raise BadArgument(f"{kind} of study {self.name!r} must be distinct, at least one, got {list(values)}")
        if self.search not in STRATEGIES:
            near = did_you_mean(str(self.search), STRATEGIES)
            raise BadArgument(f"search must be one of {', '.join(STRATEGIES)}, got {self.search!r}{near}")
        self._check_search()
        for name in (*self.data, *self.aliases):
            if name not in self.tasks:
                raise BadArgument(f"[data.{name}] describes no task of this study{did_you_mean(name, self.tasks)}")
        for name, known in self.aliases.items():
            check_name(f"task of [data.{name}]", known)
        for override in self.overrides:
            override.check_fits_some(self.tasks, self.students)
        for task in self.tasks:
            self.rows_for(task)  # checks itself
        for cell in self.cells():
            length, teachers = self.training_for(cell).max_length, self.teacher_for(cell.task).max_length
            if length != teachers:
                raise BadArgument(
                    f"teacher and student must read the same text: max_length is {teachers} for the teacher and "
                    f"{length} for {cell}"
                )

    def _check_search(self) -> None:
        """Refuse what the strategy would not read, and what it cannot read."""
        for key, strategy in OWN_KEYS.items():
            if getattr(self, key) not in (None, ()) and self.search != strategy:
                raise BadArgument(f"{key} is read by search = {strategy!r} alone, and here search = {self.search!r}")
        price, batch = self.trial_price, self.batch
        number = isinstance(price, (int, float)) and not isinstance(price, bool)
        if price is not None and (not number or not math.isfinite(price) or price < 0):
            raise BadArgument(f"trial_price must be a finite number of points of at least 0, got {price!r}")
        if batch is not None and (not isinstance(batch, int) or isinstance(batch, bool) or batch < 1):
            raise BadArgument(f"batch must be a whole number of at least 1, got {batch!r}")
        if self.trust_default is not None and self.trust_default not in TRUSTS:
            near = did_you_mean(str(self.trust_default), TRUSTS)
            raise BadArgument(f"trust_default must be one of {', '.join(TRUSTS)}, got {self.trust_default!r}{near}")
        if self.search == "listed":
            self._check_configs()

    def _check_configs(self) -> None:
        if not self.configs:
            raise BadArgument("search = 'listed' runs the configurations it is given: write them as [[configs]] tables")
        if self.space != Space():
            raise BadArgument("search = 'listed' runs its [[configs]] alone: a [space] beside them means nothing")
        if any(config.alpha == 0 for config in self.configs):
            raise BadArgument("configs must have alpha above 0: alpha = 0 is the baseline that every study includes")
        counted = Counter(canonical(config) for config in self.configs)
        twice = [config.label() for config, count in counted.items() if count > 1]
        if twice:
            raise BadArgument(f"configs must be distinct, and {twice[0]!r} is listed twice")

    def cells(self) -> tuple[Cell, ...]:
        """Every task with every student."""
        return tuple(Cell(task=task, student=student) for task in self.tasks for student in self.students)

    def training_for(self, cell: Cell) -> StudentTraining:
        """How students of `cell` are to be trained; a later length takes the place of an earlier one."""
        training = self.training
        for override in self.overrides:
            if override.fits(cell):
                lengths = {"epochs": None, "n_steps": None} if {"epochs", "n_steps"} & set(override.values) else {}
                training = replace(training, **{**lengths, **override.values})
        return training

    def teacher_for(self, task: str) -> TeacherTraining:
        """How the teacher of `task` is fine-tuned; the budget bounds what the study does not say."""
        training = self.teacher
        for override in self.overrides:
            training = replace(training, **override.for_teacher(task))
        if training.epochs is None and training.max_steps is None:
            training = replace(training, max_steps=self.budget.max_steps)
        if training.is_auto and training.minutes is None:
            training = replace(training, minutes=self.budget.minutes)
        return training

    def rows_for(self, task: str) -> RowLimits:
        """How many rows of `task` are used."""
        given = [override.rows for override in self.overrides if override.task == task]
        return replace(self.rows, **{split: rows for table in given for split, rows in table.items()})

    @property
    def teacher_choices(self) -> tuple[TeacherChoice, ...]:
        """Choices of a teacher that this study may distil: those of the paper, and what it names besides."""
        named = {*self.space.teachers, *(config.teacher for config in self.configs), "t_ll", "t_hs"}
        return tuple(choice for choice in TEACHERS if choice in named)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any], *, where: str = "study") -> Self:
        """Build a study from a decoded TOML table; an unknown key is refused with the nearest known one."""
        own = {f.name for f in fields(cls)} - {"overrides", "aliases"} | {"override"}
        _known(table, own, where)
        for needed in ("name", "tasks", "students"):
            if needed not in table:
                raise BadArgument(f"{where}: the key {needed!r} is missing")
        parts: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in table.items() if key in _PLAIN
        }
        for key in ("tasks", "students", "seeds"):
            if key in parts and not isinstance(parts[key], tuple):
                raise BadArgument(f"{where}: {key} must be a list, got {parts[key]!r}")
        data, aliases = _data(table.get("data", {}), where)
        return cls(
            **parts,
            data=data,
            aliases=aliases,
            space=_build(Space, table.get("space", {}), f"{where} [space]"),
            rows=_build(RowLimits, table.get("rows", {}), f"{where} [rows]"),
            teacher=_build(TeacherTraining, *_auto(table, "teacher", where)),
            training=_build(StudentTraining, *_auto(table, "training", where)),
            budget=_build(Budget, table.get("budget", {}), f"{where} [budget]"),
            overrides=tuple(
                _override(entry, where)
                for entry in _list(table.get("override", []), where, "overrides as [[override]]")
            ),
            configs=tuple(
                _build(KDConfig, entry, f"{where} [[configs]]")
                for entry in _list(table.get("configs", []), where, "configs as [[configs]]")
            ),
        )

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a study file."""
        path = Path(path)
        study = cls.from_dict(_decoded(path), where=path.name)
        base = path.resolve().parent
        return replace(study, data={name: data.located(base) for name, data in study.data.items()})

    def settings(self, cell: Cell) -> dict[str, Any]:
        """What it says of a cell beside its knobs, in plain values: rows, teacher, training and budget."""
        parts = {
            "rows": self.rows_for(cell.task),
            "teacher": self.teacher_for(cell.task),
            "training": self.training_for(cell),
            "budget": self.budget,
        }
        said = {name: asdict(part).items() for name, part in parts.items()}  # type: ignore[call-overload]
        return _plain({name: {k: v for k, v in items if v is not None} for name, items in said.items()})  # type: ignore[no-any-return]

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` is the inverse."""
        table = {key: value for key, value in asdict(self).items() if key != "overrides"}
        table = {key: value for key, value in table.items() if key not in OWN_KEYS or value not in (None, ())}
        for key in ("rows", "teacher", "training", "budget"):
            table[key] = {name: value for name, value in table[key].items() if value is not None}
        table["data"] = {
            name: {key: value for key, value in data.items() if value is not None}
            for name, data in table["data"].items()
        } | {name: {"task": task} for name, task in table.pop("aliases").items()}
        table["override"] = [override.to_dict() for override in self.overrides]
        return _plain(table)  # type: ignore[no-any-return]


def _decoded(path: Path) -> dict[str, Any]:
    try:
        return decoded_toml(text_of(path))
    except FileNotFoundError:
        near = did_you_mean(path.stem, (p.stem for p in path.parent.glob("*.toml")))
        raise DataError(f"no study file at {path}{near}") from None
    except OSError as error:
        raise DataError(f"the study file {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{path.name} is not a TOML file: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _auto(table: Mapping[str, Any], key: str, where: str) -> tuple[Any, str]:
    """The table of a training and its place; `"auto"` says as much as an empty one, and as much as a key left out."""
    value, place = table.get(key, {}), f"{where} [{key}]"
    if value == AUTO:
        return {}, place
    if not isinstance(value, Mapping):
        raise BadArgument(f'{place}: a table or "{AUTO}" was expected, got {value!r}')
    for name, number in value.items():
        if number == AUTO:
            raise BadArgument(f'{place}: {name} must be a number, got "{AUTO}"; leave it out to have it found')
    return value, place


def _table(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadArgument(f"{where}: a table was expected, got {value!r}")
    return value


def _data(table: object, where: str) -> tuple[dict[str, OwnData], dict[str, str]]:
    """The tables [data.NAME]: rows of the user's own, and tasks of the catalogue under another name."""
    own: dict[str, OwnData] = {}
    aliases: dict[str, str] = {}
    for name, entry in _table(table, f"{where} [data]").items():
        place = f"{where} [data.{name}]"
        if "task" not in _table(entry, place):
            own[name] = _build(OwnData, entry, place)
            continue
        others = sorted(set(entry) - {"task"})
        if others:
            raise BadArgument(f"{place}: task = {entry['task']!r} says all of its rows, so {others[0]} means nothing")
        aliases[name] = entry["task"]
    return own, aliases


def _known(table: object, known: set[str], where: str) -> None:
    for key in _table(table, where):
        if key not in known:
            raise BadArgument(f"{where}: unknown key {key!r}{did_you_mean(key, known)}")


def _list(value: object, where: str, form: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadArgument(f"{where}: write {form} tables")
    return value


def _build(kind: type[T], table: Any, where: str) -> T:
    _known(table, {f.name for f in fields(kind)}, where)  # type: ignore[arg-type]
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]  # type: ignore[arg-type]
    for key in needed:
        if key not in table:
            raise BadArgument(f"{where}: the key {key!r} is missing")
    mixed_up = BadArgument(f"{where}: lists and single values are mixed up in {dict(table)!r}")
    lists = {f.name for f in fields(kind) if isinstance(f.default, tuple) or "tuple[float" in str(f.type)}  # type: ignore[arg-type]
    if any(not isinstance(table[key], list) for key in lists.intersection(table)):
        raise mixed_up  # a text would pass for the list of its letters, a table for that of its keys
    try:
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()})
    except BadArgument as error:
        raise BadArgument(f"{where}: {error}") from None
    except TypeError:
        raise mixed_up from None


def _override(entry: Any, where: str) -> Override:
    _known(entry, set(OVERRIDE_KEYS), f"{where} [[override]]")
    return Override.from_dict(entry)
