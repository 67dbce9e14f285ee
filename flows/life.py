"""Whether the process behind a flow run still lives: a file lock in the shared home, which ends with its holder.

Prefect reads RUNNING for ever when a worker and its flow's process are killed together. Where a cell has a home of its
own, the study never sees its lock, and what Prefect says is all there is: a run whose worker died with it has to be
cancelled by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from kdrec.home import Home


@contextmanager
def alive(home: Home, run_id: str) -> Iterator[None]:
    """Give a sign of life for as long as the block lasts; a killed process leaves the file, and not the lock."""
    file = _file(home, run_id)
    with FileLock(file):
        try:
            yield
        finally:
            file.unlink(missing_ok=True)


def is_gone(home: Home, run_id: str) -> bool:
    """Whether the process of a flow run began here and was killed; False where this home never saw it."""
    file = _file(home, run_id)
    if not file.exists():
        return False
    try:
        with FileLock(file, blocking=False):
            return True
    except Timeout:
        return False


def _file(home: Home, run_id: str) -> Path:
    return home.folder("locks") / f"flow-run-{run_id}.lock"
