"""The calibration of a cell: found on labels alone, recorded, held over all knobs, and never evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from homes import new_home
from tiny_studies import STUDENT, speak, study_of, write_rows

from kdrec import autotune, history, trial
from kdrec.home import Home
from kdrec.resolution import cannot_tell
from kdrec.studies import Cell, Study
from kdrec.tracking import Store
from kdrec.training import Training
from kdrec.trial.calibrate import Calibrated, length_told
from kdrec.types import BASELINE_CONFIG, DEFAULT_CONFIG

CELL = Cell(task="sentence", student=STUDENT)
AUTO = {"batch_size": 16, "max_length": 32}


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A home, and a study of one cell whose training is left to kdrec, within a budget of few steps."""
    folder = tmp_path_factory.mktemp("calibrate")
    with pytest.MonkeyPatch.context() as patch:
        speak(folder, patch)
        study = study_of(
            "sentence",
            write_rows(folder, "sentence"),
            training=AUTO,
            budget={"max_steps": 40},
            search="listed",
            configs=[{"tau_t": 2.0}],
        )
        yield new_home(folder / "home", folder), study


def calibrations(home: Home) -> list[Any]:
    store = Store.open(home)
    return store.ledger.runs(store.ledger.experiments(), "calibration")


class Killed(BaseException):
    """What ends a process."""


def searched(study: Study, home: Home, stop_at: int | None = None) -> tuple[trial.CellResult | None, list[str]]:
    """A search, which may be killed as its nth run is told of; and what it told."""
    told: list[str] = []

    def hear(progress: trial.Progress) -> None:
        told.append(progress.message)
        if stop_at is not None and sum("calibration: " in line for line in told) == stop_at:
            raise Killed

    try:
        return trial.run_cell(study, CELL, home, hear), told
    except Killed:
        return None, told


@pytest.mark.slow
def test_a_calibration_is_made_once_held_over_all_knobs_and_is_no_history(setting: tuple[Home, Study]) -> None:
    home, study = setting
    searched(study, home, stop_at=2)
    before = [run.info.run_id for run in calibrations(home)]
    assert len(before) == 2, "a killed process loses no run that was finished"

    result, told = searched(study, home)
    assert result is not None
    made = calibrations(home)
    assert {run.info.run_id for run in made} > set(before)
    assert all(run.data.tags["kdrec.status"] in ("completed", "diverged") for run in made)
    runs = [line for line in told if line.startswith("calibration: learning rate")]
    assert len(runs) == len(made) >= len(autotune.STUDENT_RATES)
    assert any(line.startswith("students train 40 steps at ") for line in told)

    assert {one.config for one in result.trials} == {BASELINE_CONFIG, replace(DEFAULT_CONFIG, tau_t=2.0)}
    trainings = [trial_of.data.tags["kdrec.training"] for trial_of in _trial_runs(home)]
    assert len(trainings) == 2
    assert len(set(trainings)) == 1, "one training for all knobs"
    assert '"n_steps": 40' in trainings[0]
    assert all(one.still_improving for one in result.trials), "twice 40 steps are more than the budget allows"

    history.sync(home, Store.open(home).trials)
    assert {one.fingerprint for one in history.load(home)} == {one.fingerprint for one in result.trials}

    again, _ = searched(study, home)
    assert again == result
    assert len(calibrations(home)) == len(made)
    other, _ = searched(replace(study, name="other"), home)
    assert other is not None
    assert [one.run_id for one in other.trials] == [one.run_id for one in result.trials]
    assert len(calibrations(home)) == len(made), "another study finds the calibration too"


def _trial_runs(home: Home) -> list[Any]:
    store = Store.open(home)
    return store.ledger.runs(store.ledger.experiments(), "trial")


def test_what_a_calibration_came_to_claims_no_more_than_it_saw() -> None:
    def said(reason: autotune.Reason, n_steps: int = 1) -> str:
        found = autotune.Calibration(learning_rate=3e-4, n_steps=n_steps, reason=reason, still_improving=True)
        return Calibrated(training=Training(), found=found, n_runs=1).sentence()

    assert said("cap") == (
        "students train 1 step at 0.0003 (1 short run on labels alone): twice as many steps would be more than are "
        "allowed, so students may still improve"
    )
    found = autotune.Calibration(learning_rate=1.0, n_steps=10, reason="cap", still_improving=True)
    assert Calibrated(training=Training(), found=found, n_runs=2, diverged=True).sentence() == (
        "students train 10 steps at 1 (2 short runs on labels alone): every run of the calibration diverged, so lower "
        "learning_rate, or leave it out"
    )
    assert said("budget", 60).endswith("the minutes of the budget were spent, so students may still improve")
    assert (length_told(Training(n_steps=20)), length_told(Training(epochs=1))) == ("20 steps", "1 epoch")


def test_a_validation_split_of_few_rows_cannot_tell() -> None:
    assert cannot_tell(50) is None
    assert "has 20 rows, one of which is 5.0 points: it cannot tell when training is done" in str(cannot_tell(20))
