"""Deleting what was judged to go: under its lock, as it was when it was judged, and never through a link."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from filelock import Timeout

from kdrec.errors import KdrecError
from kdrec.home import Home
from kdrec.retention.items import Item, stamp
from kdrec.trial.bench import lock

LINK: Final = "it is a link, and links are not followed"
HELD: Final = "a live process holds its lock"


def removed(home: Home, items: Sequence[Item]) -> tuple[Item, ...]:
    """All items in their order, those that go with the fate that they met."""
    going = [item for item in items if item.fate == "goes"]
    met = {item.path: item for group in _by_lock(going) for item in _delete(home, group)}
    return tuple(met.get(item.path, item) for item in items)


def is_held(home: Home, name: str) -> bool:
    """Whether another process has the lock; one that has no file was never asked for, and is not made now."""
    if not (home.root / "locks" / f"{name}.lock").is_file():
        return False
    try:
        with lock(home, name).acquire(timeout=0):
            return False
    except Timeout:
        return True


def _by_lock(items: Iterable[Item]) -> list[list[Item]]:
    """What one lock guards together, and each of the others alone."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.lock or str(item.path), []).append(item)
    return list(groups.values())


def _delete(home: Home, group: Sequence[Item]) -> list[Item]:
    """All of a group, or nothing where someone is using it."""
    guard = group[0].lock
    if guard is None:
        return _unlink(home, group)
    try:
        with lock(home, guard).acquire(timeout=0):
            return _unlink(home, group)
    except Timeout:
        return [replace(item, fate="stays", reason=HELD) for item in group]
    except (OSError, KdrecError) as error:  # without the lock nobody knows who uses it
        return [_failed(item, error) for item in group]


def _unlink(home: Home, group: Sequence[Item]) -> list[Item]:
    if any(_is_behind_a_link(home, item.path) for item in group):
        return [replace(item, fate="left", reason=LINK) for item in group]
    if not all(_is_as_judged(item) for item in group):
        return [replace(item, fate="stays", reason="it was used since it was judged") for item in group]
    met = [_unlink_one(item) for item in group]
    folder = group[0].path.parent
    if folder.parent != home.root:
        with suppress(OSError):  # what someone else put into a teacher's folder keeps it
            folder.rmdir()
    return met


def _unlink_one(item: Item) -> Item:
    try:
        item.path.unlink()
    except OSError as error:
        return _failed(item, error)
    return replace(item, fate="gone")


def _failed(item: Item, error: OSError | KdrecError) -> Item:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return replace(item, fate="failed", reason=said if isinstance(error, KdrecError) else said.lower())


def _is_as_judged(item: Item) -> bool:
    try:
        return stamp(item.path.lstat()) == item.stamp
    except OSError:
        return False


def _is_behind_a_link(home: Home, path: Path) -> bool:
    return any((home.root / part).is_symlink() for part in list(path.relative_to(home.root).parents)[:-1])
