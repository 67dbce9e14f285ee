"""The recommender inside a search: what a study asks of it, step by step, as a function of the trials made so far.

An adviser answers from the history it was given and from the search's own trials, and from nothing else, so that a
search that is run again takes the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kdrec import recommend
from kdrec.search import Proposal
from kdrec.space import Aliases, Space
from kdrec.studies import Study
from kdrec.types import Decision, History, KDConfig, TaskFeatures, Trial, TrustDefault, trainable

BATCH: Final = 2
"""Trials made between two questions to the recommender: more would spend what a stop could save."""


@dataclass(frozen=True, kw_only=True)
class Adviser:
    """Asks the recommender about one cell; a `Propose` of `kdrec.search`."""

    past: History
    """Trials known when the search began."""
    features: TaskFeatures
    student: str
    space: Space
    trial_price: float | None = None
    trust_default: TrustDefault = "medium"
    batch: int = BATCH

    @classmethod
    def of(cls, study: Study, past: History, features: TaskFeatures, student: str, *, aliases: Aliases) -> Adviser:
        """The adviser that a study asks for. A checkpoint has one name, whatever choices mean it."""
        return cls(
            past=past,
            features=features,
            student=student,
            space=study.space.without(aliases),
            trial_price=study.trial_price,
            trust_default=study.trust_default or "medium",
            batch=study.batch or BATCH,
        )

    def __call__(self, trials: Sequence[Trial]) -> Proposal:
        """What to try next, given the search's own trials: the suggestion itself at first, then what it proposes."""
        tried = {trial.config for trial in trials}
        own = {trial.run_id for trial in trials if trial.run_id}
        n_configs = len(self.space.configs())
        answer = recommend.suggest(
            History((*(trial for trial in self.past if trial.run_id not in own), *trials)),
            self.features,
            self.student,
            budget=min(n_configs, max(recommend.DEFAULT_BUDGET, len(tried) + self.batch)),
            trial_price=self.trial_price,
            trust_default=self.trust_default,
            space=self.space,
        )
        best = trainable(answer.config)

        def proposal(configs: tuple[KDConfig, ...], reason: str, *, stop: bool = False) -> Proposal:
            return Proposal(configs=configs, stop=stop, reason=reason, best=best, answer=answer)

        if best not in tried:
            return proposal((best,), "the suggestion itself comes first")
        if answer.stop:
            return proposal((), answer.reason, stop=True)
        upcoming = (trainable(trial.config) for trial in answer.next)
        untried = tuple(config for config in upcoming if config not in tried)
        if not untried:
            return proposal((), "stop: every configuration has been tried", stop=True)
        return proposal(untried[: self.batch], answer.reason)


def decision(step: int, trials: Sequence[Trial], proposal: Proposal) -> Decision:
    """What is written down of a step."""
    assert proposal.answer is not None, "an adviser gives its whole answer"
    return Decision(
        step=step,
        n_trials=len(trials),
        proposed=proposal.configs,
        stop=proposal.stop,
        reason=proposal.reason,
        answer=proposal.answer,
    )
