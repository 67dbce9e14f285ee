"""From the name of a study to its page: in a file, and beside its runs in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdrec import question
from kdrec.errors import BadArgument
from kdrec.home import Home
from kdrec.page import answers, render
from kdrec.recommend.replay import CellReplay, replay
from kdrec.recommend.scorecard import Scorecard, score
from kdrec.sources import atomic_write
from kdrec.studies import Study
from kdrec.tracking import Store
from kdrec.types import History, Suggestion

Watch = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Published:
    """Where a page was put, and the answer now of every cell; `run_id` is the run that holds the page, if one does."""

    file: Path
    size_bytes: int
    run_id: str | None
    suggestions: tuple[Suggestion, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        told = [suggestion.to_dict() for suggestion in self.suggestions]
        return {"file": str(self.file), "size_bytes": self.size_bytes, "run_id": self.run_id, "suggestions": told}


def publish(
    study: str, home: Home, out: Path | None = None, *, audit: bool = False, log: bool = True, watch: Watch
) -> Published:
    """Write the page of a study, in place of an earlier one.

    Parameters
    ----------
    study : str
        Its name in the home's store, or its file: then the file's knob space is the one that is answered for.
    home : Home
        Whose store and history.
    out : Path, optional
        By default ``STUDY.html`` in the working directory.
    audit : bool
        Audit the history in the quick form, which fits anew for every task of it.
    log : bool
        Keep the page as an artifact of the run ``report of STUDY`` as well.
    watch : callable
        Told what is being done.

    Raises
    ------
    BadArgument
        When the study is unknown or the page cannot be put there.
    """
    asked = Study.load(study) if study.endswith(".toml") or len(Path(study).parts) > 1 else None
    name = asked.name if asked else study
    file = out or Path(f"{name}.html")
    _check_place(file)
    watch(f"reading {name}")
    store = Store.existing(home)
    outcome = store.outcome(name)
    past = question.history_for(None, home)
    found = []
    for answer in answers(outcome, past, asked.space if asked and asked.search != "listed" else None):
        found.append(answer)
        watch(f"{len(found)} of {len(outcome.cells)} cells answered; the last: {answer.name}")
    card = _audited(past, watch) if audit else None
    watch("drawing")
    page = render(outcome, found, card)
    atomic_write(file, page.encode())
    return Published(
        file=file,
        size_bytes=len(page.encode()),
        run_id=store.log_page(name, page) if log else None,
        suggestions=tuple(answer.now for answer in found),
    )


def _check_place(file: Path) -> None:
    """Refuse what no page can be written to, before the work is done."""
    if file.suffix.lower() not in (".html", ".htm"):
        raise BadArgument(f"a report is written as .html, got {file.name!r}")
    if file.is_dir():
        raise BadArgument(f"{file} is a folder; a report is a file")
    if not file.absolute().parent.is_dir():
        raise BadArgument(f"no folder {file.parent} to write the report to")


def _audited(past: History, watch: Watch) -> Scorecard:
    def watched() -> Iterator[CellReplay]:
        for number, cell in enumerate(replay(past, stages=()), start=1):
            watch(f"audit: {number} foretold; the last: {cell.task}, student {cell.student}")
            yield cell

    return score(past, watched())
