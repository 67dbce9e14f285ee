"""Configurations: the knobs that kdrec turns itself, and named knobs of a history that was made elsewhere.

Both are values that name their knobs, have one spelling and one order; whoever compares, groups or shows configurations
need not know which of the two they are. Only a `KDConfig` can be trained here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import total_ordering
from typing import Any, Final, Literal, Self

from kdrec.checks import as_floats, is_finite, number, one_of, shown
from kdrec.errors import BadArgument, MismatchError

Distance = Literal["ce", "mse"]
TeacherChoice = Literal["t_hs", "t_ll", "t_llg"]
SoftScale = Literal["none", "tau_t*tau_s"]
KnobValue = float | str
SortKey = tuple[tuple[str, bool, float, str], ...]

TEACHERS: Final[tuple[TeacherChoice, ...]] = ("t_ll", "t_hs", "t_llg")
"""Choices of a teacher checkpoint; one that several choices mean is called by the first of them."""
KNOBS: Final = ("alpha", "distance", "teacher", "tau_t", "tau_s")
NUMBER_TEXT: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
"""How a finite number is written in a table."""
CONTROLS: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
"""Signs of a damaged cell. Python strips some of them as white space, and what is left may read as another number."""


@dataclass(frozen=True, kw_only=True, order=True)
class KDConfig:
    """The knobs of ``L_KD = (1 - alpha) L1(q, p^s) + alpha L2(o^t_{tau_t}, o^s_{tau_s})``.

    Attributes
    ----------
    alpha : float
        Weight of the teacher in [0, 1]; 0 trains on human labels alone (the baseline).
    distance : {"ce", "mse"}
        L2: cross-entropy between softened distributions, or mean squared error of raw logits.
    teacher : {"t_ll", "t_hs", "t_llg"}
        Teacher checkpoint of lowest validation loss, of highest validation score, or (guarded) of lowest loss among
        those whose score is within one standard error of the highest.
    tau_t, tau_s : float
        Temperatures of teacher and student, above 0.
    scale_soft_loss : {"none", "tau_t*tau_s"}
        Factor on L2. The paper has none; Hinton et al. (2015) multiply by the squared temperature.
    """

    alpha: float = 0.5
    distance: Distance = "ce"
    teacher: TeacherChoice = "t_ll"
    tau_t: float = 1.0
    tau_s: float = 1.0
    scale_soft_loss: SoftScale = "none"

    def __post_init__(self) -> None:
        number("alpha", self.alpha, 0, 1)
        one_of("distance", self.distance, ("ce", "mse"))
        one_of("teacher", self.teacher, TEACHERS)
        number("tau_t", self.tau_t, 0, open_low=True)
        number("tau_s", self.tau_s, 0, open_low=True)
        one_of("scale_soft_loss", self.scale_soft_loss, ("none", "tau_t*tau_s"))
        as_floats(self, "alpha", "tau_t", "tau_s")

    def to_params(self) -> dict[str, str]:
        """Few short strings for an MLflow run; `from_params` is the inverse."""
        params = {
            "alpha": spelled(self.alpha),
            "distance": self.distance,
            "teacher": self.teacher,
            "tau_t": spelled(self.tau_t),
            "tau_s": spelled(self.tau_s),
        }
        return params if self.scale_soft_loss == "none" else {**params, "scale_soft_loss": self.scale_soft_loss}

    @classmethod
    def from_params(cls, params: Mapping[str, str]) -> Self:
        """Rebuild a configuration from the strings of `to_params` (other keys are ignored)."""
        for knob in KNOBS:
            if knob not in params:
                raise BadArgument(f"a configuration needs the knobs {', '.join(KNOBS)}; {knob!r} is missing")
        return cls(
            alpha=_parsed("alpha", params["alpha"]),
            distance=params["distance"],  # type: ignore[arg-type]
            teacher=params["teacher"],  # type: ignore[arg-type]
            tau_t=_parsed("tau_t", params["tau_t"]),
            tau_s=_parsed("tau_s", params["tau_s"]),
            scale_soft_loss=params.get("scale_soft_loss", "none"),  # type: ignore[arg-type]
        )

    @property
    def is_baseline(self) -> bool:
        """Whether no teacher is used: human labels alone."""
        return self.alpha == 0

    def knobs(self) -> dict[str, KnobValue]:
        """Value by knob, as configurations are compared: `tau_s` is spelled by what it is tied to."""
        tau_s = "1" if self.tau_s == 1 else "tau_t" if self.tau_s == self.tau_t else f"{self.tau_s:g}"
        return {
            "alpha": self.alpha,
            "distance": self.distance,
            "teacher": self.teacher,
            "tau_t": self.tau_t,
            "tau_s": tau_s,
            "scale": self.scale_soft_loss,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def sort_key(self) -> SortKey:
        """What all configurations are ordered by: the knobs in their order, by their values."""
        return tuple(_sortable(name, getattr(self, name)) for name in self.__dataclass_fields__)

    def label(self) -> str:
        """One short line for tables: ``t_ll ce alpha=0.5 tau=4/1``; the baseline is ``labels only``."""
        if self.alpha == 0:
            return "labels only"
        taus = "" if self.distance == "mse" else f" tau={self.tau_t:g}/{self.tau_s:g}"
        scaled = "" if self.scale_soft_loss == "none" else " scaled"
        return f"{self.teacher} {self.distance} alpha={self.alpha:g}{taus}{scaled}"


DEFAULT_CONFIG: Final = KDConfig()
"""The safe default (t_ll, ce, tau_s = 1) of the paper, with our documented alpha and tau_t."""

BASELINE_CONFIG: Final = KDConfig(alpha=0.0)
"""Human labels only: what distillation has to beat."""


@total_ordering
@dataclass(frozen=True)
class Settings:
    """Named knobs of a configuration that was not made by kdrec, in one spelling: by name, values canonical.

    A value that reads as a finite number is that number, whoever wrote it, so that a table read back is what was
    written. Every other value is a word. A knob that does not apply is absent.

    >>> Settings.of(loss="kl", lr="1e-3", shared=True).label()
    'loss=kl lr=0.001 shared=True'
    """

    items: tuple[tuple[str, KnobValue], ...]

    def __post_init__(self) -> None:
        spelled_items = tuple(sorted((_knob_name(name), _knob_value(name, value)) for name, value in self.items))
        names = [name for name, _ in spelled_items]
        if not names:
            raise BadArgument("a configuration needs at least one knob, got none")
        if len(set(names)) < len(names):
            raise BadArgument(f"each knob of a configuration has one value, got {', '.join(names)}")
        object.__setattr__(self, "items", spelled_items)

    @classmethod
    def of(cls, /, **knobs: float | str | None) -> Self:
        """Settings from named values; a bool is its word, as tables spell it, and None is a knob that does not apply.

        >>> Settings.of(lr=1, tau=None) == Settings.of(lr="1.0")
        True
        """
        return cls(tuple((name, value) for name, value in knobs.items() if value is not None))

    def __lt__(self, other: Settings) -> bool:
        return self.sort_key() < other.sort_key()

    @property
    def is_baseline(self) -> bool:
        """Whether no teacher is used; what foreign knobs mean is not known, so never."""
        return False

    def knobs(self) -> dict[str, KnobValue]:
        """Value by knob, in the order of the names."""
        return dict(self.items)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dict(self.items)

    def sort_key(self) -> SortKey:
        """What all configurations are ordered by: names, then numbers before words."""
        return tuple(_sortable(name, value) for name, value in self.items)

    def label(self) -> str:
        """One short line for tables: ``loss=kl lr=0.001``."""
        return " ".join(f"{name}={value if isinstance(value, str) else f'{value:g}'}" for name, value in self.items)


Configuration = KDConfig | Settings


def trainable(config: Configuration) -> KDConfig:
    """The configuration as one that kdrec can train.

    Raises
    ------
    MismatchError
        For `Settings`: their trials have to be run where they came from.
    """
    if isinstance(config, KDConfig):
        return config
    raise MismatchError(
        f"kdrec trains configurations of {', '.join(KNOBS)}, got one of other knobs ({config.label()}): "
        "run it where its history was made"
    )


def spelled(value: float) -> str:
    """The shortest text that reads back as exactly `value`: 0.1, and 1 rather than 1.0."""
    return repr(float(value)).removesuffix(".0")


def _parsed(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise BadArgument(f"{name} must be a number, got {text!r}") from None


def _sortable(name: str, value: KnobValue) -> tuple[str, bool, float, str]:
    return (name, True, 0.0, value) if isinstance(value, str) else (name, False, value, "")


def _knob_name(name: object) -> str:
    if not isinstance(name, str) or not name.isprintable() or name != name.strip() or not 0 < len(name) <= 80:
        raise BadArgument(f"a knob has a name of one printable line (at most 80 characters), got {shown(name)}")
    return name


def _knob_value(name: str, value: object) -> KnobValue:
    """A value in its one spelling; refused when it is neither a finite number nor a word."""
    if isinstance(value, bool):
        return str(value)
    text = value.strip() if isinstance(value, str) and not CONTROLS.search(value) else ""
    if is_finite(value) or NUMBER_TEXT.fullmatch(text):
        made = float(value) + 0.0  # type: ignore[arg-type]  # -0.0 is 0.0
        if math.isfinite(made):
            return made
    elif text and text.isprintable() and text.lower().lstrip("+-") not in ("nan", "inf", "infinity"):
        return text
    raise BadArgument(f"knob {name} must be a finite number or a word, got {shown(value)}")
