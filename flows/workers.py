"""Long-lived worker processes that take one piece of work after another, the heaviest waiting one first.

What they do is a function handed in; here it is only known how to start them with one computing thread each, how their
progress travels, and what happens when one is killed: a new set takes the unfinished pieces up again.
"""

from __future__ import annotations

import heapq
import itertools
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any, Final, Self

from flows.children import LeanContext, die_with_parent
from kdrec.errors import KdrecError

MOST_DEATHS: Final = 3
"""A piece during which workers were killed this often is given up."""

Report = Callable[[Any], None]
Work = Callable[[Any, Report], Any]


class WorkerDefect(RuntimeError):
    """A piece of work ended in an exception that is no user's mistake; the text is its traceback in the worker."""


class Stopped(RuntimeError):
    """The workers were stopped before this piece was done."""


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(order=True)
class _Order:
    """A piece that somebody waits for; the heaviest sorts first, and of equals the one that came first."""

    rank: tuple[float, int]
    piece: Any = field(compare=False)
    answer: Future[Any] = field(compare=False, default_factory=Future)
    deaths: int = field(compare=False, default=0)


class _Pool:
    """One generation of worker processes with the queue their progress comes through."""

    def __init__(self, number: int, work: Work, on_progress: Report) -> None:
        self.context = LeanContext()
        self.progress: Any = self.context.Queue()
        self.executor = ProcessPoolExecutor(number, self.context, initializer=_begin, initargs=(work, self.progress))
        self.ended = threading.Event()
        self.listener = threading.Thread(target=self._listen, args=(on_progress,), name="listen", daemon=True)
        self.listener.start()

    def _listen(self, on_progress: Report) -> None:
        while True:
            try:
                on_progress(self.progress.get(timeout=0.1))
            except queue.Empty:
                if self.ended.is_set():
                    return

    def end(self, *, kill: bool) -> None:
        """Let idle workers go, or kill busy ones; their last words of progress are still heard."""
        if kill:
            for child in self.context.children:
                child.kill()
        self.executor.shutdown(wait=True, cancel_futures=True)
        self.ended.set()
        self.listener.join(timeout=5)  # a worker killed while it spoke may have left the queue locked
        self.progress.close()


class Workers:
    """A set of worker processes; `run` may be called from many threads and returns when its piece is done."""

    def __init__(self, number: int, work: Work, on_progress: Report) -> None:
        self._number, self._work, self._on_progress = number, work, on_progress
        self._inbox: queue.SimpleQueue[_Order | tuple[Future[Any], _Pool] | bool] = queue.SimpleQueue()
        self._count = itertools.count()
        self._stopped = threading.Event()
        self._waiting: list[_Order] = []
        self._running: dict[Future[Any], _Order] = {}
        self._pool: _Pool | None = None
        # One thread starts all processes and lives as long as they do: Linux takes its end for the parent's.
        self._dispatcher = threading.Thread(target=self._dispatch, name="dispatch", daemon=True)

    def __enter__(self) -> Self:
        self._dispatcher.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stopped.set()
        self._inbox.put(kind is not None)
        self._dispatcher.join()

    def run(self, piece: Any, weight: float = 0.0) -> Any:
        """Have a worker do one piece and return what came of it.

        Raises
        ------
        KdrecError
            What the piece raised, or that its workers were killed again and again.
        WorkerDefect
            Any other exception of the piece.
        Stopped
            The workers were stopped meanwhile.
        """
        order = _Order(rank=(-weight, next(self._count)), piece=piece)
        if self._stopped.is_set():
            raise Stopped("the workers are stopped")
        self._inbox.put(order)
        while True:
            try:
                return order.answer.result(timeout=1)
            except TimeoutError:
                if not self._dispatcher.is_alive() and not order.answer.done():
                    raise Stopped("the workers are stopped") from None

    def _dispatch(self) -> None:
        """Give pieces to free workers and answers to those who wait, until told to stop (and whether to kill)."""
        while not isinstance(message := self._inbox.get(), bool):
            if isinstance(message, _Order):
                heapq.heappush(self._waiting, message)
            else:
                self._settle(*message)
            while self._waiting and len(self._running) < self._number:
                self._start(heapq.heappop(self._waiting))
        for order in [*self._waiting, *self._running.values()]:
            order.answer.set_exception(Stopped("the workers were stopped"))
        if self._pool is not None:
            self._pool.end(kill=message)

    def _start(self, order: _Order) -> None:
        self._pool = pool = self._pool or _Pool(self._number, self._work, self._on_progress)
        try:
            future = pool.executor.submit(_do, order.piece)
        except BrokenProcessPool:  # an idle worker was killed
            self._replace(pool)
            return self._start(order)
        self._running[future] = order
        future.add_done_callback(lambda done: self._inbox.put((done, pool)))

    def _settle(self, future: Future[Any], pool: _Pool) -> None:
        order = self._running.pop(future)
        error = future.exception()
        if error is None:
            order.answer.set_result(future.result())
        elif not isinstance(error, BrokenProcessPool):
            order.answer.set_exception(error)
        else:
            self._replace(pool)
            order.deaths += 1
            if order.deaths < MOST_DEATHS:
                heapq.heappush(self._waiting, order)
            else:
                order.answer.set_exception(_given_up(self._number))

    def _replace(self, pool: _Pool) -> None:
        """Drop a generation of which a worker was killed; the next piece starts a new one."""
        if pool is self._pool:
            self._pool = None
            pool.end(kill=True)


def _given_up(number: int) -> KdrecError:
    fewer = f"; give it more memory or fewer workers than {number}" if number > 1 else "; is there enough memory?"
    return KdrecError(f"worker processes were killed {MOST_DEATHS} times while at this piece{fewer}")


_work: Work
_progress: Any


def _begin(work: Work, progress: Any) -> None:
    """Make a new process a worker: bound to its parent, deaf to Ctrl-C (its parent is not), with one thread."""
    global _work, _progress
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"  # read when numpy and torch are loaded, which is later
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    progress.cancel_join_thread()
    _work, _progress = work, progress


def _do(piece: Any) -> Any:
    """One piece in a worker; only what surely travels between processes comes back."""
    try:
        return _work(piece, _progress.put)
    except KdrecError as error:
        raise KdrecError(str(error)) from None
    except BaseException as error:  # a panic of a library in Rust is no Exception
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        name = multiprocessing.current_process().name
        raise WorkerDefect(f"in worker {name}:\n{traceback.format_exc()}") from None
