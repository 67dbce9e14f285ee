"""What a card says: examinations by hand and by scikit-learn, and words that are shown as they are."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from tiny_models import encoded, task_of

from kdrec import cli
from kdrec.errors import CorruptFile, KdrecError, SourceError
from kdrec.home import Home
from kdrec.student import extras
from kdrec.student.card import Body, Results, card
from kdrec.student.examination import examine
from kdrec.student.facts import FILE, Facts
from kdrec.student.passes import LARGE, Speed, Speeds, speeds
from kdrec.types import DEFAULT_CONFIG, Split, Task, TaskFeatures, Training, Trial

HOSTILE = "<script>alert(1)</script>|`*a*"
FACTS = Facts(
    name="trec-tiny",
    task="trec",
    task_fingerprint="f" * 64,
    family="sentence",
    metric="accuracy",
    labels=("no", HOSTILE),
    max_length=32,
    may_be_none=False,
    student="tiny",
    config=DEFAULT_CONFIG,
    seed=1,
    fingerprint="a" * 64,
    teacher="minilm",
    teacher_checkpoint="b" * 64,
    why="given by the user",
    val_score=75.0,
    kdrec="0.1.0",
)


def split_of(labels: list[int]) -> Split:
    return Split(
        texts=tuple((f"text {row}",) for row in range(len(labels))),
        labels_U=np.array(labels),
        ids_N=np.arange(len(labels)),
    )


def toy(labels: list[int], n_classes: int) -> tuple[Task, Any]:
    split = split_of(labels)
    return replace(task_of(n_classes), test=split), encoded([[1, 2]] * len(labels), labels)


def logits(classes: list[int], n_classes: int) -> Any:
    return (3.0 * np.eye(n_classes)[classes]).astype(np.float32)


def test_classes_and_misses_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    gold, said, taught = (rng.integers(0, 4, 200).tolist() for _ in range(3))
    task, test = toy(gold, 4)
    exam = examine(task, test, logits(said, 4), logits(taught, 4), may_be_none=False)
    precision, recall, f1, n = precision_recall_fscore_support(gold, said, labels=range(4))
    for at, one in enumerate(exam.classes):
        assert (one.n, one.precision, one.recall, one.f1) == pytest.approx(
            (n[at], 100 * precision[at], 100 * recall[at], 100 * f1[at])
        )
    right = [row for row in range(200) if taught[row] == gold[row]]
    counts = confusion_matrix([gold[row] for row in right], [said[row] for row in right], labels=range(4))
    np.fill_diagonal(counts, 0)
    assert {(task.labels.index(m.label), task.labels.index(m.taken_for)): m.n for m in exam.misses} == {
        (int(a), int(b)): int(counts[a, b]) for a, b in zip(*np.nonzero(counts), strict=True)
    }
    assert [m.n for m in exam.misses] == sorted((m.n for m in exam.misses), reverse=True)
    assert exam.agreement == pytest.approx(100 * np.mean(np.array(said) == taught))
    assert exam.student.score == pytest.approx(100 * np.mean(np.array(said) == gold))


def test_a_miss_is_the_students_alone_and_a_class_nobody_says_is_worth_nothing() -> None:
    """Row 0: only the teacher is right; row 1: both wrong; row 2: only the student is right; row 3: both right."""
    task, test = toy([0, 0, 1, 1], 3)
    exam = examine(task, test, logits([1, 1, 1, 1], 3), logits([0, 1, 0, 1], 3), may_be_none=False)
    assert [(m.label, m.taken_for, m.n, m.rows) for m in exam.misses] == [("label 0", "label 1", 1, (0,))]
    assert exam.agreement == 50.0
    assert [(c.precision, c.recall, c.f1) for c in exam.classes] == [
        (0.0, 0.0, 0.0),
        (50.0, 100.0, pytest.approx(200 / 3)),
        (0.0, 0.0, 0.0),
    ]


def trial(seed: int, test_score: float | None, alpha: float = 0.5) -> Trial:
    return Trial(
        features=TaskFeatures(task="trec"),
        student="tiny",
        config=replace(DEFAULT_CONFIG, alpha=alpha),
        seed=seed,
        status="diverged" if test_score is None else "completed",
        val_score=test_score,
        val_loss=None,
        test_score=test_score,
        seconds=1.0,
    )


def speed(milliseconds: float, texts: float) -> Speed:
    return Speed(
        milliseconds=milliseconds,
        milliseconds_q75=1.5 * milliseconds,
        texts_per_second=texts,
        texts_per_second_q75=texts / 2,
    )


def results(**changes: Any) -> Results:
    task, test = toy([0, 0, 1, 1], 2)
    task = replace(task, labels=FACTS.labels)
    exam = examine(task, test, logits([1, 0, 1, 1], 2), logits([0, 0, 1, 1], 2), may_be_none=False)
    made = Results(
        facts=FACTS,
        training=Training(),
        rows={"train": 1000, "test": 4},
        trials=(trial(0, 70.0), trial(1, 76.0)),
        baseline=(trial(0, 69.0, 0.0), trial(1, 71.0, 0.0)),
        examination=exam,
        bodies=(
            Body(
                name="teacher",
                score=100.0,
                n_params=22_000_000,
                n_bytes=90_000_000,
                speed=speed(10.0, 200.0),
            ),
            Body(
                name="this student",
                score=75.0,
                n_params=14_000_000,
                n_bytes=55_000_000,
                speed=speed(2.0, 900.0),
            ),
        ),
        method="by hand",
        licence="MIT",
        data_licence="unknown",
    )
    return replace(made, **changes)


def test_gains_are_seed_by_seed_with_twice_the_standard_error() -> None:
    """Gains 1 and 5: mean 3, sd 2.83, error 2 * 2.83 / sqrt(2)."""
    text = card(results())
    assert "Against labels alone: +3.00 ± 4.00 points (twice the standard error over 2 seeds)" in text
    assert "| its configuration, mean of 2 seeds | 73.00 | 4.24 |" in text
    assert "| labels only (alpha = 0), mean of 2 seeds | 70.00 | 1.41 |" in text
    assert "Seed 1 of 2, the best on validation: validation 75.00" in text
    assert "| this student | 75.00 | 14.00 M | 55.0 MB | 2.00 ms (to 3.00) | 900 (to 450) | 4.5 |" in text


def test_a_warning_comes_before_all_numbers() -> None:
    text = card(results(warning=f"the teacher is worse: {HOSTILE}"))
    assert text.index("**Warning:** the teacher is worse: &lt;script&gt;") < text.index("## How good it is")
    assert "Warning" not in card(results())


def test_one_seed_tells_no_noise_and_a_diverged_one_is_told() -> None:
    text = card(results(trials=(trial(1, 76.0),), baseline=(trial(1, None, 0.0),)))
    assert "No seed ended both with and without the teacher." in text
    assert "labels only (alpha = 0), seed 1 (1 diverged) | - | - |" in text
    assert "so how loud seeds are is not known" in card(results(trials=(trial(1, 76.0),), baseline=(trial(1, 71.0),)))


def test_foreign_words_are_shown_and_texts_only_where_they_are_asked_for() -> None:
    text = card(results())
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "text 0" not in text
    quoted = card(results(), examples=replace(split_of([0, 0, 1, 1]), texts=((HOSTILE,),) * 4))
    assert "<script" not in quoted
    assert quoted.count("&lt;script&gt;") > text.count("&lt;script&gt;")


def test_facts_return_as_they_were_written(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(FACTS.to_json(), encoding="utf-8")
    assert Facts.read(tmp_path) == FACTS


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"form": 1', '"form": 2', "written by another kdrec"),
        ('"name": "trec-tiny"', '"name": "../x"', "name must be a name of letters"),
        ('"seed": 1', '"seed": -1', "seed must be a whole number"),
        ('"why"', '"wy"', "the keys name, task"),
        ('"why": "given by the user"', '"why": 1', "why must be a text"),
        ('"alpha": 0.5', '"alpha": 7', "alpha must be in"),
        ('"labels": [\n', '"labels": 5, "x": [\n', "the keys name, task"),
        ("{", "", "is not JSON"),
    ],
)
def test_facts_that_were_not_written_here_are_one_sentence(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    text = FACTS.to_json()
    assert old in text
    (tmp_path / FILE).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(CorruptFile, match=sentence):
        Facts.read(tmp_path)


def test_a_folder_without_facts_is_no_student(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no kdrec\.json, so it is no student"):
        Facts.read(tmp_path)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "ONNX", ("json", "nothing_of_that_name"))
    for wanted in ((True, False), (False, True)):
        with pytest.raises(KdrecError, match=r"ONNX needs nothing_of_that_name: pip install 'kdrec\[onnx\]'"):
            extras.check_onnx(*wanted)
    extras.check_onnx(False, False)


def test_a_missing_extra_is_told_before_anything_is_read(monkeypatch: pytest.MonkeyPatch, home: Home) -> None:
    """The task is not known, which only someone who has looked for it could say."""
    monkeypatch.setattr(extras, "ONNX", ("nothing_of_that_name",))
    said = []
    monkeypatch.setattr(cli, "_refuse", lambda sentence: said.append(sentence) or 2)
    for option in ("--onnx", "--int8"):
        assert cli.main(["--home", str(home.root), "distill", "trek", "--student", "tiny", option]) == 2
    assert said == ["ONNX needs nothing_of_that_name: pip install 'kdrec[onnx]'"] * 2


def test_speeds_are_lower_quartiles_with_the_upper_one_beside() -> None:
    """Of 1 to 5 seconds the quartiles are 2 and 4, whatever the slowest took."""
    found = Speed.of([5.0, 1.0, 3.0, 2.0, 4.0], [5000.0, 1.0, 3.0, 2.0, 4.0])
    assert (found.milliseconds, found.milliseconds_q75) == (2000.0, 4000.0)
    assert (found.texts_per_second, found.texts_per_second_q75) == (LARGE / 2, LARGE / 4)


def measured(waited: float) -> Speeds:
    return Speeds(each=(speed(10.0, 200.0), speed(2.0, 900.0)), waited=waited, load=7.25, n_cores=2)


def test_a_busy_machine_is_refused_and_a_quiet_one_tells_its_load() -> None:
    quiet, busy = measured(0.02), measured(0.6)
    assert quiet.known == quiet.each
    assert "load 7.2 on 2 cores, passes waited 2 % of the time" in quiet.method()
    assert busy.known == (None, None)
    bodies = tuple(replace(body, speed=None) for body in results().bodies)
    text = card(results(bodies=bodies, method=busy.method()))
    assert "| this student | 75.00 | 14.00 M | 55.0 MB | not measured | not measured | - |" in text
    assert "Speed was not measured: the machine was busy (load 7.2 on 2 cores, passes waited 60 % of the time" in text


def test_time_in_which_no_processor_worked_on_a_pass_is_waiting() -> None:
    """A model that sleeps stands for one whose turn others have taken; one that computes does not wait."""
    _, split = toy([0, 1] * 40, 2)

    def asleep(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        time.sleep(0.001)
        return inputs["input_ids"]

    def at_work(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        begun = time.process_time()
        while time.process_time() - begun < 0.001:
            pass
        return inputs["input_ids"]

    assert speeds([asleep], split, 0).waited > 0.7
    assert speeds([asleep], split, 0).is_busy
    assert speeds([at_work], split, 0).waited < speeds([asleep], split, 0).waited


def test_scores_of_the_card_have_the_interval_of_so_many_rows() -> None:
    """3 of 4 right: 75 ± 1.96 * sqrt(75 * 25 / 4), cut at 100; 4 of 4 right: by the rule of three, 300 / 4 points."""
    text = card(results())
    low = 75 - 1.96 * np.sqrt(75 * 25 / 4)
    assert f"| **this student** | 75.00 ({low:.1f} to 100.0) | - |" in text
    assert "| teacher | 100.00 (25.0 to 100.0) | - |" in text
    assert "in brackets is the 95 % interval of a score over other 4 rows of its kind" in text
