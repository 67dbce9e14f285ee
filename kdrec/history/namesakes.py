"""Which trials are of one task: those of the same data, whatever names it bears. A name is a label.

Rows are told apart by their content hash (`data`). Where one of two has none (imports, trials of before), what is known
of them decides: family and number of classes, and of as many rows the entropy of the labels. A hash and another number
of rows are other data too, unless the name is that of a catalogue task, which may be studied at several limits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from typing import NamedTuple

from kdrec.types import History, TaskFeatures


@dataclass(frozen=True)
class Apart:
    """A history in which one name is one data set, and sentences on names that were not."""

    history: History
    notes: tuple[str, ...] = ()


class _About(NamedTuple):
    """What tells the data of a trial from that of another."""

    task: str
    data: str | None
    family: str | None
    n_classes: int | None
    n_train: int | None
    label_entropy: float | None


@dataclass
class _Group:
    """Trials of one data set: what is said of it, and where in the history it was seen first and last."""

    members: list[_About] = field(default_factory=list)
    first: int = 0
    last: int = -1
    name: str = ""
    """That of its newest trial."""


def told_apart(past: History, asked: TaskFeatures | None = None, *, unite: bool = False) -> Apart:
    """Give the data sets that share a name names of their own: the newest keeps it, the others become ``NAME (2)`` ...

    Parameters
    ----------
    past : History
        The newest trials last.
    asked : TaskFeatures, optional
        A task that is asked about: its own trials get its name, whatever name they have, and other data does not.
    unite : bool
        Give data that bears several names the newest of them, so that nothing is counted as two tasks; done anyway
        where a task is asked about.
    """
    about = {id(trial.features): _about(trial.features) for trial in past}
    groups = _grouped([about[id(trial.features)] for trial in past], unite=unite or asked is not None)
    mine = None if asked is None else _nearest(_about(asked), groups, unite=True)
    labels = _labels(groups, mine, asked)
    label_of = {member: label for group, label in zip(groups, labels, strict=True) for member in group.members}
    changed = {member for member, label in label_of.items() if member.task != label}
    notes = _notes(past, about, label_of, asked)
    if not changed:
        return Apart(past, notes)
    made: dict[int, TaskFeatures] = {}
    trials = []
    for trial in past:
        place = id(trial.features)
        if about[place] in changed:
            if place not in made:
                made[place] = replace(trial.features, task=label_of[about[place]])
            trial = replace(trial, features=made[place])
        trials.append(trial)
    return Apart(History(tuple(trials)), notes)


def _about(features: TaskFeatures) -> _About:
    return _About(*(getattr(features, name) for name in _About._fields))


def _grouped(abouts: Sequence[_About], *, unite: bool) -> list[_Group]:
    """Groups of one data set each, in the order in which they were first seen."""
    first: dict[_About, int] = {}
    last: dict[_About, int] = {}
    for at, about in enumerate(abouts):
        first.setdefault(about, at)
        last[about] = at
    groups: list[_Group] = []
    # what is known best is placed first, so that the rest finds it, in whatever order trials came
    for about in sorted(first, key=lambda a: (a.data is None, sum(part is None for part in a), repr(a))):
        group = _nearest(about, groups, unite=unite)
        if group is None:
            group = _Group(first=first[about])
            groups.append(group)
        group.members.append(about)
        group.first = min(group.first, first[about])
        if last[about] > group.last:
            group.last, group.name = last[about], about.task
    return sorted(groups, key=lambda group: group.first)


def _nearest(about: _About, groups: Sequence[_Group], *, unite: bool) -> _Group | None:
    """The group whose data a task may be: of its name, or with `unite` of its hash; of several the likeliest."""

    def likeness(group: _Group) -> tuple[bool, bool, int]:
        as_many = about.n_train is not None and any(member.n_train == about.n_train for member in group.members)
        return _shares_hash(about, group), as_many, group.last

    found = [
        group
        for group in groups
        if (any(member.task == about.task for member in group.members) or (unite and _shares_hash(about, group)))
        and _fits(about, group)
    ]
    return max(found, key=likeness, default=None)


def _shares_hash(about: _About, group: _Group) -> bool:
    return about.data is not None and any(member.data == about.data for member in group.members)


def _fits(about: _About, group: _Group) -> bool:
    """Whether nothing that is known of two data sets differs; where both have a hash, it decides."""
    shares = _shares_hash(about, group)
    return all(_same_data(about, member) for member in group.members if not shares or member.data is not None)


def _same_data(one: _About, other: _About) -> bool:
    pairs = (one.family, other.family), (one.n_classes, other.n_classes)
    if any(None not in pair and pair[0] != pair[1] for pair in pairs):
        return False
    if one.data is not None and other.data is not None:
        return one.data == other.data
    n_rows = [about.n_train for about in (one, other) if about.n_train is not None]
    if n_rows and max(one.n_classes or 0, other.n_classes or 0) > min(n_rows):
        return False
    if len(n_rows) < 2:
        return True
    if n_rows[0] != n_rows[1]:
        return (one.data is None and other.data is None) or one.task in _catalogue()
    entropies = one.label_entropy, other.label_entropy
    return None in entropies or math.isclose(*entropies, rel_tol=1e-3, abs_tol=1e-6)  # type: ignore[arg-type]


@cache
def _catalogue() -> frozenset[str]:
    """Names that stand for one source, so that another number of rows is another limit."""
    from kdrec import tasks

    return frozenset(tasks.known())


def _labels(groups: Sequence[_Group], mine: _Group | None, asked: TaskFeatures | None) -> list[str]:
    """A name for every group: the newest of a name keeps it, or the one asked about, or none if that is another."""
    names = ["" if asked is None or group is not mine else asked.task for group in groups]
    names = [name or group.name for name, group in zip(names, groups, strict=True)]
    keeps: dict[str, _Group | None] = {}
    for name, group in zip(names, groups, strict=True):
        newest = keeps.get(name)
        keeps[name] = group if newest is None or group.last > newest.last else newest
    if asked is not None:
        keeps[asked.task] = mine
    taken = {*keeps, *(member.task for group in groups for member in group.members)}
    labels = []
    for name, group in zip(names, groups, strict=True):
        label = name
        if keeps[name] is not group:
            label = next(made for made in (f"{name} ({number})" for number in count(2)) if made not in taken)
            taken.add(label)
        labels.append(label)
    return labels


def _notes(
    past: History, about: Mapping[int, _About], label_of: Mapping[_About, str], asked: TaskFeatures | None
) -> tuple[str, ...]:
    """A sentence for every name that stood for more than one data set, and for data asked about under other names."""
    n_trials: dict[tuple[str, str], int] = {}
    for trial in past:
        member = about[id(trial.features)]
        key = member.task, label_of[member]
        n_trials[key] = n_trials.get(key, 0) + 1
    told = []
    for (name, label), n in n_trials.items():
        head = "1 trial is" if n == 1 else f"{n} trials are"
        if asked is not None and label == asked.task != name:
            told.append(f"{head} of this very data under the name {name!r}, and counted as this task's")
        elif _is_aside(label, name) or (asked is not None and _is_aside(label, asked.task)):
            stem = label.rpartition(" (")[0]
            told.append(f"{head} of other data under the name {stem!r}, set aside as a task of its own, {label!r}")
        elif label != name:
            told.append(f"{head} of the same data as {label!r} under the name {name!r}, and counted with it")
    return tuple(told)


def _is_aside(label: str, name: str) -> bool:
    """Whether a label is that of other data of this name, given when the history was read."""
    stem, _, number = label.rpartition(" (")
    return stem == name and number[:-1].isdecimal() and number[-1:] == ")"
