"""t_hs and t_ll: how often they are one checkpoint, and whose student is better where they are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdrec.findings.cells import Cell, grouped
from kdrec.findings.intervals import Mean, over_tasks
from kdrec.findings.knobs import CellEffect, cell_effects


@dataclass(frozen=True, kw_only=True)
class Teachers:
    """Tasks whose teachers are one checkpoint, and the effect of t_hs over t_ll in the cells of the others."""

    same: tuple[str, ...]
    different: tuple[str, ...]
    effects: tuple[CellEffect, ...]
    overall: Mean
    """t_hs less t_ll, in points of the test score: negative, t_ll teaches better."""


def teachers(cells: Sequence[Cell]) -> Teachers:
    """Told from the trials alone: a task without a trial of t_hs has one checkpoint under both names."""
    tasks = grouped(cells, lambda cell: cell.task)
    same = tuple(task for task, members in tasks.items() if all("t_hs" in cell.aliases for cell in members))
    effects = tuple(
        effect
        for cell in cells
        if cell.task not in same
        for effect in cell_effects(cell)
        if effect.contrast.knob == "teacher"
    )
    return Teachers(
        same=same,
        different=tuple(task for task in tasks if task not in same),
        effects=effects,
        overall=over_tasks((effect.task, effect.effect) for effect in effects),
    )
