"""What is shown while a study runs: how far every piece has come and how long all of it will take.

`Board` keeps the figures, a terminal shows them as a live table or as plain lines, a run's log as lines.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flows.pieces import Piece, Told
from kdrec.report import to_text

FOUND_SECONDS: Final = 0.5
"""A trial that came faster than this was found in the store and says nothing of how long training takes; nor do several
at once, which is how a teacher comes that was made before."""

MOST_ROWS: Final = 24
"""A live table with more pieces than this shows only those at work, and counts the others."""

Show = Callable[[str], None]


@dataclass
class _State:
    """How one piece stands; `cost` is the work done in units of `Piece.cost`, `seconds` what it took."""

    piece: Piece
    state: Literal["waiting", "at work", "done", "failed"] = "waiting"
    done: int = 0
    expected: int = 1
    message: str = ""
    since: float = 0.0
    seconds: float = 0.0
    cost: float = 0.0


class Board:
    """Figures of all pieces of a study; safe to tell from several threads.

    Parameters
    ----------
    pieces : sequence of Piece
        In the order in which they are shown.
    workers : int
        Processes that share the work.
    clock : callable
        Seconds that only grow.
    """

    def __init__(self, pieces: Sequence[Piece], workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._workers, self._clock = workers, clock
        self._states = {piece.name: _State(piece, expected=piece.units) for piece in pieces}
        self._width = max(map(len, self._states), default=0)
        self._lock = threading.Lock()
        self._started = clock()

    def hear(self, told: Told) -> bool:
        """Take in what a worker told; whether it is news (its last words may come after its end)."""
        with self._lock:
            state, now = self._states[told.piece], self._clock()
            if state.state in ("done", "failed"):
                return False
            new = told.done - state.done
            if state.state == "at work" and new == 1 and now - state.since >= FOUND_SECONDS:
                state.seconds += now - state.since
                state.cost += state.piece.cost
            if new or state.state == "waiting":
                state.since = now
            state.state, state.done, state.message = "at work", told.done, told.message
            state.expected = max(told.expected, told.done) if told.done else state.expected
            return True

    def finish(self, name: str, message: str, *, failed: bool = False) -> None:
        """A piece has come to its end."""
        with self._lock:
            state = self._states[name]
            state.state, state.message = ("failed" if failed else "done"), message
            if not failed:
                state.expected = state.done = max(state.done, 1)

    def eta(self) -> float | None:
        """Seconds to the end of all: shared by the workers, but no sooner than the longest way through one cell.

        None while nothing was measured; a piece that has measured itself goes by its own speed.
        """
        with self._lock:
            pace = self._pace()
            left = {name: self._left(state, pace) for name, state in self._states.items()}
        known = {name: seconds for name, seconds in left.items() if seconds is not None}
        if len(known) < len(left):
            return None
        ways = [known[name] + known.get(state.piece.needs or "", 0.0) for name, state in self._states.items()]
        return max(sum(known.values()) / self._workers, *ways)

    def _pace(self) -> float | None:
        """Seconds that a unit of cost took over all pieces: summed once an answer, as a thousand pieces ask for it."""
        cost = sum(state.cost for state in self._states.values())
        return sum(state.seconds for state in self._states.values()) / cost if cost else None

    def _left(self, state: _State, pace: float | None) -> float | None:
        """Seconds of work left in one piece, by its own pace where it has one."""
        if state.state in ("done", "failed"):
            return 0.0
        if state.cost:
            pace = state.seconds / state.cost
        if pace is None:
            return None
        unit = state.piece.cost * pace
        spent = min(self._clock() - state.since, unit) if state.state == "at work" else 0.0
        return max(0.0, (state.expected - state.done) * unit - spent)

    def line(self, name: str) -> str:
        """One piece as a line of a log."""
        state = self._states[name]
        part = f"{name:<{self._width}}  {state.done:>2}/{state.expected:<2}"
        return f"{part}  {state.message}  [{self._eta_text()}]"

    def table(self) -> RenderableType:
        """All pieces as a table with the ETA below."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
        table.add_column("part", no_wrap=True)
        table.add_column("", width=16)
        table.add_column("done", justify="right", no_wrap=True)
        table.add_column("last", overflow="ellipsis", no_wrap=True)
        styles = {"waiting": "dim", "at work": None, "done": "green", "failed": "red"}
        states = list(self._states.values())
        shown = states if len(states) <= MOST_ROWS else [s for s in states if s.state in ("at work", "failed")]
        for state in shown:
            bar = ProgressBar(total=max(state.expected, 1), completed=state.done, width=16)
            done, message = f"{state.done}/{state.expected}", state.message or state.state
            table.add_row(state.piece.name, bar, done, Text(message), style=styles[state.state])
        hidden = [s for s in states if s not in shown]
        counts = [f"{sum(s.state == kind for s in hidden)} {kind}" for kind in ("waiting", "done")] if hidden else []
        elapsed = f"{duration(self._clock() - self._started)} so far"
        return Group(table, Text(", ".join([*counts, elapsed, self._eta_text()]), style="bold"))

    def _eta_text(self) -> str:
        seconds = self.eta()
        return "ETA not known yet" if seconds is None else f"ETA {duration(seconds)}"


class Outlet(Protocol):
    """Where a study shows itself."""

    def screen(self, board: Board) -> AbstractContextManager[Show]:
        """Show a board until the end of the block; the value is called with the name of a piece that moved."""

    def show(self, what: RenderableType) -> None:
        """Show a table or a text."""

    def say(self, line: str) -> None:
        """Show one line of what happens."""


class Terminal:
    """Standard output: a live table on a screen, plain lines into a pipe or file."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120)

    @contextmanager
    def screen(self, board: Board) -> Iterator[Show]:
        """As in `Outlet`."""
        if self.console.is_terminal:
            with Live(get_renderable=board.table, console=self.console, refresh_per_second=2):
                yield lambda name: None
        else:
            yield lambda name: self.say(board.line(name))

    def show(self, what: RenderableType) -> None:
        """As in `Outlet`."""
        self.console.print(what)

    def say(self, line: str) -> None:
        """As in `Outlet`."""
        self.console.file.write(f"{datetime.now():%H:%M:%S}  {line}\n")
        self.console.file.flush()


class Log:
    """The log of a run: lines, and tables as plain text."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self.write = write

    @contextmanager
    def screen(self, board: Board) -> Iterator[Show]:
        """As in `Outlet`."""
        yield lambda name: self.write(board.line(name)) and None

    def show(self, what: RenderableType) -> None:
        """As in `Outlet`."""
        self.write(f"\n{to_text(what, width=120)}")

    def say(self, line: str) -> None:
        """As in `Outlet`."""
        self.write(line)


def duration(seconds: float) -> str:
    """Seconds for a person.

    >>> duration(7), duration(130), duration(7500)
    ('7 s', '2 min 10 s', '2 h 05 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
