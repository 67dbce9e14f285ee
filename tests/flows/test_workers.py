from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import chores
import psutil
import pytest
from running import REPOSITORY

from flows.workers import MOST_DEATHS, Stopped, WorkerDefect, Workers
from kdrec.errors import KdrecError


def run_all(number: int, pieces: Sequence[tuple[str, Any]], told: list[Any] | None = None) -> list[Any]:
    hear = (told if told is not None else []).append
    with Workers(number, chores.do, hear) as crew, ThreadPoolExecutor(len(pieces)) as threads:
        return list(threads.map(crew.run, pieces))


def test_every_caller_gets_the_answer_to_its_own_piece_and_progress_is_heard() -> None:
    told: list[Any] = []
    assert run_all(2, [("square", n) for n in range(8)], told) == [n * n for n in range(8)]
    assert [word for word, _ in told] == ["square"] * 8
    assert 1 <= len({pid for _, pid in told}) <= 2


def test_a_worker_has_one_thread_and_loads_neither_torch_nor_its_parents_main_module() -> None:
    (seen,) = run_all(1, [("look", None)])
    assert seen["pid"] != os.getpid()
    assert seen["threads"] == "1"
    assert seen["loaded"] == set()
    assert seen["interrupt"], "Ctrl-C is the parent's to hear"


def test_the_heaviest_waiting_piece_is_taken_first(tmp_path: Path) -> None:
    file = tmp_path / "order"
    with Workers(1, chores.do, lambda told: None) as crew, ThreadPoolExecutor(4) as threads:
        first = threads.submit(crew.run, ("sleep", 1.0), 0)
        time.sleep(0.3)  # the only worker is busy while the others come
        for weight in (1, 3, 2):
            threads.submit(crew.run, ("note", (str(file), str(weight))), weight)
        first.result()
    assert file.read_text().split() == ["3", "2", "1"]


def test_a_users_mistake_comes_back_as_its_sentence_and_a_defect_as_a_traceback() -> None:
    with Workers(1, chores.do, lambda told: None) as crew:
        with pytest.raises(KdrecError, match=r"^no such column$"):
            crew.run(("refuse", "no such column"))
        with pytest.raises(WorkerDefect, match=r"(?s)Traceback.*chores\.py.*ZeroDivisionError"):
            crew.run(("divide", 0))
        assert crew.run(("square", 3)) == 9, "one failure ends no worker"


def test_pieces_of_a_killed_worker_are_taken_up_again(tmp_path: Path) -> None:
    pieces = [("die once", str(tmp_path / "died")), ("sleep", 0.2), ("square", 5)]
    assert run_all(2, pieces) == ["survived", None, 25]


def test_a_piece_that_kills_its_workers_is_given_up() -> None:
    told: list[Any] = []
    with pytest.raises(KdrecError, match=f"killed {MOST_DEATHS} times"):
        run_all(1, [("die", None)], told)
    assert len({pid for _, pid in told}) <= MOST_DEATHS


def test_an_idle_worker_may_be_killed_too() -> None:
    with Workers(1, chores.do, lambda told: None) as crew:
        pid = crew.run(("look", None))["pid"]
        process = psutil.Process(pid)
        process.kill()
        psutil.wait_procs([process], timeout=5)
        time.sleep(0.2)
        assert crew.run(("square", 4)) == 16


def test_leaving_in_haste_kills_the_workers_and_frees_who_waits() -> None:
    pids: list[int] = []
    outcome: list[BaseException] = []

    def wait_long() -> None:
        try:
            crew.run(("sleep", 60))
        except Stopped as stopped:
            outcome.append(stopped)

    started = time.monotonic()
    crew = Workers(1, chores.do, lambda told: pids.append(told[1]))
    waiter = threading.Thread(target=wait_long)

    def interrupted_at_work() -> None:
        with crew:
            waiter.start()
            while not pids:
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_at_work()
    waiter.join(5)
    assert len(outcome) == 1
    assert time.monotonic() - started < 20
    assert not psutil.pid_exists(pids[0])


def test_workers_do_not_outlive_a_killed_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, str(Path(chores.__file__))],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert parent.stdout is not None
    with parent.stdout:
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        parent.wait()
    assert psutil.wait_procs([worker], timeout=5)[1] == []
