"""What to try next: the trials that are expected to improve the choice most, each given those before it.

Shapes: C configurations, Q quadrature points.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from kdrec.recommend.gain import Risk
from kdrec.recommend.normal import points
from kdrec.types import Floats, Ints

_Z: Final = points(31)


def knowledge_gradient(net_C: Floats, cov_CC: Floats, noise: float, chance_C: Floats) -> Floats:
    """Expected rise of the best expected net effect by one run of every configuration.

    KG(c) = (1 - p_crash) (E max_i (net_i + b_i z) - max_i net_i),  z standard normal and
    b_i = (cov[i, c] - cov[0, c]) / sqrt(cov[c, c] + noise^2) the slope of i's effect (Frazier, Powell & Dayanik 2009).
    """
    slope_CC = (cov_CC - cov_CC[:1]) / np.sqrt(np.maximum(np.diagonal(cov_CC), 0.0) + noise**2)
    best_CQ = (net_C[:, None, None] + slope_CC[:, :, None] * _Z).max(axis=0)
    worth_C: Floats = (1 - chance_C) * np.maximum(best_CQ.mean(axis=1) - net_C.max(), 0.0)
    return worth_C


def measured(cov_CC: Floats, config: int, noise: float) -> Floats:
    """Covariance of the scores once `config` was run once more."""
    pull_C = cov_CC[:, config] / (cov_CC[config, config] + noise**2)
    return cov_CC - np.outer(pull_C, cov_CC[config])


def propose(
    net_C: Floats, cov_CC: Floats, noise: float, danger: Risk, incumbent: int, n_candidates: int, n_trials: int
) -> tuple[Ints, Floats]:
    """`n_trials` configurations in the order to try them, and the worth of each.

    A worth is what a trial adds once the suggestion and the trials before it ran. The suggestion itself comes in (last)
    only when the whole space is asked for.
    """
    chance_C = danger.probability_C[:n_candidates]
    net_C = net_C[:n_candidates]
    cov_CC = measured(cov_CC[:n_candidates, :n_candidates], incumbent, noise)
    open_C = np.arange(n_candidates) != incumbent
    order: list[int] = []
    worths: list[float] = []
    for _ in range(n_trials):
        if not open_C.any():
            open_C[incumbent] = True
        worth_C = knowledge_gradient(net_C, cov_CC, noise, chance_C)
        chosen = int(np.argmax(np.where(open_C, np.round(worth_C, 9) + 1e-9 * net_C, -np.inf)))
        order.append(chosen)
        worths.append(float(worth_C[chosen]))
        open_C[chosen] = False
        cov_CC = measured(cov_CC, chosen, noise)
    return np.array(order, dtype=np.int64), np.array(worths)
