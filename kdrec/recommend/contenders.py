"""Among which configurations the tuner is played, so that an answer takes seconds in a large space too.

Shapes: C configurations.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from kdrec.recommend.belief import Belief, effects_variance
from kdrec.recommend.gain import Risk
from kdrec.types import Floats, Ints

CONTENDERS: Final = 64
"""Configurations among which trials are proposed, and over which what tuning would gain is played: the cost of both
grows by the square of their number, and what is far from best changes neither."""


def contenders(net_C: Floats, cov_CC: Floats, chosen: int, n_candidates: int, budget: int) -> Ints:
    """Candidates that may still prove best: all of them, or the default, the chosen and the highest `net + sd`.

    Rising indices; as many as asked for, where a budget needs more.
    """
    limit = max(CONTENDERS, budget + 1)
    if n_candidates <= limit:
        return np.arange(n_candidates)
    hope_C = (net_C + np.sqrt(effects_variance(cov_CC)))[:n_candidates]
    hope_C[[0, chosen]] = np.inf
    best: Ints = np.sort(np.argsort(-hope_C, kind="stable")[:limit])
    return best


def narrowed(belief: Belief, danger: Risk, kept: Ints) -> tuple[Belief, Risk]:
    """What is believed, and feared, of the configurations `kept` alone."""
    group_C = np.unique(danger.group_C[kept], return_inverse=True)[1]
    risk = replace(danger, bad_C=danger.bad_C[kept], good_C=danger.good_C[kept], group_C=group_C)
    cov_MCC = belief.cov_MCC[:, kept[:, None], kept]
    return replace(belief, mean_MC=belief.mean_MC[:, kept], cov_MCC=cov_MCC), risk
