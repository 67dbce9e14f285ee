"""What can go wrong in the world, each kind as one exception whose text is one sentence for the user.

The command line turns every `KdrecError` into that sentence and exit code 2; anything else is a defect of ours and
keeps its traceback. What a sentence is made of (what is near, without secrets) lives here too, and nothing else.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

MOST_LETTERS: Final = 2000
"""A longer sentence loses its middle: the word of a file that made it so long is no help to anyone."""

_SECRET: Final = re.compile(r"((?:password|passwd|pwd|token|secret|key)=)[^&\s]+", re.IGNORECASE)


class KdrecError(Exception):
    """Something the user or the world has to put right; the text says what was expected and what came.

    Words of a file may stand in the text, so it is made one line that a terminal shows as it is.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(_one_line(text))


class BadArgument(KdrecError, ValueError):
    """A value outside what the called door accepts (also a `ValueError`, as Python callers expect)."""


class DataError(KdrecError):
    """A dataset that cannot be used as it is: a missing column, one class, unreadable text."""


class SourceError(KdrecError):
    """A `hub:`, `file:` or `pypi:` reference that cannot be resolved to verified bytes."""


class CorruptFile(KdrecError):
    """A cache, checkpoint or history file whose content does not match its recorded hash or form."""


class MismatchError(KdrecError):
    """Two things that must fit do not: label sets, tokenizers, a cache and its key."""


class StoreError(KdrecError):
    """The tracking store cannot be reached, or was written by a newer schema."""


class StoreUnreachable(StoreError):
    """Nothing answers where the tracking store is said to be: it may in a minute."""


class NoHistory(KdrecError):
    """A history without a single usable row."""


def _one_line(text: str) -> str:
    r"""Text without line breaks, and with terminal controls spelled out.

    >>> _one_line("known are a\nb, \x1b[2J")
    'known are a b, \\x1b[2J'
    """
    line = " ".join(part.strip() for part in text.splitlines())
    if not line.isprintable():
        line = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in line)
    return line if len(line) <= MOST_LETTERS else f"{line[: MOST_LETTERS - 300]} ... {line[-250:]}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Say what is near: `"; did you mean 'sst2'?"`, or all that is known when nothing is near.

    >>> did_you_mean("sst3", ["sst2", "trec"])
    "; did you mean 'sst2'?"
    """
    choices = sorted(known)
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known are {', '.join(choices)}" if choices else ""


def redacted(text: str) -> str:
    """Hide passwords and tokens of every URI in a text.

    >>> redacted("http://ada:pw@host/x")
    'http://ada:***@host/x'
    """
    text = re.sub(r"(://[^:/@\s]*):\S*@", r"\1:***@", text)
    text = re.sub(r"://[^:/@\s]+@", "://***@", text)
    return _SECRET.sub(r"\1***", text)
