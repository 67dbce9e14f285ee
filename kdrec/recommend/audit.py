"""How good the recommender has been on this very history: every task foretold from the others.

Scales stay at their fit on the whole history (documented); what is left out are the scores of the task, its own scale
of effects included. Baselines see the same past. Regret is against the best *measured* configuration of a cell, the
same yardstick for all, so read it by comparison: noise alone gives it a floor. This is the short form that every
suggestion carries; `kdrec.recommend.replay` refits for every task and takes minutes.

Shapes: R measured pairs, T tasks, C configurations, N rows of one task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from kdrec.recommend.baselines import BASELINES
from kdrec.recommend.belief import SPREAD_Q
from kdrec.recommend.gain import LEAVE_Z, Risk
from kdrec.recommend.model import LeftOut, Marks, Problem, Scales
from kdrec.recommend.normal import Z80
from kdrec.recommend.table import Table
from kdrec.recommend.views import restricted, without_task
from kdrec.types import Floats, Ints

MIN_TASKS: Final = 3
WIDEN_TASKS: Final = 9
"""Tasks needed to audit at all, and to correct intervals that proved too narrow."""
SIMPLE: Final = {name: choose for name, choose in BASELINES.items() if name != "ridge"}
"""Baselines that cost next to nothing: a regression a cell would be dear for every suggestion to carry."""
STRATEGIES: Final = ("suggested", *SIMPLE)


@dataclass(frozen=True, kw_only=True, eq=False)
class Audit:
    """Mean regrets by strategy, coverage of 80 % intervals, and the factor by which intervals are widened."""

    n_tasks: int
    n_cells: int = 0
    regret: dict[str, float] = field(default_factory=dict)
    coverage80: float | None = None
    n_contrasts: int = 0
    widen: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with a sentence that says what they are worth."""
        if not self.regret:
            note = (
                f"unaudited: leaving one task out needs {MIN_TASKS} tasks with the default and an alternative measured"
            )
            return {"audited": False, "n_tasks": self.n_tasks, "note": f"{note}; here are {self.n_tasks}"}
        corrected = (
            f"intervals were widened by {self.widen:.2f}"
            if self.widen > 1
            else "intervals stand as the model gives them"
        )
        if self.n_tasks < WIDEN_TASKS:
            corrected = f"intervals are not corrected with fewer than {WIDEN_TASKS} tasks"
        return {
            "audited": True,
            "n_tasks": self.n_tasks,
            "n_cells": self.n_cells,
            "regret": {name: round(value, 3) for name, value in self.regret.items()},
            "coverage80": None if self.coverage80 is None else round(self.coverage80, 3),
            "n_contrasts": self.n_contrasts,
            "widened": round(self.widen, 3),
            "note": f"leave one task out, regret in points against the best measured of each cell; {corrected}",
        }


def audit(
    blocks: Sequence[LeftOut], p: Problem, s: Scales, spread: float, danger: Risk, table: Table, keep_R: Marks
) -> Audit:
    """Compare every task with what the others foretold of it.

    `spread` is the fitted sd of the log scale of effects over tasks; `p` was made of the rows of `table` that `keep_R`
    marks.
    """
    used_D = np.unique(np.append(table.cell_R[keep_R], table.asked))
    task_R = p.task_D[p.cell_R]
    with_default = {int(t) for t in np.unique(task_R[p.config_R == 0])}
    tasks = [t for t in with_default if ((task_R == t) & (p.config_R > 0)).any()]
    if len(tasks) < MIN_TASKS:
        return Audit(n_tasks=len(tasks))
    regrets: dict[str, list[float]] = {name: [] for name in STRATEGIES}
    scores: list[Floats] = []
    covered: list[Floats] = []
    for block in blocks:
        if block.task not in tasks:
            continue
        rows, foretold_N, cov_NN = block.rows_N, block.mean_N, block.cov_NN
        others = without_task(table, int(used_D[p.cell_R[rows[0]]]))
        for cell in np.unique(p.cell_R[rows]):
            members = np.flatnonzero(p.cell_R[rows] == cell)
            if (p.config_R[rows[members]] != 0).all() or len(members) < 2:
                continue
            seen = _contrasts(p, s, rows[members], foretold_N[members], cov_NN[np.ix_(members, members)])
            _add_regrets(regrets, seen, danger, replace(others, asked=int(used_D[cell])))
            z_N, inside_N = _calibration(seen, spread)
            scores.append(z_N)
            covered.append(inside_N)
    return Audit(
        n_tasks=len(tasks),
        n_cells=len(scores),
        regret={name: float(np.mean(values)) for name, values in regrets.items()},
        coverage80=float(np.mean([inside.mean() for inside in covered])),
        n_contrasts=sum(len(z) for z in scores),
        widen=_widening(scores) if len(tasks) >= WIDEN_TASKS else 1.0,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Contrasts:
    """Differences from the default in one cell: foretold (scale 1, beyond the prior mean), noise, what was seen."""

    config_N: Ints
    expected_N: Floats
    mean_N: Floats
    variance_N: Floats
    noise_N: Floats
    seen_N: Floats


def _contrasts(p: Problem, s: Scales, rows: Ints, foretold_N: Floats, cov_NN: Floats) -> _Contrasts:
    base = int(np.flatnonzero(p.config_R[rows] == 0)[0])
    rest = np.flatnonzero(p.config_R[rows] != 0)
    noise_N = p.variance_R[rows] * s.noise_factor
    total_N = cov_NN[rest, rest] - 2 * cov_NN[rest, base] + cov_NN[base, base]
    expected_N = p.expected_C[p.config_R[rows[rest]]]
    scale = s.scale_T[p.task_D[p.cell_R[rows[0]]]]
    return _Contrasts(
        config_N=p.config_R[rows[rest]],
        expected_N=expected_N,
        mean_N=(foretold_N[rest] - foretold_N[base]) / scale,
        variance_N=np.maximum(total_N - noise_N[rest] - noise_N[base], 1e-6) / scale**2,
        noise_N=noise_N[rest] + noise_N[base],
        seen_N=expected_N + p.y_R[rows[rest]] - p.y_R[rows[base]],
    )


def _calibration(c: _Contrasts, spread: float) -> tuple[Floats, Floats]:
    """Standardised surprises, and whether each lies in the central 80 %, with the task's scale unknown."""
    scale_Q = np.exp(spread * SPREAD_Q)
    mean_N = c.mean_N * scale_Q.mean()
    variance_N = (scale_Q**2).mean() * (c.variance_N + c.mean_N**2) - mean_N**2 + c.noise_N
    z_N = (c.seen_N - c.expected_N - mean_N) / np.sqrt(variance_N)
    return z_N, np.abs(z_N) <= Z80


def _widening(scores: list[Floats]) -> float:
    """Conformal factor: the 80 % quantile of absolute surprises over what it should be, between 1 and 2.5."""
    weights = np.concatenate([np.full(len(z), 1 / len(z)) for z in scores])
    sizes = np.abs(np.concatenate(scores))
    order = np.argsort(sizes, kind="stable")
    place = int(np.searchsorted(np.cumsum(weights[order]), 0.8 * weights.sum()))
    return float(np.clip(sizes[order][min(place, len(sizes) - 1)] / Z80, 1.0, 2.5))


def _add_regrets(regrets: dict[str, list[float]], c: _Contrasts, danger: Risk, table: Table) -> None:
    """Regret of every strategy in one cell, choosing among what was measured there; `table` knows nothing of it."""
    effect_N = np.append(0.0, c.seen_N)
    net_N = c.expected_N + c.mean_N - danger.penalty_C[c.config_N]
    net_N = np.where(net_N >= np.maximum(LEAVE_Z * np.sqrt(c.variance_N), 1e-9), net_N, -np.inf)
    taken = {"suggested": effect_N[int(np.argmax(np.append(0.0, net_N)))], "random": effect_N.mean()}
    choices = restricted(table, [0, *c.config_N.tolist()])
    rng = np.random.default_rng(0)  # no baseline but "random" draws, and its mean is known exactly
    taken |= {name: effect_N[choose(choices, rng)] for name, choose in SIMPLE.items() if name != "random"}
    for name, values in regrets.items():
        values.append(float(effect_N.max() - taken[name]))
