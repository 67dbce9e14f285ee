"""Canonical forms are one spelling of equal work; neighbours differ in one knob and stay inside the space."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdrec.errors import BadArgument, DataError
from kdrec.space import (
    DEFAULT_SPACE,
    GREEDY_ORDER,
    Aliases,
    Space,
    aliases_in,
    aliases_of,
    alternatives,
    canonical,
    check_one_space,
    told,
)
from kdrec.types import BASELINE_CONFIG, DEFAULT_CONFIG, TEACHERS, KDConfig, Settings, TaskFeatures, Trial

ALIASES = [aliases_of(dict(zip(TEACHERS, weights, strict=True))) for weights in ("aaa", "aab", "aba", "abb", "abc")]
"""All that three choices can be."""

configs = st.builds(
    KDConfig,
    alpha=st.sampled_from([0, 0.25, 0.5, 1]),
    distance=st.sampled_from(["ce", "mse"]),
    teacher=st.sampled_from(TEACHERS),
    tau_t=st.sampled_from([0.5, 1, 2, 4]),
    tau_s=st.sampled_from([0.5, 1, 2, 4]),
    scale_soft_loss=st.sampled_from(["none", "tau_t*tau_s"]),
)


def some(*values: Any) -> st.SearchStrategy[Any]:
    return st.lists(st.sampled_from(values), min_size=1, unique=True).map(tuple)


spaces = st.builds(
    Space,
    alphas=some(0.25, 0.5, 1.0),
    distances=some("ce", "mse"),
    teachers=some(*TEACHERS),
    teacher_temperatures=some(0.5, 1.0, 2.0, 4.0),
    student_temperatures=some("1", "tau_t"),
    scale_soft_loss=st.sampled_from(["none", "tau_t*tau_s"]),
)


def test_the_default_space_has_24_canonical_configurations():
    made = DEFAULT_SPACE.configs()
    assert len(made) == len(set(made)) == 24
    assert made[0] == DEFAULT_SPACE.default() == DEFAULT_CONFIG
    # 2 alphas x 2 teachers x (ce: (1,1) (2,1) (2,2) (4,1) (4,4); mse: (1,1))
    assert {(c.tau_t, c.tau_s) for c in made if c.distance == "ce"} == {(1, 1), (2, 1), (2, 2), (4, 1), (4, 4)}
    assert len([c for c in made if c.distance == "mse"]) == 4
    assert len(DEFAULT_SPACE.configs(aliases={"t_hs": "t_ll"})) == 12


@given(config=configs, aliases=st.sampled_from(ALIASES))
def test_canonical_is_idempotent(config: KDConfig, aliases: Aliases):
    once = canonical(config, aliases=aliases)
    assert canonical(once, aliases=aliases) == once


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (KDConfig(alpha=0, distance="mse", teacher="t_hs", tau_t=4), BASELINE_CONFIG),
        (KDConfig(distance="mse", tau_t=4, tau_s=4), KDConfig(distance="mse")),
        (KDConfig(distance="mse", tau_t=4, scale_soft_loss="tau_t*tau_s"), KDConfig(distance="mse")),
        (KDConfig(scale_soft_loss="tau_t*tau_s"), KDConfig()),
        (KDConfig(tau_t=2, tau_s=0.5, scale_soft_loss="tau_t*tau_s"), KDConfig(tau_t=2, tau_s=0.5)),
        (KDConfig(tau_t=2, scale_soft_loss="tau_t*tau_s"), KDConfig(tau_t=2, scale_soft_loss="tau_t*tau_s")),
        (KDConfig(teacher="t_hs", tau_t=2), KDConfig(teacher="t_hs", tau_t=2)),
    ],
)
def test_canonical_worked_examples(config: KDConfig, expected: KDConfig):
    assert canonical(config) == expected


def test_one_checkpoint_under_two_names_is_one_configuration():
    assert canonical(KDConfig(teacher="t_hs"), aliases={"t_hs": "t_ll"}) == KDConfig(teacher="t_ll")
    assert canonical(KDConfig(teacher="t_llg"), aliases={"t_llg": "t_hs"}) == KDConfig(teacher="t_hs")


@pytest.mark.parametrize(
    ("weights", "aliases", "words"),
    [
        ("aaa", {"t_hs": "t_ll", "t_llg": "t_ll"}, "t_ll, t_hs and t_llg are one checkpoint"),
        ("aab", {"t_hs": "t_ll"}, "t_ll and t_hs are one checkpoint; t_llg differs"),
        ("aba", {"t_llg": "t_ll"}, "t_ll and t_llg are one checkpoint; t_hs differs"),
        ("abb", {"t_llg": "t_hs"}, "t_hs and t_llg are one checkpoint; t_ll differs"),
        ("abc", {}, "t_ll, t_hs and t_llg differ"),
    ],
)
def test_a_checkpoint_is_called_by_the_first_choice_that_means_it(weights: str, aliases: Aliases, words: str):
    found = aliases_of(dict(zip(TEACHERS, weights, strict=True)))
    assert found == aliases
    assert told(found) == words
    asked = Space(teachers=TEACHERS)
    assert len(asked.configs(aliases=found)) == len(asked.without(found).configs()) == 12 * len(set(weights))


def test_what_is_told_names_the_choices_asked_about_alone():
    assert told({"t_hs": "t_ll", "t_llg": "t_ll"}, ("t_ll", "t_hs")) == "t_ll and t_hs are one checkpoint"
    assert told({"t_llg": "t_hs"}, ("t_hs", "t_ll")) == "t_ll and t_hs differ"
    assert told({}, ("t_ll",)) == ""


def test_a_choice_that_was_never_distilled_is_taken_for_t_ll():
    assert aliases_in(tried("a", KDConfig(), KDConfig(alpha=0, teacher="t_hs"))) == {"t_hs": "t_ll", "t_llg": "t_ll"}
    assert aliases_in(tried("a", KDConfig(teacher="t_hs"))) == {"t_llg": "t_ll"}
    assert aliases_in(tried("a", *map(lambda one: KDConfig(teacher=one), TEACHERS))) == {}


@given(space=spaces, aliases=st.sampled_from(ALIASES))
def test_a_space_holds_distinct_canonical_configurations_and_its_default(space: Space, aliases: Aliases):
    made = space.configs(aliases=aliases)
    assert len(set(made)) == len(made)
    assert all(canonical(config, aliases=aliases) == config for config in made)
    assert canonical(space.default(), aliases=aliases) in made


@given(space=spaces, aliases=st.sampled_from(ALIASES), data=st.data())
def test_alternatives_are_members_that_differ_in_the_knob_alone(space: Space, aliases: Aliases, data: st.DataObject):
    made = space.configs(aliases=aliases)
    here = data.draw(st.sampled_from(made))
    free = {
        "distance": {"distance", "tau_t", "tau_s", "scale_soft_loss"},
        "teacher": {"teacher"},
        "temperatures": {"tau_t", "tau_s", "scale_soft_loss"},
        "alpha": {"alpha"},
    }
    for knob in GREEDY_ORDER:
        others = list(alternatives(here, knob, space, aliases=aliases))
        assert len(set(others)) == len(others)
        for other in others:
            assert other in made
            differing = {name for name in vars(here) if getattr(here, name) != getattr(other, name)}
            assert differing
            assert differing <= free[knob]
            if knob == "distance":
                assert "distance" in differing


@given(space=spaces)
def test_every_configuration_of_a_space_is_reached_by_alternatives(space: Space):
    """Greedy could otherwise never keep it. (From mse, ce comes back at the default temperatures, and moves on.)"""
    seen, frontier = set(), [space.default()]
    while frontier:
        here = frontier.pop()
        if here not in seen:
            seen.add(here)
            frontier += [other for knob in GREEDY_ORDER for other in alternatives(here, knob, space)]
    assert seen == set(space.configs())


def test_alternatives_of_the_default_by_hand():
    def others(knob: str, here: KDConfig = DEFAULT_CONFIG) -> list[KDConfig]:
        return list(alternatives(here, knob, DEFAULT_SPACE))

    assert others("distance") == [KDConfig(distance="mse")]
    assert others("teacher") == [KDConfig(teacher="t_hs")]
    assert others("alpha") == [KDConfig(alpha=1)]
    assert others("temperatures") == [KDConfig(tau_t=t, tau_s=s) for t, s in ((2, 1), (2, 2), (4, 1), (4, 4))]
    assert others("temperatures", KDConfig(distance="mse")) == []
    assert others("distance", KDConfig(distance="mse", alpha=1)) == [KDConfig(alpha=1)]
    assert list(alternatives(DEFAULT_CONFIG, "teacher", DEFAULT_SPACE, aliases={"t_hs": "t_ll"})) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"alphas": ()}, "alphas of a space must be distinct values, at least one"),
        ({"alphas": (0.5, 0.5)}, "distinct"),
        ({"alphas": (0.0, 0.5)}, "above 0"),
        ({"alphas": (0.5, 2.0)}, r"alpha must be in \[0, 1\], got 2.0"),
        ({"distances": ("ce", "kl")}, "distance must be one of ce, mse, got 'kl'"),
        ({"student_temperatures": ("2",)}, "'1' or 'tau_t'"),
        ({"teacher_temperatures": (0.0,)}, r"tau_t must be in \(0, inf\)"),
    ],
)
def test_a_bad_space_gets_one_sentence(values: dict[str, Any], words: str):
    with pytest.raises(BadArgument, match=words):
        Space(**values)


def test_an_unknown_knob_is_refused():
    with pytest.raises(BadArgument, match="knob must be one of distance, teacher, temperatures, alpha, got 'tau_t'"):
        list(alternatives(DEFAULT_CONFIG, "tau_t", DEFAULT_SPACE))


def tried(task: str, *configs: KDConfig | Settings) -> list[Trial]:
    common = dict(student="s", status="failed", val_score=None, val_loss=None, test_score=None, seconds=1.0)
    return [Trial(features=TaskFeatures(task=task), config=c, seed=n, **common) for n, c in enumerate(configs)]


def test_a_history_of_one_space_is_accepted():
    check_one_space([])
    check_one_space([*tried("a", KDConfig()), *tried("b", KDConfig(tau_t=2))])
    check_one_space([*tried("a", Settings.of(lr=1, loss="kl")), *tried("b", Settings.of(lr=2, loss="mse"))])


def test_a_knob_that_is_turned_in_a_part_of_the_configurations_may_be_absent_elsewhere():
    both = tried("a", Settings.of(loss="kl", tau=2), Settings.of(loss="mse"))
    check_one_space([*both, *tried("b", Settings.of(loss="mse")), *tried("c", Settings.of(loss="kl", tau=1))])


@pytest.mark.parametrize(
    ("trials", "sentence"),
    [
        (
            [*tried("a", KDConfig()), *tried("b", Settings.of(lr=1, loss="kl"))],
            "task 'a' has alpha, distance, teacher, tau_t, tau_s and task 'b' has loss, lr",
        ),
        (
            tried("a", KDConfig(), Settings.of(lr=1)),
            "task 'a' has alpha, distance, teacher, tau_t, tau_s and also lr",
        ),
        (
            [*tried("a", Settings.of(lr=1, tau=1)), *tried("b", Settings.of(lr=1, loss="kl"))],
            "only task 'a' has tau and only task 'b' has loss",
        ),
        ([*tried("a", Settings.of(lr=1)), *tried("b", Settings.of(lr=1, loss="kl"))], "only task 'b' has loss"),
    ],
)
def test_tasks_of_different_knobs_are_refused_with_a_task_and_the_knobs_of_each(trials, sentence: str):
    with pytest.raises(DataError) as error:
        check_one_space(trials)
    assert str(error.value) == f"all tasks of a history have to turn the same knobs, but {sentence}"


def test_a_space_asked_about_counts_as_a_task():
    with pytest.raises(DataError, match=r"only task 'a' has lr and only the space has loss$"):
        check_one_space(tried("a", Settings.of(lr=1)), {"the space": [Settings.of(loss="kl")]})
