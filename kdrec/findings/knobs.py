"""Knob effects: two values of one knob compared where all else is equal, in the same cell and with the same seeds.

Configurations that a greedy search visited after its first move were tried beside an incumbent that owed a little to
luck on validation; its test score shares some of it. Effects from full grids, and of the first knob, are free of that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from kdrec.findings.cells import Cell, grouped
from kdrec.findings.intervals import Z95, Mean, over_tasks
from kdrec.findings.noise import pooled_sd
from kdrec.types import DEFAULT_CONFIG, KDConfig, KnobValue


@dataclass(frozen=True, order=True)
class Contrast:
    """A knob turned from one value to another; the default's value is `before` where it is one of the two."""

    knob: str
    before: KnobValue
    after: KnobValue

    def label(self) -> str:
        """Such as ``distance: ce to mse``."""
        return f"{self.knob}: {_worded(self.before)} to {_worded(self.after)}"


@dataclass(frozen=True, kw_only=True)
class CellEffect:
    """One contrast in one cell: mean difference of test scores over all equal pairs and seeds, in points."""

    task: str
    student: str
    family: str
    contrast: Contrast
    effect: float
    noise: float
    """Half a 90 % interval of the difference if there were no effect; NaN where the seed noise is not known."""
    n_pairs: int

    @property
    def verdict(self) -> str:
        """`win`, `loss` or, within the noise, `tie`; without known noise only equals tie."""
        if self.effect == 0 or abs(self.effect) <= (0.0 if math.isnan(self.noise) else self.noise):
            return "tie"
        return "win" if self.effect > 0 else "loss"


@dataclass(frozen=True, kw_only=True)
class KnobEffect:
    """A contrast over many cells."""

    contrast: Contrast
    group: str
    overall: Mean
    wins: int
    losses: int
    ties: int


def cell_effects(cell: Cell) -> tuple[CellEffect, ...]:
    """Every contrast that was measured in a cell."""
    found: dict[Contrast, list[tuple[float, int]]] = {}
    for one, other in combinations(cell.configs, 2):
        turned = contrast_of(one, other)
        seeds = sorted(set(cell.scored(one)) & set(cell.scored(other)))
        if turned is None or not seeds:
            continue
        before, after = (one, other) if one.knobs()[turned.knob] == turned.before else (other, one)
        difference = cell.mean(after, "test", seeds) - cell.mean(before, "test", seeds)
        found.setdefault(turned, []).append((difference, len(seeds)))
    spread = pooled_sd(cell, "test")[0]
    return tuple(_cell_effect(cell, turned, found[turned], spread) for turned in sorted(found, key=_order))


def knob_effects(cells: Sequence[Cell], by: str = "overall") -> tuple[KnobEffect, ...]:
    """Contrasts over cells, in all (`overall`), or for every `family` or `student`."""
    effects = [effect for cell in cells for effect in cell_effects(cell)]
    groups = {"overall": effects} if by == "overall" else grouped(effects, lambda effect: str(getattr(effect, by)))
    return tuple(made for group, members in groups.items() for made in _by_contrast(group, members))


def contrast_of(one: KDConfig, other: KDConfig) -> Contrast | None:
    """The single knob in which two configurations differ, or None when they differ in several.

    `tau_s` is compared by what it is tied to: 1, or the teacher's temperature.
    """
    here, there = one.knobs(), other.knobs()
    differ = [name for name in here if here[name] != there[name]]
    if len(differ) != 1:
        return None
    name = differ[0]
    low, high = sorted((here[name], there[name]), key=_rank)
    if high == DEFAULT_CONFIG.knobs()[name]:
        low, high = high, low
    return Contrast(name, low, high)


def _by_contrast(group: str, effects: Sequence[CellEffect]) -> Iterator[KnobEffect]:
    members = grouped(effects, lambda effect: effect.contrast.label())
    for label in sorted(members, key=lambda word: _order(members[word][0].contrast)):
        same = members[label]
        counts = [sum(effect.verdict == verdict for effect in same) for verdict in ("win", "loss", "tie")]
        overall = over_tasks((effect.task, effect.effect) for effect in same)
        wins, losses, ties = counts
        yield KnobEffect(contrast=same[0].contrast, group=group, overall=overall, wins=wins, losses=losses, ties=ties)


def _cell_effect(cell: Cell, turned: Contrast, pairs: Sequence[tuple[float, int]], spread: float) -> CellEffect:
    n_runs = sum(n_seeds for _, n_seeds in pairs)
    return CellEffect(
        task=cell.task,
        student=cell.student,
        family=cell.family,
        contrast=turned,
        effect=sum(difference for difference, _ in pairs) / len(pairs),
        noise=Z95 * spread * math.sqrt(2 / n_runs),
        n_pairs=len(pairs),
    )


Rank = tuple[bool, float, str]


def _order(contrast: Contrast) -> tuple[int, Rank, Rank]:
    """Knobs in the order of the objective, values in their own."""
    return list(DEFAULT_CONFIG.knobs()).index(contrast.knob), _rank(contrast.before), _rank(contrast.after)


def _rank(value: KnobValue) -> Rank:
    """Numbers by size, then words."""
    return (True, 0.0, value) if isinstance(value, str) else (False, value, "")


def _worded(value: KnobValue) -> str:
    return value if isinstance(value, str) else f"{value:g}"
