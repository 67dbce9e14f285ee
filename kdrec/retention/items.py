"""The nouns of retention: a file and what becomes of it, and how many there are of each kind."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from kdrec.home import Home

Fate = Literal["goes", "gone", "stays", "left", "failed"]
"""To be deleted, deleted, needed, not judged, and refused by the system."""

_ORDER: Final[tuple[Fate, ...]] = ("failed", "gone", "goes", "left", "stays")


@dataclass(frozen=True)
class Total:
    """Files, and bytes in them."""

    files: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Item:
    """One file, or one link or folder that is left, and what becomes of it; `lock` names what guards it."""

    path: Path
    kind: str
    fate: Fate
    reason: str
    n_bytes: int
    lock: str | None = None
    stamp: tuple[int, int, int] = (0, 0, 0)
    """What `stamp` said when it was judged."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """All files of a home that were judged."""

    home: Home
    keep_days: int
    items: tuple[Item, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: counts and bytes by fate, and every file."""
        fates = sorted({item.fate for item in self.items})
        files = [
            {"path": str(item.path), "kind": item.kind, "fate": item.fate, "bytes": item.n_bytes, "reason": item.reason}
            for item in self.items
        ]
        return {
            "home": str(self.home.root),
            "keep_days": self.keep_days,
            "totals": {fate: asdict(self.total(fate)) for fate in fates},
            "files": files,
        }

    def total(self, *fates: Fate) -> Total:
        """How many files have one of these fates, and their bytes."""
        chosen = [item.n_bytes for item in self.items if item.fate in fates]
        return Total(files=len(chosen), bytes=sum(chosen))

    def groups(self) -> dict[tuple[Fate, str, str], Total]:
        """Files and bytes by fate, kind and reason: first what goes, then what is left, then what stays."""
        sizes: dict[tuple[Fate, str, str], list[int]] = {}
        for item in sorted(self.items, key=lambda item: (_ORDER.index(item.fate), item.kind)):
            sizes.setdefault((item.fate, item.kind, item.reason), []).append(item.n_bytes)
        return {group: Total(files=len(some), bytes=sum(some)) for group, some in sizes.items()}


def stamp(status: os.stat_result) -> tuple[int, int, int]:
    """What changes when a file is used, written or replaced: inode, size, and time of change in nanoseconds."""
    return status.st_ino, status.st_size, status.st_mtime_ns
