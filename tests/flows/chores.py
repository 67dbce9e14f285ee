"""Work for worker processes in tests; in a module of its own, because workers import what they do."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.workers import Workers
from kdrec.errors import DataError

Tell = Callable[[Any], None]


def do(chore: tuple[str, Any], tell: Tell) -> Any:
    """Do what the word says."""
    word, value = chore
    tell((word, os.getpid()))
    return {
        "square": lambda: value * value,
        "sleep": lambda: time.sleep(value),
        "note": lambda: note(value),
        "refuse": lambda: refuse(value),
        "divide": lambda: 1 / value,
        "die once": lambda: die_once(Path(value)),
        "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "look": lambda: look(),
    }[word]()


def note(value: tuple[str, str]) -> None:
    file, line = value
    time.sleep(0.05)
    with Path(file).open("a") as out:
        out.write(f"{line}\n")


def refuse(sentence: str) -> None:
    raise DataError(sentence)


def die_once(mark: Path) -> str:
    if mark.exists():
        return "survived"
    mark.touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


def look() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "threads": os.environ["OMP_NUM_THREADS"],
        "loaded": {"torch", "prefect", "pytest"} & set(sys.modules),
        "interrupt": signal.getsignal(signal.SIGINT) == signal.SIG_IGN,
    }


if __name__ == "__main__":  # a parent to be killed: says its workers' ids and waits
    import chores  # what workers do is found by the name of its module

    with Workers(1, chores.do, lambda told: print(told[1], flush=True)) as crew:  # noqa: T201
        crew.run(("sleep", 60))
