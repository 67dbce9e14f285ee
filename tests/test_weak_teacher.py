"""A teacher worse than its student is said where it is, and nowhere else; noise is pooled as the recommender does."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

import kdrec
from kdrec import history, noise
from kdrec.noise import SHRINKAGE, TYPICAL, cell_noise
from kdrec.recommend.table import tabulate
from kdrec.types import BASELINE_CONFIG, DEFAULT_CONFIG, History, KDConfig, TaskFeatures, Trial
from kdrec.weak_teacher import weak_teacher


def trial(config: KDConfig, score: float | None, seed: int = 0) -> Trial:
    return Trial(
        features=TaskFeatures(task="a", teacher_score=70.0),
        student="tiny",
        config=config,
        seed=seed,
        status="diverged" if score is None else "completed",
        val_score=score,
        val_loss=None,
        test_score=None,
        seconds=1.0,
    )


def plain(*scores: float | None) -> list[Trial]:
    return [trial(BASELINE_CONFIG, score, seed) for seed, score in enumerate(scores)]


# Seeds that differ by 2 in one configuration: 2 squares, one degree of freedom more than what is typical counts for.
LOUD = 2 * np.sqrt(2) * np.sqrt((2 + 8 * TYPICAL**2) / 9)


@pytest.mark.parametrize(
    ("trials", "teacher", "is_weak"),
    [
        ([], 70.0, False),
        (plain(90.0), None, False),
        ([trial(DEFAULT_CONFIG, 90.0)], 70.0, False),
        (plain(None), 10.0, False),
        (plain(70.0), 70.0, False),
        (plain(60.0), 70.0, False),
        (plain(73.0), 70.0, False),
        (plain(73.5), 70.0, True),
        (plain(80.0, None), 70.0, True),
        (plain(LOUD + 69.99, LOUD + 71.99), 71.0, False),
        (plain(LOUD + 70.01, LOUD + 72.01), 71.0, True),
        (plain(*[72.0] * 60), 70.0, False),
        (plain(*[72.01] * 60), 70.0, True),
    ],
    ids=[
        *(
            "no trial",
            "no teacher",
            "no baseline",
            "a baseline that diverged",
            "equal",
            "better",
            "within typical noise",
        ),
        *("beyond typical noise", "one of two diverged", "within its own noise", "beyond its own noise"),
        *("2 points where seeds agree", "more than 2 points"),
    ],
)
def test_a_warning_needs_more_than_2_points_and_twice_the_noise_of_a_difference(
    trials: list[Trial], teacher: float | None, is_weak: bool
):
    assert (weak_teacher(trials, teacher) is not None) == is_weak


def test_noise_is_what_seeds_of_one_configuration_differ_by_drawn_to_what_is_typical():
    loud = [*plain(70.0, 74.0), trial(DEFAULT_CONFIG, 90.0), trial(DEFAULT_CONFIG, None, 1)]
    assert cell_noise([]) == pytest.approx(TYPICAL)
    assert cell_noise(plain(70.0)) == pytest.approx(TYPICAL)
    assert cell_noise(loud) == pytest.approx(np.sqrt((8 + SHRINKAGE * TYPICAL**2) / (1 + SHRINKAGE)))
    many = plain(*[70.0, 74.0] * 500)
    assert cell_noise(many) == pytest.approx(2.0, rel=0.01)


def test_the_sentence_is_plain_and_says_what_to_do():
    found = weak_teacher(plain(36.0, 38.0), 13.2)
    assert str(found) == (
        "the teacher (13.2 on validation) is worse than this student trained on labels alone (37.0): train the teacher "
        "further; meanwhile distil with tau_t = 4 and tau_s = 1, or use labels alone"
    )


class TestOnWhatIsShipped:
    """The trials that come with kdrec, for which it is known where a teacher was unfit."""

    @pytest.fixture
    def cells(self) -> dict[tuple[str, str], list[Trial]]:
        found = defaultdict(list)
        for one in history.read_table(Path(kdrec.__file__).parent / "history" / "replication.csv"):
            found[one.task, one.student].append(one)
        return found

    @pytest.mark.parametrize("alone", [False, True], ids=["all trials", "labels only, as when a search begins"])
    def test_it_is_said_of_the_three_cells_of_one_task_and_of_no_other(self, cells, alone: bool):
        told = {
            cell
            for cell, trials in cells.items()
            if weak_teacher(
                [one for one in trials if one.config.is_baseline or not alone], trials[0].features.teacher_score
            )
        }
        assert len(cells) == 39
        assert told == {("wnut17", student) for student in ("base", "small", "tiny")}

    def test_typical_noise_is_that_of_these_trials(self, cells):
        squares, degrees = 0.0, 0
        for trials in cells.values():
            by_config = defaultdict(list)
            for one in trials:
                if one.val_score is not None:
                    by_config[one.config].append(one.val_score)
            squares += sum(len(scores) * np.var(scores) for scores in by_config.values())
            degrees += sum(len(scores) - 1 for scores in by_config.values())
        assert pytest.approx(np.sqrt(squares / degrees), abs=0.01) == TYPICAL

    def test_an_answer_says_it_of_the_cell_that_is_asked_about_alone(self, cells):
        """By the table that `suggest` makes; its notes are from `gather`."""
        from kdrec.recommend.evidence import _notes

        past = History(tuple(one for task in ("wnut17", "trec") for one in cells[task, "tiny"]))
        for task, said in (("wnut17", 1), ("trec", 0)):
            table = tabulate(past, cells[task, "tiny"][0].features, "tiny", None)
            notes = _notes(table, np.array([1.0, 1.0]), [1], 1.0)
            assert sum("worse than this student trained on labels alone" in note for note in notes) == said


def test_the_recommender_pools_by_the_same_formula():
    """One cell by hand: squares of 2 and one degree, pooled with 4 degrees of 0.5 points."""
    past = [trial(DEFAULT_CONFIG, score, seed) for seed, score in enumerate((70.0, 72.0))]
    table = tabulate(History(tuple(past)), TaskFeatures(task="a"), "tiny", None)
    pooled = (2 + 4 * 0.25) / (1 + 4)
    assert table.noise_D[table.asked] == pytest.approx(noise.shrunk(2.0, 1.0, pooled))
    assert table.noise_D[table.asked] == pytest.approx(np.sqrt((2 + 8 * pooled) / 9))
