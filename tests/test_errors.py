"""A refusal is one sentence on one line, whatever words of a file stand in it."""

from __future__ import annotations

import doctest
import pickle

import pytest

from kdrec import errors
from kdrec.errors import BadArgument, DataError, KdrecError, did_you_mean


@pytest.mark.parametrize("word", ["a\nb", "a\r\n b", "\x1b[2J", "a\0", "\ud800", "a\u2028b", "a\u202eb", "\x85", "\t"])
def test_no_word_of_a_file_breaks_the_line_or_speaks_to_the_terminal(word: str) -> None:
    for said in (DataError(f"unknown column {word}"), BadArgument(f"no column{did_you_mean('x', [word, 'zzzz'])}")):
        assert str(said).isprintable()
        assert str(said).encode()


def test_a_sentence_keeps_its_head_and_its_end_whatever_stands_between() -> None:
    said = str(DataError(f"line 7: a number was expected, got {'9' * 100_000}; did you mean '9'?"))
    assert len(said) <= errors.MOST_LETTERS
    assert said.startswith("line 7: a number was expected, got 999")
    assert said.endswith("999; did you mean '9'?")


def test_errors_travel_between_processes() -> None:
    said = pickle.loads(pickle.dumps(BadArgument("epochs must be\na number")))
    assert (type(said), str(said)) == (BadArgument, "epochs must be a number")
    assert isinstance(said, ValueError)
    assert str(KdrecError("  spaces  'a  b' stay ")) == "spaces  'a  b' stay"


def test_the_examples_are_true() -> None:
    assert not doctest.testmod(errors).failed
