"""The exact audit against scores worked by hand, and against `suggest` itself."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from kdrec.recommend import suggest
from kdrec.recommend.normal import Z80
from kdrec.recommend.replay import STRATEGIES, CellReplay, Foretold, Tuned, judge, measured_cells, replay
from kdrec.recommend.scorecard import audit_history, coverage, score
from kdrec.space import DEFAULT_SPACE
from kdrec.types import BASELINE_CONFIG, DEFAULT_CONFIG, History, KDConfig, Settings, TaskFeatures, Trial

ONE, MSE, HS = KDConfig(alpha=1.0), KDConfig(distance="mse"), KDConfig(teacher="t_hs")
SIZES = {"small": 15_000_000, "tiny": 8_000_000}


def trial(task, config, score, seed=0, *, student="small", **more):
    features = TaskFeatures(
        task=task, family="sentence", n_train=1000, n_classes=3, teacher_score=90.0, student_params=SIZES[student]
    )
    status = "diverged" if score is None else "completed"
    values = dict(status=status, val_score=score, test_score=score) | more
    return Trial(features=features, student=student, config=config, seed=seed, val_loss=None, seconds=1.0, **values)


def predictable(n_tasks=4, students=("small",), seeds=2):
    """Every task likes the same configuration best, by the same two points, without noise to speak of."""
    lead = {DEFAULT_CONFIG: 0.0, ONE: 2.0, MSE: -1.0, HS: 0.5}
    return History(
        tuple(
            trial(f"task{n}", config, 60.0 + 5 * n + lead[config] + 0.01 * seed, seed, student=student)
            for n in range(n_tasks)
            for student in students
            for config in lead
            for seed in range(seeds)
        )
    )


def noisy(n_tasks=4, seeds=2, configs=(DEFAULT_CONFIG, ONE, MSE, HS), students=("small",), seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(n_tasks):
        for student in students:
            for config in configs:
                truth = 70.0 + n + rng.normal(0, 0.6) * (config != DEFAULT_CONFIG)
                for run in range(seeds):
                    val, test = truth + rng.normal(0, 0.4, 2)
                    row = trial(f"task{n}", config, float(val), run, student=student)
                    rows.append(replace(row, test_score=float(test)))
    return History(tuple(rows))


@pytest.fixture(scope="module")
def easy():
    return audit_history(predictable())


def test_where_every_task_is_alike_nothing_is_lost_by_those_that_look(easy):
    assert easy.audited
    for name in ("suggested", "best on average", "nearest task", "ridge"):
        assert easy.regret[name].mean == pytest.approx(0.0)
        assert easy.over_default[name].mean == pytest.approx(2.0)
        assert easy.over_default[name].lo90 == pytest.approx(2.0)
    assert easy.regret["always default"].mean == pytest.approx(2.0)
    assert easy.regret["random"].mean == pytest.approx(2.0 - (0 + 2.0 - 1.0 + 0.5) / 4)
    assert "lost 0.00 points" in easy.verdict
    assert "beat the default by 2.00 points" in easy.verdict


def test_regrets_errors_and_intervals_are_over_tasks_by_hand():
    """Three tasks; on each the past favours what it does not, so that every number can be seen from the table."""
    effect = {  # over the default, of ONE and MSE
        "a": (3.0, 0.0),
        "b": (1.0, 0.0),
        "c": (0.0, 2.0),
    }
    rows = [
        trial(task, config, 70.0 + points, seed)
        for task, (one, mse) in effect.items()
        for config, points in ((DEFAULT_CONFIG, 0.0), (ONE, one), (MSE, mse))
        for seed in range(2)
    ]
    card = audit_history(History(tuple(rows)), stages=())
    by_hand = {  # best on average of the two others: a: ONE 0.5, MSE 1; b: ONE 1.5, MSE 1; c: ONE 2, MSE 0
        "always default": [3.0, 1.0, 2.0],
        "best on average": [3.0, 0.0, 2.0],
        "random": [2.0, 2 / 3, 4 / 3],
    }
    for name, lost in by_hand.items():
        assert [cell.regret[name] for cell in card.cells] == pytest.approx(lost)
        assert card.regret[name].mean == pytest.approx(np.mean(lost))
        assert card.regret[name].se == pytest.approx(np.std(lost, ddof=1) / np.sqrt(3))
    won = np.array([0.0, 1.0, 0.0])
    over = card.over_default["best on average"]
    assert over.mean == pytest.approx(won.mean())
    exact = sorted(np.mean([won[i], won[j], won[k]]) for i in range(3) for j in range(3) for k in range(3))
    assert over.lo90 == pytest.approx(exact[1])  # a tenth of 27 equally likely resamples lies outside
    assert over.hi90 == pytest.approx(exact[-2])


def test_cells_of_one_task_weigh_as_one():
    def cell(task, student, effect):
        effects = {name: effect for name in STRATEGIES} | {"always default": 0.0}
        return CellReplay(
            task=task, student=student, n_configs=2, chosen={}, effect=effects, best=ONE, best_effect=4.0
        )  # fmt: skip

    cells = [cell("a", s, 0.0) for s in "xyz"] + [cell("b", "x", 4.0)]
    card = score(predictable(2), cells)
    assert card.regret["suggested"].mean == pytest.approx(2.0)
    assert card.regret["suggested"].se == pytest.approx(2.0)
    assert card.over_default["suggested"].mean == pytest.approx(2.0)


def test_what_it_says_is_what_suggest_says_without_the_task():
    """Every configuration of the space measured everywhere: to choose among what was measured is to choose."""
    past = noisy(3, seeds=1, configs=DEFAULT_SPACE.configs(), students=tuple(SIZES))
    told = {(cell.task, cell.student): cell for cell in replay(past, stages=(1, "all"))}
    assert set(told) == {(f"task{n}", student) for n in range(3) for student in SIZES}
    for (task, student), cell in told.items():
        features = next(t.features for t in past if (t.task, t.student) == (task, student))
        rest = History(tuple(t for t in past if t.task != task))
        answer = suggest(rest, features, student)
        assert cell.chosen["suggested"] == answer.config
        gains = {gain.trials: gain.mean for gain in answer.gain}
        assert [t.forecast for t in cell.tuned] == pytest.approx([gains[1], gains["all"]], abs=6e-4)
        effect = answer.evidence["expected_effect"]
        if not answer.is_default:
            foretold = next(f for f in cell.foretold if f.config == answer.config)
            assert (effect["hi80"] - effect["lo80"]) / 2 == pytest.approx(Z80 * foretold.sd, abs=2e-3)


def test_realised_gains_are_what_suggest_says_once_the_trials_are_handed_back():
    """Foreign knobs, because their space is what was tried: then both choose among the same configurations."""
    space = [Settings.of(loss=loss, lr=lr) for loss in ("ce", "kl") for lr in (1, 2, 3)]
    past = noisy(4, configs=space, seed=3)
    moved = 0
    for cell in replay(past, stages=(1, 4)):
        own = {config: [t for t in past if t.task == cell.task and t.config == config] for config in space}
        rest = History(tuple(t for t in past if t.task != cell.task))
        features = own[space[0]][0].features
        first = suggest(rest, features, "small")
        assert first.config == cell.chosen["suggested"]
        assert [t.trials for t in cell.tuned] == [1, 4]
        for tuned in cell.tuned:
            back = [own[first.config][0], *(own[trial.config][0] for trial in first.next[: tuned.trials])]
            then = suggest(History((*rest, *back)), features, "small")
            # the second seed judges: the first one's trials were handed back
            realised = own[then.config][1].test_score - own[first.config][1].test_score
            assert tuned.realised == pytest.approx(realised)
            moved += then.config != first.config
    assert moved


def test_a_stage_that_tries_everything_is_told_as_all(easy):
    assert [tuned.trials for tuned in easy.cells[0].tuned] == [1, "all"]  # three alternatives: 4 would be all of them
    assert [gain.trials for gain in easy.gains] == [1, "all"]


def test_the_order_of_rows_changes_nothing():
    past = noisy(3)
    shuffled = History(tuple(past.trials[i] for i in np.random.default_rng(1).permutation(len(past))))
    assert audit_history(past, stages=()).to_dict() == audit_history(shuffled, stages=()).to_dict()


def test_intervals_half_as_wide_hold_less():
    cells = list(replay(noisy(6, configs=DEFAULT_SPACE.configs()[::3], students=tuple(SIZES)), stages=()))
    narrow = [replace(c, foretold=tuple(replace(f, sd=f.sd / 2, noise=f.noise / 2) for f in c.foretold)) for c in cells]
    assert coverage(narrow, Z80).mean < coverage(cells, Z80).mean - 0.1


def test_intervals_cover_as_often_as_they_say_when_the_forecast_is_right():
    rng = np.random.default_rng(0)
    foretold = tuple(
        Foretold(config=ONE, mean=0.0, sd=0.3, noise=0.4, measured=float(rng.normal(0, 0.5))) for _ in range(4000)
    )
    cell = CellReplay(
        task="a", student="s", n_configs=2, chosen={}, effect={}, best=ONE, best_effect=0.0, foretold=foretold
    )  # fmt: skip
    assert coverage([cell], Z80).mean == pytest.approx(0.8, abs=0.02)


def test_bias_is_forecast_less_realised_and_coverage_counts_what_lies_inside():
    def cell(task, forecast, realised):
        tuned = Tuned(trials=1, forecast=forecast, lo80=0.0, hi80=0.5, realised=realised)
        effects = dict.fromkeys(STRATEGIES, 0.0)
        return CellReplay(
            task=task, student="s", n_configs=2, chosen={}, effect=effects, best=ONE, best_effect=0.0, tuned=(tuned,)
        )  # fmt: skip

    card = score(predictable(), [cell("a", 0.3, 0.1), cell("b", 0.2, 0.6), cell("c", 0.1, 0.0)])
    [gain] = card.gains
    assert (gain.trials, gain.n) == (1, 3)
    assert gain.forecast == pytest.approx(0.2)
    assert gain.realised == pytest.approx(0.7 / 3)
    errors = [0.2, -0.4, 0.1]
    assert gain.bias.mean == pytest.approx(np.mean(errors))
    assert gain.bias.se == pytest.approx(np.std(errors, ddof=1) / np.sqrt(3))
    assert gain.coverage80.mean == pytest.approx(2 / 3)


def test_cells_are_judged_by_test_scores_and_a_diverged_run_by_its_cost():
    rows = (
        *(trial("a", DEFAULT_CONFIG, 50.0, seed, test_score=score) for seed, score in enumerate((80.0, 82.0))),
        trial("a", ONE, 50.0, test_score=83.0),
        trial("a", ONE, None, seed=1),
        trial("a", BASELINE_CONFIG, 99.0),
        trial("b", DEFAULT_CONFIG, 70.0),
        trial("c", ONE, 70.0),
        trial("d", DEFAULT_CONFIG, None),
        trial("d", ONE, 70.0),
    )
    whole = judge(History(rows))
    [cell] = measured_cells(whole)  # b has no alternative, c no default, and d none that survived
    assert cell.features.task == "a"
    assert cell.configs == (DEFAULT_CONFIG, ONE)
    assert cell.score(DEFAULT_CONFIG) == pytest.approx(81.0)
    assert cell.score(ONE) == pytest.approx((83.0 + 81.0 - whole.crashes.loss) / 2)
    assert cell.score(DEFAULT_CONFIG, but_first=True) == pytest.approx(82.0)


def test_a_cell_without_all_its_test_scores_is_judged_by_validation():
    rows = (trial("a", DEFAULT_CONFIG, 70.0, test_score=None), trial("a", ONE, 71.0, test_score=10.0))
    [cell] = measured_cells(judge(History(rows)))
    assert cell.score(ONE) - cell.score(DEFAULT_CONFIG) == pytest.approx(1.0)


def test_ragged_cells_a_diverged_alternative_and_one_seed_are_audited():
    rows = [t for t in noisy(4, seeds=1).trials if not (t.task == "task1" and t.config == MSE)]
    rows.append(trial("task1", KDConfig(tau_t=2.0), None))  # tried nowhere else
    card = audit_history(History(tuple(rows)))
    assert [cell.n_configs for cell in card.cells] == [4, 4, 4, 4]
    assert card.effects is not None
    assert card.effects.n == 4 * 3 - 1


def test_knobs_that_others_turned_are_audited_too():
    lead = {
        Settings.of(loss="ce", lr=1e-3): 0.0,
        Settings.of(loss="kl", lr=1e-3): 2.0,
        Settings.of(loss="kl", lr=1): -1.0,
    }
    rows = [
        trial(f"t{n}", c, 70.0 + n + lead[c] + seed / 50, seed) for n in range(4) for c in lead for seed in range(2)
    ]
    rows += [trial(f"t{n}", Settings.of(loss="ce", lr=1e-3), 70.0 + n, 9) for n in range(4)]  # where searches start
    card = audit_history(History(tuple(rows)))
    assert card.regret["suggested"].mean == pytest.approx(0.0)
    assert {cell.chosen["always default"].label() for cell in card.cells} == {"loss=ce lr=0.001"}


@pytest.mark.parametrize(("n_tasks", "said"), [(0, "here are 0"), (1, "here is 1"), (2, "here are 2")])
def test_fewer_than_three_tasks_cannot_be_audited_and_that_is_said(n_tasks, said):
    card = audit_history(predictable(n_tasks))
    assert not card.audited
    assert said in card.verdict
    assert card.to_dict() == {
        "audited": False, "n_tasks": n_tasks, "n_cells": n_tasks, "n_trials": 8 * n_tasks, "n_shipped_trials": 0,
        "verdict": card.verdict,
    }  # fmt: skip


def test_everything_is_plain_and_finite(easy):
    values = json.loads(json.dumps(easy.to_dict(), allow_nan=False))
    assert list(values["regret"]) == list(STRATEGIES)
    assert "always default" not in values["over_default"]
    assert len(values["cells"]) == 4
    assert values["cells"][0]["chosen"]["suggested"] == ONE.label()


def test_a_simple_strategy_that_did_better_is_named(easy):
    worse = replace(easy, regret={**easy.regret, "suggested": replace(easy.regret["suggested"], mean=0.5)})
    assert "'best on average' lost less: 0.00" in worse.verdict
    assert "lost less" not in easy.verdict
