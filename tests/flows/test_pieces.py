from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flows.pieces import STUDIES, Told, check, cut, do, find_study
from kdrec import catalog, tasks, trial
from kdrec.errors import BadArgument, DataError, StoreUnreachable
from kdrec.home import Home
from kdrec.space import Space
from kdrec.studies import Cell, RowLimits, Study
from kdrec.tracking import connect


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path)


def test_a_study_is_cut_into_its_teachers_and_its_cells_each_from_the_heaviest_down(home: Home) -> None:
    study = Study(name="s", tasks=("trec", "sms_spam"), students=("tiny", "base", "small", "bert-mini"))
    pieces = cut(study, home)
    teachers = [piece.name for piece in pieces if piece.role == "teacher"]
    assert sorted(teachers) == ["sms_spam/bert-base", "sms_spam/minilm", "trec/bert-base", "trec/minilm"]
    assert [piece.role for piece in pieces] == ["teacher"] * 4 + ["cell"] * 8
    assert set(teachers[:2]) == {"trec/bert-base", "sms_spam/bert-base"}, "12 layers before 6"
    cells = [piece for piece in pieces if piece.role == "cell" and piece.task == "trec"]
    assert [cell.name for cell in cells] == ["trec/bert-mini", "trec/base", "trec/small", "trec/tiny"]
    assert [cell.needs for cell in cells] == ["trec/bert-base", "trec/minilm", "trec/minilm", "trec/minilm"]


def test_one_cell_brings_its_own_teacher_only(home: Home) -> None:
    study = Study(name="s", tasks=("trec", "sms_spam"), students=("tiny", "small"), rows=RowLimits(train=100))
    assert [piece.name for piece in cut(study, home, [Cell(task="trec", student="tiny")])] == [
        "trec/minilm",
        "trec/tiny",
    ]


@pytest.mark.parametrize(
    ("names", "students", "sentence"),
    [
        (("trek",), ("tiny",), "unknown task 'trek'; did you mean 'trec'?"),
        (("trec",), ("tinny",), "unknown model 'tinny'; did you mean 'tiny'?"),
        (("trec",), ("minilm",), "'minilm' is a teacher, a student was expected; its students are base, small, tiny"),
    ],
)
def test_a_study_of_unknown_names_is_refused_before_anything_starts(
    names: tuple[str, ...], students: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(BadArgument) as refused:
        check(Study(name="s", tasks=names, students=students))
    assert str(refused.value) == sentence


def test_a_task_under_another_name_is_one_of_the_catalogue() -> None:
    study = Study(name="s", tasks=("few",), students=("tiny",), aliases={"few": "trec"})
    check(study)
    with pytest.raises(BadArgument, match="unknown task 'trek'; did you mean 'trec'"):
        check(replace(study, aliases={"few": "trek"}))


def test_rows_without_labels_and_rows_of_the_teacher_are_weighed(home: Home) -> None:
    study = Study(name="s", tasks=("trec",), students=("tiny",), rows=RowLimits(train=100))
    more = replace(study, rows=RowLimits(train=100, transfer=300, teacher=200))
    (teacher, cell), (taught, fed) = (cut(one, home) for one in (study, more))
    assert (taught.cost, fed.cost) == (pytest.approx(2 * teacher.cost), pytest.approx(4 * cell.cost))


def test_the_quickstart_is_found_by_its_name_and_is_the_study_of_the_readme() -> None:
    study = find_study("quickstart")
    check(study)
    assert (study.name, study.tasks, study.students) == ("quickstart", ("trec", "vader_tweets"), ("small", "tiny"))
    assert (study.search, study.seeds) == ("greedy", (0,))


@pytest.mark.parametrize("file", sorted(STUDIES.glob("*.toml")), ids=lambda file: file.stem)
def test_every_study_of_the_repository_names_known_tasks_and_students_that_read_texts_that_long(file: Path) -> None:
    study = find_study(file.stem)
    check(study)
    assert study.name == file.stem
    assert study.teacher.max_length <= min(catalog.card(student).max_length for student in study.students)


def test_the_study_of_glue_is_the_setting_of_the_paper_on_all_rows() -> None:
    study = find_study("glue")
    assert set(study.tasks) == {name for name, task in tasks.known().items() if "/glue@" in task.sources[0]}
    assert {catalog.teacher_of(student) for student in study.students} == {"bert-base"}
    assert (study.search, study.rows, study.space) == ("greedy", RowLimits(), Space())
    assert len(study.seeds) >= 2
    assert len(study.teacher.learning_rates) >= 2


def test_an_unknown_study_is_told_the_nearest() -> None:
    with pytest.raises(DataError, match=r"no study file at .*quikstart\.toml; did you mean 'quickstart'\?"):
        find_study("quikstart")


def test_a_piece_that_finds_its_store_away_waits_for_it_and_begins_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    piece = cut(Study(name="s", tasks=("trec",), students=("tiny",)), home)[0]
    answers: list[Exception | None] = [StoreUnreachable("away"), StoreUnreachable("away"), None]
    told: list[Told] = []

    def prepared(*_: object) -> None:
        if answer := answers.pop(0):
            raise answer

    monkeypatch.setattr(trial, "prepare_teacher", prepared)
    monkeypatch.setattr(connect, "PAUSES", (0.0, 0.0))
    do(piece, told.append)
    assert [(one.message, one.notice) for one in told] == [("the tracking store is away, and is waited for", True)] * 2
    answers += [StoreUnreachable("away")] * 3
    with pytest.raises(StoreUnreachable):
        do(piece, told.append)
