"""What Prefect's own pages show: keys that it takes, the form of a flow's parameters, a table, and a bar."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar, get_type_hints
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.utilities.callables import parameter_schema

from kdrec.bulletin import AHEAD, Bulletin, Line
from kdrec.errors import redacted
from kdrec.tracking.notes import escaped

BEAT_SECONDS: Final = 2.0
"""Between two movements of a bar: a cell of small trials ends several a second."""

F = TypeVar("F")


def key_of(*names: str) -> str:
    """The key of an artifact: lower-case letters, digits and dashes.

    >>> key_of("study", "Mein_Test.2"), key_of("study", "日本")
    ('study-mein-test-2', 'study')
    """
    text = "-".join(names).lower()
    return "-".join(filter(None, "".join(c if c.isalnum() and c.isascii() else "-" for c in text).split("-")))


def explained(flow: F) -> F:
    """Have the form of a flow say what the `Field` of its parameters says: Prefect reads Google's docstrings alone."""
    hints = get_type_hints(getattr(flow, "fn"), include_extras=True)  # noqa: B009
    told = {name: _description(hint) for name, hint in hints.items()}
    lines = [f"    {name}: {text}" for name, text in told.items() if text]
    flow.__doc__ = "\n".join([inspect.cleandoc(flow.__doc__ or ""), "", "Args:", *lines])
    setattr(flow, "parameters", parameter_schema(flow))  # type: ignore[arg-type]  # noqa: B010
    return flow


def _description(hint: Any) -> str:
    found = (getattr(one, "description", None) for one in getattr(hint, "__metadata__", ()))
    return next((" ".join(text.split()) for text in found if text), "")


class Bar:
    """A progress artifact of this flow run, moved while the block lasts by a thread that keeps nobody waiting.

    Parameters
    ----------
    key : str
        From `key_of`.
    description : str
        Markdown above the bar.
    share : callable
        How much is done, from 0 to 1.
    """

    def __init__(self, key: str, description: str, share: Callable[[], float]) -> None:
        self._share, self._ended = share, threading.Event()
        self._shown = 0.0
        self._key, self._description = key, description
        self._id: UUID | None = None
        self._show()
        self._thread = threading.Thread(target=self._move, name="progress-artifact", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        if kind is None:  # who was stopped does not wait
            self._thread.join(timeout=10)

    def _move(self) -> None:
        """Show what has moved, and once more at the end."""
        while not self._ended.wait(BEAT_SECONDS):
            self._show()
        self._show()

    def _show(self) -> None:
        percent = round(100 * min(1.0, self._share()), 1)
        if percent == self._shown and self._id is not None:
            return
        try:
            if self._id is None:
                made = create_progress_artifact(progress=percent, key=self._key, description=self._description)
                self._id = UUID(str(made))
            else:
                update_progress_artifact(self._id, percent)
            self._shown = percent
        except Exception:  # a server that is away for a while: the study goes on, and so does the bar later
            return


def show_text(text: str, key: str, description: str, say: Callable[[str], object]) -> None:
    """A text as an artifact; where Prefect does not take it (its run or database is gone) `say` is told."""
    try:
        create_markdown_artifact(text, key=key, description=description)
    except Exception as error:  # what a study found is in the tracking store, whatever becomes of Prefect's page
        say(f"Prefect's page of this run could not be written ({reason_of(error)}); the results are in the store.")


def reason_of(error: BaseException) -> str:
    """The first line of an error of Prefect's, short and without credentials."""
    lines = redacted(str(error)).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__


def show_table(bulletin: Bulletin, key: str, description: str) -> None:
    """A table of recommendations as an artifact that can be searched."""
    create_table_artifact([_cells(line) for line in bulletin.lines], key=key, description=description)


def _cells(line: Line) -> Mapping[str, str | float]:
    return {
        "Task": escaped(line.task),
        "Student": escaped(line.student),
        "Start with": escaped(line.config),
        "Tuning": line.verdict,
        f"Gain of {AHEAD} further trials": round(line.gain, 2) + 0.0,
        "80 % from": round(line.lo80, 2) + 0.0,
        "to": round(line.hi80, 2) + 0.0,
        "Trials": line.n_trials,
        "Why": escaped(line.reason),
    }
