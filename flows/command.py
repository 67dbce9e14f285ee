"""The commands `python -m flows.study` and `python -m flows.refresh`: on this machine, with nothing set up before.

Without a Prefect server of the user's (`PREFECT_API_URL`) one is started for the time of the command, with its
database under the kdrec home. Exit codes: 0 done, 2 the user or the world has to put something right, 130 interrupted.
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
import signal
import sys
import urllib.error
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from types import FrameType
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from flows import pieces
from flows.server import EmbeddedServer
from kdrec.errors import KdrecError, StoreError, redacted
from kdrec.home import Home, sqlite_uri
from kdrec.loopback import ask_directly, open_url
from kdrec.studies import Study
from kdrec.terminal import OneSentenceParser
from kdrec.tracking import Store

DATABASES: Final = ("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL")
EXIT_CODES: Final = (
    "Exit codes: 0 done; 2 something has to be put right, told in one sentence on standard error; 130 interrupted, and "
    "the same command goes on from there."
)


_PREFECTS: Final = frozenset({"prefect", "httpx", "httpcore"})
"""Packages whose errors are no fault of the study."""


def main(words: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    asked = _parser().parse_args(words)
    home = Home.at(asked.home) if asked.home else Home.from_env()
    return _ended(lambda: _run(asked, home))


def refresh(words: list[str] | None = None) -> int:
    """Run the command `python -m flows.refresh`; returns its exit code."""
    parser = OneSentenceParser(
        prog="python -m flows.refresh",
        description="Recommend anew for all that the history knows, and say what changed.",
    )
    parser.add_argument("--home", metavar="DIR", help="folder of studies, caches and history (KDREC_HOME, or ./.kdrec)")
    asked = parser.parse_args(words)
    return _ended(lambda: _refresh(Home.at(asked.home) if asked.home else Home.from_env()))


def _ended(run: Callable[[], None]) -> int:
    """Exit code of a command, after one sentence where it was refused or stopped."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        run()
    except KdrecError as error:
        print(f"kdrec: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except BaseException as error:
        if not _is_stop(error):
            raise
        print("Stopped; the same command goes on from here.", file=sys.stderr)  # noqa: T201
        return 130
    return 0


def _run(asked: argparse.Namespace, home: Home) -> None:
    study = pieces.find_study(asked.study)
    pieces.check(study)
    if not asked.quiet:
        print(f"Study {study.name}: starting, with all that is made under {home.root}", flush=True)  # noqa: T201
    if asked.cells_on and not os.environ.get("PREFECT_API_URL"):
        raise KdrecError("--cells-on needs the Prefect server that knows the deployment: set PREFECT_API_URL")
    server = _server(home)
    Store.open(home)  # an unreachable store is told at once, and a new one is made while the server starts
    from flows.study import study as flow

    if server is not None:
        server.wait_until_ready()
    try:
        flow(
            asked.study,
            home=str(home.root),
            workers=asked.workers,
            cells_on=asked.cells_on,
            ranks=asked.ranks,
            quiet=asked.quiet,
            minutes=asked.minutes,
        )
    except Exception as error:
        if not _is_prefects(error):
            raise
        print(f"kdrec: {_judged(study, home, error)}", file=sys.stderr)  # noqa: T201
    if not asked.quiet:
        print(_next_steps(study, asked.home))  # noqa: T201


def _is_prefects(error: Exception) -> bool:
    """Whether Prefect itself failed, and not the work that it was to run: its flow run or database may be gone."""
    if isinstance(error, KdrecError):
        return False
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    names = (type(error).__module__, "" if at is None else at.tb_frame.f_globals.get("__name__", ""))
    return any(str(name).partition(".")[0] in _PREFECTS for name in names)


def _judged(study: Study, home: Home, error: Exception) -> str:
    """The sentence for a study whose flow run Prefect lost, and whose cells are all searched.

    Raises
    ------
    KdrecError
        When the store says that they are not.
    """
    from flows.artifacts import reason_of

    lost = f"Prefect lost the run of this study ({reason_of(error)})"
    with suppress(StoreError):
        made = Store.open(home).outcome(study.name).cells
        if {(cell.task, cell.student) for cell in study.cells()} <= {(c.task, c.student) for c in made if c.done}:
            return f"{lost}; the store holds all of it, so nothing has to be run again"
    raise KdrecError(f"{lost}; what was finished is in the store, and the same command goes on from there") from None


def _next_steps(study: Study, home: str | None) -> str:
    """What one does after a study, ready to be typed."""
    place = shlex.quote(home) if home else ""
    kdrec, make = (f"kdrec --home {place}", f"KDREC_HOME={place} make") if home else ("kdrec", "make")
    cell = study.cells()[0]
    return "\n".join(
        (
            "Next:",
            f"  {kdrec} suggest {cell.task} --student {cell.student}",
            f"  {kdrec} report {study.name}",
            f"  {make} ui",
        )
    )


def _refresh(home: Home) -> None:
    server = _server(home)
    Store.open(home)
    from flows.refresh import refresh as flow

    if server is not None:
        server.wait_until_ready()
    flow(home=str(home.root))


def _server(home: Home) -> EmbeddedServer | None:
    """See to it that Prefect has a server: the user's, which has to answer, or one of our own, which is starting."""
    if "PREFECT_LOGGING_LEVEL" not in os.environ:  # all of the log still goes to the run's page
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    if url := os.environ.get("PREFECT_API_URL"):
        _check_answers(url)
        return None
    return _embedded(home)


def _embedded(home: Home) -> EmbeddedServer:
    """Start a server of our own, below the home and offline; Prefect, not yet imported, will find it."""
    os.environ.setdefault("PREFECT_HOME", str(home.folder("prefect")))
    if not any(os.environ.get(name) for name in DATABASES):  # Prefect would format this path into a URI as it is
        database = Path(os.environ["PREFECT_HOME"]).expanduser() / "prefect.db"
        os.environ[DATABASES[0]] = sqlite_uri(database, "aiosqlite")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")  # the client's own switch; else it opens with a notice on a terminal
    server = EmbeddedServer(home.folder("prefect"))
    os.environ["PREFECT_API_URL"] = server.url
    return server


def _check_answers(url: str) -> None:
    """Refuse a server of the user's that does not answer; any answer of its own is one."""
    ask_directly(url)
    try:
        parts = urlsplit(url)
        health = parts._replace(netloc=parts.netloc.rpartition("@")[2], path=f"{parts.path.rstrip('/')}/health")
        open_url(urlunsplit(health), 10).close()
    except urllib.error.HTTPError as answer:
        answer.close()
        if answer.code in (502, 503, 504):  # of a proxy or gateway, in the place of a server that it does not reach
            raise _unreachable(url, f"it answered {answer.code}") from None
    except (OSError, ValueError, HTTPException) as error:
        raise _unreachable(url, getattr(error, "reason", error)) from None


def _unreachable(url: str, reason: object) -> KdrecError:
    return KdrecError(
        f"no Prefect server answers at {redacted(url)} ({reason}); start it, or unset PREFECT_API_URL to do without"
    )


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _is_stop(error: BaseException) -> bool:
    """Whether this is Ctrl-C or SIGTERM, which Prefect spells in its own way while a flow runs."""
    return isinstance(error, KeyboardInterrupt) or type(error).__name__ == "TerminationSignal"


def _parser() -> argparse.ArgumentParser:
    parser = OneSentenceParser(
        prog="python -m flows.study",
        description="Run a study, or go on with one that was stopped.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("study", metavar="STUDY", help="a study file, or the name of one under flows/studies")
    parser.add_argument("--workers", type=_count, metavar="N", help="worker processes (default: one a core)")
    parser.add_argument("--ranks", type=_count, metavar="N", help="processes (GPUs) that train each model together")
    parser.add_argument("--cells-on", metavar="CELL/NAME", help="deployment that gets every cell (default: work here)")
    parser.add_argument(
        "--minutes", type=_minutes, metavar="M", help="most minutes to find the training of each teacher and each cell"
    )
    parser.add_argument("--quiet", action="store_true", help="show results and errors, and nothing on the way")
    parser.add_argument("--home", metavar="DIR", help="folder of studies, caches and history (KDREC_HOME, or ./.kdrec)")
    return parser


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise argparse.ArgumentTypeError(f"a number of minutes above 0 was expected, got {text!r}")
    return minutes


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1 was expected, got {text!r}")
    return int(text)
