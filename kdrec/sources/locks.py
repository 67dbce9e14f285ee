"""Waiting for a lock in words: who holds it, and what helps where that process was stopped.

A lock ends with its holder, but a stopped process (Ctrl-Z, SIGSTOP) holds it for as long as it is stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

SAY_AFTER_SECONDS: Final = 10.0

_LOCKS: Final = Path("/proc/locks")


@contextmanager
def locked(lock: FileLock, what: str, say: Callable[[str], object]) -> Iterator[None]:
    """Hold a lock for the block; `say` is told what is waited for, and again when that has changed.

    Parameters
    ----------
    lock : FileLock
    what : str
        What its holder makes, such as ``a teacher``.
    say : callable
    """
    told = ""
    while True:
        try:
            lock.acquire(timeout=SAY_AFTER_SECONDS)
            break
        except Timeout:
            sentence = f"{what} is being made by {_holder(Path(lock.lock_file))}, and is waited for"
            if sentence != told:
                say(sentence)
            told = sentence
    try:
        yield
    finally:
        lock.release()


def _holder(file: Path) -> str:
    """The process that holds a lock, as far as the system tells: not where it is on another machine."""
    process = _process(file)
    if process is None:
        return "another process"
    try:
        stopped = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except OSError:
        stopped = False
    return f"process {process}" + f", which is stopped (kill -CONT {process} lets it go on)" * stopped


def _process(file: Path) -> int | None:
    """Id of the process that holds a lock on a file, from Linux's table of locks."""
    try:
        node = file.stat().st_ino
        for line in _LOCKS.read_text().splitlines():
            words = line.split()
            if words[1] != "->" and int(words[5].rpartition(":")[2]) == node and int(words[4]) > 0:
                return int(words[4])
    except (OSError, ValueError, IndexError):
        pass
    return None
