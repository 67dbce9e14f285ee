"""What of a home is still needed, and the end of what is not: `kdrec gc`.

Needed is whatever keeps a study that is run again from training anew, and what a study under way goes on from. Truth is
in the tracking store, so without it nothing is judged. Every rule errs on the side of keeping:

- `checkpoints/`: of a trial that is completed or diverged, none is needed, as the trial is found in the store. Of one
  that is begun and not finished, it is: it is resumed. One that no run knows goes once it is idle.
- `teachers/`: trace and selected weights of a teacher that a run names or learned from are needed for ever: a study
  asks for its teacher before it looks for its trials, and would fine-tune it again. Weights that the trace does not
  select, nor may yet, are not. A teacher that no run knows may be half made, and goes once it is idle.
- `logits/`: one pass of a teacher makes them again, without training. Those that wait for cells that are not finished
  are needed; others go once idle, or when their teacher is no longer here to be asked.
- `students/`: weights of students that were taken home, which their registered version holds as well: once idle.
- `tokens/`: made again in seconds, and so needed only while in use: they go once idle.
- Temporary files of writers that were killed go after a day.

Idle is what was not used for `keep_days`, and for an hour at least: a process may just have made what it will open in a
moment. Use is told by the time of change (`kdrec.sources.mark_used`). A trial's or teacher's file is touched only with
its lock, so never under a live process, and a file that changed since it was judged is left. Links are not followed:
what they lead to is not ours to delete. What has no name that kdrec gives is left too.

Never looked at: the store, `artifacts/`, `history.sqlite`, `outbox/`, `exports/`, `sources/`, `prefect/`, and `locks/`.
A lock file is empty, and deleting one that another process has just opened would give the lock to two; so they stay.
Registered models live among the artifacts, and need nothing of all this. Nor is the
shelf (`KDREC_SHARED`) looked at: no home knows what the others need.
"""

from __future__ import annotations

import time
from typing import Final

from kdrec.errors import KdrecError, StoreError
from kdrec.home import Home
from kdrec.retention.items import Fate, Found, Item, Total
from kdrec.retention.judge import Judge
from kdrec.retention.removal import removed
from kdrec.tracking import Store, redacted

__all__ = ["KEEP_DAYS", "Fate", "Found", "Item", "Total", "check", "delete", "look"]

KEEP_DAYS: Final = 30


def look(home: Home, *, keep_days: int = KEEP_DAYS, now: float | None = None) -> Found:
    """Judge every cache and checkpoint of a home; nothing is changed.

    Parameters
    ----------
    home : Home
        Whose folders, and whose store says what is finished.
    keep_days : int
        How long what no run needs is kept after its last use, in days.
    now : float, optional
        Seconds since the epoch; the system's clock by default.

    Returns
    -------
    Found
        Every file with its fate and the reason.

    Raises
    ------
    StoreError
        When the store cannot be reached, or holds nothing of kdrec's: it may be another one than the home's studies
        wrote to, and all would seem unneeded.
    """
    known = Store.existing(home).recorded()
    if known.is_empty:
        raise StoreError(
            f"the tracking store {redacted(home.tracking_uri)} holds no run of kdrec's, so it cannot say what is "
            "needed; set KDREC_TRACKING_URI to the one of your studies"
        )
    judge = Judge(home=home, known=known, keep_days=keep_days, now=time.time() if now is None else now)
    return Found(home=home, keep_days=keep_days, items=tuple(judge.all()))


def delete(found: Found) -> Found:
    """Delete what goes, and nothing that was used, locked or replaced since it was judged."""
    return Found(home=found.home, keep_days=found.keep_days, items=removed(found.home, found.items))


def check(found: Found) -> None:
    """Raise a `KdrecError` when the system refused to delete something."""
    failed = [item for item in found.items if item.fate == "failed"]
    if failed:
        raise KdrecError(f"{len(failed)} files could not be deleted, such as {failed[0].path}: {failed[0].reason}")
