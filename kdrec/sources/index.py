"""The package index, through the `pip` client and whatever its user told it: an archive of a package, hash checked.

`pip download` brings wheels. It would build a source distribution only to know its metadata, and running a stranger's
build is what this room exists to avoid; so `pip` is let look for wheels only, says in its log which source
distributions it passed over, and `_BRING` takes one of those through the same index, proxy, certificates and
credentials, as bytes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from kdrec.errors import KdrecError, SourceError, did_you_mean
from kdrec.sources.archives import MOST_BYTES
from kdrec.sources.files import atomic_write, cannot_write, sha256_file

_PASSED_OVER = re.compile(r"Skipping link: No sources permitted for \S+: (\S+)")
_SOURCE: Final = (".tar.gz", ".tgz")
_BRING: Final = """
import sys
from pip._internal.commands import create_command
address, path, most_bytes = sys.argv[1], sys.argv[2], int(sys.argv[3])
command = create_command("download")
with command.main_context(), open(path, "xb") as stream:
    options, _ = command.parse_args(["--no-input"])
    session = command.get_default_session(options)
    answer = session.get(address, stream=True, headers={"Accept-Encoding": "identity"})
    answer.raise_for_status()
    for chunk in answer.iter_content(1 << 20):
        stream.write(chunk)
        if stream.tell() > most_bytes:
            sys.exit(f"ERROR: larger than {most_bytes >> 20} MiB")
"""
"""pip's session is no public door, but it alone knows all of its user's settings. Nothing but pip is imported."""


def bring(package: str, version: str, sha256: str, folder: Path) -> Path:
    """Bring the wheel or the source distribution that has a hash.

    Parameters
    ----------
    package, version : str
        Whose archive; the version as it is published.
    sha256 : str
        Of the archive, in 64 lower-case digits.
    folder : pathlib.Path
        An empty folder to download into.

    Returns
    -------
    pathlib.Path
        The archive, with the right hash, not opened yet.

    Raises
    ------
    SourceError
        When there is none, or the index gives other bytes; the text says why, without credentials.
    KdrecError
        When there is no room to write.
    """
    wanted = f"{package}=={version}"
    said = _ask_for_wheel(wanted, sha256, folder)
    if said is None:
        return _checked(wanted, sha256, folder)
    refusal = _refusal(wanted, version, said, folder)
    wheel = re.search(r"DO NOT MATCH THE HASHES.*?Got\s+([0-9a-f]{64})", said, re.DOTALL)
    if not wheel and "No matching distribution found" not in said:
        raise refusal
    given = [wheel[1]] if wheel else []
    for address in _sources(package, version, said):
        path = folder / f"{len(given)}{_SOURCE[0]}"
        _take(wanted, version, address, path)
        if (got := sha256_file(path)) == sha256:
            return path
        given.append(got)
    raise _wrong_hash(wanted, sha256, given) if given else refusal


def _ask_for_wheel(wanted: str, sha256: str, folder: Path) -> str | None:
    """Let `pip` bring the wheel, with the user's configuration; what it said when it did not."""
    requirement = folder / "requirement.txt"
    atomic_write(requirement, f"{wanted} --hash=sha256:{sha256}\n".encode())
    options = ["-vv", "--no-input", "--progress-bar=off", "--disable-pip-version-check"]
    options += ["--no-deps", "--only-binary=:all:", "--require-hashes"]
    return _run("-m", "pip", "download", *options, f"--requirement={requirement}", f"--dest={folder}")


def _run(*arguments: str) -> str | None:
    """Run this Python; what it said when it failed."""
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL
    )
    return done.stdout + done.stderr if done.returncode else None


def _checked(wanted: str, sha256: str, folder: Path) -> Path:
    """The wheel that `pip` brought; its hash is checked again, whatever pip did."""
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise SourceError(f"expected one wheel of {wanted} from the package index, got {len(wheels)}")
    if (got := sha256_file(wheels[0])) != sha256:
        raise _wrong_hash(wanted, sha256, [got])
    return wheels[0]


def _sources(package: str, version: str, said: str) -> list[str]:
    """Addresses of the source distributions of this version that `pip` passed over, each once, in its order."""
    names = [_plain(f"{package}-{version}{extension}") for extension in _SOURCE]
    addresses = dict.fromkeys(re.sub(r"#.*|(?<=//)[^/@]*@", "", link) for link in _PASSED_OVER.findall(said))
    return [address for address in addresses if _plain(unquote(address.rpartition("/")[2])) in names]


def _plain(name: str) -> str:
    """A file's name in the normal form of package names: what differs only in '-', '_' and '.' is one."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _take(wanted: str, version: str, address: str, path: Path) -> None:
    said = _run("-c", _BRING, address, str(path), str(MOST_BYTES))
    if said is not None:
        raise _refusal(wanted, version, said, path.parent)


def _wrong_hash(wanted: str, sha256: str, given: list[str]) -> SourceError:
    return SourceError(
        f"{wanted} must have the sha256 {sha256}, the package index gave {' and '.join(given)}; nothing was kept"
    )


def _refusal(wanted: str, version: str, said: str, folder: Path) -> KdrecError:
    """One sentence for why `pip` brought nothing; its own words only where ours do not fit, without credentials."""
    if "No space left on device" in said or "Disk quota exceeded" in said or "File too large" in said:
        return KdrecError(cannot_write(folder.parent, 28, f"no space left for {wanted}"))
    if "No module named pip" in said:
        return SourceError(f"cannot fetch {wanted}: this Python has no pip; `{sys.executable} -m ensurepip` adds it")
    if re.search(r"\b(401|403) (Client )?Error|HTTP error (401|403)", said):
        return SourceError(f"cannot fetch {wanted}: the package index refused access; check the credentials pip uses")
    unreachable = re.search(r"connection broken by|Max retries exceeded|Could not fetch URL|timed out", said)
    if "No matching distribution found" in said:
        return _not_found(wanted, version, said, bool(unreachable))
    if unreachable:
        return SourceError(f"cannot fetch {wanted}: no network, or the package index could not be reached")
    errors = re.findall(r"^\s*ERROR: (.+)$", said, re.MULTILINE) or said.strip().splitlines() or ["no reason given"]
    return SourceError(f"cannot fetch {wanted}: pip said {without_credentials(errors[-1])!r}")


def _not_found(wanted: str, version: str, said: str, unreachable: bool) -> SourceError:
    this = re.escape(version)
    if re.search(rf"No sources permitted for \S+: \S*-{this}\.(tar|zip|tgz)|wheel's tags.*-{this}-", said):
        return SourceError(f"{wanted} has no wheel for this machine and no source distribution as .tar.gz")
    also = ", and an index could not be reached" if unreachable else ""
    versions = re.findall(r"[^,\s]+", (re.findall(r"\(from versions: ([^)]*)\)", said) or ["none"])[-1])
    near = did_you_mean(version, versions) if versions != ["none"] else ""
    return SourceError(f"{wanted} was not found on the package indexes that pip is configured for{also}{near}")


def without_credentials(text: str) -> str:
    """`text` with the user and password of every address replaced by stars."""
    return re.sub(r"(\w+://)[^/\s]+@", r"\1****@", text)
