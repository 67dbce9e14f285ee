"""Which configurations are weighed: those asked about or found in a history, the default first, and not too many.

A grid of kdrec's own knobs stays whole. A random search of another tool may hold a thousand configurations, each run
once, and the belief costs by the cube of their number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from kdrec.errors import BadArgument
from kdrec.recommend.design import found_space
from kdrec.space import Space, canonical
from kdrec.types import Configuration, KDConfig, Trial

MAX_CONFIGS: Final = 240
"""Configurations that are learned about; past that, those measured least are left out."""


def named(space: Space | Sequence[Configuration]) -> list[Configuration]:
    """The configurations of a space that was asked about, the default first, each once.

    Raises
    ------
    BadArgument
        For a sequence of something else, of nothing, or with the labels-only baseline in it.
    """
    if isinstance(space, Space):
        return [space.default(), *(config for config in space.configs() if config != space.default())]
    wrong = [config for config in space if not isinstance(config, Configuration)]
    if wrong or not space:
        came = repr(wrong[0]) if wrong else "none"
        raise BadArgument(f"space must be a Space or configurations, at least one, the default first; got {came}")
    spelled = dict.fromkeys(canonical(c) if isinstance(c, KDConfig) else c for c in space)
    if any(config.is_baseline for config in spelled):
        raise BadArgument("configurations of a space must use a teacher: alpha = 0 is the baseline, never suggested")
    return list(spelled)


def candidates(
    runs: Sequence[Trial], wanted: Sequence[Configuration] | None, asked_task: str
) -> tuple[tuple[Configuration, ...], int, int]:
    """Configurations that may be suggested, the default first, then others that were tried and teach.

    Returns
    -------
    configs : tuple of Configuration
        At most `MAX_CONFIGS`.
    n_candidates : int
        How many of them, from the first on, may be suggested.
    n_left_out : int
        How many there were besides.
    """
    tried = {trial.config for trial in runs}
    if wanted is None:
        measured = [((t.task, t.student), t.config) for t in runs if t.status == "completed"]
        found, default = found_space(tried, measured)
        wanted = [default, *(config for config in found if config != default)]
    others = sorted(tried - set(wanted), key=lambda config: config.sort_key())
    weight = _weights(runs, asked_task)
    kept = [wanted[0], *_most_measured(wanted[1:], weight, MAX_CONFIGS - 1)]
    beside = _most_measured(others, weight, MAX_CONFIGS - len(kept))
    return (*kept, *beside), len(kept), len(wanted) + len(others) - len(kept) - len(beside)


def _weights(runs: Iterable[Trial], asked_task: str) -> dict[Configuration, tuple[int, int, int]]:
    """How well each configuration is measured: runs on the asked task, cells, runs."""
    own: dict[Configuration, int] = defaultdict(int)
    n_runs: dict[Configuration, int] = defaultdict(int)
    cells: dict[Configuration, set[tuple[str, str]]] = defaultdict(set)
    for trial in runs:
        own[trial.config] += trial.task == asked_task
        n_runs[trial.config] += 1
        cells[trial.config].add((trial.task, trial.student))
    return {config: (own[config], len(cells[config]), n_runs[config]) for config in n_runs}


def _most_measured(
    configs: Sequence[Configuration], weight: dict[Configuration, tuple[int, int, int]], limit: int
) -> list[Configuration]:
    """The best measured of `configs`, in their order.

    Of equals too many they are taken at even distances, never by their scores: the best of many single runs were lucky.
    """
    if len(configs) <= limit:
        return list(configs)
    groups: dict[tuple[int, int, int], list[Configuration]] = defaultdict(list)
    for config in configs:
        groups[weight.get(config, (0, 0, 0))].append(config)
    kept: set[Configuration] = set()
    for key in sorted(groups, reverse=True):
        group, room = groups[key], limit - len(kept)
        kept.update(group if len(group) <= room else (group[i * len(group) // room] for i in range(room)))
    return [config for config in configs if config in kept]
