"""What was dropped or cut on the way from a file to the model is counted, word by word."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kdrec.errors import KdrecError
from kdrec.home import Home
from kdrec.studies import OwnData, RowLimits, Study
from kdrec.trial import Bench, Progress, prepare_teacher
from kdrec.types import StudentTraining, TeacherTraining


def study_of(path: Path, rows: list[dict[str, list[str]]], max_length: int) -> Study:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return Study(
        name="s",
        tasks=("mine",),
        students=("tiny",),
        data={"mine": OwnData(path=str(path), text="tokens", label="tags")},
        teacher=TeacherTraining(max_length=max_length),
        training=StudentTraining(max_length=max_length),
    )


def left_out(path: Path, home: Home, rows: list[dict[str, list[str]]], max_length: int) -> str:
    return " ".join(Bench(study_of(path, rows, max_length), "mine", "minilm", home).left_out())


@pytest.mark.network  # the tokenizer of minilm, fetched once a machine
def test_words_that_are_cut_or_become_no_token_are_counted(tmp_path: Path, shared_home: Home):
    short = [{"tokens": ["see", f"{at}", "\u200b"], "tags": ["A", "B", "A"]} for at in range(60)]
    said = left_out(tmp_path / "plain.jsonl", shared_home, short, 32)
    assert said.count(" words lost") == 3, "in every split a word without a token is lost, though nothing was cut"
    long = [{"tokens": ["see", f"{at}", *"abcdefgh"], "tags": ["A", "B", *"AAAAAAAA"]} for at in range(60)]
    assert "rows were cut at 8 tokens, and" in left_out(tmp_path / "long.jsonl", shared_home, long, 8)
    assert left_out(tmp_path / "whole.jsonl", shared_home, long, 32) == ""


@pytest.mark.network
def test_a_study_says_what_it_read_of_a_file_before_anything_is_trained(
    tmp_path: Path, shared_home: Home, monkeypatch: pytest.MonkeyPatch
):
    rows = [{"tokens": ["see", f"{at}"], "tags": ["O", "B-A"]} for at in range(60)]
    study = replace(study_of(tmp_path / "rows.jsonl", rows, 32), rows=RowLimits(train=20))

    def refuse(*words: object) -> None:
        raise KdrecError("nothing is trained here")

    monkeypatch.setattr(Bench, "make_teacher", refuse)
    told: list[Progress] = []
    with pytest.raises(KdrecError, match="nothing is trained here"):
        prepare_teacher(study, "mine", "minilm", shared_home, told.append)
    (notice,) = (progress.message for progress in told if progress.notice)
    assert notice.startswith("rows.jsonl was read as ")
    assert "words with tags: 'tokens' with 'tags', scored by span_f1. Its 2 tags, with their words: 'B-A' (" in notice
    assert notice.endswith("At most 20 train rows are taken, as the study says")
    assert Bench(Study(name="s", tasks=("trec",), students=("tiny",)), "trec", "minilm", shared_home).read() is None
