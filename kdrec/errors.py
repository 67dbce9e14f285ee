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

_HOST: Final = r"(?:localhost|\[[^\]]*\]|[\w-]+(?:\.[\w-]+)+)?:\d{1,5}(?![^\s/?#),;'\"\]])"
"""A host with its port, such as may stand before a sentence that has an @ of its own."""
_USER: Final = re.compile(r"://(?:(?!://)\S)*@")
_SPACED_USER: Final = re.compile(rf"://(?!{_HOST})[^\s/?#@:]*:(?:(?!://)[^\n])*@")
_QUERY: Final = re.compile(r"([?&;#][^\s=&?#;]*=)(?!\*\*\*)[^\s&#]+")
_URI: Final = re.compile(r"://\S+")
_NAMED: Final = re.compile(
    r"((?:password|passwd|pwd|passphrase|token|secret|key|sig|signature|auth|jwt|credentials?)\s*=\s*)"
    r"(?:'[^']*'|\"[^\"]*\"|\{[^}]*\}+|[^&;\s]+(?:[^&;\n]*(?=;))?)",
    re.IGNORECASE,
)
_HEADER: Final = re.compile(r"(authorization\W{1,4}(?:(?:basic|bearer|digest)\s+)?)[^\s'\"]+", re.IGNORECASE)


_SPEAKING: Final = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
"""Controls, marks of direction, and signs that are not seen; joiners of scripts and emoji (U+200C, U+200D) are none."""


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
    """Hide what may be a secret: user info and every value of a query by their place, others by their names.

    A name says little of a secret (`sig`, `jwt`, `X-Amz-Signature`), its place in a URI says enough: more is hidden
    than is secret. Strings for ODBC and libpq have no such places, and passwords in them may have spaces.

    >>> redacted("http://ada:pw@host/x?sig=1a&v=2")
    'http://***@host/x?sig=***&v=***'
    >>> redacted("DRIVER={ODBC};UID=ada;PWD=two words;SERVER=db")
    'DRIVER={ODBC};UID=ada;PWD=***;SERVER=db'
    """
    text = _SPACED_USER.sub("://***@", _USER.sub("://***@", text))
    text = _URI.sub(lambda uri: _QUERY.sub(r"\1***", uri[0]), text)
    return _HEADER.sub(r"\1***", _NAMED.sub(r"\1***", text))


def spelled(text: str) -> str:
    r"""Text with the signs that speak to a terminal, or turn the order of letters round, spelled as JSON spells them.

    Line breaks stay.

    >>> spelled("a\x1b[2J\u202eb")
    'a\\u001b[2J\\u202eb'
    """
    return _SPEAKING.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)
