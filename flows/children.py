"""Child processes that start lean and never outlive their parent, however it dies."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1
_MAIN: Final = threading.Lock()


class LeanProcess(SpawnProcess):
    """A spawned child that does not import its parent's main module once more: that may be all of Prefect."""

    def start(self) -> None:
        """Start the child; the thread that calls this has to live as long as the child (see `die_with_parent`)."""
        with _MAIN:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = ModuleType("__main__")
            try:
                super().start()
            finally:
                sys.modules["__main__"] = main


class LeanContext(SpawnContext):
    """Where a process pool gets its lean children from; it remembers them."""

    def __init__(self) -> None:
        self.children: list[LeanProcess] = []

    def Process(self, *words: Any, **options: Any) -> LeanProcess:  # the name that executors call
        """Make a child, not yet started."""
        child = LeanProcess(*words, **options)
        self.children.append(child)
        return child


def die_with_parent() -> None:
    """Called first thing in a child: end it with its parent, also when that is killed and can clean nothing up.

    Linux's kernel does it at once, when the thread that started the child ends; elsewhere, and where the parent was
    gone before this call, a thread of the child sees that the parent's end of a pipe is closed.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a child has a parent"
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="watch-parent", daemon=True).start()
