"""What `kdrec predict` refuses, in one sentence each, before or after it has loaded anything."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from test_card import FACTS
from tiny_models import write_encoder

from kdrec.cli import main
from kdrec.errors import CorruptFile, MismatchError
from kdrec.student.facts import FILE
from kdrec.student.folder import opened

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
