"""What a saved student says of itself in `kdrec.json`: what it was taught, how its rows are read, where it is from.

The file may come from a stranger, so it is checked like any other: unknown or missing keys, and values that could not
have been written here, are one sentence.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Self

from kdrec.checks import check_name, count, is_unicode, one_of
from kdrec.errors import CorruptFile, KdrecError, SourceError
from kdrec.types import FAMILIES, METRICS, Family, KDConfig, Metric

FILE: Final = "kdrec.json"
FORM: Final = 1
"""Version of the file."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Facts of a saved student; hashes are SHA-256."""

    name: str
    task: str
    task_fingerprint: str
    family: Family
    metric: Metric
    labels: tuple[str, ...]
    max_length: int
    """Tokens that it reads of an example, at most."""
    may_be_none: bool
    """Whether a question may have no answer (of the family `qa` alone)."""
    student: str
    config: KDConfig
    seed: int
    fingerprint: str
    """Of the trial."""
    teacher: str
    teacher_checkpoint: str
    why: str
    """Where the configuration is from."""
    val_score: float
    kdrec: str

    def __post_init__(self) -> None:
        for name in ("name", "task", "student", "teacher"):
            check_name(name, getattr(self, name))
        one_of("family", self.family, FAMILIES)
        one_of("metric", self.metric, METRICS)
        count("max_length", self.max_length, 8)
        count("seed", self.seed, 0)
        if len(self.labels) < 2 or not all(isinstance(label, str) and is_unicode(label) for label in self.labels):
            raise CorruptFile("labels must be two or more texts")

    def to_json(self) -> str:
        """Text of the file."""
        return json.dumps({"form": FORM, **asdict(self)}, indent=1, ensure_ascii=False, allow_nan=False)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Facts of a saved student.

        Raises
        ------
        SourceError
            When the folder holds none.
        CorruptFile
            When the file is not one that was written here.
        """
        path = folder / FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError:
            raise SourceError(f"{folder} holds no {FILE}, so it is no student that 'kdrec distill' has saved") from None
        except (ValueError, RecursionError) as error:
            raise CorruptFile(f"{path} is not JSON: {error!s:.120}") from None
        try:
            return cls._of(values)
        except (KdrecError, TypeError, KeyError, AttributeError, ValueError) as error:
            raise CorruptFile(f"{path} does not describe a student: {error!s:.200}") from None

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        if values.pop("form") != FORM:
            raise ValueError(f"its form is not {FORM}; it was written by another kdrec")
        wanted = {field.name: str(field.type) for field in fields(cls)}
        if set(values) != set(wanted):
            raise ValueError(f"the keys {', '.join(wanted)} were expected")
        for name, kind in wanted.items():
            if kind == "str" and not isinstance(values[name], str):
                raise ValueError(f"{name} must be a text")
        return cls(**{**values, "labels": tuple(values["labels"]), "config": KDConfig(**values["config"])})
