"""Laws of `suggest`: what it says with little, what it must not depend on, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from kdrec.errors import BadArgument, DataError
from kdrec.recommend import suggest
from kdrec.recommend.gain import LEAVE_PROBABILITY, decide, leave_z
from kdrec.recommend.replay import replay
from kdrec.space import DEFAULT_SPACE, Space
from kdrec.types import BASELINE_CONFIG, DEFAULT_CONFIG, History, KDConfig, TaskFeatures, Trial

WINNER = KDConfig(alpha=1.0, tau_t=2.0)
ALTERNATIVES = (WINNER, KDConfig(alpha=1.0), KDConfig(distance="mse"), KDConfig(teacher="t_hs"))
NEW = TaskFeatures(task="new", family="sentence", n_train=3000, n_classes=4, teacher_score=90.0)


def trial(task, config, score, seed=0, student="small", **more):
    features = TaskFeatures(task=task, family="sentence", n_train=2000, n_classes=4, teacher_score=91.0)
    values = dict(status="completed", val_score=score, val_loss=None, test_score=score, seconds=1.0) | more
    run_id = f"{task}-{student}-{config.label()}-{seed}"
    return Trial(
        **{"features": features, "student": student, "config": config, "seed": seed, "run_id": run_id} | values
    )


def history(n_tasks, lead, *, seeds=2, noise=0.2, seed=0):
    """Every alternative equals the default but for noise; WINNER is better by `lead(task number)`."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(n_tasks):
        for config in (DEFAULT_CONFIG, *ALTERNATIVES):
            for run in range(seeds):
                score = 80 + number + (lead(number) if config == WINNER else 0.0) + noise * rng.standard_normal()
                made.append(trial(f"task{number}", config, float(score), run))
    return History(tuple(made))


def dumped(suggestion):
    return json.dumps(suggestion.to_dict(), allow_nan=False)


def test_without_history_it_gives_the_default_with_an_interval_around_zero_and_says_so():
    answer = suggest(History(), NEW, "small")
    assert answer.is_default
    assert answer.config == DEFAULT_CONFIG
    assert [gain.trials for gain in answer.gain] == [1, 2, 4, 8, "all"]
    assert all(gain.lo90 <= gain.lo80 <= 0 <= gain.hi80 <= gain.hi90 for gain in answer.gain)
    assert answer.gain[-1].hi90 > 0.3
    assert (answer.evidence["n_tasks"], answer.evidence["n_trials"]) == (0, 0)
    assert any("prior alone" in note for note in answer.evidence["notes"])
    assert answer.audit["audited"] is False


def test_a_teacher_and_students_that_were_still_improving_are_named():
    past = [trial("new", DEFAULT_CONFIG, 80.0, seed, still_improving=seed == 0) for seed in range(3)]
    notes = suggest(History(tuple(past)), replace(NEW, teacher_still_improving=True), "small").evidence["notes"]
    assert "1 of 3 trials of this cell were still improving when their training ended" in notes
    assert any(note.startswith("the teacher was still improving when its training ended") for note in notes)
    calm = suggest(History(tuple(replace(one, still_improving=False) for one in past)), NEW, "small")
    assert not any("still improving" in note for note in calm.evidence["notes"])


def test_every_value_is_plain_and_finite():
    answer = suggest(history(4, lambda _: 1.0), NEW, "small")
    assert json.loads(dumped(answer))["task"] == "new"


@pytest.mark.parametrize("n_tasks", [0, 1, 4])
def test_same_input_and_seed_give_the_same_bytes(n_tasks):
    past = history(n_tasks, lambda _: 1.0)
    assert dumped(suggest(past, NEW, "small", seed=3)) == dumped(suggest(past, NEW, "small", seed=3))


def test_row_order_changes_nothing():
    past = history(3, lambda _: 1.0)
    shuffled = History(tuple(past.trials[i] for i in np.random.default_rng(1).permutation(len(past))))
    assert dumped(suggest(past, NEW, "small")) == dumped(suggest(shuffled, NEW, "small"))


def test_repeated_rows_count_once():
    past = history(3, lambda _: 1.0)
    twice, once = suggest(History(past.trials * 2), NEW, "small"), suggest(past, NEW, "small")
    assert (twice.config, twice.gain, twice.next) == (once.config, once.gain, once.next)
    assert any("counted once" in note for note in twice.evidence["notes"])


def test_a_configuration_that_wins_by_a_lot_in_every_task_is_suggested():
    answer = suggest(history(6, lambda _: 3.0), NEW, "small")
    assert answer.config == WINNER
    assert not answer.is_default
    effect = answer.evidence["expected_effect"]
    assert effect["p_better"] > 0.9
    assert effect["lo80"] < 3.0 < effect["hi80"] + 0.5
    assert "task0-small-t_ll ce alpha=1 tau=2/1-0" in answer.evidence["run_ids"]


def test_a_win_in_one_noisy_task_of_many_leaves_the_default():
    answer = suggest(history(6, lambda number: 2.0 if number == 0 else -0.3, noise=1.0), NEW, "small")
    assert answer.is_default


def test_the_default_wins_when_every_score_is_the_same():
    past = History(tuple(replace(t, val_score=80.0, test_score=80.0) for t in history(4, lambda _: 0.0).trials))
    answer = suggest(past, NEW, "small")
    assert answer.is_default
    assert any("same value" in note for note in answer.evidence["notes"])


def test_trials_of_the_task_itself_narrow_the_interval_of_an_effect():
    past = history(4, lambda _: 3.0)

    def width(n_seeds):
        own = tuple(
            trial("new", c, 70 + 3.0 * (c == WINNER), s) for c in (DEFAULT_CONFIG, WINNER) for s in range(n_seeds)
        )
        effect = suggest(History(past.trials + own), NEW, "small").evidence["expected_effect"]
        return effect["hi80"] - effect["lo80"]

    assert width(8) < width(2) < width(0)


def test_trials_of_the_task_itself_decide_against_the_past():
    past = history(4, lambda _: 3.0)
    own = tuple(
        trial("new", c, 70.0 - 6.0 * (c == WINNER) + 0.01 * s, s) for c in (DEFAULT_CONFIG, WINNER) for s in range(4)
    )
    answer = suggest(History(past.trials + own), replace(NEW, task="new"), "small")
    assert answer.config != WINNER
    assert answer.evidence["n_own_trials"] == 8


def test_the_asked_task_is_never_chosen_for_on_its_own_test_scores():
    past = history(4, lambda _: 0.5)
    own = tuple(trial("new", config, 80.0, test_score=50.0) for config in (DEFAULT_CONFIG, WINNER))
    other = tuple(replace(t, test_score=99.0 if t.config == WINNER else 1.0) for t in own)
    first, second = (suggest(History(past.trials + rows), NEW, "small") for rows in (own, other))
    assert dumped(first) == dumped(second)


def test_diverged_runs_lower_the_standing_of_their_distance():
    mse = KDConfig(distance="mse")
    past = [t for t in history(5, lambda _: 0.0).trials if t.config in (DEFAULT_CONFIG, mse)]
    good = tuple(replace(t, val_score=t.val_score + 1.5, test_score=None) if t.config == mse else t for t in past)
    lost = dict(status="diverged", val_score=None, test_score=None)
    bad = tuple(replace(t, seed=t.seed + 50, run_id="", **lost) for t in good if t.config == mse)
    safe, risky = suggest(History(good), NEW, "small"), suggest(History(good + bad), NEW, "small")
    assert safe.config.distance == "mse"
    assert risky.config.distance == "ce"
    assert risky.evidence["crash_probability"]["mse"] > 0.2
    assert any("diverged or crashed" in note for note in risky.evidence["notes"])


def test_a_gain_can_be_negative():
    answer = suggest(history(6, lambda _: 1.0, noise=1.5), NEW, "small", budget=23)
    assert min(gain.lo90 for gain in answer.gain) < 0


def test_failed_runs_and_the_baseline_are_not_candidates():
    past = history(3, lambda _: 1.0)
    extra = tuple(trial(f"task{n}", BASELINE_CONFIG, 75.0 + n) for n in range(3))
    failed = trial("task0", WINNER, None, 7, status="failed", test_score=None)
    answer = suggest(History((*past.trials, *extra, failed)), NEW, "small", budget=24)
    assert all(t.config.alpha > 0 for t in answer.next)
    assert any("against labels only: +5" in note and "3 cells" in note for note in answer.evidence["notes"])
    assert any("1 failed" in note for note in answer.evidence["notes"])
    assert answer.evidence["n_baseline_trials"] == 3


@pytest.mark.parametrize("budget", [1, 8, 23, 24])
def test_next_trials_are_distinct_as_many_as_asked_and_inside_the_space(budget):
    answer = suggest(history(3, lambda _: 1.0), NEW, "small", budget=budget)
    configs = [t.config for t in answer.next]
    assert len(set(configs)) == budget
    assert set(configs) <= set(DEFAULT_SPACE.configs())
    assert budget == 24 or answer.config not in configs
    assert all(t.worth >= 0 for t in answer.next)


def test_a_dear_trial_stops_and_a_free_one_goes_on():
    past = history(3, lambda _: 1.0, noise=0.6)
    dear, free = suggest(past, NEW, "small", trial_price=50.0), suggest(past, NEW, "small", trial_price=0.0)
    assert dear.stop
    assert not free.stop
    assert "price of 50 points" in dear.reason


def test_another_space_found_in_the_history_is_spanned_and_keeps_to_its_default():
    space = Space(alphas=(0.3, 0.9), distances=("ce",), teachers=("t_ll",), teacher_temperatures=(1.0, 3.0))
    tried = space.configs()[:-1]
    past = History(tuple(trial(f"t{n}", c, 80.0 + i + n) for n in range(3) for i, c in enumerate(tried)))
    answer = suggest(past, NEW, "small")
    assert answer.config in space.configs()
    assert {t.config for t in answer.next} | {answer.config} == set(space.configs())
    assert suggest(History(), NEW, "small", space=space).config == space.default()


def test_a_third_teacher_is_one_more_value_of_its_knob():
    """Some trials of it widen the space for all, to 18 configurations; the winner by a lot is suggested."""
    guarded = KDConfig(teacher="t_llg")
    past = History(
        (
            *history(5, lambda task: 0.0),
            *(trial(f"task{task}", guarded, 84.0 + task + 0.1 * seed, seed) for task in range(4) for seed in range(2)),
        )
    )
    answer = suggest(past, NEW, "small")
    assert answer.config == guarded
    known = suggest(past, NEW, "small", space=DEFAULT_SPACE)
    assert known.is_default
    assert all(upcoming.config in DEFAULT_SPACE.configs() for upcoming in known.next)
    assert any(upcoming.config.teacher == "t_llg" for upcoming in suggest(past, NEW, "small", budget=17).next)
    (cell,) = [cell for cell in replay(past, stages=()) if cell.task == "task4"]
    assert cell.student == "small"


def test_a_teacher_below_labels_alone_is_said_first_and_of_the_asked_cell_alone():
    weak = [trial("task0", BASELINE_CONFIG, 97.0, seed) for seed in range(2)]
    past = History((*history(3, lambda task: 0.0), *weak))

    def notes(task, student="small"):
        about = replace(NEW, task=task, n_train=2000, teacher_score=91.0)
        return suggest(past, about, student).evidence["notes"]

    assert notes("task0")[0].startswith("the teacher (91.0 on validation) is worse than this student")
    for other in (notes("task1"), notes("task0", "tiny"), notes("new")):
        assert not any("worse than this student" in note for note in other)


def test_a_space_of_one_configuration_has_nothing_to_try():
    space = Space(alphas=(0.5,), distances=("mse",), teachers=("t_ll",))
    answer = suggest(History(), NEW, "small", space=space)
    assert [gain.mean for gain in answer.gain] == [0.0] * 5
    assert answer.stop


def test_an_unknown_student_and_missing_features_are_said():
    notes = suggest(history(3, lambda _: 1.0), TaskFeatures(task="bare"), "huge").evidence["notes"]
    assert any("no past trial used the student 'huge'" in note for note in notes)
    assert any("no past task counts as similar" in note for note in notes)
    assert any("family of this task is unknown" in note for note in notes)


@pytest.mark.parametrize("wrong", [0, -1, 25, 2.5, True])
def test_a_budget_that_cannot_be_meant_is_refused(wrong):
    with pytest.raises(BadArgument, match="budget must be"):
        suggest(History(), NEW, "small", budget=wrong)


@pytest.mark.parametrize("wrong", [-0.1, float("nan"), float("inf"), "cheap"])
def test_a_price_that_cannot_be_meant_is_refused(wrong):
    with pytest.raises(BadArgument, match="trial_price must be"):
        suggest(History(), NEW, "small", trial_price=wrong)


def test_scores_recorded_as_fractions_are_refused():
    past = History(tuple(replace(t, val_score=0.8, test_score=0.8) for t in history(1, lambda _: 0.0).trials))
    with pytest.raises(DataError, match="0-100 scale"):
        suggest(past, NEW, "small")


def test_trials_that_contradict_the_features_are_of_other_data_and_said():
    past = History((trial("new", DEFAULT_CONFIG, 80.0),))
    evidence = suggest(past, replace(NEW, n_classes=7), "small").evidence
    assert (evidence["n_own_trials"], evidence["n_trials"]) == (0, 1)
    assert (
        "1 trial is of other data under the name 'new', set aside as a task of its own, 'new (2)'" in evidence["notes"]
    )


def test_tasks_left_out_of_the_learning_are_said():
    rng = np.random.default_rng(0)
    rows = [trial(f"t{n:02d}", c, float(80 + rng.normal())) for n in range(20) for c in DEFAULT_SPACE.configs()]
    notes = suggest(History(tuple(rows)), NEW, "small").evidence["notes"]
    assert any("72 of 480 measured configurations" in note for note in notes)


def test_trust_in_the_default_is_the_probability_that_is_demanded_of_another():
    """One configuration whose effect is normal: it is taken when its probability of being better reaches the bar."""
    from scipy.stats import norm

    for trust, wanted in LEAVE_PROBABILITY.items():
        z = norm.ppf(wanted)
        for net, leaves in ((z + 0.01, True), (z - 0.01, False)):
            chosen = decide(np.array([[0.0, net]]), np.array([[0.0, 1.0]]), 2, leave_z(trust))
            assert bool(chosen[0]) == (leaves and net > 0), (trust, net)
    assert list(LEAVE_PROBABILITY.values()) == [0.5, 0.7, 0.9]


def test_the_more_the_default_is_trusted_the_more_evidence_is_asked_for():
    left = dict.fromkeys(LEAVE_PROBABILITY, 0)
    for lead in (0.4, 0.7, 1.0, 1.4, 2.0):
        past = history(3, lambda _, lead=lead: lead, noise=0.4)
        for trust, wanted in LEAVE_PROBABILITY.items():
            answer = suggest(past, NEW, "small", trust_default=trust)
            assert answer.is_default or answer.evidence["expected_effect"]["p_better"] >= wanted - 1e-3
            left[trust] += not answer.is_default
    assert left["low"] >= left["medium"] >= left["high"]
    assert left["low"] > left["high"]


def test_medium_trust_is_what_is_taken_for_granted():
    past = history(3, lambda _: 1.0)
    assert dumped(suggest(past, NEW, "small")) == dumped(suggest(past, NEW, "small", trust_default="medium"))


PLAYED = """
import hashlib, json
import numpy as np
from kdrec.recommend import suggest
from kdrec.recommend.simulate import greedy_history, make_world

world = make_world("tasks of different scale", 3, n_tasks=8)
asked, *others = world.features
past = greedy_history(world, others, np.random.default_rng(0))
answer = suggest(past, world.asked(asked, "small"), "small")
print(hashlib.sha256(json.dumps(answer.to_dict()).encode()).hexdigest())
"""


def test_the_bytes_of_an_answer_do_not_depend_on_the_number_of_threads():
    def played(n_threads):
        env = {**os.environ, "OPENBLAS_NUM_THREADS": str(n_threads), "OMP_NUM_THREADS": str(n_threads)}
        return subprocess.run(
            [sys.executable, "-c", PLAYED], env=env, capture_output=True, text=True, check=True
        ).stdout

    assert played(1) == played(2)
