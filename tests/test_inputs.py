"""Inputs that never end, wait, unfold or nest: one sentence, within a second."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import sqlalchemy

from kdrec import inputs, question, tasks
from kdrec.catalog import read_file
from kdrec.cli import main
from kdrec.errors import BadArgument, DataError, KdrecError, SourceError
from kdrec.history import TableMap, read_table
from kdrec.home import Home
from kdrec.sources import archives
from kdrec.studies import MOST_SEEDS, Study
from kdrec.tasks import encoding

READERS: dict[str, Callable[[Path], Any]] = {
    "study.toml": Study.load,
    "card.toml": read_file,
    "map.toml": TableMap.load,
    "features.json": question.read_features,
    "history.csv": read_table,
    "history.parquet": read_table,
    "rows.csv": lambda path: tasks.load_file(path, text=("text",), label="label"),
    "rows.jsonl": lambda path: tasks.load_file(path, text=("text",), label="label"),
    "rows.parquet": lambda path: tasks.load_file(path, text=("text",), label="label"),
    "rows.conll": lambda path: tasks.load_file(path, text=("tokens",), label="tags"),
}

DOTTED = ".".join("a" * 900)


@pytest.mark.parametrize("name", sorted(READERS))
@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_a_device_and_a_pipe_are_one_sentence_and_are_not_waited_for(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(KdrecError):
        READERS[name](path)


@pytest.mark.parametrize("name", ["study.toml", "card.toml", "map.toml", "features.json"])
def test_a_small_file_that_is_not_small_is_not_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with path.open("wb") as stream:
        stream.truncate(inputs.MOST_TEXT + 1)  # of holes: it takes no room
    with pytest.raises(DataError, match=rf"{name} has 67 MB, and at most 67 are read"):
        READERS[name](path)


@pytest.mark.parametrize("name", ["study.toml", "card.toml", "map.toml"])
@pytest.mark.parametrize("text", [f"{DOTTED} = 1\n", f"a = {'[' * 400}{']' * 400}\n", f"[{DOTTED}]\n"])
def test_a_toml_file_of_tables_in_tables_is_one_sentence(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(KdrecError, match="nested too deeply"):
        READERS[name](path)


def test_seeds_without_end_are_one_sentence() -> None:
    with pytest.raises(BadArgument, match=f"at most {MOST_SEEDS:,} seeds, got 300,000"):
        Study(name="s", tasks=("trec",), students=("tiny",), seeds=tuple(range(300_000)))


def unfolding(path: Path, n_rows: int, size: int) -> None:
    """A small file of many rows that all hold one long text."""
    text = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * n_rows, pyarrow.int32()), ["x" * size])
    columns = {"text": text, "label": pyarrow.array(["a", "b"] * (n_rows // 2))}
    pyarrow.parquet.write_table(pyarrow.table(columns), path, compression="zstd")


@pytest.mark.parametrize("name", ["rows.parquet", "history.parquet"])
def test_a_small_parquet_that_unfolds_to_gigabytes_is_not_unfolded(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    unfolding(path, 6000, 1_000_000)
    assert path.stat().st_size < 200_000
    with pytest.raises(DataError, match="unfolds to more than 2 GiB"):
        READERS[name](path)


def test_a_parquet_of_one_endless_list_is_not_unfolded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MOST_CELLS", 1000)
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"tokens": [["a"] * 2000], "tags": [["O"] * 2000]}), path)
    with pytest.raises(DataError, match="unfolds to more than 2 GiB or 1,000 cells"):
        inputs.parquet(path)


def test_a_parquet_within_the_limits_is_what_pyarrow_reads(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    columns = {"a": ["x", None, "é", "x"], "b": [1, 2, None, 4], "c": [["u"], [], None, ["v", "w"]]}
    columns["d"] = [b"1", b"", None, b"2"]
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=2)
    assert inputs.parquet(path).to_pydict() == columns
    assert inputs.parquet(path, ["c", "a"]).to_pydict() == {"c": columns["c"], "a": columns["a"]}


def test_names_of_labels_that_are_nested_without_end_are_left_aside(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    table = pyarrow.table({"text": [f"text {n}" for n in range(60)], "label": ["a", "b"] * 30})
    nested = b'{"info": {"features": ' + b'{"a": ' * 100_000 + b"1" + b"}" * 100_000 + b"}}"
    pyarrow.parquet.write_table(table.replace_schema_metadata({b"huggingface": nested}), path)
    assert len(tasks.load_file(path, text=("text",), label="label").labels) == 2


def test_a_wheel_that_unfolds_past_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 1 << 20)
    wheel = tmp_path / "p-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(3):
            archive.writestr(f"p/data/{n}", b"\0" * 400_000)
        archive.writestr("p/small", b"1")
    with pytest.raises(SourceError, match="the wheel of p==1 is larger than 1 MiB when decompressed"):
        archives.unpack(wheel, "p/data", tmp_path / "out", "p==1")
    assert archives.unpack(wheel, "p/small", tmp_path / "small", "p==1")


@pytest.mark.parametrize("scheme", ["mysql", "mssql", "mysql+pymysql"])
def test_a_database_without_its_driver_is_one_sentence(scheme: str, tmp_path: Path) -> None:
    from kdrec.tracking.connect import asking

    uri = f"{scheme}://ada:s3cret@127.0.0.1/x"
    with (
        pytest.raises(KdrecError, match=r"needs the Python package \w+, which is not installed") as said,
        asking(uri, "being opened"),
    ):
        sqlalchemy.create_engine(uri)
    assert "s3cret" not in str(said.value)


def test_a_cell_of_a_history_may_be_longer_than_csv_lets(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(f'note,data,seed,state,score,took,lr\n"{"n" * 200_000}",a,0,ok,70,9,0.1\n', encoding="utf-8")
    columns = {"task": "data", "seed": "seed", "status": "state", "val_score": "score", "seconds": "took"}
    mapping = TableMap(columns=columns, knobs={"lr": "lr"}, constants={"student": "s"}, statuses={"ok": "completed"})
    assert len(read_table(path, mapping)) == 1


def test_a_device_on_the_command_line_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["suggest", "--features", "/dev/zero", "--student", "tiny", "--history", "none"]
    assert main(["--home", str(tmp_path / "home"), *words]) == 2
    assert capsys.readouterr().err == "/dev/zero is no regular file: a device or a pipe is not read\n"


def test_a_panic_of_a_library_comes_back_from_a_worker_as_its_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import workers

    class Panic(BaseException):
        pass

    def panics(piece: object, report: object) -> object:
        raise Panic("called `Option::unwrap()` on a `None` value")

    monkeypatch.setattr(workers, "_work", panics, raising=False)
    monkeypatch.setattr(workers, "_progress", SimpleQueue(), raising=False)
    with pytest.raises(workers.WorkerDefect, match="unwrap"):
        workers._do(1)


def tokenizer_file(tmp_path: Path, identity: int) -> Path:
    path = tmp_path / "tokenizer.json"
    vocabulary = {"[UNK]": 0, "a": identity}
    made = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}
    path.write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": made}), encoding="utf-8")
    return path


@pytest.mark.parametrize("identity", [2**31, 2**32 - 1])
def test_an_id_past_32_bits_is_one_sentence(tmp_path: Path, identity: int) -> None:
    with pytest.raises(SourceError, match=f"gives a token the id {identity}, and ids go to 2147483647"):
        encoding._tokenizer(tokenizer_file(tmp_path, identity))
    assert encoding._tokenizer(tokenizer_file(tmp_path, 2**31 - 1)).get_vocab_size() == 2


def test_a_panic_of_a_tokenizer_is_one_sentence_and_a_stop_stays_a_stop() -> None:
    class PanicException(BaseException):  # pyo3's has this name, and its module cannot be imported
        pass

    with pytest.raises(SourceError, match=r"the tokenizer t.json failed: no entry"), encoding._no_panic(Path("t.json")):
        raise PanicException("no entry")
    with pytest.raises(KeyboardInterrupt), encoding._no_panic(Path("t.json")):
        raise KeyboardInterrupt


def test_a_user_without_a_home_is_given_one_by_the_home_of_kdrec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(uid: int) -> object:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setenv("HOME", "before")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    Home.at(tmp_path)
    assert Path.home() == tmp_path
