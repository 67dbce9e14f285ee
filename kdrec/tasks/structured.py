"""Words with tags and questions with answers, from Parquet, JSONL and CoNLL files; every defect is one sentence.

- Words: a list of words and a list of as many tags; or a CoNLL file: a word a line, the first column the word and the
  last one its tag, separated by white space, sentences by empty lines.
- Questions: a question, a context, and answers as SQuAD writes them: `{"text": [...], "answer_start": [...]}`, where
  starts count characters of the context; empty lists mean that the context holds no answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

from kdrec.checks import is_unicode
from kdrec.errors import DataError
from kdrec.tasks.rows import Row
from kdrec.tasks.tables import CONLL, Table, check_file, decode, read_raw

CONLL_COLUMNS: Final = ("tokens", "tags")
_DOCUMENT: Final = "-DOCSTART-"
Kind = Literal["label", "tags", "answers"]


def kind_of(path: Path, texts: Sequence[str], label: str) -> Kind:
    """What the column `label` of a file holds, told by its first cell that is not empty."""
    if path.suffix.lower() == CONLL:
        if (*texts, label) != CONLL_COLUMNS:
            raise DataError(
                f"{path.name}: the columns of a {CONLL} file are called {' and '.join(CONLL_COLUMNS)} (its "
                f"first and its last), got {', '.join([*texts, label])}"
            )
        return "tags"
    if path.suffix.lower() not in (".parquet", ".jsonl"):
        return "label"
    cells = [row[-1] for row in read_raw(path, [*texts, label]).rows]
    first = next((cell for cell in cells if cell not in (None, "")), None)
    return "answers" if isinstance(first, dict) else "tags" if isinstance(first, list) else "label"


def read_words(path: Path, words: str, tags: str) -> tuple[Row, ...]:
    """Rows of words and tags.

    Raises
    ------
    DataError
        When a row has no word, an empty word, or another number of tags than of words.
    """
    if path.suffix.lower() == CONLL:
        return _read_conll(path)
    return words_of(read_raw(path, [words, tags]), tags)


def words_of(table: Table, tags: str) -> tuple[Row, ...]:
    """Rows of a table of words and, in the column `tags`, tags; refusals are those of `read_words`."""
    names = table.names.get(tags)
    return tuple(_words(table, at, names) for at in range(len(table.rows)))


def read_bare_words(path: Path, words: str) -> tuple[Row, ...]:
    """Rows of words whose tags nobody knows yet, or wants; refusals are those of `read_words`.

    A CoNLL file may then have its words alone.
    """
    if path.suffix.lower() == CONLL:
        kind_of(path, [words], CONLL_COLUMNS[1])
        return tuple(Row(texts=row.texts) for row in _read_conll(path, least=1))
    return bare_words_of(read_raw(path, [words]))


def bare_words_of(table: Table) -> tuple[Row, ...]:
    """Rows of the first column of a table, lists of words."""
    blank = replace(table, rows=tuple((row[0], row[0]) for row in table.rows))
    return tuple(Row(texts=_words(blank, at, None).texts) for at in range(len(blank.rows)))


def read_questions(path: Path, question: str, context: str, answers: str) -> tuple[Row, ...]:
    """Rows of a question and a context, with the spans of the answers.

    Raises
    ------
    DataError
        When a text is missing, or an answer does not stand where it is said to.
    """
    return questions_of(read_raw(path, [question, context, answers]))


def questions_of(table: Table) -> tuple[Row, ...]:
    """Rows of a table of question, context and answers; refusals are those of `read_questions`."""
    return tuple(_question(table, at) for at in range(len(table.rows)))


def _words(table: Table, at: int, names: tuple[str, ...] | None) -> Row:
    words, tags = table.rows[at]
    where = f"{table.path.name}, {table.where(at)}"
    if not isinstance(words, list) or not isinstance(tags, list):
        raise DataError(f"{where}: a list of words and a list of tags were expected, got {str(table.rows[at])[:60]}")
    if len(words) != len(tags):
        raise DataError(f"{where}: {len(words)} words and {len(tags)} tags; every word needs one tag")
    if not words:
        raise DataError(f"{where}: the row has no word; remove it")
    texts = tuple(_text(word, where, "a word") for word in words)
    return Row(texts=texts, tags=tuple(_text(_named(tag, names), where, "a tag") for tag in tags))


def _named(tag: Any, names: tuple[str, ...] | None) -> Any:
    return names[tag] if names and isinstance(tag, int) and 0 <= tag < len(names) else tag


def _read_conll(path: Path, least: int = 2) -> tuple[Row, ...]:
    """Sentences of a file with at least this many columns."""
    check_file(path)
    rows: list[Row] = []
    words: list[str] = []
    tags: list[str] = []
    width = 0
    for number, line in enumerate([*decode(path).split("\n"), ""], start=1):
        cells = line.split()
        if cells and cells[0] != _DOCUMENT:
            width = width or len(cells)
            if len(cells) != width or width < least:
                raise DataError(
                    f"{path.name}, line {number}: {max(least, width)} columns (a word first, its tag last) were "
                    f"expected as in the lines before, got {len(cells)}"
                )
            words.append(cells[0])
            tags.append(cells[-1])
        elif words:
            rows.append(Row(texts=tuple(words), tags=tuple(tags)))
            words, tags = [], []
    return tuple(rows)


def _question(table: Table, at: int) -> Row:
    question, context, answers = table.rows[at]
    where = f"{table.path.name}, {table.where(at)}"
    texts = _text(question, where, "a question"), _text(context, where, "a context")
    if not isinstance(answers, dict) or not {"text", "answer_start"} <= answers.keys():
        raise DataError(f"{where}: answers are {{'text': [...], 'answer_start': [...]}}, got {str(answers)[:60]}")
    wording, starts = (_list(answers[key]) for key in ("text", "answer_start"))
    if len(wording) != len(starts):
        raise DataError(f"{where}: {len(wording)} answers and {len(starts)} starts; every answer needs one start")
    spans = [_span(texts[1], start, answer, where) for start, answer in zip(starts, wording, strict=True)]
    return Row(texts=texts, spans=tuple(dict.fromkeys(spans)))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _span(context: str, start: Any, answer: Any, where: str) -> tuple[int, int]:
    whole = isinstance(start, int) and not isinstance(start, bool)
    if not whole or not isinstance(answer, str) or not answer.strip():
        raise DataError(f"{where}: an answer is a text with the character it starts at, got {answer!r} and {start!r}")
    end = start + len(answer)
    if start < 0 or context[start:end] != answer:
        found = f"where {context[start:end][:40]!r} stands" if 0 <= start < len(context) else "which is outside"
        raise DataError(f"{where}: the answer {answer[:40]!r} is not at character {start} of its context, {found}")
    return start, end


def _text(value: Any, where: str, what: str) -> str:
    text = "" if value is None else str(value)
    if not text.strip():
        raise DataError(f"{where}: {what} is empty; fill it or remove the row")
    if isinstance(value, (list, dict, bytes)) or "\0" in text or not is_unicode(text):
        raise DataError(f"{where}: {what} must be a text that a tokenizer can read, got {text[:40]!r}")
    return text
