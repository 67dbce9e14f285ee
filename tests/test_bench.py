"""What was dropped or cut on the way from a file to the model is counted, word by word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdrec.home import Home
from kdrec.studies import OwnData, Study
from kdrec.trial import Bench
from kdrec.types import StudentTraining, TeacherTraining


def left_out(path: Path, home: Home, rows: list[dict[str, list[str]]], max_length: int) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    study = Study(
        name="s",
        tasks=("mine",),
        students=("tiny",),
        data={"mine": OwnData(path=str(path), text="tokens", label="tags")},
        teacher=TeacherTraining(max_length=max_length),
        training=StudentTraining(max_length=max_length),
    )
    return " ".join(Bench(study, "mine", "minilm", home).left_out())


@pytest.mark.network  # the tokenizer of minilm, fetched once a machine
def test_words_that_are_cut_or_become_no_token_are_counted(tmp_path: Path, shared_home: Home):
    short = [{"tokens": ["see", f"{at}", "\u200b"], "tags": ["A", "B", "A"]} for at in range(60)]
    said = left_out(tmp_path / "plain.jsonl", shared_home, short, 32)
    assert said.count(" words lost") == 3, "in every split a word without a token is lost, though nothing was cut"
    long = [{"tokens": ["see", f"{at}", *"abcdefgh"], "tags": ["A", "B", *"AAAAAAAA"]} for at in range(60)]
    assert "rows were cut at 8 tokens, and" in left_out(tmp_path / "long.jsonl", shared_home, long, 8)
    assert left_out(tmp_path / "whole.jsonl", shared_home, long, 32) == ""
