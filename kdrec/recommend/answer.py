"""From what is believed of a cell to the answer: which configuration, what next, and what tuning would buy.

Shapes: C configurations, N draws of the truth, S stages of tuning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kdrec.recommend.belief import Belief, effects_variance
from kdrec.recommend.contenders import contenders, narrowed
from kdrec.recommend.gain import LEAVE_Z, Risk, decide, play, risk, summarise
from kdrec.recommend.next_trials import propose
from kdrec.recommend.table import Table
from kdrec.types import Floats, Gain, Ints


@dataclass(frozen=True, kw_only=True, eq=False)
class Opinion:
    """Expected net effects over the default, their standard deviations, and the configuration that rule 1 takes."""

    chosen: int
    net_C: Floats
    sd_C: Floats
    cov_CC: Floats
    danger: Risk


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """An opinion, the order in which to try the contenders, and draws of what each stage of tuning gains.

    The chosen configuration comes last in the order: it is not tried again before all others were.
    """

    chosen: int
    net_C: Floats
    sd_C: Floats
    order: Ints
    worth: Floats
    gains_NS: Floats
    stages: tuple[int, ...]

    @property
    def gains(self) -> tuple[Gain, ...]:
        """Means and intervals of the gains."""
        return summarise(self.gains_NS, self.stages)


def opinion(table: Table, belief: Belief, z: float = LEAVE_Z) -> Opinion:
    """Weigh expected effects against crashes, and choose what is `z` deviations above the default."""
    danger = risk(table.configs, table.crashes)
    mean_C, cov_CC = belief.moments()
    net_C, sd_C = mean_C - mean_C[0] - danger.penalty_C, np.sqrt(effects_variance(cov_CC))
    chosen = int(decide(net_C[None], sd_C[None], table.n_candidates, z)[0])
    return Opinion(chosen=chosen, net_C=net_C, sd_C=sd_C, cov_CC=cov_CC, danger=danger)


def answer(table: Table, belief: Belief, budget: int, rng: np.random.Generator, z: float = LEAVE_Z) -> Answer:
    """Choose, put the contenders into an order of which `budget` are shown, and play the tuner that follows it."""
    held = opinion(table, belief, z)
    kept = contenders(held.net_C, held.cov_CC, held.chosen, table.n_candidates, budget)
    start, many = int(np.searchsorted(kept, held.chosen)), len(kept)
    rivals, threat = narrowed(belief, held.danger, kept)
    noise = math.sqrt(float(belief.weight_M @ belief.noise_M))
    order, worth = propose(held.net_C[kept], held.cov_CC[np.ix_(kept, kept)], noise, threat, start, many, many)
    gains_NS, stages = play(rivals, threat, [start, *order[:-1]], many, rng, z)
    return Answer(
        chosen=held.chosen,
        net_C=held.net_C,
        sd_C=held.sd_C,
        order=kept[order],
        worth=worth,
        gains_NS=gains_NS,
        stages=stages,
    )
