"""Laws of names in a history: a task is its data, and a name is a label."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from kdrec import history, question, recommend, tasks
from kdrec.cli import main
from kdrec.history import told_apart
from kdrec.home import Home
from kdrec.recommend.replay import replay
from kdrec.recommend.table import tabulate
from kdrec.space import DEFAULT_SPACE
from kdrec.tasks.files import _name_of
from kdrec.types import History, TaskFeatures, Trial

A, B, C = "a" * 16, "b" * 16, "c" * 16
MAIL = TaskFeatures(task="train", family="sentence", n_train=100, n_classes=2, label_entropy=0.69, data=A)
NEWS = replace(MAIL, n_classes=3, label_entropy=1.09, data=B)
OLD = replace(MAIL, data=None)
CONFIGS = DEFAULT_SPACE.configs()


def trials(features: TaskFeatures, *, n: int = 2, student: str = "tiny", head: str = "") -> list[Trial]:
    """Finished trials of the first configurations of the space."""
    return [
        Trial(
            features=features,
            student=student,
            config=config,
            seed=0,
            status="completed",
            val_score=80.0 + at,
            val_loss=0.5,
            test_score=80.0 + at,
            seconds=10.0,
            run_id=f"{head}{features.task}{features.data}{features.n_train}{features.n_classes}-{at}",
        )
        for at, config in enumerate(CONFIGS[:n])
    ]


def named(*lists: list[Trial], asked: TaskFeatures | None = None, unite: bool = False) -> list[str]:
    past = History(tuple(trial for some in lists for trial in some))
    return list(told_apart(past, asked, unite=unite).history.tasks())


# ------------------------------------------------------------------------------------------------------- the groups


def test_a_history_without_namesakes_is_left_as_it_is() -> None:
    past = History((*trials(MAIL), *trials(replace(NEWS, task="news"))))
    assert told_apart(past).history is past
    assert told_apart(past).notes == ()


@pytest.mark.parametrize(
    "other",
    [
        NEWS,
        replace(MAIL, data=B),  # a renamed label or a changed row: all but the hash agrees
        replace(NEWS, data=None),
        replace(MAIL, data=None, family="pair"),
        replace(MAIL, data=None, n_train=5000),
        replace(MAIL, data=None, label_entropy=0.5),
    ],
    ids=["labels split", "a row changed", "imported of other classes", "family", "rows", "entropy"],
)
def test_other_data_under_one_name_is_a_task_of_its_own_and_the_newest_keeps_the_name(other: TaskFeatures) -> None:
    past = History((*trials(MAIL), *trials(other)))
    apart = told_apart(past)
    assert [(trial.task, trial.features.data, trial.features.n_classes) for trial in apart.history] == [
        *[("train (2)", A, 2)] * 2,
        *[("train", other.data, other.n_classes)] * 2,
    ]
    assert apart.notes == (
        "2 trials are of other data under the name 'train', set aside as a task of its own, 'train (2)'",
    )
    assert [replace(trial, features=one.features) for trial, one in zip(apart.history, past, strict=True)] == [*past]


@pytest.mark.parametrize(
    "same",
    [
        OLD,
        replace(OLD, label_entropy=None),
        replace(OLD, n_train=None, label_entropy=None),
        replace(OLD, n_train=None),
        replace(OLD, label_entropy=0.690001),  # rounded, as in trials that come with kdrec
        TaskFeatures(task="train"),
        replace(MAIL, teacher_score=91.0, student_params=5),
    ],
)
def test_what_contradicts_nothing_that_is_known_is_one_task(same: TaskFeatures) -> None:
    assert named(trials(same), trials(MAIL)) == ["train"]
    assert named(trials(MAIL), trials(same)) == ["train"]


def test_without_a_hash_another_number_of_rows_alone_makes_no_other_task() -> None:
    assert named(trials(OLD), trials(replace(OLD, n_train=5000, label_entropy=0.6))) == ["train"]
    # with a hash on one side it does, and those of as many rows are of this hash
    few, many = trials(OLD), trials(replace(OLD, n_train=5000))
    assert named(few, many, trials(MAIL)) == ["train", "train (2)"]


def test_a_catalogue_task_at_another_limit_of_rows_is_the_same_task_where_no_hash_says_otherwise() -> None:
    few = replace(OLD, task="trec", n_classes=6, n_train=300, label_entropy=1.6)
    many = replace(few, n_train=3000, label_entropy=1.7)
    assert named(trials(few), trials(many)) == ["trec"]
    assert named(trials(replace(few, data=A)), trials(many)) == ["trec"]
    assert named(trials(replace(few, n_classes=5)), trials(many)) == ["trec (2)", "trec"]
    assert named(trials(replace(few, data=A)), trials(replace(many, data=B))) == ["trec (2)", "trec"]


def test_names_are_numbered_by_age_and_taken_ones_are_passed_over() -> None:
    third = replace(MAIL, data=C)
    assert named(trials(MAIL), trials(NEWS), trials(third)) == ["train (2)", "train (3)", "train"]
    taken = replace(MAIL, task="train (2)", data="d" * 16)
    assert named(trials(taken), trials(MAIL), trials(NEWS)) == ["train (2)", "train (3)", "train"]


def test_telling_apart_twice_changes_nothing() -> None:
    once = told_apart(History((*trials(MAIL), *trials(NEWS)))).history
    assert told_apart(once).history == once
    again = told_apart(once, NEWS)
    assert again.history == once
    assert "'train (2)'" in again.notes[0]


def test_trials_find_their_data_in_whatever_order_they_came() -> None:
    mixed = [*trials(OLD), *trials(NEWS), *trials(MAIL), *trials(replace(NEWS, data=None, n_train=None))]
    for order in (mixed, mixed[::-1]):
        found = told_apart(History(tuple(order))).history
        assert len({(trial.task, trial.features.n_classes) for trial in found}) == 2


# ------------------------------------------------------------------------------------------------- what is asked about


def test_the_asked_data_gets_the_asked_name_and_no_other() -> None:
    past = trials(MAIL), trials(NEWS)
    assert named(*past, asked=MAIL) == ["train", "train (2)"]
    assert named(*past, asked=NEWS) == ["train (2)", "train"]
    assert named(*past, asked=replace(MAIL, data=C)) == ["train (2)", "train (3)"]
    assert named(*past, asked=TaskFeatures(task="train")) == ["train (2)", "train"], "the newest counts"


def test_the_same_data_under_two_names_is_one_task_when_asked_or_united() -> None:
    copy = replace(MAIL, task="copy")
    assert named(trials(copy), trials(MAIL)) == ["copy", "train"]
    assert named(trials(copy), trials(MAIL), unite=True) == ["train"]
    (note,) = told_apart(History((*trials(copy), *trials(MAIL))), replace(NEWS, task="other")).notes
    assert note == "2 trials are of the same data as 'train' under the name 'copy', and counted with it"
    apart = told_apart(History((*trials(copy), *trials(MAIL))), MAIL)
    assert apart.history.tasks() == ("train",)
    assert apart.notes == ("2 trials are of this very data under the name 'copy', and counted as this task's",)
    renamed = replace(MAIL, task="renamed")
    assert named(trials(MAIL), trials(NEWS), asked=renamed) == ["renamed", "train"]


def test_other_data_is_no_evidence_of_this_very_task_and_no_second_seed() -> None:
    imported = replace(OLD, n_train=5000)
    past = History((*trials(imported, n=8), *trials(MAIL, n=3)))
    table = tabulate(past, MAIL, "tiny", None)
    assert sum(table.count_R[table.cell_R == table.asked]) == 3
    answer = recommend.suggest(past, MAIL, "tiny")
    assert answer.evidence["n_own_trials"] == 3
    assert answer.evidence["n_tasks"] == 2
    assert answer.evidence["cost"]["n_own_trials"] == 3
    assert any("8 trials are of other data under the name 'train'" in note for note in answer.evidence["notes"])


def test_an_audit_leaves_the_same_data_out_under_all_its_names() -> None:
    many = [trials(replace(MAIL, task=f"t{n}", data=f"{n:016x}"), n=4) for n in range(3)]
    copy = trials(replace(MAIL, task="copy", data=f"{0:016x}"), n=4, head="copy")
    past = History(tuple(trial for some in (*many, copy) for trial in some))
    replayed = {cell.task for cell in replay(past, stages=())}
    assert replayed == {"copy", "t1", "t2"}


# --------------------------------------------------------------------------------------------------------- the home


def table(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


def rows(labels: list[str], n: int = 120) -> list[tuple[str, str]]:
    return [
        (f"the {labels[at % len(labels)]} note {at} says {at * 7 % 13}", labels[at % len(labels)]) for at in range(n)
    ]


def test_merged_labels_refuse_no_command_of_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KDREC_TRACKING_URI", raising=False)
    home = Home.at(tmp_path / "home")
    three = tasks.load_file(table(tmp_path / "r.csv", rows(["bad", "fine", "good"])), text="text", label="label")
    two = tasks.load_file(table(tmp_path / "r.csv", rows(["bad", "good"])), text="text", label="label")
    before, after = (tasks.features(task) for task in (three, two))
    other = replace(MAIL, task="other", data=C)
    history.add(home, History((*trials(other), *trials(before), *trials(after, n=3))))

    def said(*words: str) -> str:
        assert main(["--home", str(home.root), *words]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    for task, n_own in (("other", 2), ("r", 3), ("r (2)", 2)):
        answer = json.loads(said("suggest", task, "--student", "tiny", "--history", "own", "--json"))
        assert (answer["task"], answer["evidence"]["n_own_trials"]) == (task, n_own)
        assert any("set aside as a task of its own, 'r (2)'" in note for note in answer["evidence"]["notes"]) == (
            task == "r"
        )
    assert "r (2)" in said("history", "show")
    assert "3 tasks" in said("history", "show")
    said("audit", "--history", "own")
    said("history", "export", str(tmp_path / "all.csv"))
    assert history.read_table(tmp_path / "all.csv").tasks() == ("other", "r"), "names as they were recorded"


def test_a_file_is_answered_from_its_own_data_and_not_from_its_name(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    news, mail = (
        table(tmp_path / name / "train.csv", rows(labels))
        for name, labels in (("news", ["x", "y"]), ("mail", ["u", "v"]))
    )
    known = [tasks.features(tasks.load_file(path, text="text", label="label")) for path in (news, mail)]
    history.add(home, History((*trials(known[0]), *trials(known[1], n=3))))
    past = question.history_for("own", home)
    for path, n_own in ((news, 2), (mail, 3)):
        asked = question.Asked(task=str(path), text=("text",), label="label")
        features = question.features_of(asked, "tiny", past, home)
        assert recommend.suggest(past, features, "tiny").evidence["n_own_trials"] == n_own


# ---------------------------------------------------------------------------------------------------- names of files


def test_file_names_in_any_script_give_names_of_their_own() -> None:
    stems = [
        "отзывы",
        "отзыв",
        "评论",
        "コメント",
        "تقييمات",
        "ביקורות",
        "😀",
        "😀😀",
        "é" * 90,
        "é" * 91,
        "!!!",
        "???",
    ]
    names = [_name_of(Path(f"{stem}.csv")) for stem in stems]
    assert len(set(names)) == len(names)
    assert all(name.isascii() and len(name) <= 80 for name in names)
    assert _name_of(Path("caf\u00e9.csv")) == _name_of(Path("cafe\u0301.csv")), "one name in two forms of Unicode"
    assert [_name_of(Path(f"{stem}.csv")) for stem in ("my reviews", "train", "a.b-c_d")] == [
        "my-reviews",
        "train",
        "a.b-c_d",
    ]
