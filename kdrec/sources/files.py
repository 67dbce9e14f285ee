"""Bytes on disk: hashes of files and folders, and writes that happen wholly or not at all.

A write goes to a temporary name beside its destination and is renamed into place; whatever stops it (a full disk, a
signal, an exception) leaves the old content and no temporary file. An operating system's refusal becomes one sentence.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from kdrec.errors import KdrecError

DAY_SECONDS: Final = 86_400.0
SETTLED_NANOSECONDS: Final = 1_000_000_000

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TEMPORARY: Final = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.tmp")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits.

    A process reads a file once: what it is again asked about is remembered while the system says that nobody wrote to
    it. A file written within the last second is read every time, since a clock may not tell two writes apart.
    """
    with path.open("rb") as stream:
        before = _state(stream.fileno())
        known = _known.get(before)
        if known is None:
            known = hashlib.file_digest(stream, "sha256").hexdigest()
            if time.time_ns() - before[-1] > SETTLED_NANOSECONDS and _state(stream.fileno()) == before:
                _known[before] = known
    return known


def _state(descriptor: int) -> tuple[int, ...]:
    """Which file it is, and the marks that every write to it moves; the last one no program can set."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


_known: Final[dict[tuple[int, ...], str]] = {}


def tree_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder`, by its path relative to it (with '/'), in the order of those paths."""
    paths = [Path(here, name) for here, _, names in os.walk(folder) for name in names]
    return {name: sha256_file(folder / name) for name in sorted(path.relative_to(folder).as_posix() for path in paths)}


def tree_sha256(folder: Path) -> str:
    """One SHA-256 for all names and contents below `folder`; empty folders, modes and times do not count."""
    return digest_of(tree_files(folder))


def digest_of(files: Mapping[str, str]) -> str:
    """SHA-256 of a table of relative paths and hashes."""
    lines = "".join(f"{sha256} {name}\n" for name, sha256 in sorted(files.items()))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def atomic_write(path: Path, data: bytes, *, over_folder: bool = False) -> None:
    """Write `data` to `path` wholly or not at all.

    Parameters
    ----------
    path : pathlib.Path
        Destination in an existing folder; an existing file is replaced.
    data : bytes
        Its whole new content.
    over_folder : bool
        Whether a folder in the place of the file is put aside: for files of a home, and never for those a user names.

    Raises
    ------
    KdrecError
        When the file cannot be written, for example on a full disk; the old content, if any, is still there.
    """
    with atomic_path(path, over_folder=over_folder) as temporary, temporary.open("xb") as stream:
        stream.write(data)


@contextmanager
def atomic_path(path: Path, *, over_folder: bool = False) -> Iterator[Path]:
    """Lend a temporary path beside `path`; the file written there takes its place when the block ends well.

    For writers that want a path of their own, as safetensors does. Raises as `atomic_write` does.
    """
    temporary = _beside(path)
    with _refusals_in_words(path):
        try:
            yield temporary
            _flush(temporary)
            if over_folder and path.is_dir():
                put_aside(path)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        with suppress(OSError):  # some file systems cannot flush a folder; the rename is done all the same
            _flush(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Lend a new empty folder beside `path`; it takes the place of `path` when the block ends well.

    An existing folder of that name is replaced. The caller holds a lock when two processes may do so at once. Raises
    as `atomic_write` does.
    """
    temporary, old = _beside(path), _beside(path)
    with _refusals_in_words(path):
        try:
            temporary.mkdir(mode=0o700)
            yield temporary
            if path.is_symlink():
                path.unlink()  # what it points to is not ours
            elif path.exists():
                os.replace(path, old)
            os.replace(temporary, path)
        finally:
            for leftover in (temporary, old):
                shutil.rmtree(leftover, ignore_errors=True)


def put_aside(path: Path, name: str | None = None) -> Path:
    """Move what is damaged out of the way, to `name` beside it (default: with `.damaged` appended).

    A file takes the place of an older one of that name; a folder, whose content may be dear to someone, takes no place.

    Raises
    ------
    KdrecError
        When the system refuses.
    """
    aside = path.with_name(name or f"{path.name}.damaged")
    first, n = aside, 1
    while aside.is_dir() or (path.is_dir() and aside.exists()):
        n += 1
        aside = first.with_name(f"{first.name}-{n}")
    try:
        os.replace(path, aside)
    except OSError as error:
        raise KdrecError(f"the damaged {path} cannot be put aside: {error.strerror}") from None
    return aside


def remove(path: Path) -> None:
    """Remove a file of a home, if it is there; a folder in its place is put aside."""
    if path.is_dir() and not path.is_symlink():
        put_aside(path)
    else:
        path.unlink(missing_ok=True)


def mark_used(path: Path) -> None:
    """Say that a cached file was of use today, by its time of change, which every file system keeps.

    Times of reading are kept by some, and backups change them. Once a day is enough; where it is refused, the file only
    looks idle sooner.
    """
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > DAY_SECONDS:
            os.utime(path)


def is_temporary(name: str) -> bool:
    """Whether `atomic_path` and its like give such a name, which outlives only a writer that was killed."""
    return _TEMPORARY.fullmatch(name) is not None


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name[:120]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _refusals_in_words(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write `path` into one sentence; libraries in Rust put its number in their text."""
    try:
        yield
    except KdrecError:
        raise
    except OSError as error:
        elsewhere = error.filename is not None and not str(error.filename).startswith(str(path.parent))
        if elsewhere or isinstance(error, (ConnectionError, TimeoutError)):
            raise  # the block failed at something else than this write
        raise KdrecError(cannot_write(path, error.errno, error.strerror or str(error))) from error
    except Exception as error:
        told = re.search(r"\(os error (\d+)\)", str(error))
        if not told or int(told[1]) not in _NO_ROOM:
            raise
        raise KdrecError(cannot_write(path, int(told[1]), os.strerror(int(told[1])))) from error


def cannot_write(path: Path, number: int | None, reason: str) -> str:
    """The sentence for a refused write, with what helps when there was no room."""
    help_ = "; free some space, or set KDREC_HOME to a larger disk" if number in _NO_ROOM else ""
    return f"cannot write {path}: {reason[:1].lower()}{reason[1:]}{help_}"
