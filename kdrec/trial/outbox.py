"""What a trial measured, kept on disk from the end of its training until the tracking store holds it.

A store that is away when a trial ends then costs a wait, and at worst a second start of the study, never the training.
One file a trial, named by its fingerprint; whoever holds the trial's lock reads and removes it. It holds numbers and
names only, under a SHA-256 of them all. What is damaged or of another trial is put aside, and the trial is made anew;
so is a file of an older kdrec, which has no hash: its numbers would become evidence, and nothing could tell whether
they are those that were measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kdrec.errors import KdrecError
from kdrec.home import Home
from kdrec.sources import atomic_write, put_aside, remove
from kdrec.trace import record_hash
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
    content: dict[str, Any] = {"trial": outcome.trial.to_row(), "measured": outcome.measured}
    content["sha256"] = record_hash(content)
    path = _path(home, outcome.trial.fingerprint)
    atomic_write(path, json.dumps(content, allow_nan=False).encode(), over_folder=True)


def kept(home: Home, fingerprint: str, say: Callable[[str], object] = lambda sentence: None) -> Outcome | None:
    """The outcome of a trial that was not sent, or None; `say` is told of one that cannot be believed."""
    path = _path(home, fingerprint)
    try:
        return _checked(path.read_bytes(), fingerprint)
    except FileNotFoundError:
        return None
    except (OSError, KdrecError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        aside = put_aside(path)
    say(
        f"what {FOLDER}/{path.name} kept of a trained trial is not as it was written (an older kdrec wrote no hash), "
        f"so it is put aside as {aside.name} and the trial is trained again"
    )
    return None


def _checked(data: bytes, fingerprint: str) -> Outcome:
    """The outcome in a file; anything amiss is one of the errors caught above."""
    content: dict[str, Any] = json.loads(data)
    if content.pop("sha256") != record_hash(content):
        raise ValueError("content and recorded hash differ")
    trial = Trial.from_row(content["trial"])
    if trial.fingerprint != fingerprint:
        raise ValueError("it is of another trial")
    measured = tuple((str(name), float(value), int(step)) for name, value, step in content["measured"])
    return Outcome(trial=trial, measured=measured)


def forget(home: Home, fingerprint: str) -> None:
    """Remove an outcome that the store holds."""
    remove(_path(home, fingerprint))


def _path(home: Home, fingerprint: str) -> Path:
    return home.folder(FOLDER) / f"{fingerprint}.json"
