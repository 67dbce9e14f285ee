"""What is shown while a study runs: how far every piece has come and how long all of it will take.

`Board` keeps the figures, a terminal shows them as a live table or as plain lines, a run's log as lines; who wants it
quiet sees results alone.
"""

from __future__ import annotations

import math
import operator
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
from kdrec.terminal import show, spelled

FOUND_SECONDS: Final = 0.5
"""A trial that came faster than this was found in the store and says nothing of how long training takes; nor do several
at once, which is how a teacher comes that was made before."""

MOST_ROWS: Final = 24
"""A live table with more pieces than this shows only those at work, and counts the others; so does one that would not
fit the height of the screen, of which something else needs `SPARE_ROWS`."""

SPARE_ROWS: Final = 6

ROOM_FOR_BARS: Final = 100
"""Columns of a screen from which on a piece has a bar, and room beside it for what it did last, scores included."""

BAR: Final = 16
GAP: Final = 3
"""Columns of the screen between two of a table."""

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

    def share(self) -> float:
        """How much of the work is done, from 0 to 1; what failed takes no more."""
        with self._lock:
            sizes = [state.piece.units * state.piece.cost for state in self._states.values()]
            parts = [
                1.0 if state.state in ("done", "failed") else min(1.0, state.done / max(1, state.expected))
                for state in self._states.values()
            ]
        return sum(map(operator.mul, sizes, parts)) / (sum(sizes) or 1.0)

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
        return "  ".join([part, state.message, *(f"[{left}]" for left in self._left_text())])

    def table(self, width: int = 100, height: int = 100) -> RenderableType:
        """All pieces as a table for a screen of this size, with the time so far and the time left below."""
        states = list(self._states.values())
        fits = len(states) <= min(MOST_ROWS, height - SPARE_ROWS)
        shown = states if fits else [s for s in states if s.state in ("at work", "failed")]
        hidden = [s for s in states if s not in shown]
        counts = [f"{sum(s.state == kind for s in hidden)} {kind}" for kind in ("waiting", "done")] if hidden else []
        elapsed = f"{duration(self._clock() - self._started)} so far"
        words = ", ".join([*counts, elapsed, *self._left_text()])
        shape = _broad if width >= ROOM_FOR_BARS else _narrow
        return Group(shape(shown, width), Text(words, style="bold"))

    def _left_text(self) -> list[str]:
        """How long it still takes, in words; none while nothing is known of it, and none at the end."""
        seconds = self.eta()
        return [f"about {roughly(seconds)} left"] if seconds else []


_STYLES: Final = {"waiting": "dim", "at work": None, "done": "green", "failed": "red"}


def _broad(states: Sequence[_State], width: int) -> Table:
    """A line a piece, with a bar."""
    names = min(max((len(state.piece.name) for state in states), default=0), width // 3)
    counts = _widest_count(states)
    table = _of_columns(part=names, bar=BAR, done=counts, last=width - names - BAR - counts - 3 * GAP)
    for state in states:
        bar = ProgressBar(total=max(state.expected, 1), completed=state.done, width=BAR)
        last = Text(state.message or state.state)
        table.add_row(state.piece.name, bar, _count(state), last, style=_STYLES[state.state])
    return table


def _narrow(states: Sequence[_State], width: int) -> Table:
    """A piece with how far it is, and below it what it did last, if that is still news."""
    counts = _widest_count(states)
    table = _of_columns(part=width - counts - GAP, done=counts)
    for state in states:
        news = f"\n  {state.message}" if state.message and state.state in ("at work", "failed") else ""
        table.add_row(Text(f"{state.piece.name}{news}"), _count(state), style=_STYLES[state.state])
    return table


def _of_columns(**widths: int) -> Table:
    """An empty table of these widths: left to itself, it would squeeze a short column away before a long one."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for name, width in widths.items():
        justify: Literal["left", "right"] = "right" if name == "done" else "left"
        table.add_column("" if name == "bar" else name, width=width, justify=justify, no_wrap=True, overflow="ellipsis")
    return table


def _count(state: _State) -> str:
    return f"{state.done}/{state.expected}"


def _widest_count(states: Sequence[_State]) -> int:
    return max([len("done"), *(len(_count(state)) for state in states)])


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
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            with Live(
                get_renderable=lambda: board.table(*self.console.size), console=self.console, refresh_per_second=2
            ):
                yield lambda name: None
        else:
            yield lambda name: self.say(board.line(name))

    def show(self, what: RenderableType) -> None:
        """As in `Outlet`."""
        show(what, self.console)

    def say(self, line: str) -> None:
        """As in `Outlet`."""
        self.console.file.write(f"{datetime.now():%H:%M:%S}  {spelled(line)}\n")
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
        self.write(spelled(f"\n{to_text(what, width=120)}"))

    def say(self, line: str) -> None:
        """As in `Outlet`."""
        self.write(spelled(line))


class Quiet:
    """Another outlet without what happens on the way: results alone."""

    def __init__(self, outlet: Outlet) -> None:
        self.show = outlet.show

    @contextmanager
    def screen(self, board: Board) -> Iterator[Show]:
        """As in `Outlet`."""
        yield lambda name: None

    def say(self, line: str) -> None:
        """As in `Outlet`."""


def roughly(seconds: float) -> str:
    """Seconds to come, no more exact than they are foretold: in tens, then whole minutes, then tens of minutes.

    >>> roughly(3), roughly(130), roughly(7500)
    ('10 s', '3 min', '2 h 10 min')
    """
    if seconds <= 50:
        return f"{10 * max(1, math.ceil(seconds / 10))} s"
    minutes = math.ceil(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(10 * math.ceil(seconds / 600), 60)
    return f"{hours} h {rest:02} min"


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
