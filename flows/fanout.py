"""Cells of a study handed to somebody else, waited for and summed up; who does them is behind `Pool`.

A cell's errand has a key made from all that decides its result and not from the study's own flow run, so a study that
is run again waits for cells that are still at work, and starts anew those that ended, in whatever way: what a finished
one did is found in the store. Two studies that ask at once get one run: both count the same number of past ones.

Cells go out one of each task first. Their teachers are guarded by locks in the home: a cell whose teacher another one
is making waits for it, which is right and only idles its place; so the order gives the first places to different
teachers. To hold the others back until a task's first cell has ended would idle the pool for the whole of its search.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeVar

import kdrec
from flows.life import is_gone
from flows.pieces import Piece
from flows.reference import Reference
from kdrec.errors import KdrecError, MismatchError, redacted
from kdrec.home import Home
from kdrec.studies import Cell, Study

POLL_SECONDS: Final = 3.0
PATIENCE_SECONDS: Final = 600.0
"""So long a server may be away before the study gives up (its cells go on)."""

LIFELESS_SECONDS: Final = 120.0
"""A run without a process for so long, which still reads RUNNING, is taken for crashed."""

IDLE_SECONDS: Final = 60.0
"""When nothing began for so long, the user is told what may be missing."""

MOST_CRASHES: Final = 3
"""A cell whose process was killed this often is given up."""

T = TypeVar("T")


class Unreachable(RuntimeError):
    """The server behind a pool did not answer; it may later."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of a cell, as far as a study looks at it; `reference` is there when it is done and said what it found."""

    id: str
    name: str
    state: Literal["waiting", "at work", "done", "failed", "crashed", "cancelled"]
    message: str = ""
    reference: Reference | None = None


class Pool(Protocol):
    """Where cells are sent. Every call may raise `Unreachable`."""

    name: str

    def check(self) -> None:
        """Refuse a pool that cannot take the cells of this study, in a `KdrecError`."""

    def living(self, key: str) -> Run | None:
        """The run of a key that waits or works, if there is one."""

    def count(self, key: str) -> int:
        """How many runs of a key there ever were."""

    def start(self, cell: Cell, key: str, idempotency_key: str) -> Run:
        """A new run of a cell, or the one that there is with this idempotency key."""

    def look(self, ids: Sequence[str]) -> list[Run]:
        """These runs as they stand now."""

    def bury(self, run_id: str) -> None:
        """Mark a run as crashed, whose process is gone."""

    def abandon(self, ids: Sequence[str]) -> bool:
        """The study ends before these runs: cancel them if that is what the study was, and say whether it was."""


@dataclass(frozen=True, kw_only=True)
class FannedOut:
    """What came of the cells, in the order of the study: a reference, or why there is none."""

    found: dict[Cell, Reference]
    failed: dict[Cell, str]


def key_of(study: Study, cell: Cell, home: Home, deployment: str) -> str:
    """Name of an errand: equal for equal work, so without the study's own flow run; see the head of this file."""
    files = [Path(file) for own in study.data.values() for file in own.files()]
    place = redacted(f"{home.shared} {home.tracking_uri}") if is_apart(home) else str(home.root)
    content = repr((study, [_digest(file) for file in files], place, deployment))
    return f"kdrec-{hashlib.sha256(content.encode()).hexdigest()[:16]}-{cell}"


def is_apart(home: Home) -> bool:
    """Whether cells may have homes of their own: teachers come from a shelf, and trials are found on a server.

    Otherwise they need the home of the study, and its path is passed on.
    """
    return home.shared is not None and home.store_file is None


def _digest(file: Path) -> str:
    if not file.is_file():
        return ""  # refused by the cell itself
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def one_of_each_task_first(pieces: Iterable[Piece]) -> tuple[Cell, ...]:
    """Cells in rounds over the tasks, within a task as they come (from the heaviest down)."""
    by_task: dict[str, list[Cell]] = {}
    for piece in pieces:
        if piece.role == "cell":
            by_task.setdefault(piece.task, []).append(Cell(task=piece.task, student=piece.model))
    rounds = itertools.zip_longest(*by_task.values())
    return tuple(cell for one_round in rounds for cell in one_round if cell is not None)


@dataclass
class _Errand:
    """A cell on its way."""

    cell: Cell
    key: str
    run: Run
    crashes: int = 0
    gone_since: float | None = None


@dataclass
class FanOut:
    """Sends cells to a pool and waits for all of them; `say` gets one sentence for everything that happens."""

    study: Study
    home: Home
    pool: Pool
    say: Callable[[str], object]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep
    _open: list[_Errand] = field(default_factory=list)
    _found: dict[Cell, Reference] = field(default_factory=dict)
    _failed: dict[Cell, str] = field(default_factory=dict)

    def run(self, cells: Sequence[Cell]) -> FannedOut:
        """Send cells in this order; returns when the last one has ended.

        Raises
        ------
        KdrecError
            When the pool cannot take the cells, or the server was away for `PATIENCE_SECONDS`. Cells at work go on.
        """
        self._patiently(self.pool.check)
        try:
            for cell in cells:
                self._send(cell, key_of(self.study, cell, self.home, self.pool.name))
            self._wait()
        except KdrecError:
            raise
        except BaseException:
            cancelled = self.pool.abandon([errand.run.id for errand in self._open])
            self.say(
                "The study is cancelled, and its cells with it."
                if cancelled
                else "The study ends here; its cells at work go on, and the study run again waits for them."
            )
            raise
        order = self.study.cells()
        return FannedOut(
            found={cell: self._found[cell] for cell in order if cell in self._found},
            failed={cell: self._failed[cell] for cell in order if cell in self._failed},
        )

    def n_ended(self) -> int:
        """How many cells have come to their end, whatever it was."""
        return len(self._found) + len(self._failed)

    def _send(self, cell: Cell, key: str, crashes: int = 0) -> None:
        run = self._patiently(lambda: self.pool.living(key))
        if run is not None:
            self.say(f"{cell}: flow run {run.name!r} is {run.state} since before; waiting for it.")
        else:
            number = self._patiently(lambda: self.pool.count(key))
            run = self._patiently(lambda: self.pool.start(cell, key, f"{key}-{number}"))
            self.say(f"{cell}: sent to {self.pool.name} as flow run {run.name!r}.")
        self._open.append(_Errand(cell, key, run, crashes))

    def _wait(self) -> None:
        begun, told = self.clock(), False
        while self._open:
            self.sleep(POLL_SECONDS)
            seen = {run.id: run for run in self._patiently(lambda: self.pool.look([e.run.id for e in self._open]))}
            for errand in tuple(self._open):
                self._take_in(errand, seen.get(errand.run.id))
            idle = all(errand.run.state == "waiting" for errand in self._open) and not self._found
            if idle and not told and self.clock() - begun >= IDLE_SECONDS:
                told = True
                self.say(
                    f"no cell has begun for a minute: is a worker running for {self.pool.name}, and does its limit "
                    "leave room beside this study's own run?"
                )

    def _take_in(self, errand: _Errand, seen: Run | None) -> None:
        run = seen or Run(id=errand.run.id, name=errand.run.name, state="failed", message="its flow run was deleted")
        if run.state == "at work" and errand.run.state == "waiting":
            self.say(f"{errand.cell}: at work.")
        errand.run = run
        if run.state == "at work":
            self._look_for_life(errand)
        elif run.state != "waiting":
            self._open.remove(errand)
            self._end(errand)

    def _look_for_life(self, errand: _Errand) -> None:
        """A run whose process is gone is buried; what comes of that is seen at the next look."""
        if not is_gone(self.home, errand.run.id):
            errand.gone_since = None
            return
        errand.gone_since = self.clock() if errand.gone_since is None else errand.gone_since
        if self.clock() - errand.gone_since >= LIFELESS_SECONDS:
            self._patiently(lambda: self.pool.bury(errand.run.id))

    def _end(self, errand: _Errand) -> None:
        cell, run = errand.cell, errand.run
        if run.state == "crashed" and errand.crashes + 1 < MOST_CRASHES:
            self.say(f"{cell}: its process was killed ({run.message or 'nobody said why'}); starting it anew.")
            self._send(cell, errand.key, errand.crashes + 1)
        elif run.state == "done" and run.reference is not None:
            self._found[cell] = run.reference
            new, old = run.reference.new, run.reference.found
            self.say(f"{cell}: done, {new} trials new and {old} found; MLflow run {run.reference.run_id}.")
        else:
            self._failed[cell] = _why(run)
            self.say(f"{cell}: {self._failed[cell]}")

    def _patiently(self, call: Callable[[], T]) -> T:
        """Call until the server answers, with growing pauses, for `PATIENCE_SECONDS` at most."""
        began, pause = self.clock(), POLL_SECONDS
        while True:
            try:
                return call()
            except Unreachable as error:
                if self.clock() - began + pause > PATIENCE_SECONDS:
                    raise KdrecError(
                        f"the Prefect server has not answered for {PATIENCE_SECONDS / 60:.0f} minutes ({error}); "
                        "cells at work go on, and the study run again waits for them"
                    ) from None
                self.say(f"the Prefect server does not answer ({error}); asking again in {pause:.0f} s.")
                self.sleep(pause)
                pause = min(2 * pause, 60.0)


def _why(run: Run) -> str:
    """Why a run brought nothing, in one sentence."""
    return {
        "done": f"flow run {run.name!r} ended and did not say what it found; is the worker's kdrec as new as this one?",
        "crashed": f"its process was killed {MOST_CRASHES} times; is there enough memory? ({run.message})",
        "cancelled": f"flow run {run.name!r} was cancelled",
    }.get(run.state, run.message.strip().splitlines()[-1] if run.message.strip() else "failed without a word")


def refusal(failed: dict[Cell, str], number: int) -> KdrecError:
    """One error for all cells that failed, of a number that was sent."""
    sentences = "; ".join(f"{cell}: {why}" for cell, why in failed.items())
    return KdrecError(f"{len(failed)} of {number} cells failed, the others are done: {sentences}")


def parameters(study_name: str, cell: Cell, home: Home) -> dict[str, Any]:
    """What a run of the flow `cell` is told; paths are absolute, because a worker may stand in another folder.

    Where homes are apart, each worker has the one that its `KDREC_HOME` names.
    """
    path = Path(study_name)
    named = path.suffix != ".toml" and len(path.parts) == 1
    study = study_name if named else str(path.expanduser().resolve())
    place = None if is_apart(home) else str(home.root)
    told = {"study": study, "task": cell.task, "student": cell.student, "home": place}
    return told | {"version": kdrec.__version__}


def home_of(told: str | None, *, sent: bool) -> Home:
    """The home of a run of the flow `cell`: the one it was told, or its worker's own.

    Raises
    ------
    MismatchError
        When a study sent the cell to a home of its own, and this worker would share nothing with it.
    """
    home = Home.at(told) if told else Home.from_env()
    if sent and not told and not is_apart(home):
        raise MismatchError(
            "this worker shares neither home nor shelf with the study that sent the cell: set KDREC_SHARED and "
            "KDREC_TRACKING_URI here as they are there"
        )
    return home
