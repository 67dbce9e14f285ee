"""From what is new in a store to the table of recommendations that is published beside it, and what changed in it.

And a study's own answers, beside its trials; the home remembers them by all that they rest on, under a hash. What an
answer is, `recommend` says, and how a table is worded, `bulletin`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import kdrec
from kdrec import history, question, recommend, studies
from kdrec.bulletin import Bulletin, Cell, Line, changes
from kdrec.home import Home
from kdrec.sources import atomic_write
from kdrec.space import Space
from kdrec.tracking import Store
from kdrec.types import History, Suggestion

ADVICE: Final = "advice"
"""Folder of a home that remembers what studies were answered last."""

MOST_ASKED: Final = 40
"""Cells of a study that the recommender is asked about when it ends: a minute."""

Watch = Callable[[int, int, str], object]
"""Told how many of how many cells are answered, and the name of the last."""


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What a refresh came to; without a `run_id` nothing was new, and nothing was written."""

    bulletin: Bulletin
    changes: tuple[str, ...]
    run_id: str | None


def refresh(home: Home, watch: Watch) -> Refreshed:
    """Sync the history, ask the recommender about every task and student of it, and publish what is new.

    Parameters
    ----------
    home : Home
        Whose history and store. One refresh of a home is made at a time.
    watch : callable
        Told of every answer: they take a second or two each.

    Returns
    -------
    Refreshed
        Of an unchanged history and kdrec at once, with the table published before.
    """
    from filelock import FileLock

    with FileLock(home.folder("locks") / "refresh.lock"):
        question.sync(home, always=True)
        own, store = history.told_apart(history.load(home)).history, Store.open(home)
        past, before = history.with_shipped(own), store.bulletin()
        state = digest(past)
        if before is not None and before.is_of(state, kdrec.__version__):
            return Refreshed(bulletin=before, changes=(), run_id=None)
        after = Bulletin(history=state, version=kdrec.__version__, lines=tuple(_lines(own, past, watch)))
        told = changes(before, after) if before or after.lines else ()
        run_id = store.log_bulletin(after, told) if told else None
        question.sync(home, always=True)  # sees what was just written, so that the next answer need not open the store
        return Refreshed(bulletin=after, changes=told, run_id=run_id)


def answers(past: History, cells: Iterable[Cell], space: Space | None = None) -> Iterator[Suggestion]:
    """Ask about tasks and students of a history."""
    for task, student in cells:
        features = question.remembered(task, student, past)
        yield recommend.suggest(question.without_namesakes(past, features), features, student, space=space)


def advise(study: studies.Study, cells: Mapping[studies.Cell, str], home: Home) -> Bulletin:
    """Ask about the searched cells of a study, and keep each answer beside the trials it rests on.

    The same study on the same history is answered from what the home remembers. Of a large study the first
    `MOST_ASKED` cells are asked about: each takes a second or two.

    Parameters
    ----------
    study : Study
        Its knob space is the one that is answered for, unless it lists its configurations.
    cells : mapping of Cell to str
        Run ids of the cells in the store; their trials are in the synced history.
    home : Home
        Whose history and store.
    """
    own = history.told_apart(history.load(home)).history
    past, n_trials = history.with_shipped(own), _counted(own)
    space = study.space if study.search != "listed" else None
    runs = {(cell.task, cell.student): run_id for cell, run_id in cells.items()}
    asked = [cell for cell in runs if cell in n_trials][:MOST_ASKED]
    state = _word(digest(past), repr(space), *(runs[cell] for cell in asked))
    place = home.folder(ADVICE) / f"{_word(study.name, *map(str, asked))[:32]}.json"
    known = _remembered(place)
    if known is not None and known.is_of(state, kdrec.__version__):
        return known
    store, lines = Store.open(home), []
    for answer in answers(past, asked, space):
        cell = answer.task, answer.student
        store.log_suggestion(runs[cell], answer)
        lines.append(Line.of(answer, n_trials[cell]))
    question.sync(home, always=True)
    made = Bulletin(history=state, version=kdrec.__version__, lines=tuple(lines))
    _keep(place, made)
    return made


def _keep(place: Path, made: Bulletin) -> None:
    """Write answers under a hash of their text."""
    text = json.dumps(made.to_dict())
    atomic_write(place, f"{_word(text)}\n{text}".encode(), over_folder=True)


def _remembered(place: Path) -> Bulletin | None:
    """Answers as they were kept; None where there are none, or a bit of the file is not as it was written."""
    try:
        sha256, _, text = place.read_text(encoding="utf-8").partition("\n")
        return Bulletin.from_dict(json.loads(text)) if sha256 == _word(text) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _word(*texts: str) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def digest(past: History) -> str:
    """A word for all that an answer rests on, in whatever order."""
    rows = sorted(trial.spelled() for trial in past)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _lines(own: History, past: History, watch: Watch) -> Iterator[Line]:
    n_trials = _counted(own)
    cells = sorted(n_trials)
    for number, answer in enumerate(answers(past, cells), start=1):
        line = Line.of(answer, n_trials[answer.task, answer.student])
        watch(number, len(cells), line.name)
        yield line


def _counted(own: History) -> Counter[Cell]:
    """Finished trials of every cell."""
    return Counter((trial.task, trial.student) for trial in own)
