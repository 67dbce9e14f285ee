"""The columns of a history, as they stand in every form of it, and trials as rows of plain values.

`docs/history-schema.md` is the same list in prose; a test holds the two together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Final, Literal

from kdrec.types import HISTORY_COLUMNS, Configuration, KDConfig, Settings, TaskFeatures, Trial

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

Kind = Literal["text", "whole", "number"]
Row = tuple[str | int | float | None, ...]
"""Cells in the order of the columns. A trial of foreign knobs has none in kdrec's own, and one more, at the end: all
its knobs as JSON. So a row has one length for each kind, and nothing has changed for the first."""

FINISHED: Final = ("completed", "diverged")
"""Statuses that are evidence; a failed trial is none."""


@dataclass(frozen=True)
class Column:
    """A column: its kind of value, and whether a cell may be empty (unknown)."""

    name: str
    kind: Kind
    optional: bool


_FLAGS: Final = ("teacher_still_improving", "still_improving")
"""Columns of yes and no: whole numbers, 1 and 0."""
_WHOLE: Final = ("n_train", "n_classes", "n_transfer", "student_params", "teacher_params", "seed", "n_steps", *_FLAGS)
_TEXT: Final = (
    "task",
    "family",
    "student",
    "distance",
    "teacher",
    "status",
    "run_id",
    "scale_soft_loss",
    "fingerprint",
    "data",
)
_NEEDED: Final = ("task", "student", "alpha", "distance", "teacher", "tau_t", "tau_s", "seed", "status", "seconds")


def _column(name: str) -> Column:
    kind: Kind = "text" if name in _TEXT else "whole" if name in _WHOLE else "number"
    return Column(name, kind, name not in _NEEDED)


COLUMNS: Final = tuple(_column(name) for name in HISTORY_COLUMNS)
NEEDED_COLUMNS: Final = HISTORY_COLUMNS[: HISTORY_COLUMNS.index("scale_soft_loss")]
"""Columns that a table must have; those that came later may be absent."""

_FEATURES: Final = tuple(name for name in TaskFeatures.__dataclass_fields__ if name in HISTORY_COLUMNS)
_KNOBS: Final = tuple(KDConfig.__dataclass_fields__)
_OWN: Final = tuple(name for name in Trial.__dataclass_fields__ if name not in ("features", "config"))
_PICK_FEATURES, _PICK_KNOBS, _PICK_OWN = (
    itemgetter(*(HISTORY_COLUMNS.index(name) for name in names)) for names in (_FEATURES, _KNOBS, _OWN)
)
_NUMBERS_AT: Final = tuple(at for at, column in enumerate(COLUMNS) if column.kind == "number")
_FLAGS_AT: Final = tuple(HISTORY_COLUMNS.index(name) for name in _FLAGS)
_IDENTITY_AT: Final = (HISTORY_COLUMNS.index("fingerprint"), HISTORY_COLUMNS.index("run_id"))
_READ: Final = attrgetter(
    *(
        f"features.{name}" if name in _FEATURES else f"config.{name}" if name in _KNOBS else name
        for name in HISTORY_COLUMNS
    )
)
_READ_FOREIGN: Final = attrgetter(
    *(f"features.{name}" if name in _FEATURES else name for name in HISTORY_COLUMNS if name not in _KNOBS)
)
_NO_KNOBS: Final = [at for at, name in enumerate(HISTORY_COLUMNS) if name in _KNOBS]


def row_of(trial: Trial) -> Row:
    """A trial as plain values in the order of the columns: numbers are floats, no zero is negative, yes is 1."""
    foreign = isinstance(trial.config, Settings)
    row = list(_READ_FOREIGN(trial) if foreign else _READ(trial))
    for at in _NO_KNOBS if foreign else ():
        row.insert(at, None)
    for at in _NUMBERS_AT:
        if row[at] is not None:
            row[at] = float(row[at]) + 0.0
    for at in _FLAGS_AT:
        if row[at] is not None:
            row[at] = int(row[at])
    return (*row, json.dumps(trial.config.to_dict(), sort_keys=True)) if foreign else tuple(row)


def trials_of(rows: Iterable[Row]) -> list[Trial]:
    """Rows as trials. Rows of one task share its features, and rows of one configuration share that."""
    seen_features: dict[Row, TaskFeatures] = {}
    seen_configs: dict[Row, Configuration] = {}
    trials = []
    for row in rows:
        foreign = row[len(HISTORY_COLUMNS) :]
        about, knobs = _PICK_FEATURES(row), foreign or _PICK_KNOBS(row)
        features = seen_features.get(about)
        if features is None:
            features = seen_features[about] = TaskFeatures(**dict(zip(_FEATURES, about, strict=True)))
        config = seen_configs.get(knobs)
        if config is None:
            config = seen_configs[knobs] = _config_of(knobs, foreign=bool(foreign))
        own: dict[str, Any] = dict(zip(_OWN, _PICK_OWN(row), strict=True))
        trials.append(Trial(features=features, config=config, **own))
    return trials


def _config_of(knobs: Row, *, foreign: bool) -> Configuration:
    if foreign:
        return Settings.of(**json.loads(str(knobs[0])))
    values: dict[str, Any] = dict(zip(_KNOBS, knobs, strict=True))
    return KDConfig(**values)


def identities(row: Row) -> tuple[str, ...]:
    """Words of which no two rows of a history share one: fingerprint and run id, or the content without both."""
    known = [f"{at}:{row[at]}" for at in _IDENTITY_AT if row[at]]
    return tuple(known) or (digest([row]),)


def digest(rows: Sequence[Row]) -> str:
    """SHA-256 of rows, floats to the bit."""
    return digest_with(hashed(rows))


def hashed(rows: Sequence[Row], *beside: Sequence[object]) -> Hash:
    """The work for a `digest` that goes on with `digest_with`: rows are many, and mostly the same as before."""
    return hashlib.sha256(json.dumps([rows, *beside], check_circular=False)[:-1].encode())


def digest_with(rows: Hash, *last: Sequence[object]) -> str:
    """The digest of hashed rows, which may go on otherwise, and of what is kept beside them in the end."""
    whole = rows.copy()
    whole.update("".join(f", {json.dumps(part, check_circular=False)}" for part in last).encode() + b"]")
    return whole.hexdigest()
