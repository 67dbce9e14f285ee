"""A study file written for a suggestion reads back as the study meant, and names what cannot be run in a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kdrec.errors import BadArgument, KdrecError
from kdrec.handover import study_of, write
from kdrec.studies import OwnData, RowLimits, Study
from kdrec.types import (
    DEFAULT_CONFIG,
    History,
    KDConfig,
    NextTrial,
    StudentTraining,
    Suggestion,
    TaskFeatures,
    TeacherTraining,
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
