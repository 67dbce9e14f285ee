"""Laws of `suggest` over spaces that are data: any names, any number of knobs, any kind of value."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from kdrec.errors import BadArgument, DataError
from kdrec.history import read_table, write_table
from kdrec.recommend import suggest
from kdrec.recommend.candidates import MAX_CONFIGS, candidates
from kdrec.recommend.contenders import CONTENDERS
from kdrec.recommend.design import MAX_PAIRS, MAX_STEPS, MAX_WEIGHTS, crash_group, found_space, knobs, nearest
from kdrec.space import Space
from kdrec.types import BASELINE_CONFIG, DEFAULT_CONFIG, History, KDConfig, Settings, TaskFeatures, Trial

NEW = TaskFeatures(task="new", family="sentence", n_train=3000, n_classes=4)
START = Settings.of(lr=1e-4, loss="kl")
WINNER = Settings.of(lr=1e-3, loss="kl")
GRID = tuple(Settings.of(lr=lr, loss=loss) for lr, loss in product((1e-4, 3e-4, 1e-3), ("kl", "mse")))


def trial(task, config, score, seed=0, **more):
    features = TaskFeatures(task=task, family="sentence", n_train=2000, n_classes=4)
    values = dict(status="completed", val_score=score, val_loss=None, test_score=score, seconds=1.0) | more
    return Trial(**{"features": features, "student": "small", "config": config, "seed": seed} | values)


def history(configs, effect=lambda config: 0.0, *, n_tasks=3, seeds=1, noise=0.3):
    """Every task scores a configuration by its effect and some noise; START ran with one seed more."""
    rng = np.random.default_rng(0)
    runs = [(c, s) for c in configs for s in range(seeds + (c == START))]
    return History(
        tuple(
            trial(f"t{n}", c, float(70 + n + effect(c) + noise * rng.normal()), s)
            for n in range(n_tasks)
            for c, s in runs
        )
    )


def lead(config):
    return 3.0 * (config == WINNER)


def dumped(answer):
    return json.dumps(answer.to_dict(), allow_nan=False)


# -------------------------------------------------------------------------------------------------------- the answer


def test_a_configuration_that_wins_in_every_task_is_suggested_with_its_own_knobs():
    answer = suggest(history(GRID, lead, seeds=2), NEW, "small")
    assert answer.config == WINNER
    assert answer.to_dict()["config"] == {"loss": "kl", "lr": 1e-3}
    assert answer.evidence["expected_effect"]["over"] == "loss=kl lr=0.0001"
    assert {t.config for t in answer.next} | {answer.config} == set(GRID)
    assert list(answer.evidence["crash_probability"]) == ["all"]


def test_where_all_are_alike_the_start_of_the_history_is_kept():
    same = History(tuple(replace(t, val_score=80.0, test_score=80.0) for t in history(GRID)))
    answer = suggest(same, NEW, "small")
    assert (answer.config, answer.is_default) == (START, True)
    assert any("same value" in note for note in answer.evidence["notes"])


def test_rows_of_one_seed_with_one_score_are_answered_with_a_note():
    rows = tuple(trial("t0", config, 80.0) for config in GRID)
    notes = suggest(History(rows), NEW, "small").evidence["notes"]
    assert any("same value" in note for note in notes)
    assert any("no configuration was run with two seeds" in note for note in notes)


def test_neither_order_nor_repetition_of_rows_changes_the_answer():
    past = history(GRID, lead)
    shuffled = History(tuple(past.trials[i] for i in np.random.default_rng(1).permutation(len(past))))
    assert dumped(suggest(past, NEW, "small")) == dumped(suggest(shuffled, NEW, "small"))
    twice = suggest(History(past.trials * 2), NEW, "small")
    assert twice.gain == suggest(past, NEW, "small").gain
    assert any("counted once" in note for note in twice.evidence["notes"])


def test_the_same_experiment_under_either_noun_has_the_same_answer():
    """Two knobs of kdrec's own, named as a foreign tool would: the names of knobs are data."""
    own = [KDConfig(alpha=a, teacher=t) for a, t in product((0.5, 1.0), ("t_ll", "t_hs"))]
    foreign = {c: Settings.of(weight=c.alpha, who="safe" if c.teacher == "t_ll" else "bold") for c in own}
    past = history(own, lambda c: float(c.alpha == 1), seeds=2)
    renamed = History(tuple(replace(t, config=foreign[t.config]) for t in past))
    first = suggest(past, NEW, "small", space=own)
    second = suggest(renamed, NEW, "small", space=[foreign[c] for c in own])
    assert second.config == foreign[first.config]
    assert [t.config for t in second.next] == [foreign[t.config] for t in first.next]
    assert (second.gain, second.stop) == (first.gain, first.stop)


def test_a_table_of_foreign_knobs_is_answered_as_its_history(tmp_path):
    past = history(GRID, lead)
    for ending in (".csv", ".parquet"):
        write_table(past, tmp_path / f"h{ending}")
        assert dumped(suggest(read_table(tmp_path / f"h{ending}"), NEW, "small")) == dumped(suggest(past, NEW, "small"))


def test_crashes_are_told_apart_by_a_knob_called_distance():
    configs = [Settings.of(distance=d, lr=lr) for d in ("kl", "l2") for lr in (1, 2, 3)]
    lost = dict(status="diverged", val_score=None, test_score=None)
    bad = [trial(f"t{n}", c, None, 9, **lost) for n in range(3) for c in configs if c.knobs()["distance"] == "l2"]
    chances = suggest(History((*history(configs), *bad)), NEW, "small").evidence["crash_probability"]
    assert chances["kl"] < 0.05 < 0.2 < chances["l2"]


def test_crashes_are_grouped_by_distance_or_all_together():
    assert crash_group(KDConfig(distance="mse")) == "mse"
    assert [crash_group(c) for c in (Settings.of(distance=2), Settings.of(lr=1))] == ["2", "all"]


def a_space(n_knobs, n_values, n_configs):
    rng = np.random.default_rng(n_configs)
    drawn = rng.integers(n_values, size=(n_configs, n_knobs))
    return [Settings.of(**{f"k{at}": int(value) for at, value in enumerate(row)}) for row in drawn]


@pytest.mark.parametrize(
    "configs",
    [
        a_space(1, 2, 2),
        a_space(1, 8, 8),
        a_space(6, 2, 60),
        a_space(6, 8, 150),
        [Settings.of(a=i, b=0) for i in range(40)] + [Settings.of(a=0, b=i) for i in range(40)],
        [Settings.of(a=i, b=j) for i in range(40) for j in range(40)],
        [Settings.of(model=f"m{i}", size=j) for i in range(40) for j in range(3)],
    ],
    ids=["one knob", "one knob of 8 values", "6 knobs", "6 knobs of 8", "2 x 40 apart", "2 x 40 grid", "40 words"],
)
def test_a_space_of_any_shape_is_answered_in_seconds_and_from_what_was_tried(configs):
    past = history(dict.fromkeys(configs))
    started = time.process_time()
    answer = suggest(past, NEW, "small")
    assert time.process_time() - started < 3
    assert {answer.config, *(t.config for t in answer.next)} <= set(configs)
    assert json.loads(dumped(answer))["task"] == "new"


def test_a_space_of_one_configuration_has_nothing_else_to_try():
    answer = suggest(history([START]), NEW, "small")
    assert (answer.config, answer.stop) == (START, True)
    assert {t.config for t in answer.next} <= {START}
    assert [gain.mean for gain in answer.gain] == [0.0] * 5


def test_a_knob_may_be_absent_where_it_does_not_apply():
    configs = [*(Settings.of(loss="kl", tau=tau) for tau in (1, 2, 4)), Settings.of(loss="mse")]
    best = Settings.of(loss="mse")
    answer = suggest(history(configs, lambda c: 3.0 * (c == best), seeds=2), NEW, "small")
    assert answer.config == best


def test_a_large_space_says_what_was_left_out_of_it():
    notes = suggest(history(a_space(6, 8, 300), n_tasks=1), NEW, "small").evidence["notes"]
    assert any(note.startswith("60 configurations, those measured least, were left out: at most 240") for note in notes)
    assert any(f"among the {CONTENDERS} most promising of {MAX_CONFIGS} configurations" in note for note in notes)


def test_a_budget_above_the_contenders_is_met():
    answer = suggest(history(a_space(6, 8, 90), n_tasks=1), NEW, "small", budget=80)
    assert len({t.config for t in answer.next}) == 80


# --------------------------------------------------------------------------------------------------------- the space


def test_the_space_found_is_what_was_tried_from_where_most_cells_started():
    a, b, c = (Settings.of(lr=lr) for lr in (1, 2, 3))
    assert found_space([c, b, a], [("t0", c), ("t1", c), ("t0", b), ("t0", b), ("t0", b)]) == ((a, b, c), c)
    assert found_space([c, b, a], [("t0", c), ("t0", b), ("t0", b)])[1] == b
    assert found_space([c, b, a])[1] == a


def test_a_named_space_starts_from_its_first_configuration():
    space = [WINNER, START, Settings.of(lr=5, loss="kl")]
    answer = suggest(History(), NEW, "small", space=space)
    assert (answer.config, answer.is_default) == (WINNER, True)
    own = [KDConfig(tau_t=4), KDConfig(distance="mse", tau_t=2)]
    answer = suggest(History(), NEW, "small", space=own)
    assert (answer.config, answer.next[0].config) == (own[0], KDConfig(distance="mse"))


def test_a_sequence_of_the_configurations_of_a_space_is_that_space():
    space = Space(alphas=(0.5, 1.0), teachers=("t_ll",))
    listed = [space.default(), *space.configs()]
    past = History(tuple(trial(f"t{n}", c, 80.0 + i) for n in range(3) for i, c in enumerate(space.configs())))
    assert dumped(suggest(past, NEW, "small", space=space)) == dumped(suggest(past, NEW, "small", space=listed))


def test_the_nearest_differs_in_fewest_knobs_then_by_the_smallest_steps():
    here = Settings.of(lr=10, loss="kl", tau=1)
    far, near, other = Settings.of(lr=30, loss="kl", tau=1), Settings.of(lr=20, loss="kl", tau=1), Settings.of(lr=11)
    assert nearest(here, [other, far, near]) == near
    assert nearest(here, [other, here]) == here


def test_what_is_left_out_is_measured_least_and_never_chosen_by_score():
    many = [Settings.of(x=i) for i in range(2 * MAX_CONFIGS)]
    rows = [trial("t0", c, float(i % 90)) for i, c in enumerate(many)]
    rows += [trial("t1", c, 50.0) for c in many[-5:]]
    upside_down = [replace(t, val_score=90 - t.val_score) for t in rows]
    kept, n_candidates, n_left_out = candidates(rows, None, "new")
    assert (len(kept), n_candidates, n_left_out) == (MAX_CONFIGS, MAX_CONFIGS, MAX_CONFIGS)
    assert set(many[-5:]) <= set(kept)
    assert candidates(upside_down, None, "new")[0] == kept
    held = {int(c.knobs()["x"]) for c in kept}
    assert max(np.diff(sorted(held))) <= 3, "equals are taken at even distances"
    own = [*rows, *(trial("new", c, 50.0) for c in many[7:9])]
    assert set(many[7:9]) <= set(candidates(own, None, "new")[0])


# ------------------------------------------------------------------------------------------------------- the features


def test_a_knob_of_8_values_departs_step_by_step():
    configs = [Settings.of(lr=i) for i in range(8)]
    made = knobs(configs, configs[0])
    assert made.names == tuple(f"lr={float(i)}" for i in range(1, 8))
    assert made.features_CF[:, :7].sum(axis=1).tolist() == list(range(8))


def test_steps_lead_away_from_the_default_on_both_sides():
    configs = [Settings.of(lr=i) for i in range(5)]
    made = knobs(configs, configs[2])
    assert made.features_CF[:, :4].sum(axis=1).tolist() == [2, 1, 0, 1, 2]


def test_values_with_a_word_among_them_are_words():
    configs = [Settings.of(layers=value) for value in (1, 2, 3, "all")]
    made = knobs(configs, configs[0])
    assert made.names == ("layers=2.0", "layers=3.0", "layers=all")
    assert made.features_CF[:, :3].tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_an_absent_knob_is_a_value_of_its_own_and_leaves_the_others_in_order():
    configs = [Settings.of(loss="mse"), *(Settings.of(loss="kl", tau=tau) for tau in (1, 2))]
    made = knobs(configs, configs[0])
    assert made.names == ("loss=kl", "tau=1.0", "tau=2.0")
    assert made.features_CF[:, :3].tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert knobs(configs, configs[1]).names == ("loss=mse", "tau=2.0", "tau=absent")


@pytest.mark.parametrize(("n_knobs", "n_values"), [(2, 40), (6, 8), (12, 30)])
def test_many_values_do_not_explode_the_features(n_knobs, n_values):
    configs = list(dict.fromkeys(a_space(n_knobs, n_values, 200)))
    made = knobs(configs, configs[0])
    assert len(made.names) <= MAX_STEPS * n_knobs
    assert made.features_CF.shape[1] <= len(made.names) + MAX_PAIRS + len(configs) - 1
    assert made.powers_FP.shape[1] - 2 <= max(MAX_WEIGHTS, n_knobs)
    assert made.departures_C[0] == 0
    assert not made.features_CF[0].any()


# -------------------------------------------------------------------------------------------------------- refusals


def refused(error, past=None, features=NEW, student="small", **arguments):
    """The sentence with which a question is refused."""
    with pytest.raises(error) as caught:
        suggest(history(GRID) if past is None else past, features, student, **arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_history_of_both_kinds_is_refused_with_a_task_and_the_knobs_of_each():
    mixed = History((*history(GRID), trial("own", DEFAULT_CONFIG, 80.0)))
    assert refused(DataError, mixed) == (
        "all tasks of a history have to turn the same knobs, but "
        "task 'own' has alpha, distance, teacher, tau_t, tau_s and task 't0' has loss, lr"
    )


def test_tasks_that_turn_different_knobs_are_refused():
    mixed = History((*history(GRID), trial("odd", Settings.of(lr=1, temp=2), 80.0)))
    sentence = refused(DataError, mixed)
    assert sentence.endswith("but only task 'odd' has temp and only task 't0' has loss")


def test_a_space_of_other_knobs_than_the_history_is_refused():
    assert "the space asked about has alpha" in refused(DataError, space=Space())
    assert "only the space asked about has temp" in refused(DataError, space=[Settings.of(lr=1, temp=2)])


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ([], "space must be a Space or configurations, at least one, the default first; got none"),
        (["t_ll ce"], "the default first; got 't_ll ce'"),
        ("ce", "the default first; got 'c'"),
        ([DEFAULT_CONFIG, BASELINE_CONFIG], "alpha = 0 is the baseline, never suggested"),
    ],
)
def test_a_space_that_cannot_be_meant_is_refused(space, sentence):
    assert sentence in refused(BadArgument, History(), space=space)


@pytest.mark.parametrize("budget", [0, -1, 7, 1.0])
def test_a_budget_outside_the_space_is_refused(budget):
    assert "budget must be" in refused(BadArgument, budget=budget)


@pytest.mark.parametrize("field", ["val_score", "test_score"])
def test_a_task_recorded_in_fractions_among_percentages_is_refused_by_name(field):
    past = tuple(replace(t, **{field: getattr(t, field) / 100}) if t.task == "t1" else t for t in history(GRID))
    kind = field.removesuffix("_score").replace("val", "validation")
    assert f"but the {kind} scores of task 't1' are at most 1: multiply" in refused(DataError, History(past))


@pytest.mark.parametrize(("name", "value"), [("family", "pair"), ("n_classes", 7)])
def test_rows_that_contradict_the_features_or_each_other_are_of_other_data_and_refuse_nothing(name, value):
    past = history(GRID)
    own = TaskFeatures(task="t0", **{name: value})
    assert suggest(past, own, "small").evidence["n_own_trials"] == 0
    first = past.trials[0]
    torn = History((replace(first, features=replace(first.features, **{name: value})), *past.trials[1:]))
    notes = suggest(torn, NEW, "small").evidence["notes"]
    assert "1 trial is of other data under the name 't0', set aside as a task of its own, 't0 (2)'" in notes


def test_more_classes_than_rows_are_refused_or_are_of_other_data():
    with pytest.raises(BadArgument, match=r"n_classes \(9\) cannot be above n_train \(5\)"):
        TaskFeatures(task="new", n_train=5, n_classes=9)
    few = TaskFeatures(task="t0", n_train=3)
    assert suggest(history(GRID), few, "small").evidence["n_own_trials"] == 0, "four classes cannot be of three rows"


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -0.1, 100.1, True, "80"])
def test_a_score_that_is_none_never_becomes_a_trial(wrong):
    for field in ("val_score", "test_score"):
        with pytest.raises(BadArgument, match=rf"^{field} must be in \[0, 100\], got "):
            trial("t0", START, 80.0, **{field: wrong})


@pytest.mark.parametrize("wrong", ["nan", "inf", "-inf", "-1", "100.1", "good"])
def test_a_score_that_is_none_is_refused_with_its_line(tmp_path, wrong):
    write_table(history(GRID), tmp_path / "h.csv")
    lines = (tmp_path / "h.csv").read_text().splitlines()
    header, cells = lines[0].split(","), lines[3].split(",")
    cells[header.index("val_score")] = wrong
    (tmp_path / "h.csv").write_text("\n".join([*lines[:3], ",".join(cells), *lines[4:]]))
    with pytest.raises(DataError, match=r"^h\.csv, line 4.*val_score") as caught:
        read_table(tmp_path / "h.csv")
    assert "\n" not in str(caught.value)


def test_an_unknown_family_is_refused():
    with pytest.raises(BadArgument, match="family must be one of sentence, pair, tokens, qa, got 'images'"):
        TaskFeatures(task="new", family="images")
