"""The rules of retention, one function a kind of file: what the store and the clock say of it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kdrec.home import Home
from kdrec.retention.items import Fate, Item, stamp
from kdrec.retention.removal import HELD, LINK, is_held
from kdrec.signals import checkpoint_of
from kdrec.sources import DAY_SECONDS, is_temporary
from kdrec.trace import TRACE, may_be_chosen, recorded_trace, select
from kdrec.tracking import Recorded

Verdict = tuple[Fate, str]
"""With the reason."""

RECENT_SECONDS: Final = 3600.0

_KEY: Final = "[0-9a-f]{64}"
_NAMES: Final = {
    "checkpoints": re.compile(rf"{_KEY}\.safetensors"),
    "logits": re.compile(rf"{_KEY}\.safetensors"),
    "students": re.compile(rf"{_KEY}\.safetensors"),
    "tokens": re.compile(rf"{_KEY}\.tokens"),
}
_WEIGHTS: Final = _NAMES["logits"]
_FOREIGN: Final = "it has no name that kdrec gives"


@dataclass(frozen=True)
class _Entry:
    """One directory entry, as it is, not as what it leads to."""

    path: Path
    status: os.stat_result

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.status.st_mode)

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    def item(self, kind: str, verdict: Verdict, lock: str | None = None) -> Item:
        fate, reason = verdict
        return Item(
            path=self.path,
            kind=kind,
            fate=fate,
            reason=reason,
            n_bytes=self.status.st_size if self.is_file else 0,
            lock=lock,
            stamp=stamp(self.status),
        )

    def left(self, kind: str) -> Item:
        """As it is when it is nothing that this room may judge."""
        return self.item(kind, ("left", LINK if stat.S_ISLNK(self.status.st_mode) else _FOREIGN))


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Judges the files of a home at one moment; see `kdrec.retention`."""

    home: Home
    known: Recorded
    keep_days: int
    now: float

    def all(self) -> Iterator[Item]:
        """Every file of the five folders."""
        teachers = self.home.root / "teachers"
        selected = {path.name: _selected(path) for path in _listed(teachers)}
        yield from self._folder("checkpoints", self._checkpoint, guarded=True)
        for entry in _entries(teachers):
            if entry.is_folder and re.fullmatch(_KEY, entry.path.name):
                yield from self._teacher(entry.path, selected.get(entry.path.name, _NOTHING))
            else:
                yield entry.left("teachers")
        yield from self._folder("logits", lambda entry: self._logits(entry, selected.values()))
        again = "its trial can be trained again for it"
        yield from self._folder("students", lambda entry: self._by_use(entry, again), guarded=True)
        yield from self._folder("tokens", lambda entry: self._by_use(entry, "it is made again when it is wanted"))

    def _folder(self, kind: str, judge: Callable[[_Entry], Verdict], *, guarded: bool = False) -> Iterator[Item]:
        """Every entry of a folder without folders; a guarded file has a lock of its name."""
        for entry in _entries(self.home.root / kind):
            if entry.is_file and is_temporary(entry.path.name):
                yield entry.item("temporary", self._temporary(entry))
            elif entry.is_file and _NAMES[kind].fullmatch(entry.path.name):
                yield entry.item(kind, judge(entry), entry.path.stem if guarded else None)
            else:
                yield entry.left(kind)

    def _checkpoint(self, entry: _Entry) -> Verdict:
        trial = entry.path.stem
        if is_held(self.home, trial):
            return "stays", HELD
        if trial in self.known.finished:
            return "goes", "its trial is finished"
        if trial in self.known.begun:
            return "stays", "its trial is not finished and goes on from it"
        return self._by_use(entry, "no run of the store knows its trial")

    def _logits(self, entry: _Entry, selected: Iterable[_Selected]) -> Verdict:
        checkpoint = checkpoint_of(entry.path)
        teachers = [one for one in selected if checkpoint in one.checkpoints]
        if any(one.measures in self.known.awaited for one in teachers):
            return "stays", "a cell of its teacher is not finished"
        if checkpoint is not None and not teachers and self._idle(entry) >= RECENT_SECONDS:
            return "goes", "its teacher is no longer here"
        return self._by_use(entry, "one pass of its teacher makes it again")

    def _teacher(self, folder: Path, selected: _Selected) -> Iterator[Item]:
        """Every entry of a teacher's folder."""
        guard = f"teacher-{folder.name}"
        entries = list(_entries(folder))
        verdict = self._whole_teacher(folder.name, guard, selected, entries)
        for entry in entries:
            name = entry.path.name
            if not entry.is_file or not (name == TRACE or _WEIGHTS.fullmatch(name) or is_temporary(name)):
                yield entry.left("teachers")
            elif verdict[1] == HELD:
                yield entry.item("teachers", verdict, guard)
            elif is_temporary(name):
                yield entry.item("temporary", self._temporary(entry), guard)
            elif selected.leaves_out(name) and self._idle(entry) >= RECENT_SECONDS:
                yield entry.item("teachers", ("goes", "its trace does not select it"), guard)
            else:
                yield entry.item("teachers", verdict, guard)

    def _whole_teacher(self, key: str, guard: str, selected: _Selected, entries: Sequence[_Entry]) -> Verdict:
        """Of trace and selected weights together; the newest file says when they were used."""
        if is_held(self.home, guard):
            return "stays", HELD
        if self.known.names(key, selected.measures):
            return "stays", "without it a study run again would fine-tune anew"
        newest = min(entries, key=self._idle, default=None)
        return ("stays", "") if newest is None else self._by_use(newest, "no run of the store knows this teacher")

    def _temporary(self, entry: _Entry) -> Verdict:
        if self._idle(entry) < DAY_SECONDS:
            return "stays", "it may still be written"
        return "goes", "its writer was killed"

    def _by_use(self, entry: _Entry, why: str) -> Verdict:
        """Keep what was used of late; `why` says what speaks for letting go of the rest."""
        idle = self._idle(entry)
        if idle < RECENT_SECONDS:
            return "stays", "used within the last hour"
        if idle < self.keep_days * DAY_SECONDS:
            return "stays", f"used within the last {_days(self.keep_days)}"
        return "goes", f"{why}, and it was not used for {_days(self.keep_days)}" if self.keep_days else why

    def _idle(self, entry: _Entry) -> float:
        """Seconds since its last use; none of what comes from a clock that is ahead."""
        return max(0.0, self.now - entry.status.st_mtime)


@dataclass(frozen=True)
class _Selected:
    """Hashes of the weights that a trace selects or may yet select, and what its t_ll measured."""

    checkpoints: frozenset[str]
    measures: tuple[float, float, float] | None

    def leaves_out(self, name: str) -> bool:
        """Whether these are weights that a whole trace does not select."""
        return bool(self.checkpoints) and name != TRACE and Path(name).stem not in self.checkpoints


_NOTHING: Final = _Selected(frozenset(), None)


def _selected(folder: Path) -> _Selected:
    record = recorded_trace(folder)
    trace = record.candidates
    if not trace or record.unfinished:  # a run at work may yet select any of its weights
        return _NOTHING
    chosen = select(trace)
    t_ll, wanted = chosen.t_ll, {candidate.checkpoint for candidate in may_be_chosen(trace)}
    return _Selected(chosen.checkpoints | wanted, (t_ll.score, t_ll.loss, t_ll.ece))


def _entries(folder: Path) -> Iterator[_Entry]:
    """Entries of a folder in order; of a link in its place, that alone."""
    for path in [folder] if folder.is_symlink() else _listed(folder):
        try:
            yield _Entry(path, path.lstat())
        except FileNotFoundError:
            continue  # done with since it was listed


def _listed(folder: Path) -> list[Path]:
    """Paths in a folder, in order."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _days(number: int) -> str:
    return "1 day" if number == 1 else f"{number} days"
