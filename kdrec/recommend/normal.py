"""The standard normal, as the rooms of the recommender use it: ends of intervals, and points of equal weight."""

from __future__ import annotations

from statistics import NormalDist
from typing import Final

import numpy as np

from kdrec.types import Floats

Z80: Final = 1.2816
Z90: Final = 1.6449
"""Half-widths of the central 80 % and 90 % intervals, in standard deviations."""


def points(n: int) -> Floats:
    """`n` mid-quantiles, stretched to variance 1: a quadrature of equal weights."""
    middle = np.array([NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)])
    stretched: Floats = middle / np.sqrt(np.mean(middle**2))
    return stretched
