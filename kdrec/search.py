"""Four ways to search a cell's knob space, each a pure function of what `evaluate` returns.

`evaluate(configs) -> trials` trains each configuration with every seed of the study, or finds that it was done. A
strategy sees validation scores and losses only; the test split is scored for every trial and used by no choice here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kdrec.space import GREEDY_ORDER, NO_ALIASES, Aliases, Space, alternatives, canonical
from kdrec.types import KNOBS, KDConfig, Suggestion, Trial

Evaluate = Callable[[Sequence[KDConfig]], Sequence[Trial]]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What to try next, and whether to stop instead, with the reason."""

    configs: tuple[KDConfig, ...]
    stop: bool
    reason: str
    best: KDConfig
    answer: Suggestion | None = None
    """What the recommender said in full, where it was asked."""


Propose = Callable[[Sequence[Trial]], Proposal]


@dataclass(frozen=True, kw_only=True)
class SearchStep:
    """One choice of a search: the knob looked at, what was tried beside the incumbent, what was kept and why."""

    knob: str
    tried: tuple[KDConfig, ...]
    kept: KDConfig
    reason: str


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """Where a search ended, the way it took, and every trial it asked for."""

    best: KDConfig
    path: tuple[SearchStep, ...]
    trials: tuple[Trial, ...]


@dataclass(frozen=True, kw_only=True, order=True)
class Standing:
    """How a configuration stands over its seeds; larger is better, compared field by field."""

    score: float
    """Mean validation score; minus infinity when any seed diverged or failed."""
    negative_loss: float
    matches_default: int
    """Knobs with the default's value: between equals, stay with what is known to be safe."""


def standing(config: KDConfig, trials: Iterable[Trial], space: Space) -> Standing:
    """Mean validation score over seeds; ties go to the lower validation loss, then to the default's values."""
    mine = [trial for trial in trials if trial.config == config]
    default = space.default()
    matches = sum(getattr(config, knob) == getattr(default, knob) for knob in KNOBS)
    scores = [trial.val_score for trial in mine if trial.status == "completed" and trial.val_score is not None]
    if not mine or len(scores) < len(mine):
        return Standing(score=-math.inf, negative_loss=-math.inf, matches_default=matches)
    losses = [math.inf if trial.val_loss is None else trial.val_loss for trial in mine]
    return Standing(score=sum(scores) / len(scores), negative_loss=-sum(losses) / len(losses), matches_default=matches)


class _Ledger:
    """Evaluates each configuration once and remembers every trial."""

    def __init__(self, space: Space, evaluate: Evaluate) -> None:
        self._space, self._evaluate = space, evaluate
        self.trials: list[Trial] = []
        self.asked: set[KDConfig] = set()

    def try_all(self, configs: Iterable[KDConfig]) -> None:
        new = [config for config in dict.fromkeys(configs) if config not in self.asked]
        if new:
            self.asked.update(new)
            self.trials.extend(self._evaluate(new))

    def best(self, configs: Iterable[KDConfig]) -> KDConfig:
        """The best-standing configuration; of full equals, the first."""
        return max(configs, key=lambda config: standing(config, self.trials, self._space))

    def standing(self, config: KDConfig) -> Standing:
        return standing(config, self.trials, self._space)


def greedy(
    space: Space, evaluate: Evaluate, propose: Propose | None = None, *, aliases: Aliases = NO_ALIASES
) -> SearchResult:
    """Walk the knobs one at a time from the default, until a whole pass changes nothing.

    The paper's "greedy, approximate grid search" does not publish its order; this one is `GREEDY_ORDER`.
    """
    ledger = _Ledger(space, evaluate)
    here = canonical(space.default(), aliases=aliases)
    ledger.try_all([here])
    path: list[SearchStep] = []
    seen_at = None
    while seen_at != here:
        seen_at = here
        for knob in GREEDY_ORDER:
            others = tuple(alternatives(here, knob, space, aliases=aliases))
            if not others:
                continue
            ledger.try_all(others)
            kept = ledger.best((here, *others))
            path.append(SearchStep(knob=knob, tried=others, kept=kept, reason=_why(ledger, here, kept, others)))
            here = kept
    return SearchResult(best=here, path=tuple(path), trials=tuple(ledger.trials))


def full(
    space: Space, evaluate: Evaluate, propose: Propose | None = None, *, aliases: Aliases = NO_ALIASES
) -> SearchResult:
    """Try the whole grid."""
    configs = space.configs(aliases=aliases)
    start = canonical(space.default(), aliases=aliases)
    ledger = _Ledger(space, evaluate)
    ledger.try_all((start, *configs))
    best = ledger.best((start, *configs))
    step = SearchStep(knob="all", tried=configs, kept=best, reason=_why(ledger, start, best, configs))
    return SearchResult(best=best, path=(step,), trials=tuple(ledger.trials))


def suggested(
    space: Space, evaluate: Evaluate, propose: Propose | None = None, *, aliases: Aliases = NO_ALIASES
) -> SearchResult:
    """Try what `propose` asks for, one batch at a time, until it says stop or asks for nothing new."""
    assert propose is not None, "the caller of `suggested` brings the recommender"
    ledger = _Ledger(space, evaluate)
    path: list[SearchStep] = []
    while True:
        proposal = propose(ledger.trials)
        proposed = dict.fromkeys(canonical(c, aliases=aliases) for c in proposal.configs)
        new = tuple(config for config in proposed if config not in ledger.asked)
        done = proposal.stop or not new
        path.append(SearchStep(knob="suggested", tried=() if done else new, kept=proposal.best, reason=proposal.reason))
        if done:
            return SearchResult(best=proposal.best, path=tuple(path), trials=tuple(ledger.trials))
        ledger.try_all(new)


def listed(
    space: Space, evaluate: Evaluate, propose: Propose | None = None, *, aliases: Aliases = NO_ALIASES
) -> SearchResult:
    """Try the configurations that `propose` names at first, and no other."""
    assert propose is not None, "the caller of `listed` brings the list"
    ledger = _Ledger(space, evaluate)
    wanted = propose(())
    configs = tuple(dict.fromkeys(canonical(c, aliases=aliases) for c in wanted.configs))
    ledger.try_all(configs)
    best = ledger.best(configs)
    why = _why(ledger, configs[0], best, configs) if len(configs) > 1 else "the only configuration listed"
    step = SearchStep(knob="listed", tried=configs, kept=best, reason=why)
    return SearchResult(best=best, path=(step,), trials=tuple(ledger.trials))


STRATEGIES = {"greedy": greedy, "full": full, "suggested": suggested, "listed": listed}


def _why(ledger: _Ledger, here: KDConfig, kept: KDConfig, others: Sequence[KDConfig]) -> str:
    """One line for the table: by how much the kept value won, or how close the nearest other came."""
    winner, incumbent = ledger.standing(kept), ledger.standing(here)
    if kept != here:
        if incumbent.score == -math.inf:
            return "moved: the value before did not finish"
        if winner.score > incumbent.score:
            return f"moved: {winner.score - incumbent.score:+.2f} points on validation"
        lower_loss = winner.negative_loss > incumbent.negative_loss
        return f"moved: equal score, {'lower loss' if lower_loss else 'nearer to the default'} on validation"
    best = max((ledger.standing(config).score for config in others if config != kept), default=-math.inf)
    if best == -math.inf:
        return "stayed: no other value finished"
    if best == winner.score:
        return "stayed: the best other value has an equal score"
    return f"stayed: the best other value is {best - winner.score:+.2f} points"
