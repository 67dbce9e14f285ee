"""Laws of configurations: one spelling, one order, and one sentence for what is none."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdrec.config import KDConfig, Settings, trainable
from kdrec.errors import BadArgument, MismatchError

finite = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6)
words = st.sampled_from(["kl", "mse", "a b", "True", "1e", "über", "x=y"])
knob_names = st.sampled_from(["lr", "loss", "cls", "self", "optim/lr", "batch size", "distance"])
named_values = st.dictionaries(knob_names, finite | words | st.booleans(), min_size=1)
settings = named_values.map(lambda knobs: Settings.of(**knobs))
kd_configs = st.builds(
    KDConfig,
    alpha=st.floats(0, 1),
    distance=st.sampled_from(["ce", "mse"]),
    teacher=st.sampled_from(["t_hs", "t_ll", "t_llg"]),
    tau_t=st.floats(0.1, 9),
    tau_s=st.floats(0.1, 9),
)


@given(config=settings)
def test_settings_are_what_their_knobs_say(config: Settings):
    assert Settings.of(**config.knobs()) == config
    assert Settings.of(**json.loads(json.dumps(config.to_dict()))) == config


@given(config=settings)
def test_a_number_written_as_text_is_that_number(config: Settings):
    texts = {name: value if isinstance(value, str) else repr(value) for name, value in config.knobs().items()}
    same = Settings.of(**texts)
    assert (same, hash(same)) == (config, hash(config))


def test_equal_settings_have_one_spelling():
    assert Settings.of(b=1, a="x") == Settings.of(a=" x ", b=1.0) == Settings.of(a="x", b="1e0", c=None)
    assert Settings.of(a=-0.0).knobs() == {"a": 0.0}
    assert str(Settings.of(a=-0.0).knobs()["a"]) == "0.0"
    assert Settings.of(shared=True) == Settings.of(shared="True") != Settings.of(shared=1)
    assert Settings.of(lr=0.001, loss="kl", shared=False).label() == "loss=kl lr=0.001 shared=False"


@given(configs=st.lists(settings | kd_configs, min_size=2, max_size=6), seed=st.integers(0, 99))
def test_the_order_is_total_whatever_the_values_are(configs: list, seed: int):
    shuffled = random.Random(seed).sample(configs, len(configs))
    assert sorted(configs, key=lambda c: c.sort_key()) == sorted(shuffled, key=lambda c: c.sort_key())
    for one, other in itertools.pairwise(configs):
        assert (one.sort_key() == other.sort_key()) == (one == other)


def test_numbers_stand_before_words():
    ordered = [Settings.of(a=-1), Settings.of(a=2), Settings.of(a=10), Settings.of(a="1x"), Settings.of(b=0)]
    assert sorted(reversed(ordered)) == ordered
    assert ordered[0] < ordered[1] <= ordered[2]


@given(configs=st.lists(kd_configs, max_size=6))
def test_own_configurations_are_ordered_by_their_fields(configs: list[KDConfig]):
    assert sorted(configs, key=lambda c: c.sort_key()) == sorted(configs, key=dataclasses.astuple)


def test_own_knobs_spell_the_students_temperature_by_what_it_is_tied_to():
    assert [KDConfig(tau_t=4, tau_s=tau).knobs()["tau_s"] for tau in (1, 4, 3)] == ["1", "tau_t", "3"]
    assert list(KDConfig().knobs()) == ["alpha", "distance", "teacher", "tau_t", "tau_s", "scale"]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Settings.of(), "a configuration needs at least one knob, got none"),
        (lambda: Settings((("a", 1), ("a", 2))), "each knob of a configuration has one value, got a, a"),
        (lambda: Settings.of(lr=float("nan")), "knob lr must be a finite number or a word, got nan"),
        (lambda: Settings.of(lr=float("inf")), "knob lr must be a finite number or a word, got inf"),
        (lambda: Settings.of(lr="NaN"), "knob lr must be a finite number or a word, got 'NaN'"),
        (lambda: Settings.of(lr="-inf"), "knob lr must be a finite number or a word, got '-inf'"),
        (lambda: Settings.of(lr="1e999"), "knob lr must be a finite number or a word, got '1e999'"),
        (lambda: Settings.of(lr=10**400), "knob lr must be a finite number or a word, got a whole number too large"),
        (lambda: Settings.of(lr=" "), "knob lr must be a finite number or a word, got ' '"),
        (lambda: Settings.of(lr="a\nb"), "knob lr must be a finite number or a word, got 'a\\nb'"),
        (lambda: Settings.of(lr=[1]), "knob lr must be a finite number or a word, got [1]"),
        (lambda: Settings.of(**{"": 1}), "a knob has a name of one printable line (at most 80 characters), got ''"),
        (lambda: KDConfig(tau_t=10**400), "tau_t must be in (0, inf), got a whole number too large to print"),
    ],
)
def test_a_bad_knob_gets_one_sentence(make, sentence: str):
    with pytest.raises(BadArgument) as error:
        make()
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_only_configurations_of_kdrecs_own_knobs_are_trained():
    assert trainable(KDConfig(tau_t=2)) == KDConfig(tau_t=2)
    with pytest.raises(MismatchError, match=r"^kdrec trains .* alpha, .*, got one of other knobs \(lr=1\)"):
        trainable(Settings.of(lr=1))
