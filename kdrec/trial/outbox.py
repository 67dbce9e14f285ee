"""What a trial measured, kept on disk from the end of its training until the tracking store holds it.

A store that is away when a trial ends then costs a wait, and at worst a second start of the study, never the training.
One file a trial, named by its fingerprint; whoever holds the trial's lock reads and removes it. It holds numbers and
names only, and what is damaged or of another trial counts as not kept: the trial is made anew.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kdrec.errors import KdrecError
from kdrec.home import Home
from kdrec.sources import atomic_write
from kdrec.types import Trial

FOLDER: Final = "outbox"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished trial that has no run yet, and what its run is to show: name, finite value, step."""

    trial: Trial
    measured: tuple[tuple[str, float, int], ...]


def keep(home: Home, outcome: Outcome) -> None:
    """Write an outcome to its file.

    Raises
    ------
    KdrecError
        When the file cannot be written, for example on a full disk.
    """
    content = {"trial": outcome.trial.to_row(), "measured": outcome.measured}
    atomic_write(_path(home, outcome.trial.fingerprint), json.dumps(content, allow_nan=False).encode())


def kept(home: Home, fingerprint: str) -> Outcome | None:
    """The outcome of a trial that was not sent, or None."""
    try:
        content = json.loads(_path(home, fingerprint).read_bytes())
        trial = Trial.from_row(content["trial"])
        measured = tuple((str(name), float(value), int(step)) for name, value, step in content["measured"])
    except FileNotFoundError:
        return None
    except (KdrecError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return Outcome(trial=trial, measured=measured) if trial.fingerprint == fingerprint else None


def forget(home: Home, fingerprint: str) -> None:
    """Remove an outcome that the store holds."""
    _path(home, fingerprint).unlink(missing_ok=True)


def _path(home: Home, fingerprint: str) -> Path:
    return home.folder(FOLDER) / f"{fingerprint}.json"
