"""Rows without labels in a question: counted, said, handed over, and honestly of unknown worth."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdrec import handover, question
from kdrec.cli import main
from kdrec.errors import BadArgument, DataError
from kdrec.home import Home
from kdrec.question import Asked
from kdrec.student.order import order
from kdrec.studies import Cell, RowLimits, Study
from kdrec.types import KDConfig, TaskFeatures

Captured = pytest.CaptureFixture[str]
UNKNOWN = "can be learned from; what they bring is not known yet, and the answer does not count on them"


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """A user's own CSV, and beside it more texts, one of which is in it; five rows of a third file have no label."""
    rows = [f'"review number {i} is {"good" if i % 3 else "bad"}",{5 if i % 3 else 1}' for i in range(90)]
    bare = [f'"nobody read number {i}",' for i in range(5)]
    texts = [f"nobody read number {i}" for i in range(1200)]
    for name, lines in (
        ("reviews", ["review,stars", *rows]),
        ("holes", ["review,stars", *rows, *bare]),
        ("more", ["review", *texts, "review number 1 is good"]),
        ("other", ["text", *texts]),
    ):
        (tmp_path / f"{name}.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return tmp_path / "reviews.csv"


def words(file: Path, *more: object) -> list[str]:
    asked = ["suggest", str(file), "--text", "review", "--label", "stars", "--student", "small", "--history", "none"]
    return [*asked, *map(str, more)]


def ask(home: Home, *asked: str) -> int:
    return main(["--home", str(home.root), *asked])


def test_usable_rows_are_counted_and_their_worth_is_not_guessed(reviews: Path, capsys: Captured, home: Home) -> None:
    more = reviews.with_name("more.csv")
    assert ask(home, *words(reviews, "--unlabelled", more, "--json")) == 0
    notes = json.loads(capsys.readouterr().out)["evidence"]["notes"]
    assert f"1,200 rows without labels {UNKNOWN}" in notes
    assert ask(home, *words(reviews, "--json")) == 0
    assert UNKNOWN not in capsys.readouterr().out


def test_features_hold_their_number(reviews: Path, home: Home) -> None:
    asked = {"task": str(reviews), "text": ("review",), "label": "stars"}
    found = [
        question.features_of(Asked(**asked, unlabelled=more), "small", question.History(), home)
        for more in (None, str(reviews.with_name("more.csv")))
    ]
    assert [features.n_transfer for features in found] == [None, 1200]
    assert found[0].n_train == found[1].n_train
    holes = Asked(**{**asked, "task": str(reviews.with_name("holes.csv"))}, unlabelled="empty labels")
    assert question.features_of(holes, "small", question.History(), home).n_transfer == 5
    assert question.notes_on_transfer(TaskFeatures(task="t", n_transfer=0)) == []


def test_a_study_that_is_written_has_them(reviews: Path, capsys: Captured, home: Home, tmp_path: Path) -> None:
    more = reviews.with_name("more.csv")
    assert ask(home, *words(reviews, "--unlabelled", more, "--study", tmp_path / "next.toml")) == 0
    own = Study.load(tmp_path / "next.toml").data["reviews"]
    assert (own.path, own.unlabelled) == (str(reviews), str(more))
    holes = reviews.with_name("holes.csv")
    assert ask(home, *words(holes, "--unlabelled", "empty labels", "--study", tmp_path / "holes.toml")) == 0
    assert Study.load(tmp_path / "holes.toml").data["holes"].unlabelled == "empty labels"


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            ["trec"],
            "--unlabelled names more rows of a file, got 'trec'; rows without labels of a task of the catalogue",
        ),
        (["reviews.csv"], "a file needs --text COL and --label COL to say which columns of reviews.csv to read"),
    ],
)
def test_more_rows_of_no_file_are_refused(asked: list[str], sentence: str, capsys: Captured, home: Home) -> None:
    assert ask(home, "suggest", *asked, "--student", "small", "--unlabelled", "more.csv") == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)


def test_a_file_without_the_column_is_one_sentence(reviews: Path, capsys: Captured, home: Home) -> None:
    assert ask(home, *words(reviews, "--unlabelled", reviews.with_name("other.csv"))) == 2
    assert capsys.readouterr().err == "other.csv has no column 'review'; known are text\n"


def regimes() -> Study:
    return Study.from_dict(
        {
            "name": "regimes",
            "tasks": ["few", "many"],
            "students": ["tiny"],
            "data": {"few": {"task": "trec"}, "many": {"task": "trec"}},
            "override": [
                {"task": "few", "rows": {"train": 300, "transfer": 1500}},
                {"task": "many", "rows": {"train": 1800}},
            ],
        }
    )


def test_a_study_like_one_of_several_regimes_has_the_regime_of_its_task() -> None:
    configs = (KDConfig(),)
    made = handover.listing(Cell(task="few", student="tiny"), "s", configs, seeds=(0,), like=regimes())
    assert made.aliases == {"few": "trec"}
    assert made.rows == RowLimits(train=300, transfer=1500)
    with pytest.raises(BadArgument, match="its rows are not known here"):
        handover.listing(Cell(task="rare", student="tiny"), "s", configs, seeds=(0,), like=regimes())


@pytest.mark.network
def test_a_student_of_a_regime_can_be_ordered_and_its_rows_come_from_the_catalogue(shared_home: Home) -> None:
    from kdrec.trial import load_task

    wanted = order(Asked(task="few"), "tiny", shared_home, knobs={"alpha": 0.5}, like=regimes())
    assert (wanted.cell.task, wanted.study.aliases) == ("few", {"few": "trec"})
    task = load_task(wanted.study, "few", shared_home)
    assert (task.name, task.n_rows()["train"], task.n_rows()["transfer"]) == ("few", 300, 1500)
    many = load_task(regimes(), "many", shared_home)
    assert many.train.texts == (*task.train.texts, *task.transfer.texts), "the same rows, all with their labels"
    with pytest.raises(DataError, match=r"task 'few': rows.transfer asks for 99999 rows without labels"):
        load_task(
            Study.from_dict({**wanted.study.to_dict(), "rows": {"train": 300, "transfer": 99999}}), "few", shared_home
        )
