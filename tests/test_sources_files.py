"""Laws of `kdrec.sources.files`: a write happens wholly or not at all, and hashes are those of the definition."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kdrec.errors import KdrecError
from kdrec.sources import atomic_folder, atomic_path, atomic_write, files, sha256_file, tree_sha256

LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
"""Start of a program that may write no file above 64 KiB: a real refusal by the system, as a full disk is."""


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, timeout=120
    )


def test_hash_of_a_file_is_the_hash_of_its_bytes(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(data)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_a_file_is_read_once_and_again_after_any_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda stream, name: (read.append(1), digest(stream, name))[1])
    file = tmp_path / "file"
    file.write_bytes(b"one")
    monkeypatch.setattr(files, "SETTLED_NANOSECONDS", 10**18)
    for n_reads in (1, 2):
        assert sha256_file(file) == hashlib.sha256(b"one").hexdigest()
        assert len(read) == n_reads, "it was written a moment ago"
    monkeypatch.setattr(files, "SETTLED_NANOSECONDS", 0)
    for _ in range(3):
        assert sha256_file(file) == hashlib.sha256(b"one").hexdigest()
    assert len(read) == 3
    status = file.stat()
    time.sleep(0.02)  # the clock of some file systems ticks in hundredths of a second
    file.write_bytes(b"two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert sha256_file(file) == hashlib.sha256(b"two").hexdigest(), "the time of change was put back, the content not"


def test_hash_of_a_folder_is_that_of_its_sorted_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x").write_bytes(b"one")
    (tmp_path / "b-c").write_bytes(b"two")
    (tmp_path / "empty").mkdir()
    lines = [f"{hashlib.sha256(b'two').hexdigest()} b-c\n", f"{hashlib.sha256(b'one').hexdigest()} b/x\n"]
    assert tree_sha256(tmp_path) == hashlib.sha256("".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("change", ["content", "name", "place", "more", "less"])
def test_hash_of_a_folder_sees_every_change(tmp_path: Path, change: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"2")
    before = tree_sha256(tmp_path)
    {
        "content": lambda: (tmp_path / "one").write_bytes(b"3"),
        "name": lambda: (tmp_path / "one").rename(tmp_path / "three"),
        "place": lambda: (tmp_path / "one").rename(tmp_path / "sub" / "one"),
        "more": lambda: (tmp_path / "sub" / "three").write_bytes(b""),
        "less": lambda: (tmp_path / "one").unlink(),
    }[change]()
    assert tree_sha256(tmp_path) != before


def test_written_file_has_the_new_content_and_the_access_of_any_new_file(tmp_path: Path) -> None:
    plain, path = tmp_path / "plain", tmp_path / "file"
    plain.write_bytes(b"")
    path.write_bytes(b"old")
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode == plain.stat().st_mode
    assert sorted(os.listdir(tmp_path)) == ["file", "plain"]


def test_refused_write_is_one_sentence_and_leaves_the_old_content_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    done = run(
        LIMITED + "import sys; from pathlib import Path; from kdrec.sources import atomic_write\n"
        "from kdrec.errors import KdrecError\n"
        "try: atomic_write(Path(sys.argv[1]), b'1' * 200_000)\n"
        "except KdrecError as error: print(error)\n",
        str(tmp_path / "file"),
    )
    assert done.stdout == (
        f"cannot write {tmp_path / 'file'}: file too large; free some space, or set KDREC_HOME to a larger disk\n"
    )
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_full_disk_seen_only_when_flushing_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:  # what a network disk over its quota answers to fsync; nothing here can cause it
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KdrecError, match=r"cannot write .*file: no space left on device; free some space"):
        atomic_write(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == []


def test_safetensors_on_a_full_disk_says_the_same_sentence(tmp_path: Path) -> None:
    done = run(
        LIMITED + "import sys, numpy; from pathlib import Path; from safetensors.numpy import save_file\n"
        "from kdrec.sources import atomic_path; from kdrec.errors import KdrecError\n"
        "try:\n"
        "  with atomic_path(Path(sys.argv[1])) as path: save_file({'a': numpy.zeros(99_999)}, path)\n"
        "except KdrecError as error: print(error)\n",
        str(tmp_path / "file"),
    )
    assert "file: file too large; free some space" in done.stdout
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("points_to", ["a folder", "nothing"])
def test_a_link_in_the_place_of_a_folder_is_replaced_and_what_it_points_to_is_not_touched(
    tmp_path: Path, points_to: str
) -> None:
    (tmp_path / "cache").mkdir()
    elsewhere = tmp_path / "elsewhere"
    if points_to == "a folder":
        elsewhere.mkdir()
        (elsewhere / "theirs").write_bytes(b"theirs")
    (tmp_path / "cache" / "kept").symlink_to(elsewhere)
    with atomic_folder(tmp_path / "cache" / "kept") as fresh:
        (fresh / "ours").write_bytes(b"ours")
    assert not (tmp_path / "cache" / "kept").is_symlink()
    assert os.listdir(tmp_path / "cache" / "kept") == ["ours"]
    assert os.listdir(tmp_path / "cache") == ["kept"]
    assert not elsewhere.exists() or os.listdir(elsewhere) == ["theirs"]


def test_a_link_in_the_place_of_a_file_is_replaced_and_what_it_points_to_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_bytes(b"theirs")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "kept").symlink_to(tmp_path / "theirs")
    atomic_write(tmp_path / "cache" / "kept", b"ours")
    assert not (tmp_path / "cache" / "kept").is_symlink()
    assert (tmp_path / "theirs").read_bytes() == b"theirs"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ZeroDivisionError])
def test_interrupted_write_keeps_the_old_content(tmp_path: Path, stop: type[BaseException]) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_bytes(b"old")

    def stopped_half_way(path: Path) -> None:
        path.write_bytes(b"half")
        raise stop

    with pytest.raises(stop), atomic_path(tmp_path / "file") as path:
        stopped_half_way(path)
    with pytest.raises(stop), atomic_folder(tmp_path / "folder") as folder:
        stopped_half_way(folder / "a")
    assert (tmp_path / "file").read_bytes() == (tmp_path / "folder" / "a").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "stale").write_bytes(b"old")
    with atomic_folder(tmp_path / "folder") as folder:
        (folder / "fresh").write_bytes(b"new")
    assert os.listdir(tmp_path / "folder") == ["fresh"]
    assert os.listdir(tmp_path) == ["folder"]


def test_missing_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(KdrecError, match=r"cannot write .*none/file: no such file or directory"):
        atomic_write(tmp_path / "none" / "file", b"new")


def test_what_fails_elsewhere_is_not_called_a_failed_write(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "here" / "file"):
        (tmp_path / "absent").read_bytes()
