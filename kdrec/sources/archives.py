"""A member of a wheel or of a source distribution, unpacked safely: plain files, inside their folder, within a limit.

An archive with any entry that could leave its folder (a step up, an absolute name, a link, a device) is refused as a
whole, even when another member is wanted. Nothing in it is run.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from kdrec.errors import SourceError, did_you_mean

MOST_BYTES: Final = 1 << 30
"""More is not decompressed: of a source distribution as a whole, of a wheel the wanted member."""
_CHUNK: Final = 1 << 20
_UNSOUND = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError)
"""What the readers of archives raise; zipfile says `NotImplementedError` of a compression that it does not know."""


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """What the unpacking asks of an entry, whatever the format; `open` is None for a folder."""

    name: str
    is_plain: bool
    open: Callable[[], Any] | None


def unpack(archive: Path, member: str, folder: Path, package: str) -> dict[str, str]:
    """Unpack one member of an archive.

    Parameters
    ----------
    archive : pathlib.Path
        A wheel (`.whl`) or a source distribution (gzipped tar). Beside the latter its tar is written.
    member : str
        A file or a folder in it, with '/'; in a source distribution below its one top folder.
    folder : pathlib.Path
        Where the last part of `member` is put.
    package : str
        Its name in sentences.

    Returns
    -------
    dict of str to str
        SHA-256 of each file by its path in `folder`.

    Raises
    ------
    SourceError
        When the archive is unsound, unsafe or too large, or has no such member.
    """
    is_wheel = archive.suffix == ".whl"
    title = f"the {'wheel' if is_wheel else 'source distribution'} of {package}"
    try:
        with (_wheel if is_wheel else _source)(archive, title) as entries:
            chosen = _chosen(entries, member, title, package)
            above = len(member) - len(PurePosixPath(member).name)
            room = _Room(f"{title} is larger than {MOST_BYTES >> 20} MiB when decompressed", MOST_BYTES)
            return {name[above:]: _copy(entry, folder / name[above:], room) for name, entry in chosen.items()}
    except _UNSOUND as error:
        raise SourceError(f"{title} is not a sound archive: {error}") from error


@contextmanager
def _wheel(path: Path, title: str) -> Iterator[list[_Entry]]:
    with zipfile.ZipFile(path) as archive:
        entries = [_zipped(archive, info) for info in archive.infolist()]
        _refuse_unsafe(entries, title)
        yield entries


def _zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Entry:
    kind, encrypted = stat.S_IFMT(info.external_attr >> 16), info.flag_bits & 1
    return _Entry(
        name=info.orig_filename.removesuffix("/"),
        is_plain=kind in (0, stat.S_IFREG, stat.S_IFDIR) and not encrypted,
        open=None if info.is_dir() else partial(archive.open, info),
    )


@contextmanager
def _source(path: Path, title: str) -> Iterator[list[_Entry]]:
    """Entries of a gzipped tar, named from below its top folder.

    It is decompressed to a file first: then no header can promise more than the limit lets in.
    """
    tar = path.with_name(f"{path.name}.tar")
    with gzip.open(path) as packed, tar.open("xb") as stream:
        while chunk := packed.read(_CHUNK):
            if stream.tell() + len(chunk) > MOST_BYTES:
                raise SourceError(f"{title} is larger than {MOST_BYTES >> 20} MiB when decompressed")
            stream.write(chunk)
    with tarfile.open(tar, "r:") as archive:
        entries = [_tarred(archive, info) for info in archive.getmembers()]
        _refuse_unsafe(entries, title)
        if len({entry.name.split("/")[0] for entry in entries}) > 1:
            raise SourceError(f"{title} has files beside its one top folder")
        yield [_Entry(name=below, is_plain=True, open=e.open) for e in entries if (below := e.name.partition("/")[2])]


def _tarred(archive: tarfile.TarFile, info: tarfile.TarInfo) -> _Entry:
    is_file = info.isreg() and not info.issparse()
    open_ = partial(archive.extractfile, info) if is_file else None
    return _Entry(name=info.name, is_plain=is_file or info.isdir(), open=open_)


def _refuse_unsafe(entries: Sequence[_Entry], title: str) -> None:
    for entry in entries:
        if not entry.is_plain or not stays_inside(entry.name):
            raise SourceError(f"{title} has an entry that may not be unpacked: {entry.name!r}")


def stays_inside(name: str) -> bool:
    """Whether a path of an archive is relative, plain and without a step up, on every operating system."""
    parts = name.split("/")
    return not (set(parts) & {"", ".", ".."} or re.search(r"[\\:\x00-\x1f]", name))


def _chosen(entries: Sequence[_Entry], member: str, title: str, package: str) -> dict[str, _Entry]:
    """The files of the wanted member, by name."""
    files = [entry for entry in entries if entry.open]
    inside = [entry for entry in files if entry.name == member or entry.name.startswith(f"{member}/")]
    if not inside:
        raise SourceError(f"{package} has no member {member!r}{_near(member, [entry.name for entry in files])}")
    chosen = {entry.name: entry for entry in inside}
    parents = {str(parent) for name in chosen for parent in PurePosixPath(name).parents}
    if len(chosen) != len(inside) or parents.intersection(chosen):
        raise SourceError(f"{title} holds two files of one name below {member!r}")
    return chosen


def _near(member: str, names: Sequence[str]) -> str:
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents} - {"."}
    near = did_you_mean(member, {*names, *folders})
    return near if near.startswith("; did") else did_you_mean("", {name.split("/")[0] for name in names})


@dataclass
class _Room:
    """Bytes that may still be decompressed, and what is said when they are used up."""

    refusal: str
    n_bytes: int

    def take(self, n_bytes: int) -> None:
        self.n_bytes -= n_bytes
        if self.n_bytes < 0:
            raise SourceError(self.refusal)


def _copy(entry: _Entry, path: Path, room: _Room) -> str:
    """Unpack one file and give the hash of what was written; the formats' own readers check its length."""
    digest = hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    assert entry.open is not None
    packed: IO[bytes]
    with entry.open() as packed, path.open("xb") as stream:
        while chunk := packed.read(_CHUNK):
            room.take(len(chunk))
            digest.update(chunk)
            stream.write(chunk)
    return digest.hexdigest()
