"""What few rows can show: steps by hand, forecasts that are no finer, ties that are told as ties."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdrec import question, recommend, report
from kdrec.errors import BadArgument
from kdrec.home import Home
from kdrec.resolution import cannot_show, resolved, step, tied, worth
from kdrec.types import BASELINE_CONFIG, DEFAULT_CONFIG, Gain, History, KDConfig, TaskFeatures, Trial

HOT = KDConfig(tau_t=4.0)
MSE = KDConfig(distance="mse")
ENDS = [field.name for field in fields(Gain) if field.name != "trials"]


def gain(mean: float, half: float = 0.0) -> Gain:
    lo, hi = mean - half, mean + half
    return Gain(trials=1, mean=mean, lo80=lo, hi80=hi, lo90=lo, hi90=hi)


def trial(config: KDConfig, score: float | None, seed: int = 0) -> Trial:
    return Trial(
        features=TaskFeatures(task="few"),
        student="small",
        config=config,
        seed=seed,
        status="diverged" if score is None else "completed",
        val_score=score,
        val_loss=0.5,
        test_score=score,
        seconds=1.0,
    )


def test_one_of_44_rows_is_2_point_3_points_and_less_is_not_forecast() -> None:
    assert step(44) == pytest.approx(100 / 44)
    (found,) = resolved([gain(0.31, 0.5)], step(44))
    assert (found.mean, found.lo80, found.hi80) == (0.0, -2.273, 2.273)
    (more,) = resolved([gain(5.0, 0.1)], step(44))
    assert (more.mean, more.lo80, more.hi80) == (4.545, 4.545, 6.818)
    assert resolved([gain(0.31)], None) == (gain(0.31),)
    assert (worth(-3.0, 2.0), worth(3.0, 2.0), worth(2.0, 2.0), worth(3.0, None)) == (-2.0, 2.0, 2.0, 3.0)


@given(mean=st.floats(-20, 20), half=st.floats(0, 20), n_rows=st.integers(1, 3000))
def test_forecasts_are_whole_steps_never_larger_and_their_intervals_hold_what_they_held(
    mean: float, half: float, n_rows: int
) -> None:
    plain, points = gain(mean, half), step(n_rows)
    (found,) = resolved([plain], points)
    for name in ENDS:
        steps = getattr(found, name) / points
        assert abs(steps - round(steps)) * points <= 0.0005 + 1e-9
    slack = 0.0005 + points * 1e-6 + 1e-9  # a thousandth of a point is shown, and a millionth of a step is no step
    assert abs(found.mean) <= abs(plain.mean) + slack
    assert found.lo80 <= plain.lo80 + slack
    assert found.hi80 >= plain.hi80 - slack


def test_a_split_of_fewer_than_50_rows_is_told_with_what_to_do() -> None:
    assert cannot_show(50) is None
    said = str(cannot_show(44))
    assert said.startswith("the validation split has 44 rows, one of which is 2.3 points")
    assert "add validation rows" in said
    assert str(cannot_show(1)).startswith("the validation split has 1 row, which is 100.0 points")


def many(hot: float) -> History:
    """Three tasks, on which a hot teacher is better by `hot` points, but for noise."""
    names = [("a", 0.0), ("b", 0.6), ("c", -0.6)]
    made = [
        replace(
            trial(config, 80 + hot * (config == HOT) + shift * (config == HOT), seed), features=TaskFeatures(task=name)
        )
        for name, shift in names
        for config in (DEFAULT_CONFIG, HOT, MSE)
        for seed in (0, 1)
    ]
    return History(tuple(made))


def test_what_the_split_cannot_show_is_a_reason_to_stop_that_says_so() -> None:
    terms = dict(budget=2, trial_price=0.001)
    asked = (many(0.3), TaskFeatures(task="few", family="sentence"), "small")
    fine, coarse = recommend.suggest(*asked, **terms), recommend.suggest(*asked, **terms, resolution=step(44))  # type: ignore[arg-type]
    assert not fine.stop, "the same trials on a large split are worth making"
    assert coarse.stop
    assert coarse.reason.startswith("stop: further trials are expected to bring less than 2.3 points, which is one row")
    assert coarse.evidence["resolution"] == step(44)
    assert {g.mean for g in coarse.gain} == {0.0}
    assert all(t.worth == 0.0 for t in coarse.next)
    assert coarse.config == fine.config, "what to start from does not depend on it"
    assert recommend.suggest(*asked, **terms).evidence["resolution"] is None  # type: ignore[arg-type]
    for wrong in (0.0, -1.0, 101.0, math.nan):
        with pytest.raises(BadArgument, match="resolution"):
            recommend.suggest(*asked, resolution=wrong)


def test_a_file_tells_what_its_validation_split_can_show(tmp_path: Path, home: Home) -> None:
    path = tmp_path / "few.csv"
    rows = [f"{'good' if i % 2 else 'bad'} text number {i},{'yes' if i % 2 else 'no'}" for i in range(200)]
    path.write_text("\n".join(["text,label", *rows, ""]), encoding="utf-8")
    asked = question.Asked(task=str(path), text=("text",), label="label")
    found = question.understand(asked, "small", History(), home)
    assert found.n_validation is not None
    assert found.resolution == step(found.n_validation)
    assert question.notes_on_resolution(found) == [cannot_show(found.n_validation)]
    words = replace(found, features=replace(found.features, family="tokens"))
    assert words.resolution is None, "a row of words is no step of their score"
    assert question.notes_on_resolution(replace(found, n_validation=None)) == []


def test_equal_means_are_ties_and_a_seed_that_diverged_ties_with_none() -> None:
    runs = [
        trial(HOT, 90.0),
        trial(HOT, 92.0, 1),
        trial(MSE, 91.0),
        trial(DEFAULT_CONFIG, 91.0),
        trial(BASELINE_CONFIG, 91.0),
    ]
    assert tied(runs, HOT) == (DEFAULT_CONFIG, BASELINE_CONFIG, MSE)
    assert tied([*runs[:3], trial(MSE, None, 1)], HOT) == ()
    assert tied([trial(HOT, None), *runs[2:]], HOT) == ()
    assert tied([trial(HOT, 91.0), trial(MSE, 91.0 - 1 / 30)], HOT) == ()


class Result:
    """A cell as `report` is told of it."""

    cell, path = "few/small", ()

    def __init__(self, best: KDConfig, *trials: Trial) -> None:
        self.best, self.trials = best, trials


def marks(*trials: Trial) -> dict[str, str]:
    text = report.to_text(report.cells_table([Result(HOT, *trials)]))
    lines = [line.split("  ") for line in text.splitlines() if "tau=" in line or "labels only" in line or "mse" in line]
    return {cells[0]: cells[-1].strip() for cells in lines}


def test_of_equal_scores_none_is_called_best() -> None:
    label = {config: config.label() for config in (HOT, MSE, DEFAULT_CONFIG)}
    found = marks(trial(DEFAULT_CONFIG, 95.45), trial(HOT, 95.45), trial(MSE, 90.0))
    assert found[label[HOT]] == "= default"
    assert found[label[DEFAULT_CONFIG]] == "tied, default"
    assert "best" not in " ".join(found.values())
    assert marks(trial(HOT, 95.45), trial(MSE, 95.45))[label[HOT]] == "tied"
    assert marks(trial(HOT, 95.45), trial(BASELINE_CONFIG, 95.45))[label[HOT]] == "= labels only"
    assert marks(trial(HOT, 95.45), trial(MSE, 95.0))[label[HOT]] == "best"
