"""A refusal is one sentence on one line, whatever words of a file stand in it."""

from __future__ import annotations

import doctest
import pickle

import pytest

from kdrec import errors
from kdrec.errors import BadArgument, DataError, KdrecError, did_you_mean, redacted, spelled


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


@pytest.mark.parametrize(
    "text",
    [
        "https://SECRET@host/x failed",
        "https://SECRET:x-oauth-basic@host/x failed",
        "postgresql://ada:SECRET@host/db failed",
        "postgresql://ada:SEC RET with@signs@host/db failed",
        "postgresql://ada:1234 SECRET@host/db failed",
        "postgresql://ada:SEC/RET?#@host/db failed",
        "https://blob.example/c?sv=1&sig=SECRET failed",
        "https://s3.example/b?X-Amz-Signature=SECRET&X-Amz-Credential=SECRET failed",
        "https://host/x?anything_at_all=SECRET failed",
        "https://host/x#access_token=SECRET failed",
        "https://host/x?a=1;jwt=SECRET failed",
        "two: http://a:SECRET@host/x and http://b:SECRET@host/y failed",
        "mssql+pyodbc:///?odbc_connect=DRIVER%3DX%3BPWD%3DSECRET failed",
        "mssql+pyodbc:///?odbc_connect=DRIVER={ODBC Driver 18};SERVER=host;UID=ada;PWD=SECRET SECRET;Encrypt=no failed",
        "DRIVER={ODBC Driver 18};SERVER=host;Pwd={SECRET;SECRET} failed",
        "host=db user=ada password='SECRET SECRET' failed",
        'host=db user=ada password = "SECRET SECRET" failed',
        "auth=SECRET failed",
        "credential=SECRET failed",
        "Authorization: Bearer SECRET failed",
        "headers {'Authorization': 'Basic SECRET'} failed",
    ],
)
def test_a_secret_is_hidden_by_its_place_or_its_name_and_the_rest_stays(text: str) -> None:
    shown = redacted(text)
    assert "SEC" not in shown
    assert "RET" not in shown
    assert "***" in shown
    assert shown.endswith("failed") or "Encrypt" in text
    assert redacted(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////home/x/mlflow.db",
        "no store answers at http://127.0.0.1:5000 (connection refused); ask ada@example.org",
        "no store answers at http://[::1]:5000, and none at http://host.example:80/x",
        "the key of a mapping, its token and a secret: 3 = 3",
        "postgresql://host/db",
    ],
)
def test_a_sentence_without_a_secret_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize("sign", ["\x1b", "\x07", "\x9b", "\u202e", "\u2066", "\u200f", "\u061c", "\u2028", "\ufeff"])
def test_no_sign_that_speaks_to_a_terminal_or_turns_letters_round_is_printed(sign: str) -> None:
    from kdrec.tracking.notes import escaped

    for shown in (spelled(f"a{sign}b"), escaped(f"a{sign}b")):
        assert sign not in shown
    assert spelled("a\nb, é 中 \U0001f469\u200d\U0001f52c") == "a\nb, é 中 \U0001f469\u200d\U0001f52c"
