"""What can happen to a running study, and the places where it runs: alone in a home, or with servers that can go.

A fault is a function of the run and its place; it says whether there was anything to strike.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
from mlflow_server import Server
from postgres import Postgres, programs, running
from running import Running
from small_disk import Disk

from kdrec.home import Home

YESTERDAY = """
import time

_now, _now_ns = time.time, time.time_ns
time.time = lambda: _now() - 86_400
time.time_ns = lambda: _now_ns() - 86_400 * 10**9
"""
"""A `sitecustomize` that sets Python's clock back: nobody may set the machine's."""


Fault = Callable[[Running, "Place"], bool]


@dataclass(kw_only=True)
class Place:
    """A home, and all that a study in it needs of its surroundings; `heal` puts these in order again."""

    name: str
    home: Home
    study: Path
    folder: Path
    faults: tuple[Fault, ...]
    """What can happen here."""
    disk: Disk | None = None
    server: Server | None = None
    database: Postgres | None = None
    environment: dict[str, str] = field(default_factory=dict)
    """Of the next run alone."""
    after: list[Callable[[], None]] = field(default_factory=list)
    """What `heal` waits for."""

    def run(self) -> Running:
        """Start the study, or go on with it."""
        environment, self.environment = self.environment, {}
        if self.server:
            environment["KDREC_TRACKING_URI"] = self.server.uri
        return Running(str(self.study), "--home", str(self.home.root), environment=environment)

    def heal(self) -> None:
        while self.after:
            self.after.pop()()


@contextmanager
def alone(folder: Path, study: Path, sources: Path) -> Iterator[Place]:
    """A home on a small disk of its own, with its store in a file."""
    folder.mkdir()
    with ExitStack() as stack:
        disk = None
        with suppress(PermissionError):  # who may not make one is struck by all but a full disk
            disk = stack.enter_context(Disk.mounted(folder / "disk", 600))
        home = _home((disk.folder if disk else folder) / "home", sources)
        faults = (*ANYWHERE, clock_set_back, *([full_disk] if disk else []))
        yield Place(name="alone", home=home, study=study, folder=folder, disk=disk, faults=faults)


@contextmanager
def served(folder: Path, study: Path, sources: Path) -> Iterator[Place]:
    """A home whose store is an MLflow server, on a Postgres where there is one."""
    folder.mkdir()
    with ExitStack() as stack:
        database = stack.enter_context(running(synchronous_commit="on")) if programs() else None
        server = Server(folder, database.create("mlflow") if database else None)
        stack.callback(server.kill)
        server.start()
        server.wait()
        home = replace(_home(folder / "home", sources), tracking_uri=server.uri)
        faults = (*ANYWHERE, mlflow_server, store_away, *([postgres] if database else []))
        yield Place(
            name="MLflow server on Postgres" if database else "MLflow server",
            home=home,
            study=study,
            folder=folder,
            server=server,
            database=database,
            faults=faults,
        )


def _home(root: Path, sources: Path) -> Home:
    root.mkdir()
    (root / "sources").symlink_to(sources.resolve(), target_is_directory=True)
    return Home.at(root)


def _kill(processes: list[psutil.Process]) -> bool:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return bool(processes)


def a_worker(run: Running, place: Place) -> bool:
    return _kill(run.workers()[:1])


def the_flow(run: Running, place: Place) -> bool:
    run.process.kill()
    return True


def flow_and_workers(run: Running, place: Place) -> bool:
    workers = run.workers()
    run.process.kill()
    return _kill(workers)


def prefect_server(run: Running, place: Place) -> bool:
    return _kill(run.servers())


def ctrl_c(run: Running, place: Place) -> bool:
    os.killpg(run.process.pid, signal.SIGINT)
    return True


def sigterm(run: Running, place: Place) -> bool:
    run.process.terminate()
    return True


def full_disk(run: Running, place: Place) -> bool:
    """No room for ten seconds, or until the study ends of it."""
    assert place.disk is not None
    place.disk.fill()
    _later(place, 10, place.disk.free)
    return True


def another_starter(run: Running, place: Place) -> bool:
    """Somebody else starts the same study in the same home."""
    other = place.run()

    def both() -> None:
        assert other.wait() == 0, other.text

    place.after.append(both)
    return True


def clock_set_back(run: Running, place: Place) -> bool:
    """The study is stopped, and goes on a day earlier."""
    (place.folder / "clock").mkdir(exist_ok=True)
    (place.folder / "clock" / "sitecustomize.py").write_text(YESTERDAY, encoding="utf-8")
    place.environment["PYTHONPATH"] = os.pathsep.join([str(place.folder / "clock"), os.environ.get("PYTHONPATH", "")])
    run.process.terminate()
    return True


def mlflow_server(run: Running, place: Place) -> bool:
    """Killed, and started again at once."""
    return _store_away(place, 0)


def store_away(run: Running, place: Place) -> bool:
    """Killed, and started again after a minute."""
    return _store_away(place, 60)


def postgres(run: Running, place: Place) -> bool:
    """Killed, and started again at once."""
    assert place.database is not None
    place.database.kill()
    place.database.start()
    return True


def _store_away(place: Place, seconds: float) -> bool:
    assert place.server is not None
    place.server.kill()
    _later(place, seconds, place.server.start)
    place.after.insert(0, place.server.wait)
    return True


def _later(place: Place, seconds: float, happens: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, happens)
    timer.start()
    place.after.append(timer.join)


ANYWHERE: tuple[Fault, ...] = (a_worker, the_flow, flow_and_workers, prefect_server, ctrl_c, sigterm, another_starter)
