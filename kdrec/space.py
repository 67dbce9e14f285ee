"""The configurations a search may try: canonical forms, so that equal work is one trial, and their neighbours."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType
from typing import Final

from kdrec.errors import BadArgument, DataError
from kdrec.types import (
    BASELINE_CONFIG,
    DEFAULT_CONFIG,
    KNOBS,
    TEACHERS,
    Configuration,
    Distance,
    KDConfig,
    Settings,
    SoftScale,
    TeacherChoice,
    Trial,
)

Aliases = Mapping[TeacherChoice, TeacherChoice]
"""Choices of a teacher that are the checkpoint of an earlier one of `TEACHERS`, by that one: ``{"t_hs": "t_ll"}``."""
NO_ALIASES: Final[Aliases] = MappingProxyType({})


def aliases_of(chosen: Mapping[TeacherChoice, Hashable]) -> Aliases:
    """Which choices are one checkpoint, from what each of them is.

    >>> dict(aliases_of({"t_ll": "a", "t_hs": "b", "t_llg": "b"}))
    {'t_llg': 't_hs'}
    """
    first: dict[Hashable, TeacherChoice] = {}
    for choice in TEACHERS:
        if choice in chosen:
            first.setdefault(chosen[choice], choice)
    return MappingProxyType({choice: first[one] for choice, one in chosen.items() if first[one] != choice})


def aliases_in(trials: Iterable[Trial]) -> Aliases:
    """Aliases told from a cell's trials alone: a choice that was never distilled is taken for the checkpoint t_ll."""
    configs = (trial.config for trial in trials if isinstance(trial.config, KDConfig))
    tried = {config.teacher for config in configs if not config.is_baseline}
    return MappingProxyType({choice: "t_ll" for choice in TEACHERS if choice not in {*tried, "t_ll"}})


def told(aliases: Aliases, choices: Iterable[TeacherChoice] = TEACHERS) -> str:
    """Which of some choices are one checkpoint, in words.

    >>> told({"t_llg": "t_hs"})
    't_hs and t_llg are one checkpoint; t_ll differs'
    """
    groups: dict[TeacherChoice, list[str]] = {}
    for choice in sorted(choices, key=TEACHERS.index):
        groups.setdefault(aliases.get(choice, choice), []).append(choice)
    alone = [names[0] for names in groups.values() if len(names) == 1]
    parts = [f"{_and(names)} are one checkpoint" for names in groups.values() if len(names) > 1]
    parts += [f"{_and(alone)} {'differ' if len(alone) > 1 else 'differs'}"] if alone and len(groups) > 1 else []
    return "; ".join(parts)


def _and(names: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def canonical(config: KDConfig, *, aliases: Aliases = NO_ALIASES) -> KDConfig:
    """The one spelling of all configurations that train the same student.

    alpha = 0 uses no teacher, so every other knob takes its default. MSE compares raw logits, so both temperatures are
    1. A factor of tau_t * tau_s = 1 is none. A checkpoint that several choices mean is called by the first of them.

    >>> canonical(KDConfig(distance="mse", tau_t=4, tau_s=4)) == KDConfig(distance="mse")
    True
    """
    if config.alpha == 0:
        return BASELINE_CONFIG
    if config.distance == "mse":
        config = replace(config, tau_t=1.0, tau_s=1.0)
    if config.tau_t * config.tau_s == 1:
        config = replace(config, scale_soft_loss="none")
    return replace(config, teacher=aliases.get(config.teacher, config.teacher))


@dataclass(frozen=True, kw_only=True)
class Space:
    """A finite knob space; `tau_s` takes the values 1 and tau_t as `student_temperatures` names them."""

    alphas: tuple[float, ...] = (0.5, 1.0)
    distances: tuple[Distance, ...] = ("ce", "mse")
    teachers: tuple[TeacherChoice, ...] = ("t_ll", "t_hs")
    teacher_temperatures: tuple[float, ...] = (1.0, 2.0, 4.0)
    student_temperatures: tuple[str, ...] = ("1", "tau_t")
    scale_soft_loss: SoftScale = "none"

    def __post_init__(self) -> None:
        for name in ("alphas", "distances", "teachers", "teacher_temperatures", "student_temperatures"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise BadArgument(f"{name} of a space must be distinct values, at least one, got {list(values)}")
        unknown = set(self.student_temperatures) - {"1", "tau_t"}
        if unknown:
            raise BadArgument(f"student_temperatures must be '1' or 'tau_t', got {sorted(unknown)}")
        if 0 in self.alphas:
            raise BadArgument("alphas of a space must be above 0: alpha = 0 is the baseline that every study includes")
        self.configs()  # every combination checks itself

    def configs(self, *, aliases: Aliases = NO_ALIASES) -> tuple[KDConfig, ...]:
        """All canonical configurations, the default-most first, without repetition (24 by default)."""
        grid = product(self.distances, self.teachers, self.teacher_temperatures, self.student_temperatures, self.alphas)
        made = (
            KDConfig(
                alpha=alpha,
                distance=distance,
                teacher=teacher,
                tau_t=tau_t,
                tau_s=1.0 if tau_s == "1" else tau_t,
                scale_soft_loss=self.scale_soft_loss,
            )
            for distance, teacher, tau_t, tau_s, alpha in grid
        )
        return tuple(dict.fromkeys(canonical(config, aliases=aliases) for config in made))

    def without(self, aliases: Aliases) -> Space:
        """The same space in which every teacher has one name."""
        return replace(self, teachers=tuple(dict.fromkeys(aliases.get(one, one) for one in self.teachers)))

    def default(self) -> KDConfig:
        """The configuration of this space nearest to the safe default; knobs the space lacks take its first value."""
        first = KDConfig(
            alpha=DEFAULT_CONFIG.alpha if DEFAULT_CONFIG.alpha in self.alphas else self.alphas[0],
            distance=DEFAULT_CONFIG.distance if DEFAULT_CONFIG.distance in self.distances else self.distances[0],
            teacher=DEFAULT_CONFIG.teacher if DEFAULT_CONFIG.teacher in self.teachers else self.teachers[0],
            tau_t=1.0 if 1.0 in self.teacher_temperatures else self.teacher_temperatures[0],
            scale_soft_loss=self.scale_soft_loss,
        )
        if "1" not in self.student_temperatures:
            first = replace(first, tau_s=first.tau_t)
        return canonical(first)


GREEDY_ORDER: Final = ("distance", "teacher", "temperatures", "alpha")
"""The order in which greedy search walks the knobs; the paper does not publish its own."""


def alternatives(config: KDConfig, knob: str, space: Space, *, aliases: Aliases = NO_ALIASES) -> Iterator[KDConfig]:
    """Configurations of `space` that differ from `config` in this one knob (both temperatures count as one).

    When the distance changes, temperatures do not carry over to MSE, and come back at the space's default.
    """
    configs = space.configs(aliases=aliases)
    here = canonical(config, aliases=aliases)
    held = {"distance": ("alpha", "teacher"), "teacher": ("alpha", "distance", "tau_t", "tau_s")}
    held |= {"temperatures": ("alpha", "distance", "teacher"), "alpha": ("distance", "teacher", "tau_t", "tau_s")}
    if knob not in held:
        raise BadArgument(f"knob must be one of {', '.join(GREEDY_ORDER)}, got {knob!r}")
    for other in configs:
        if other == here or any(getattr(other, name) != getattr(here, name) for name in held[knob]):
            continue
        if knob == "distance":
            start = replace(space.default(), distance=other.distance)
            if other.distance == here.distance or (other.tau_t, other.tau_s) != _taus(canonical(start)):
                continue
        yield other


def _taus(config: KDConfig) -> tuple[float, float]:
    return config.tau_t, config.tau_s


DEFAULT_SPACE: Final = Space()


def check_one_space(trials: Iterable[Trial], beside: Mapping[str, Iterable[Configuration]] | None = None) -> None:
    """Refuse trials whose tasks were not tuned over the same knobs: what one says means nothing to the other.

    A knob that some task turns in a part of its configurations only is conditional, and may be absent from another.

    Parameters
    ----------
    trials : iterable of Trial
        A whole history.
    beside : mapping of str to iterable of Configuration, optional
        Other configurations that must be of the same space, by what a sentence calls them.

    Raises
    ------
    DataError
        Naming one task of each side and the knobs in which they differ.
    """
    groups: dict[str, set[Configuration]] = {}
    for trial in trials:
        groups.setdefault(f"task {trial.task!r}", set()).add(trial.config)
    groups |= {name: set(configs) for name, configs in (beside or {}).items()}
    foreign = {name: {isinstance(c, Settings) for c in configs} for name, configs in groups.items() if configs}
    own = next((name for name in foreign if False in foreign[name]), None)
    other = next((name for name in foreign if True in foreign[name]), None)
    if own and other:
        knobs = {knob for config in groups[other] if isinstance(config, Settings) for knob in config.knobs()}
        both = f"{own} has {', '.join(KNOBS)}"
        raise _disagreement(f"{both} {f'and {other} has' if own != other else 'and also'} {', '.join(sorted(knobs))}")
    if other:
        _check_names({name: configs for name, configs in groups.items() if configs})


def _check_names(groups: Mapping[str, Iterable[Configuration]]) -> None:
    """Refuse groups of which one always has a knob that another never has, unless that knob is conditional."""
    ever = {name: set[str]().union(*(c.knobs() for c in configs)) for name, configs in groups.items()}
    always = {name: set.intersection(*(set(c.knobs()) for c in configs)) for name, configs in groups.items()}
    conditional = set[str]().union(*(ever[name] - always[name] for name in groups))
    first, *rest = groups
    for name in rest:
        here, there = ever[first] - conditional, ever[name] - conditional
        if here != there:
            sides = ((first, here - there), (name, there - here))
            raise _disagreement(" and ".join(f"only {side} has {', '.join(sorted(k))}" for side, k in sides if k))


def _disagreement(how: str) -> DataError:
    return DataError(f"all tasks of a history have to turn the same knobs, but {how}")
