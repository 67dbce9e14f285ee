"""Cells with rows without labels, and with a teacher of more rows: what is shared with cells that have none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tiny_studies import STUDENT, TEACHER, speak, study_of, write_bare, write_rows
from tiny_tasks import rows_of

from kdrec import trial
from kdrec.home import Home
from kdrec.question import Asked
from kdrec.student.order import order
from kdrec.student.taking import Wishes, take_home
from kdrec.studies import Cell, Study
from kdrec.tracking import Store
from kdrec.trial import Bench
from kdrec.types import BASELINE_CONFIG

pytestmark = pytest.mark.slow
CELL = Cell(task="sentence", student=STUDENT)
LISTED: dict[str, Any] = {"search": "listed", "configs": [{"alpha": 0.5}]}
N_MORE = 30


@dataclass(frozen=True)
class Land:
    """A home, the same task without and with rows without labels, and what their cells found."""

    home: Home
    bare: Study
    more: Study
    found: dict[str, trial.CellResult]
    files: dict[str, int]

    @property
    def logits(self) -> set[str]:
        return {path.name for path in (self.home.root / "logits").iterdir()}


@pytest.fixture(scope="module")
def land(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Land]:
    root = tmp_path_factory.mktemp("land")
    with pytest.MonkeyPatch.context() as patch:
        speak(root, patch)
        path, home = write_rows(root, "sentence"), Home.at(root / "home")
        known = {row.texts for row in rows_of("sentence", 110)}
        more = [row for row in rows_of("sentence", 60, seed=7) if row.texts not in known][:N_MORE]
        bare = study_of("sentence", path, **LISTED)
        table = bare.to_dict()
        table["data"]["sentence"]["unlabelled"] = str(write_bare(root, "sentence", more))
        studies = {"bare": bare, "more": Study.from_dict(table)}
        found, files = {}, {}
        for name, study in studies.items():
            trial.prepare_teacher(study, "sentence", TEACHER, home)
            found[name] = trial.run_cell(study, CELL, home)
            files[name] = len(list((home.root / "logits").iterdir()))
        yield Land(home, studies["bare"], studies["more"], found, files)


def test_the_baseline_and_the_teacher_are_those_of_the_task_without_such_rows(land: Land) -> None:
    (bare, taught_bare), (more, taught) = (land.found[name].trials for name in ("bare", "more"))
    assert bare.config == BASELINE_CONFIG
    assert more.run_id == bare.run_id
    assert taught.fingerprint != taught_bare.fingerprint
    assert len(list((land.home.root / "teachers").iterdir())) == 1
    checkpoints = {
        Bench(land.more, "sentence", TEACHER, land.home).teacher.selection.checkpoint(c) for c in ("t_ll", "t_hs")
    }  # type: ignore[arg-type]
    assert land.files == {"bare": len(checkpoints), "more": 2 * len(checkpoints)}, "old logits are used again"


def test_a_cell_that_is_run_again_finds_everything(land: Land) -> None:
    before = {path: path.stat().st_mtime_ns for path in land.home.root.rglob("*.safetensors")}
    logits, runs = land.logits, len(Store.open(land.home).trials()[0])
    assert trial.run_cell(land.more, CELL, land.home) == land.found["more"]
    assert land.logits == logits
    assert len(Store.open(land.home).trials()[0]) == runs == 3
    assert set(before) == set(land.home.root.rglob("*.safetensors"))


def test_the_history_knows_how_many_such_rows_there_were_and_how_sure_the_teacher_is_of_them(land: Land) -> None:
    (_, taught_bare), (_, taught) = (land.found[name].trials for name in ("bare", "more"))
    assert (taught_bare.features.n_transfer, taught_bare.features.transfer_entropy) == (None, None)
    assert taught.features.n_transfer == N_MORE
    assert taught.features.transfer_entropy is not None
    assert 0 < taught.features.transfer_entropy < 0.7, "of two classes: at most ln 2"
    assert taught.features.n_train == taught_bare.features.n_train


def test_a_student_takes_more_steps_an_epoch_where_there_are_more_rows(land: Land) -> None:
    client = Store.open(land.home).ledger.client
    steps = [
        client.get_metric_history(land.found[name].trials[1].run_id, "validation/loss")[-1].step
        for name in ("bare", "more")
    ]
    n_train = land.found["bare"].trials[1].features.n_train or 0
    assert steps == [10 * -(-n_train // 16), 10 * -(-(n_train + N_MORE) // 16)]


def test_the_card_and_the_cell_say_how_many_there_were(land: Land) -> None:
    wanted = order(Asked(task="sentence"), STUDENT, land.home, like=land.more, knobs={"alpha": 0.5})
    taken = take_home(wanted, land.home, Wishes())
    assert taken.n_new == 0, "the trials of the study are found"
    assert f", {N_MORE} without labels" in taken.card
    store = Store.open(land.home)
    (run,) = [
        r for r in store.ledger.runs([store.experiment("tiny")], "cell") if r.info.run_id == land.found["more"].run_id
    ]
    assert f", {N_MORE} without labels |" in run.data.tags["mlflow.note.content"]


def test_a_teacher_of_more_rows_is_another_and_its_students_baseline_is_not(land: Land) -> None:
    few = {**land.bare.to_dict(), "rows": {"train": 30}}
    alone, well_taught = (
        trial.run_cell(Study.from_dict({**few, "rows": {"train": 30, **rows}}), CELL, land.home)
        for rows in ({}, {"teacher": 60})
    )
    assert well_taught.trials[0].run_id == alone.trials[0].run_id
    assert well_taught.trials[1].run_id != alone.trials[1].run_id
    assert well_taught.trials[1].features.n_train == 30
    teachers = len(list((land.home.root / "teachers").iterdir()))
    whole = Study.from_dict({**few, "rows": {"train": 60}})
    trial.prepare_teacher(whole, "sentence", TEACHER, land.home)
    assert len(list((land.home.root / "teachers").iterdir())) == teachers, "it is the one of the task of all these rows"


def test_the_same_rows_under_another_name_have_their_own_history_and_no_second_training(
    land: Land, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*words: Any, **more: Any) -> None:
        raise AssertionError("it was trained before")

    monkeypatch.setattr("kdrec.trial.one.train", refuse)
    table = land.more.to_dict()
    table |= {"tasks": ["again"], "data": {"again": table["data"]["sentence"]}}
    cell = Cell(task="again", student=STUDENT)
    made = [trial.run_cell(Study.from_dict(table), cell, land.home) for _ in range(2)]
    assert made[0] == made[1]
    assert {one.task for one in made[0].trials} == {"again"}
    for ours, theirs in zip(made[0].trials, land.found["more"].trials, strict=True):
        assert ours.run_id != theirs.run_id
        assert (ours.val_score, ours.test_score, ours.seconds) == (theirs.val_score, theirs.test_score, theirs.seconds)
    assert [one.task for one in Store.open(land.home).trials()[0]].count("again") == 2


def test_the_outcome_of_a_cell_has_its_own_students_and_the_baseline_of_both(land: Land) -> None:
    for name, study, n_more in (("more", land.more, N_MORE), ("bare", land.bare, None)):
        trial.run_cell(study, CELL, land.home)
        (cell,) = [one for one in Store.open(land.home).outcome("tiny").cells if one.task == "sentence"]
        assert cell.rows.get("transfer") == cell.features.n_transfer == n_more
        assert [made.run_id for made in cell.trials] == [made.run_id for made in land.found[name].trials]
