"""What `kdrec predict` refuses, in one sentence each, before or after it has loaded anything."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from test_card import FACTS
from tiny_models import write_encoder
from tiny_tasks import LABELS, METRICS, write_speaker
from transformers import AutoConfig

from kdrec import encoder
from kdrec.cli import main
from kdrec.errors import CorruptFile, DataError, MismatchError
from kdrec.student.answers import answers
from kdrec.student.facts import FILE
from kdrec.student.folder import opened
from kdrec.tasks import FAMILIES
from kdrec.types import Family

Captured = pytest.CaptureFixture[str]


def refused(capsys: Captured, *words: str) -> str:
    assert main(["predict", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_a_table_or_a_model_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: Captured) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("text\nhello\n")
    assert "no file at" in refused(capsys, str(tmp_path), str(tmp_path / "row.csv"))
    assert "MODEL is a folder that 'kdrec distill' saved" in refused(capsys, str(tmp_path / "no"), str(table))
    assert "holds no kdrec.json" in refused(capsys, str(tmp_path), str(table))
    assert "are written to a .csv file" in refused(capsys, str(tmp_path), str(table), "--out", "x.txt")


def test_a_pickle_in_the_place_of_weights_is_refused_and_never_runs(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> object:
            return Path.touch, (ran,)

    folder = write_encoder(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    (folder / FILE).write_text(FACTS.to_json(), encoding="utf-8")
    with pytest.raises(CorruptFile, match=r"the student in .* cannot be read"):
        opened(folder)
    assert not ran.exists()


def test_labels_that_are_not_those_of_the_configuration_are_refused(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "m")
    (folder / FILE).write_text(FACTS.to_json(), encoding="utf-8")
    with pytest.raises(MismatchError, match=r"the labels in the config\.json of .* are not those of its kdrec\.json"):
        opened(folder)


def test_a_head_that_is_not_there_is_not_made_up(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "m")
    (folder / FILE).write_text(FACTS.to_json(), encoding="utf-8")
    config = json.loads((folder / "config.json").read_text())
    names = {"id2label": dict(enumerate(FACTS.labels)), "label2id": {name: at for at, name in enumerate(FACTS.labels)}}
    (folder / "config.json").write_text(json.dumps({**config, **names}))
    with pytest.raises(CorruptFile, match=r"lacks 2 of its weights, such as classifier\.bias"):
        opened(folder)


def write_student(folder: Path, family: Family) -> Path:
    """A saved student of random weights."""
    write_speaker(folder)
    head = encoder.HEADS[FAMILIES[family].head]
    names = dict(enumerate(LABELS[family]))
    config = AutoConfig.from_pretrained(folder, id2label=names, label2id={name: at for at, name in names.items()})
    head.from_config(config).save_pretrained(folder)
    facts = replace(FACTS, family=family, metric=METRICS[family], labels=LABELS[family], may_be_none=family == "qa")
    (folder / FILE).write_text(facts.to_json(), encoding="utf-8")
    return folder


FULL, EMPTY = "w1 w2 w30", (None, "", "  ", "\u00a0\u200b\ufeff")


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_without_a_text_stay_in_their_places_unanswered(tmp_path: Path, family: Family) -> None:
    """One such row used to refuse the whole file."""
    saved = opened(write_student(tmp_path / "student", family))
    two = family in ("pair", "qa")
    cells = [FULL, *EMPTY, FULL]
    rows = [{"a": cell, "b": FULL} for cell in cells] + [{"a": FULL, "b": cell} for cell in EMPTY if two]
    if family == "tokens":
        rows = [{"a": cell} for cell in (["w1", "w2"], [], None, [""], ["w1", None], ["w1", "\u200b"], ["w3"])]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    said = answers(saved, path, ["a", "b"] if two else ["a"])
    full = [row in (rows[0], {"a": ["w3"]}) for row in rows]
    assert [one.probability is not None for one in said] == full
    assert {one.label for one in said if one.probability is None} == {""}
    alone = tmp_path / "alone.jsonl"
    alone.write_text(f"{json.dumps(rows[0])}\n")
    (wanted,) = answers(saved, alone, ["a", "b"] if two else ["a"])
    assert (said[0].label, said[0].probability) == (wanted.label, pytest.approx(wanted.probability, abs=1e-6))
    path.write_text(f"{json.dumps(rows[1])}\n")
    with pytest.raises(DataError, match=r"rows.jsonl: no row has a text in 'a'"):
        answers(saved, path, ["a", "b"] if two else ["a"])


def test_what_was_not_answered_is_said_and_its_line_is_empty(tmp_path: Path, capsys: Captured) -> None:
    folder, table, out = write_student(tmp_path / "m", "sentence"), tmp_path / "rows.csv", tmp_path / "out.csv"
    table.write_text('text\nw1 w2\n"  "\nw3\n')
    assert main(["predict", str(folder), str(table), "--out", str(out), "--json"]) == 0
    shown, said = capsys.readouterr()
    assert said.startswith("1 of 3 rows have an empty text or word and were not answered (first row 2, counted without")
    assert [row["probability"] is None for row in json.loads(shown)] == [False, True, False]
    lines = out.read_text().splitlines()
    assert (len(lines), lines[2]) == (4, ",")
    assert main(["predict", str(folder), str(table)]) == 0


def test_a_student_of_words_reads_files_without_tags_with_comments_and_texts(tmp_path: Path) -> None:
    saved = opened(write_student(tmp_path / "m", "tokens"))
    conll, text = tmp_path / "rows.conll", tmp_path / "rows.csv"
    conll.write_text("# sent_id = 1\nw1\nw2\n\nw3\n", encoding="utf-8")
    text.write_text("words\nw1 w2\nw3\n")
    first, second = answers(saved, conll, ["tokens"]), answers(saved, text, ["words"])
    assert [one.texts for one in first] == [("w1", "w2"), ("w3",)]
    assert first == second


def test_a_text_of_any_length_is_answered(tmp_path: Path) -> None:
    saved, table = opened(write_student(tmp_path / "m", "sentence")), tmp_path / "rows.csv"
    table.write_text("text\n" + "w1 " * 60_000 + "\n")
    assert len(answers(saved, table, ["text"])) == 1
