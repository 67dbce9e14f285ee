"""A study file written for a suggestion reads back as the study meant, and names what cannot be run in a sentence."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from kdrec import handover, recommend
from kdrec.cli import main
from kdrec.errors import BadArgument, KdrecError
from kdrec.handover import basis_of, experiment_note, study_of, write
from kdrec.history import provenance as history
from kdrec.home import Home
from kdrec.studies import Cell, OwnData, RowLimits, Study
from kdrec.tracking import CellMade, Store
from kdrec.training import Budget
from kdrec.types import (
    DEFAULT_CONFIG,
    History,
    KDConfig,
    NextTrial,
    StudentTraining,
    Suggestion,
    TaskFeatures,
    TeacherTraining,
    Training,
    Trial,
)

HOT = KDConfig(tau_t=4.0, alpha=1.0)
SCALED = KDConfig(tau_t=2.0, tau_s=2.0, scale_soft_loss="tau_t*tau_s")
ANSWER = Suggestion(
    task="trec",
    student="small",
    config=HOT,
    is_default=False,
    gain=(),
    next=(NextTrial(config=DEFAULT_CONFIG, worth=0.1), NextTrial(config=SCALED, worth=0.05)),
    stop=False,
    reason="",
)


def made(config: KDConfig, seed: int, task: str = "trec") -> Trial:
    scores = dict(val_score=80.0, val_loss=0.5, test_score=80.0)
    return Trial(
        features=TaskFeatures(task=task),
        student="small",
        config=config,
        seed=seed,
        status="completed",
        seconds=1,
        **scores,
    )


def round_trip(study: Study, path: Path) -> Study:
    write(study, path)
    return Study.load(path)


def test_a_written_study_reads_back_as_the_study_meant(tmp_path: Path):
    study = study_of(ANSWER, "next", History())
    assert (study.tasks, study.students, study.search) == (("trec",), ("small",), "listed")
    assert study.configs == (HOT, DEFAULT_CONFIG, SCALED)
    assert round_trip(study, tmp_path / "next.toml") == study


def test_rows_and_training_are_those_of_the_study_it_is_to_be_like(tmp_path: Path):
    table = {
        "name": "old",
        "tasks": ["trec", "mine"],
        "students": ["small", "tiny"],
        "search": "greedy",
        "rows": {"train": 600},
        "teacher": {"learning_rates": [2e-4], "epochs": 3, "max_length": 64},
        "training": {"max_length": 64},
        "override": [{"student": "small", "learning_rate": 1e-05}, {"task": "mine", "epochs": 9}],
        "data": {"mine": {"path": "/data/mine.csv", "text": ["a", "b"], "label": "c"}},
    }
    like = Study.from_dict(table)
    study = study_of(ANSWER, "next", History(), like=like)
    assert study.rows == RowLimits(train=600)
    assert study.teacher == TeacherTraining(learning_rates=(2e-4,), epochs=3, max_length=64)
    assert study.training == StudentTraining(max_length=64, learning_rate=1e-5)
    assert study.data == {}
    assert round_trip(study, tmp_path / "next.toml") == study
    mine = study_of(replace(ANSWER, task="mine"), "own", History(), like=like)
    assert mine.training.epochs == 9
    assert round_trip(mine, tmp_path / "own.toml") == mine


def test_a_file_of_ones_own_is_found_from_wherever_the_study_is(tmp_path: Path):
    own = OwnData(path=str(tmp_path / 'odd "näme" \\.csv'), text=("premise", "hypo\tthesis"), label="l\x7f")
    study = study_of(replace(ANSWER, task="odd"), "next", History(), own=own)
    (tmp_path / "deep").mkdir()
    assert round_trip(study, tmp_path / "deep" / "next.toml").data["odd"] == own


def test_every_next_trial_is_a_new_one():
    assert study_of(ANSWER, "x", History()).seeds == (0,)
    assert study_of(ANSWER, "x", History((made(HOT, 0),))).seeds == (0,), "the suggestion may be found"
    assert study_of(ANSWER, "x", History((made(SCALED, 0), made(SCALED, 1)))).seeds == (2,)
    assert study_of(ANSWER, "x", History((made(SCALED, 1), made(SCALED, 0, task="other")))).seeds == (0,)


def test_the_suggestion_alone_is_a_study_too(tmp_path: Path):
    study = study_of(replace(ANSWER, next=()), "alone", History())
    assert round_trip(study, tmp_path / "alone.toml").configs == (HOT,)


@pytest.mark.parametrize(
    ("change", "name", "sentence"),
    [
        (
            {"task": "gone"},
            "x",
            "a study cannot be written for 'gone': its rows are not known here; name a task of the",
        ),
        ({"student": "huge"}, "x", "unknown model 'huge'"),
        ({}, "a b", "name of a study (the name of its file) must be a name of letters"),
    ],
)
def test_what_a_study_cannot_name_is_refused_in_a_sentence(change, name, sentence):
    with pytest.raises(KdrecError) as error:
        study_of(replace(ANSWER, **change), name, History())
    assert sentence in str(error.value)


def test_no_file_is_written_over_and_none_of_another_kind_is_written(tmp_path: Path):
    study, path = study_of(ANSWER, "next", History()), tmp_path / "next.toml"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(BadArgument, match="is there already, and is not written over"):
        write(study, path)
    assert path.read_text(encoding="utf-8") == "mine"
    with pytest.raises(BadArgument, match=r"a study file ends in \.toml"):
        write(study, tmp_path / "next.json")


ASKED = Study.from_dict(
    {
        "name": "old",
        "tasks": ["trec"],
        "students": ["small"],
        "search": "greedy",
        "rows": {"train": 600, "validation": 300},
        "teacher": {"learning_rates": [2e-4], "seeds": [0, 1], "epochs": 3, "max_length": 64},
        "training": {"max_length": 64, "batch_size": 16},
        "budget": {"minutes": 3},
    }
)
SETTINGS = ASKED.settings(Cell(task="trec", student="small"))
OWN = replace(ANSWER, evidence={"n_own_trials": 1})
PAST = History((made(HOT, 0),))


def cell(**changes: object) -> CellMade:
    training = {"learning_rate": 3e-4, "epochs": 2, "n_steps": 40, "batch_size": 16, "max_length": 64}
    values = {"task": "trec", "student": "small", "training": training, "rows": {"train": 600, "test": 9}, "done": True}
    return CellMade(**{**values, **changes})  # type: ignore[arg-type]


def test_a_study_handed_over_is_trained_as_the_trials_behind_the_answer(tmp_path: Path):
    basis = basis_of(OWN, PAST, [cell(), cell(settings=json.loads(json.dumps(SETTINGS)))])
    assert basis is not None
    study = study_of(OWN, "next", PAST, basis=basis)
    for part in ("rows", "teacher", "training", "budget"):
        assert getattr(study, part) == getattr(ASKED, part)
    assert study.budget == Budget(minutes=3)
    write(study, tmp_path / "next.toml", [experiment_note(study, basis)])
    assert Study.load(tmp_path / "next.toml") == study
    assert "# the study handed over has rows, training and teacher of the trials of trec/small in your store\n" in (
        tmp_path / "next.toml"
    ).read_text(encoding="utf-8")


@pytest.mark.parametrize("settings", [None, {"rows": {"newer": 1}}])
def test_of_an_older_run_rows_and_training_are_known_and_the_teacher_is_said_not_to_be(settings):
    basis = basis_of(OWN, PAST, [cell(settings=settings)])
    assert basis is not None
    assert basis.rows == RowLimits(train=600), "a split of fewer rows than a limit may have needs none"
    assert basis.training == StudentTraining(learning_rate=3e-4, n_steps=40, batch_size=16, max_length=64)
    assert basis.teacher == TeacherTraining(max_length=64)
    assert "how their teacher was trained is not recorded" in basis.told


def test_trials_that_come_with_kdrec_tell_their_rows_and_training(monkeypatch: pytest.MonkeyPatch):
    chosen = history.ChosenTeacher(learning_rate=2e-4, seed=0, epoch=2.0, score=90.0, loss=0.3, ece=0.05)
    names = dict(task="trec", family="sentence", metric="accuracy", source="x", licence="x", teacher="minilm")
    rows, training = {"train": 600, "validation": 300, "test": 500}, Training(learning_rate=1e-3, epochs=7)
    said = {name: value for name, value in asdict(training).items() if value is not None and name != "seed"}
    facts = history.TaskFacts(**names, rows=rows, t_ll=chosen, t_hs=chosen, training={"small": said})
    made_by = history.Provenance(commit="x", machine="x", workers=1, seeds=(0,), tasks=(facts,))
    monkeypatch.setattr(handover, "shipped_provenance", lambda: made_by)
    past = History((replace(made(HOT, 0), run_id="shipped-1"),))
    basis = basis_of(ANSWER, past, [])
    assert basis is not None
    assert basis.rows == RowLimits(**rows)
    assert basis.training.resolved() == training
    assert basis_of(replace(ANSWER, student="tiny"), past, []) is None, "of another student nothing is told"
    assert "come with kdrec; how their teacher was trained is not recorded" in basis.told


@pytest.mark.parametrize(
    ("answer", "past", "cells"),
    [
        (OWN, PAST, []),
        (ANSWER, History(), [cell(settings=SETTINGS)]),
        (ANSWER, PAST, [cell(settings=SETTINGS)]),  # the recommender took the trials for another task's
        (OWN, PAST, [cell(settings=SETTINGS, data="0" * 16)]),  # other rows under one name
        (OWN, History((made(HOT, 0, task="other"),)), [cell(settings=SETTINGS)]),
    ],
)
def test_where_nothing_tells_how_trials_were_made_the_study_says_that_it_is_another_experiment(answer, past, cells):
    assert basis_of(answer, past, cells) is None
    study = study_of(answer, "next", past)
    note = experiment_note(study, None)
    assert "takes all rows of trec and calibrates teacher and students anew" in note
    assert "another experiment than the answer's" in note
    assert (study.rows, study.training) == (RowLimits(), StudentTraining())


def test_the_command_finds_how_trials_were_made_in_the_store(tmp_path: Path, home: Home, capsys):
    store, features = Store.open(home), TaskFeatures(task="trec", family="sentence", n_train=600, n_classes=6)
    experiment = store.experiment("old")
    parent = store.open_cell(
        experiment, "trec/small", features, "", training=Training(), rows={"train": 600}, settings=SETTINGS
    )
    for place, config in enumerate((DEFAULT_CONFIG, HOT)):
        names = dict(config=config, student="small", features=features, seed=0)
        run = store.start_trial(experiment, parent, **names, fingerprint=f"{place}" * 32, training=Training())
        trial = replace(made(config, 0), features=features, fingerprint=f"{place}" * 32)
        store.finish_trial(run, trial)

    words = ["suggest", "trec", "--student", "small", "--history", "own", "--budget", "1", "--json"]
    assert main(["--home", str(home.root), *words, "--study", str(tmp_path / "next.toml")]) == 0
    study, notes = Study.load(tmp_path / "next.toml"), json.loads(capsys.readouterr().out)["evidence"]["notes"]
    assert (study.rows, study.teacher, study.training) == (ASKED.rows, ASKED.teacher, ASKED.training)
    assert any("rows, training and teacher of the trials of trec/small in your store" in note for note in notes)


def test_a_price_says_what_it_does_not_hold():
    answer = recommend.suggest(PAST, TaskFeatures(task="trec"), "small", budget=1)
    assert answer.evidence["cost"]["excludes"] == ["teacher", "calibration", "baseline"]
