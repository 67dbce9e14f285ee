"""One contract for everything that chooses a configuration: the baselines and the recommender itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kdrec.recommend.baselines import BASELINES
from kdrec.recommend.replay import suggested
from kdrec.recommend.table import tabulate
from kdrec.recommend.views import restricted
from kdrec.types import DEFAULT_CONFIG, History, KDConfig, TaskFeatures, Trial

RECOMMENDERS = {**BASELINES, "suggested": suggested}
NEW = TaskFeatures(task="new", family="sentence", n_train=3000, n_classes=4, teacher_score=90.0)
MSE = KDConfig(distance="mse")
OTHERS = (KDConfig(alpha=1.0), MSE, KDConfig(teacher="t_hs"), KDConfig(tau_t=2.0), KDConfig(alpha=1.0, tau_t=4.0))

every = pytest.mark.parametrize("name", RECOMMENDERS)
learning = pytest.mark.parametrize("name", [name for name in RECOMMENDERS if name != "random"])


def trial(task, config, score, seed=0, *, student="small", features=None, **more):
    features = features or TaskFeatures(task=task, family="sentence", n_train=2000, n_classes=4, teacher_score=91.0)
    status = "diverged" if score is None else "completed"
    values = dict(status=status, val_score=score, test_score=score) | more
    return Trial(features=features, student=student, config=config, seed=seed, val_loss=None, seconds=1.0, **values)


def past(n_tasks=4, *, seeds=2, lead=2.0, ragged=False, noise=0.3, seed=0):
    """Tasks on which the first of OTHERS leads by `lead`; if `ragged`, cells measured different configurations."""
    rng = np.random.default_rng(seed)
    return tuple(
        trial(f"task{n}", config, 70.0 + n + lead * (config == OTHERS[0]) + noise * float(rng.standard_normal()), run)
        for n in range(n_tasks)
        for place, config in enumerate((DEFAULT_CONFIG, *OTHERS))
        for run in range(seeds)
        if not ragged or not place or (n + place) % 3
    )


def table(rows, features=NEW, student="small"):
    return tabulate(History(tuple(rows)), features, student, None)


def choose(name, rows, features=NEW, student="small", seed=0):
    seen = table(rows, features, student)
    index = RECOMMENDERS[name](seen, np.random.default_rng(seed))
    assert isinstance(index, int)
    assert 0 <= index < seen.n_candidates
    return seen.configs[index]


@every
@pytest.mark.parametrize(
    "rows",
    [(), past(1), past(4), past(4, ragged=True), past(3, seeds=1), past(2, noise=0.0)],
    ids=["empty", "one task", "four tasks", "ragged", "one seed", "no noise"],
)
def test_the_answer_is_a_candidate(name, rows):
    choose(name, rows)


@every
def test_the_answer_is_among_few_candidates_too(name):
    seen = table(past())
    kept = [0, seen.configs.index(OTHERS[2]), seen.configs.index(OTHERS[3])]
    assert RECOMMENDERS[name](restricted(seen, kept), np.random.default_rng(0)) < 3


@every
def test_one_seed_gives_one_answer(name):
    assert len({choose(name, past(), seed=5) for _ in range(3)}) == 1


@every
def test_the_order_of_rows_does_not_matter(name):
    rows = past(3, ragged=True)
    shuffled = [rows[index] for index in np.random.default_rng(1).permutation(len(rows))]
    assert choose(name, rows) == choose(name, shuffled)


@learning
def test_an_empty_history_gives_the_default(name):
    assert choose(name, ()) == DEFAULT_CONFIG


@learning
@pytest.mark.parametrize("n_tasks", [1, 4])
def test_a_clear_winner_is_found_by_all_that_look(name, n_tasks):
    answer = choose(name, past(n_tasks, lead=4.0, seeds=4))
    assert (answer.alpha == 1.0) == (name != "always default")


@every
def test_missing_meta_features_are_no_obstacle(name):
    bare = tuple(replace(row, features=TaskFeatures(task=row.task)) for row in past(3))
    choose(name, bare)
    choose(name, bare, TaskFeatures(task="new"), "unheard of")


@every
def test_repeated_rows_count_once(name):
    rows = past(3)
    assert choose(name, rows) == choose(name, rows * 2)


@learning
def test_a_configuration_that_only_diverged_never_wins_over_a_working_default(name):
    rows = [row for row in past(4, lead=0.0) if row.config != MSE]
    rows += [trial(f"task{n}", MSE, None, run) for n in range(4) for run in range(2)]
    assert choose(name, rows).distance != "mse"
    only = [row for row in rows if row.config in (DEFAULT_CONFIG, MSE)]
    assert choose(name, only) == DEFAULT_CONFIG


@every
def test_test_scores_of_the_asked_task_change_nothing(name):
    own = tuple(trial("new", config, 70.0, features=NEW, test_score=50.0) for config in (DEFAULT_CONFIG, *OTHERS))
    other = tuple(replace(row, test_score=99.0 if row.config == MSE else 1.5) for row in own)
    assert choose(name, past() + own) == choose(name, past() + other)


@learning
def test_equal_scores_leave_the_default(name):
    rows = [replace(row, val_score=80.1, test_score=80.1) for row in past(4, seeds=3)]
    assert choose(name, rows) == DEFAULT_CONFIG


@every
def test_the_level_of_a_task_changes_nothing(name):
    rows = past(4, ragged=True)
    moved = [
        replace(row, val_score=row.val_score - 31.7, test_score=row.test_score - 31.7) if row.task == "task1" else row
        for row in rows
    ]
    assert choose(name, rows) == choose(name, moved)
