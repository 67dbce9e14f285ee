"""The three searches on tables worked by hand: what they try, keep and say, and that nothing is tried twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdrec.search import STRATEGIES, Proposal, full, greedy, listed, standing, suggested
from kdrec.space import DEFAULT_SPACE, Aliases, Space
from kdrec.types import DEFAULT_CONFIG, KDConfig, TaskFeatures, Trial

Score = float | None
MSE = KDConfig(distance="mse")
SMALL = Space(teacher_temperatures=(1.0, 4.0), student_temperatures=("1",))
"""ce with tau 1/1 and 4/1, mse; two teachers; two alphas: 12 configurations."""


def trial(config: KDConfig, score: Score, loss: float = 1.0, seed: int = 0) -> Trial:
    return Trial(
        features=TaskFeatures(task="t"),
        student="s",
        config=config,
        seed=seed,
        status="diverged" if score is None else "completed",
        val_score=score,
        val_loss=None if score is None else loss,
        test_score=None if score is None else 100 - score,
        seconds=1.0,
    )


class Table:
    """Scores of configurations by hand, with what was asked for, in order."""

    def __init__(
        self, score: Callable[[KDConfig], Score], loss: Callable[[KDConfig], float] = lambda config: 1.0
    ) -> None:
        self.score, self.loss = score, loss
        self.asked: list[KDConfig] = []

    def __call__(self, configs: Sequence[KDConfig]) -> list[Trial]:
        self.asked += configs
        return [trial(config, self.score(config), self.loss(config)) for config in configs]


def test_greedy_walks_the_knobs_and_stops_after_a_pass_without_change():
    def score(config: KDConfig) -> float:
        """Additive: t_hs is worth 2, tau_t = 4 is worth 3, alpha = 1 is worth 1, mse costs 5."""
        worth = 2 * (config.teacher == "t_hs") + 3 * (config.tau_t == 4) + (config.alpha == 1)
        return 70 + worth - 5 * (config.distance == "mse")

    table = Table(score)
    found = greedy(SMALL, table)
    hs, hs4 = KDConfig(teacher="t_hs"), KDConfig(teacher="t_hs", tau_t=4)
    best = KDConfig(teacher="t_hs", tau_t=4, alpha=1)
    assert found.best == best
    first_pass = [DEFAULT_CONFIG, MSE, hs, hs4, best]
    second_pass = [
        KDConfig(distance="mse", teacher="t_hs", alpha=1),
        KDConfig(tau_t=4, alpha=1),
        KDConfig(teacher="t_hs", alpha=1),
    ]
    assert table.asked == first_pass + second_pass
    assert [(step.knob, step.kept, step.reason) for step in found.path] == [
        ("distance", DEFAULT_CONFIG, "stayed: the best other value is -5.00 points"),
        ("teacher", hs, "moved: +2.00 points on validation"),
        ("temperatures", hs4, "moved: +3.00 points on validation"),
        ("alpha", best, "moved: +1.00 points on validation"),
        ("distance", best, "stayed: the best other value is -8.00 points"),
        ("teacher", best, "stayed: the best other value is -2.00 points"),
        ("temperatures", best, "stayed: the best other value is -3.00 points"),
        ("alpha", best, "stayed: the best other value is -1.00 points"),
    ]
    assert [t.config for t in found.trials] == table.asked


def test_greedy_stays_at_the_default_when_all_are_equal():
    table = Table(lambda config: 80.0)
    found = greedy(DEFAULT_SPACE, table)
    assert found.best == DEFAULT_CONFIG
    assert len(found.path) == 4
    assert all(step.reason == "stayed: the best other value has an equal score" for step in found.path)
    assert len(table.asked) == 1 + 1 + 1 + 4 + 1


def test_ties_in_score_go_to_the_lower_loss():
    found = greedy(SMALL, Table(lambda config: 80.0, lambda config: 0.5 if config.tau_t == 4 else 1.0))
    assert found.best == KDConfig(tau_t=4)
    assert [step.reason for step in found.path if "moved" in step.reason] == [
        "moved: equal score, lower loss on validation"
    ]


def test_ties_in_score_and_loss_go_to_the_value_of_the_default():
    """t_hs wins by 1 at first; at alpha = 1 both teachers are equal, so the second pass goes back to t_ll."""

    def score(config: KDConfig) -> float:
        if config.distance == "mse" or config.tau_t == 4:
            return 60.0
        return 90.0 if config.alpha == 1 else 71.0 if config.teacher == "t_hs" else 70.0

    found = greedy(SMALL, Table(score))
    assert found.best == KDConfig(alpha=1)
    reasons = [step.reason for step in found.path if step.reason.startswith("moved")]
    assert reasons[-1] == "moved: equal score, nearer to the default on validation"
    assert len(reasons) == 3


def test_what_diverged_is_never_kept_and_says_so():
    found = greedy(SMALL, Table(lambda config: 10.0 if config == DEFAULT_CONFIG else None))
    assert found.best == DEFAULT_CONFIG
    assert {step.reason for step in found.path} == {"stayed: no other value finished"}
    from_diverged = greedy(SMALL, Table(lambda config: None if config == DEFAULT_CONFIG else 10.0))
    assert from_diverged.best != DEFAULT_CONFIG
    assert from_diverged.path[0].reason == "moved: the value before did not finish"
    nothing = greedy(SMALL, Table(lambda config: None))
    assert nothing.best == DEFAULT_CONFIG


def test_one_diverged_seed_rules_a_configuration_out():
    hot = KDConfig(tau_t=4)

    def evaluate(configs: Sequence[KDConfig]) -> list[Trial]:
        def score(config: KDConfig, seed: int) -> Score:
            return (None if seed else 99.0) if config == hot else 80.0

        return [trial(config, score(config, seed), seed=seed) for config in configs for seed in (0, 1)]

    found = greedy(SMALL, evaluate)
    assert found.best == DEFAULT_CONFIG
    assert len(found.trials) == 2 * len({t.config for t in found.trials})


def test_a_standing_is_the_mean_over_seeds():
    trials = [trial(MSE, 80.0, 1.0), trial(MSE, 90.0, 2.0, seed=1), trial(DEFAULT_CONFIG, 99.0)]
    stand = standing(MSE, trials, DEFAULT_SPACE)
    assert (stand.score, stand.negative_loss, stand.matches_default) == (85.0, -1.5, 4)
    assert standing(KDConfig(tau_t=4), trials, DEFAULT_SPACE).score == -float("inf")


def test_greedy_sees_no_test_score():
    """The tables' test scores are the reverse of validation: a search that looked would end at the worst."""
    score = {config: 50.0 + index for index, config in enumerate(SMALL.configs())}
    assert full(SMALL, Table(score.__getitem__)).best == max(score, key=score.__getitem__)


@given(
    scores=st.lists(st.sampled_from([None, 70.0, 71.0, 80.0]), min_size=24, max_size=24),
    losses=st.lists(st.sampled_from([0.5, 1.0]), min_size=24, max_size=24),
    aliases=st.sampled_from([{}, {"t_hs": "t_ll"}]),
)
def test_laws_of_greedy_on_any_table(scores: list[Score], losses: list[float], aliases: Aliases):
    configs = DEFAULT_SPACE.configs()
    score, loss = dict(zip(configs, scores, strict=True)), dict(zip(configs, losses, strict=True))
    table = Table(score.__getitem__, loss.__getitem__)
    found = greedy(DEFAULT_SPACE, table, aliases=aliases)
    assert len(set(table.asked)) == len(table.asked), "each configuration is evaluated once"
    assert set(table.asked) <= set(DEFAULT_SPACE.configs(aliases=aliases))
    assert found.best in table.asked
    assert found.path[-1].kept == found.best
    ranks = [
        standing(config, found.trials, DEFAULT_SPACE) for config in (DEFAULT_CONFIG, *(s.kept for s in found.path))
    ]
    assert ranks == sorted(ranks), "a search never goes down"
    if score[DEFAULT_CONFIG] is not None:
        assert score[found.best] is not None
    last = found.path[-len({s.knob for s in found.path}) :]
    assert {step.kept for step in last} == {found.best}, "the last pass changed nothing"
    assert full(DEFAULT_SPACE, Table(score.__getitem__, loss.__getitem__)).best in configs


def test_full_tries_the_whole_grid_once_and_keeps_the_best():
    wanted = KDConfig(distance="mse", teacher="t_hs", alpha=1)
    table = Table(lambda config: 80.0 + (config == wanted))
    found = full(DEFAULT_SPACE, table)
    assert found.best == wanted
    assert sorted(table.asked) == sorted(DEFAULT_SPACE.configs())
    assert found.path[0].reason == "moved: +1.00 points on validation"
    assert full(DEFAULT_SPACE, Table(lambda config: 80.0)).best == DEFAULT_CONFIG
    coinciding = Table(lambda config: 80.0)
    full(DEFAULT_SPACE, coinciding, aliases={"t_hs": "t_ll"})
    assert len(coinciding.asked) == 12


def test_suggested_tries_batches_until_told_to_stop():
    batches = [(DEFAULT_CONFIG, MSE), (KDConfig(tau_t=4),), (KDConfig(alpha=1),)]
    heard: list[int] = []

    def propose(trials: Sequence[Trial]) -> Proposal:
        heard.append(len(trials))
        best = max(trials, key=lambda t: t.val_score or 0).config if trials else DEFAULT_CONFIG
        turn = len(heard) - 1
        return Proposal(configs=batches[turn], stop=turn == 2, reason=f"turn {turn}", best=best)

    table = Table(lambda config: 90.0 if config.tau_t == 4 else 80.0)
    found = suggested(DEFAULT_SPACE, table, propose)
    assert table.asked == [DEFAULT_CONFIG, MSE, KDConfig(tau_t=4)]
    assert heard == [0, 2, 3]
    assert found.best == KDConfig(tau_t=4)
    assert [(step.tried, step.reason) for step in found.path] == [
        (batches[0], "turn 0"),
        (batches[1], "turn 1"),
        ((), "turn 2"),
    ]


def test_suggested_ends_when_nothing_new_is_asked_for():
    """Also where the same work is asked for under another name, or a trial comes back under another name."""

    def propose(trials: Sequence[Trial]) -> Proposal:
        again = KDConfig(distance="mse", teacher="t_hs" if trials else "t_ll", tau_t=4)
        return Proposal(configs=(again,), stop=False, reason="more", best=MSE)

    table = Table(lambda config: 80.0)
    found = suggested(DEFAULT_SPACE, table, propose, aliases={"t_hs": "t_ll"})
    assert table.asked == [MSE]
    assert found.best == MSE

    def renamed(configs: Sequence[KDConfig]) -> list[Trial]:
        return [trial(DEFAULT_CONFIG, 80.0) for _ in configs]

    assert len(suggested(DEFAULT_SPACE, renamed, propose, aliases={"t_hs": "t_ll"}).trials) == 1


def test_listed_tries_the_list_once_and_keeps_the_best_on_validation():
    configs = (DEFAULT_CONFIG, KDConfig(distance="mse", teacher="t_hs"), MSE, KDConfig(tau_t=4))

    def propose(trials: Sequence[Trial]) -> Proposal:
        assert not trials
        return Proposal(configs=configs, stop=False, reason="listed", best=DEFAULT_CONFIG)

    table = Table(lambda config: 90.0 if config.tau_t == 4 else 80.0)
    found = listed(DEFAULT_SPACE, table, propose)
    assert tuple(table.asked) == configs
    assert found.best == KDConfig(tau_t=4)
    assert [(step.tried, step.reason) for step in found.path] == [(configs, "moved: +10.00 points on validation")]
    coinciding = Table(lambda config: 80.0)
    assert listed(DEFAULT_SPACE, coinciding, propose, aliases={"t_hs": "t_ll"}).best == DEFAULT_CONFIG
    assert coinciding.asked == [DEFAULT_CONFIG, MSE, KDConfig(tau_t=4)]


@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies_have_one_signature(name: str):
    table = Table(lambda config: 80.0)
    found = STRATEGIES[name](
        SMALL,
        table,
        lambda trials: Proposal(configs=(DEFAULT_CONFIG,), stop=bool(trials), reason="", best=DEFAULT_CONFIG),
        aliases={"t_hs": "t_ll"},
    )
    assert found.best == DEFAULT_CONFIG
    assert [t.config for t in found.trials] == table.asked
