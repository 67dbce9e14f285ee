from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pytest
import scipy.stats
from tables import ALPHA1, DEFAULT, HS, LABELS, MSE, TAU2, TIED2, cell, same, trials

from kdrec.findings.cells import cells, mean_over_splits
from kdrec.findings.choice import best_spread, default_regret, is_safe, safe_regret, spread
from kdrec.findings.grids import grid_finding, rank_correlation
from kdrec.findings.intervals import Mean, over_tasks, t95
from kdrec.findings.knobs import Contrast, cell_effects, contrast_of, knob_effects
from kdrec.findings.labels_only import over_labels, over_labels_means
from kdrec.findings.noise import pool, pooled_sd, seed_noise
from kdrec.findings.paper import agreement, below, equal, interval
from kdrec.findings.path import gain_curve, visited
from kdrec.findings.teachers import teachers
from kdrec.space import DEFAULT_SPACE
from kdrec.types import History, KDConfig, Settings, TaskFeatures, Trial

near = pytest.approx


class TestCells:
    def test_a_cell_without_a_scored_default_is_none(self) -> None:
        assert cells(History(tuple(trials({MSE: same(1, 2)})))) == ()
        assert cells(History(tuple(trials({DEFAULT: [None, None], MSE: same(1, 2)})))) == ()
        assert cells(History()) == ()

    def test_a_diverged_run_leaves_its_configuration_without_a_mean_and_is_counted(self) -> None:
        found = cell({DEFAULT: same(80, 82), MSE: [(90, 90), None]})
        assert found.mean(DEFAULT, "test") == 81
        assert math.isnan(found.mean(MSE, "test"))
        assert found.mean(MSE, "test", [0]) == 90
        assert (found.complete, found.n_diverged) == ((DEFAULT,), 1)

    def test_a_third_seed_of_the_default_alone_does_not_make_the_others_incomplete(self) -> None:
        found = cell({DEFAULT: same(80, 82, 90), MSE: same(1, 2), ALPHA1: same(1, 2)})
        assert found.seeds == (0, 1)
        assert set(found.complete) == {DEFAULT, MSE, ALPHA1}

    def test_trials_of_foreign_knobs_are_no_part_of_a_cell(self) -> None:
        foreign = Trial(
            features=TaskFeatures(task="one"), student="small", config=Settings.of(lr=1.0), seed=0, status="completed",
            val_score=1.0, val_loss=None, test_score=1.0, seconds=1.0,
        )  # fmt: skip
        (found,) = cells(History((*trials({DEFAULT: same(80, 82)}), foreign)))
        assert found.configs == (DEFAULT,)

    def test_each_seed_judges_once_what_the_others_chose(self) -> None:
        found = cell({DEFAULT: same(1, 2, 3)})
        seen = []
        assert mean_over_splits(found, lambda some, rest: seen.append((some, rest)) or float(rest[0])) == 1
        assert seen == [((1, 2), (0,)), ((0, 2), (1,)), ((0, 1), (2,))]
        assert math.isnan(mean_over_splits(cell({DEFAULT: same(1)}), lambda some, rest: 1.0))


class TestIntervals:
    def test_cells_of_a_task_are_averaged_before_tasks_are(self) -> None:
        found = over_tasks([("a", 1.0), ("a", 3.0), ("b", 10.0), ("b", math.nan)])
        assert (found.mean, found.n_tasks, found.n_cells) == (6.0, 2, 3)
        assert found.lo90 == 2.0, "with two tasks the interval is their range"
        assert found.hi90 == 10.0

    def test_one_task_has_a_mean_and_no_interval_and_none_has_neither(self) -> None:
        one, none = over_tasks([("a", 1.0)]), over_tasks([("a", math.nan)])
        assert one.mean == 1.0
        assert not one.known
        assert math.isnan(none.mean)
        assert not one.within(9)

    def test_equal_tasks_leave_no_doubt(self) -> None:
        found = over_tasks([("a", 1.5), ("b", 1.5), ("c", 1.5)])
        assert (found.lo90, found.hi90) == (1.5, 1.5)

    @pytest.mark.parametrize("n_tasks", [4, 13])
    def test_nine_of_ten_intervals_hold_the_mean_of_few_tasks(self, n_tasks: int) -> None:
        rng = np.random.default_rng(1)
        held = 0
        for number in range(300):
            values = rng.normal(size=n_tasks)
            found = over_tasks([(str(at), float(value)) for at, value in enumerate(values)], seed=number)
            held += found.lo90 <= 0 <= found.hi90
        assert 0.83 <= held / 300 <= 0.96

    @pytest.mark.parametrize("degrees", [1, 2, 7, 12, 13, 20, 40, 200])
    def test_the_quantile_of_students_t_is_scipys(self, degrees: int) -> None:
        assert t95(degrees) == near(scipy.stats.t.ppf(0.95, degrees), rel=5e-4)


class TestKnobs:
    def test_two_configurations_make_a_contrast_when_one_knob_differs_the_defaults_value_first(self) -> None:
        assert contrast_of(MSE, DEFAULT) == Contrast("distance", "ce", "mse")
        assert contrast_of(DEFAULT, HS) == Contrast("teacher", "t_ll", "t_hs")
        assert contrast_of(TAU2, TIED2) == Contrast("tau_s", "1", "tau_t")
        assert contrast_of(KDConfig(tau_t=4.0), DEFAULT) == Contrast("tau_t", 1.0, 4.0)
        assert contrast_of(DEFAULT, TIED2) is None, "both temperatures differ"
        assert contrast_of(DEFAULT, DEFAULT) is None
        assert contrast_of(MSE, ALPHA1) is None

    def test_an_effect_is_the_mean_over_pairs_of_differences_paired_by_seed(self) -> None:
        both = KDConfig(alpha=1.0, distance="mse")
        rows = {DEFAULT: same(80, 81), ALPHA1: same(82, 82), MSE: same(70), both: same(71, 99)}
        effects = {effect.contrast.knob: effect for effect in cell_effects(cell(rows))}
        assert effects["alpha"].effect == near((1.5 + 1.0) / 2), "of mse only seed 0 was run twice"
        assert effects["alpha"].n_pairs == 2
        assert effects["distance"].effect == near((-10.0 + 3.0) / 2)

    def test_a_difference_within_the_noise_is_a_tie(self) -> None:
        noisy = cell({DEFAULT: same(80, 84), MSE: same(81, 85)})
        sharp = cell({DEFAULT: same(80, 80.1), MSE: same(81, 81.1)})
        assert pooled_sd(noisy, "test")[0] == near(math.sqrt(8))
        assert [effect.verdict for made in (noisy, sharp) for effect in cell_effects(made)] == ["tie", "win"]

    def test_without_a_second_seed_only_equals_tie(self) -> None:
        rows = {DEFAULT: same(80), MSE: same(80), ALPHA1: same(79)}
        assert {e.contrast.knob: e.verdict for e in cell_effects(cell(rows))} == {"distance": "tie", "alpha": "loss"}

    def test_effects_are_gathered_by_family_with_their_counts(self) -> None:
        made = [
            cell({DEFAULT: same(80, 80), MSE: same(81, 81)}, "a", family="sentence"),
            cell({DEFAULT: same(80, 80), MSE: same(83, 83)}, "b", family="sentence"),
            cell({DEFAULT: same(80, 80), MSE: same(79, 79)}, "c", family="pair"),
        ]
        found = {effect.group: effect for effect in knob_effects(made, "family")}
        assert found["sentence"].overall.mean == 2.0
        assert (found["sentence"].wins, found["pair"].losses, found["pair"].ties) == (2, 1, 0)
        (overall,) = knob_effects(made)
        assert overall.overall.mean == 1.0

    def test_nothing_to_compare_is_no_effect(self) -> None:
        assert cell_effects(cell({DEFAULT: same(80, 81)})) == ()


class TestChoice:
    ROWS: ClassVar = {DEFAULT: [(80, 80), (80, 80)], MSE: [(82, 81), (78, 79)], ALPHA1: [(70, 70), (70, 72)]}

    def test_the_cost_of_a_bad_choice_worked_by_hand(self) -> None:
        # means: default 80/80, mse 80/80 (a tie, so the last of the ranking), alpha=1 70/71
        found = spread(cell(self.ROWS))
        assert (found.n_configs, found.best) == (3, 80.0)
        assert (found.raw, found.raw_median) == (9.0, 0.0)
        assert found.validated == 9.0
        # chosen on seed 1: default over mse over alpha=1, judged on 0: 80 - 70; on seed 0: mse, judged on 1: 79 - 72
        assert found.split == near((10 + 7) / 2)
        # the middle one of the judging scores: 80 (80, 81, 70) and 79 (80, 79, 72)
        assert found.split_median == near(0.0)
        assert found.percent(found.raw) == near(11.25)

    def test_what_the_default_loses_worked_by_hand(self) -> None:
        found = default_regret(cell(self.ROWS))
        assert found.best == DEFAULT, "the default wins ties"
        assert (found.raw, found.validated) == (0.0, 0.0)
        # chosen on seed 1 the default: 0; chosen on seed 0 mse, judged on seed 1: 79 - 80
        assert found.split == near(-0.5)

    def test_what_the_advice_of_the_paper_loses_once_alpha_and_tau_t_are_tuned(self) -> None:
        tau4 = KDConfig(tau_t=4.0)
        assert [is_safe(config) for config in (DEFAULT, tau4, MSE, HS, KDConfig(tau_t=4.0, tau_s=4.0))] == [
            *(True, True),
            *(False, False, False),
        ]
        rows = {DEFAULT: same(80, 80), tau4: same(82, 82), MSE: same(83, 83)}
        assert (default_regret(cell(rows)).split, safe_regret(cell(rows)).split) == (3.0, 1.0)

    def test_noise_alone_costs_nothing_once_seeds_are_split(self) -> None:
        rng = np.random.default_rng(5)
        configs = DEFAULT_SPACE.configs()
        found = []
        for number in range(60):
            rows = {config: same(*rng.normal(80, 1, size=2)) for config in configs}
            found.append(spread(cell(rows, f"t{number}")))
        assert np.mean([one.raw for one in found]) > 2
        assert abs(np.mean([one.split for one in found])) < 0.35

    def test_a_lone_default_costs_nothing_that_is_known(self) -> None:
        found = spread(cell({DEFAULT: same(80, 81)}))
        assert math.isnan(found.raw)
        assert math.isnan(found.split)
        assert best_spread([found]) is None
        assert default_regret(cell({DEFAULT: same(80, 81)})).split == 0.0


class TestPath:
    def test_the_gain_of_each_step_of_the_recorded_search(self) -> None:
        rows = {DEFAULT: same(80, 80), MSE: same(79, 79), HS: same(81, 81.5), ALPHA1: same(90, 90)}
        one = cell(rows)
        assert visited(one) == (DEFAULT, MSE, HS), "alpha=1 with t_ll lies on no step of this search"
        curve = gain_curve([one, cell({DEFAULT: same(80, 80)}, "two")])
        assert [point.validated.mean for point in curve] == [0.0, 0.0, near(1.25 / 2)]
        assert [point.n_active for point in curve] == [2, 1, 1]

    def test_what_luck_found_on_one_seed_is_not_there_on_the_other(self) -> None:
        rows = {DEFAULT: same(80, 80), MSE: same(84, 78)}
        last = gain_curve([cell(rows)])[-1]
        assert last.validated.mean == near(1.0)
        # chosen on seed 1: the default, 0; chosen on seed 0: mse, judged on seed 1: -2
        assert last.split.mean == near(-1.0)

    def test_no_cells_make_no_curve(self) -> None:
        assert gain_curve([]) == ()


class TestLabelsOnly:
    def test_distillation_against_labels_alone_paired_by_seed(self) -> None:
        rows = {LABELS: same(79, 77), DEFAULT: same(80, 80), MSE: same(84, 82)}
        found = over_labels(cell(rows))
        assert (found.labels, found.default, found.best) == (78, 80, 83)
        assert (found.default_gain, found.best_gain) == (2.0, near((84 - 79 + 82 - 77) / 2))

    def test_a_cell_without_the_baseline_is_not_in_the_mean(self) -> None:
        made = [cell({LABELS: same(79, 79), DEFAULT: same(80, 80)}, "a"), cell({DEFAULT: same(80, 80)}, "b")]
        overall = over_labels_means(made)[0]
        assert (overall.group, overall.default_gain.mean, overall.default_gain.n_cells) == ("all", 1.0, 1)


class TestTeachersAndNoise:
    def test_a_task_without_a_trial_of_t_hs_has_one_teacher(self) -> None:
        made = [
            cell({DEFAULT: same(80, 80), HS: same(79, 79)}, "a"),
            cell({DEFAULT: same(80, 80)}, "b"),
            cell({DEFAULT: same(80, 80)}, "a", student="tiny"),
        ]
        found = teachers(made)
        assert (found.same, found.different) == (("b",), ("a",))
        assert found.overall.mean == -1.0

    def test_seed_noise_is_pooled_and_taken_off_the_spread_of_configurations(self) -> None:
        # within: variances 2 and 8, so sd sqrt(5); means 81 and 91: variance 50, less 5 / 2
        found = seed_noise(cell({DEFAULT: same(80, 82), MSE: same(89, 93)}))
        assert found.test == near(math.sqrt(5))
        assert found.degrees == 2
        assert found.between == near(math.sqrt(50 - 2.5))
        assert pool([found], "validation") == near(math.sqrt(5))

    def test_one_seed_says_nothing_of_noise(self) -> None:
        found = seed_noise(cell({DEFAULT: same(80), MSE: same(89)}))
        assert math.isnan(found.test)
        assert math.isnan(pool([found], "test"))


class TestGrids:
    def test_rank_correlation_is_scipys_with_ties(self) -> None:
        one, other = np.array([1.0, 2.0, 2.0, 5.0]), np.array([3.0, 1.0, 4.0, 4.0])
        assert rank_correlation(one, other) == near(scipy.stats.spearmanr(one, other).statistic)
        assert math.isnan(rank_correlation(one, np.ones(4)))

    def test_a_grid_that_greedy_cannot_cross(self) -> None:
        # only (alpha = 1, mse) is good; each single step towards it is worse
        good = KDConfig(alpha=1.0, distance="mse")
        configs = DEFAULT_SPACE.configs(aliases={"t_hs": "t_ll"})
        rows = {c: same(85, 85, 85) if c == good else same(80, 80, 80) if c == DEFAULT else same(79, 79, 79)
                for c in configs}  # fmt: skip
        made = cell(rows)
        assert made.is_full_grid
        found = grid_finding(made)
        assert (found.n_configs, found.greedy_loss, found.default_loss) == (12, 5.0, 5.0)
        assert found.greedy_trials == 7, "the default, mse, four temperatures, alpha"
        assert (found.rank_validation, found.rank_test, found.rank_across) == (near(1.0),) * 3

    def test_a_missing_configuration_makes_it_no_full_grid(self) -> None:
        rows = {config: same(80, 80) for config in DEFAULT_SPACE.configs()[:-1]}
        assert not cell(rows).is_full_grid

    def test_a_diverged_run_leaves_a_full_grid_full(self) -> None:
        configs = DEFAULT_SPACE.configs()
        made = cell({config: same(80, 80) if config != configs[-1] else [(80, 80), None] for config in configs})
        assert made.is_full_grid
        assert grid_finding(made).n_configs == 23


class TestPaper:
    def test_a_verdict_needs_the_whole_interval_on_one_side(self) -> None:
        def mean(low: float, high: float) -> Mean:
            return Mean(mean=(low + high) / 2, lo90=low, hi90=high, n_tasks=3, n_cells=3)

        assert [below(mean(*ends), 0.5) for ends in ((0.1, 0.4), (0.6, 0.7), (0.4, 0.6))] == [
            "agrees",
            "disagrees",
            "not resolved",
        ]
        assert below(over_tasks([("a", 0.1)]), 0.5) == "not resolved"
        assert interval(over_tasks([])) == "not measured"

    def test_an_interval_that_holds_everything_agrees_with_nothing(self) -> None:
        assert [equal(4.0, 0.5, 4.3), equal(2.0, 0.5, 4.3), equal(4.0, 3.0, 4.3)] == [
            "agrees",
            "disagrees",
            "not resolved",
        ]

    def test_verdicts_turn_with_the_trials(self) -> None:
        def table(mse: float, labels: float) -> list[Trial]:
            rows = {LABELS: same(labels, labels), DEFAULT: same(80, 80.2), MSE: same(mse, mse + 0.2)}
            return [trial for task in "abc" for trial in trials(rows, task)]

        found = [
            {claim.claim: claim.verdict for claim in agreement(cells(History(tuple(made))))}
            for made in (table(79.9, 75), table(89, 85))
        ]
        assert found[0]["CE is better than MSE"] == "agrees"
        assert found[1]["CE is better than MSE"] == "disagrees"
        assert found[0]["(t_ll, CE, tau_s = 1) is close to the best found"] == "agrees"
        assert found[1]["(t_ll, CE, tau_s = 1) is close to the best found"] == "disagrees"
        assert found[0]["Distillation beats training on labels alone"] == "agrees"
        assert found[1]["Distillation beats training on labels alone"] == "disagrees"
        assert found[0]["t_ll teaches better than t_hs"] == "not resolved", "it was not measured"
