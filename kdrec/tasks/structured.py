"""Words with tags and questions with answers, from Parquet, JSONL, JSON and CoNLL files; every defect is one sentence.

- Words: a list of words and a list of as many tags; a CoNLL file (`conll`); or a text and its spans, as doccano writes
  them: `[[start, end, tag], ...]`, counted in characters. Such a text is split at white space and around every sign
  that is no letter or digit, and a span is of whole words.
- Questions: a question, a context, and answers as SQuAD writes them: `{"text": [...], "answer_start": [...]}` or
  `[{"text": ..., "answer_start": ...}, ...]`, where starts count characters of the context; empty lists mean that the
  context holds no answer.
- A label is a text or a number, or a list of one.

What a column holds is what most of its cells hold; a cell that holds something else is refused by its line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from kdrec.checks import is_unicode
from kdrec.errors import DataError
from kdrec.tasks.conll import read_conll
from kdrec.tasks.rows import Row
from kdrec.tasks.tables import CONLL_FILES, Table, Undeclared, named, read_raw, read_table

CONLL_COLUMNS: Final = ("tokens", "tags")
Kind = Literal["label", "tags", "answers"]
_WORD: Final = re.compile(r"\w+|[^\w\s]")
_SPAN_KEYS: Final = (("start", "start_offset"), ("end", "end_offset"), ("label", "tag", "entity", "type"))
_HOLDS: Final = {
    "text": "a text or a number",
    "list": "a list",
    "spans": "spans of characters",
    "answers": "answers",
    "object": "an object",
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """Rows of a file, where each begins (`line 7`), and sentences about what was left out or read otherwise."""

    rows: tuple[Row, ...]
    where: tuple[str, ...]
    notes: tuple[str, ...] = ()


def kind_of(path: Path, texts: Sequence[str], label: str) -> Kind:
    """What the column `label` of a file holds, told by all of its cells.

    Raises
    ------
    DataError
        When it holds several labels a row, objects, or cells that disagree: the first one that does is named.
    """
    if path.suffix.lower() in CONLL_FILES:
        if (*texts, label) != CONLL_COLUMNS:
            raise DataError(
                f"{path.name}: the columns of a {path.suffix} file are called {' and '.join(CONLL_COLUMNS)} (its "
                f"first and its last), got {', '.join([*texts, label])}"
            )
        return "tags"
    if path.suffix.lower() in (".csv", ".tsv"):
        return "label"
    table = read_raw(path, [*texts, label])
    shapes = [_shape(row[-1]) for row in table.rows]
    main = _main_shape(table, shapes, label)
    if main in ("text", None):
        _refuse_words_with_a_label(table, texts, label)
        return "label"
    if main == "object":
        at = shapes.index("object")
        raise DataError(
            f"{table.path.name}, {table.where(at)}: column {label!r} holds an object, {str(table.rows[at][-1])[:60]}; "
            "a label is a text or a number: put the key that names it into a column of its own"
        )
    if main == "list":
        return "tags" if any(isinstance(row[0], list) for row in table.rows) else _labels_in_lists(table, label)
    return "answers" if main == "answers" else "tags"


def _shape(cell: Any) -> str | None:
    """What one cell holds; None where it is empty, or an empty list, which may stand for none of anything."""
    if cell is None or cell == [] or (isinstance(cell, str) and not cell.strip()):
        return None
    if isinstance(cell, dict):
        return "answers" if {"text", "answer_start"} & cell.keys() else "object"
    if not isinstance(cell, list):
        return "text"
    if all(isinstance(one, dict) and {"text", "answer_start"} <= one.keys() for one in cell):
        return "answers"
    if all((isinstance(one, list) and len(one) == 3) or isinstance(one, dict) for one in cell):
        return "spans"
    return "list"


def _main_shape(table: Table, shapes: Sequence[str | None], label: str) -> str | None:
    """What most cells hold; the first one that holds something else is refused."""
    counts = Counter(shape for shape in shapes if shape)
    if not counts:
        return "answers" if len(table.rows and table.rows[0]) == 3 and any(r[-1] == [] for r in table.rows) else None
    main = max(counts, key=lambda shape: (counts[shape], shape == "text"))
    for at, shape in enumerate(shapes):
        if shape not in (None, main):
            raise DataError(
                f"{table.path.name}, {table.where(at)}: column {label!r} holds {_HOLDS[str(shape)]} here, "
                f"{str(table.rows[at][-1])[:40]!r}, and {_HOLDS[main]} in {counts[main]:,} of {len(shapes):,} rows"
            )
    return main


def _refuse_words_with_a_label(table: Table, texts: Sequence[str], label: str) -> None:
    """Lists of words want lists of tags."""
    for at, row in enumerate(table.rows):
        if len(row) == 2 and isinstance(row[0], list):
            raise DataError(
                f"{table.path.name}, {table.where(at)}: column {texts[0]!r} holds a list of words, whose tags are a "
                f"list as well, and column {label!r} holds {str(row[-1])[:40]!r}"
            )


def _labels_in_lists(table: Table, label: str) -> Kind:
    """Lists of labels: of one each they are labels, of several they are what is not supported yet."""
    several = [at for at, row in enumerate(table.rows) if isinstance(row[-1], list) and len(row[-1]) > 1]
    if several:
        at = several[0]
        raise DataError(
            f"{table.path.name}: column {label!r} holds several labels in {len(several):,} of {len(table.rows):,} rows "
            f"(multi-label; first at {table.where(at)}: {str(table.rows[at][-1])[:60]}), and kdrec learns one label a "
            "row: keep one of each, or make a yes-or-no column of every label (tags of words need lists of words)"
        )
    return "label"


def alone(cell: Any) -> Any:
    """A label out of its list of one; an empty list is no label."""
    return (cell[0] if cell else None) if isinstance(cell, list) and len(cell) < 2 else cell


def read_words(path: Path, words: str, tags: str) -> tuple[Row, ...]:
    """Rows of words and tags; see `find_words`."""
    return find_words(path, words, tags).rows


def find_words(path: Path, words: str, tags: str) -> Found:
    """Rows of words and tags, with their places.

    Raises
    ------
    DataError
        When a row has no word, an empty word, or another number of tags than of words; when a tag is none of the
        declared ones; when a span overlaps another one or ends inside of a word.
    """
    if path.suffix.lower() in CONLL_FILES:
        found = read_conll(path)
        return Found(rows=found.rows, where=tuple(f"line {line}" for line in found.lines), notes=found.notes)
    return words_of(read_raw(path, [words, tags]), tags)


def has_spans(table: Table) -> bool:
    """Whether the last column of a table holds spans of characters."""
    return any(_shape(row[-1]) == "spans" for row in table.rows)


def words_of(table: Table, tags: str) -> Found:
    """Rows of a table of words and, in the column `tags`, tags; refusals are those of `find_words`."""
    names = table.names.get(tags)
    spans = has_spans(table)
    rows = tuple(_spanned(table, at) if spans else _words(table, at, names) for at in range(len(table.rows)))
    split = (
        f"texts of {table.path.name} were split into words at white space and punctuation, for the spans of {tags!r}"
    )
    return Found(rows=rows, where=_places(table), notes=(split,) if spans else ())


def find_bare_words(path: Path, words: str) -> list[tuple[str, ...]]:
    """Words whose tags nobody knows yet, or wants; none where a row has no word, and an empty text for an empty word.

    A text in place of a list is split as the texts of spans are.
    """
    if path.suffix.lower() in CONLL_FILES:
        kind_of(path, [words], CONLL_COLUMNS[1])
        return [row.texts for row in read_conll(path, tagged=False).rows]
    if path.suffix.lower() in (".csv", ".tsv"):
        return [tuple(_WORD.findall(str(row[0] or ""))) for row in read_table(path, [words]).rows]
    table = read_raw(path, [words])
    return [_bare(table, at) for at in range(len(table.rows))]


def read_bare_words(path: Path, words: str) -> tuple[Row, ...]:
    """Rows of words whose tags nobody knows; every row must have words, and none that is empty."""
    if path.suffix.lower() not in (*CONLL_FILES, ".csv", ".tsv"):
        return bare_words_of(read_raw(path, [words]))
    rows = find_bare_words(path, words)
    if any(not row or not all(word.strip() for word in row) for row in rows):
        raise DataError(f"{path.name}: a row has no word, or an empty one; remove it")
    return tuple(Row(texts=row) for row in rows)


def bare_words_of(table: Table) -> tuple[Row, ...]:
    """Rows of the first column of a table, lists of words, or texts that are split as those of spans are."""
    rows = []
    for at in range(len(table.rows)):
        texts, where = _bare(table, at), f"{table.path.name}, {table.where(at)}"
        if not texts:
            raise DataError(f"{where}: the row has no word; remove it")
        rows.append(Row(texts=tuple(_text(word, where, "a word") for word in texts)))
    return tuple(rows)


def _bare(table: Table, at: int) -> tuple[str, ...]:
    cell, where = table.rows[at][0], f"{table.path.name}, {table.where(at)}"
    if cell is None or cell == []:
        return ()
    if isinstance(cell, str):
        return tuple(_WORD.findall(_text(cell, where, "a text"))) if cell.strip() else ()
    if not isinstance(cell, list):
        raise DataError(f"{where}: a list of words was expected, got {str(cell)[:60]}")
    return tuple(_text(word, where, "a word") if str(word or "").strip() else "" for word in cell)


def find_questions(path: Path, question: str, context: str, answers: str) -> Found:
    """Rows of a question and a context, with the spans of the answers, and their places.

    Raises
    ------
    DataError
        When a text is missing, or an answer does not stand where it is said to.
    """
    return questions_of(read_raw(path, [question, context, answers]))


def questions_of(table: Table) -> Found:
    """Rows of a table of question, context and answers; refusals are those of `find_questions`."""
    return Found(rows=tuple(_question(table, at) for at in range(len(table.rows))), where=_places(table))


def read_questions(path: Path, question: str, context: str, answers: str) -> tuple[Row, ...]:
    """Rows of a question and a context; see `find_questions`."""
    return find_questions(path, question, context, answers).rows


def _places(table: Table) -> tuple[str, ...]:
    return tuple(table.where(at) for at in range(len(table.rows)))


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
    return Row(texts=texts, tags=tuple(_text(_tag(tag, names, where), where, "a tag") for tag in tags))


def _tag(tag: Any, names: tuple[str, ...] | None, where: str) -> Any:
    found = named(tag, names)
    if isinstance(found, Undeclared):
        raise DataError(f"{where}: a tag is {found}: no tag; give every word one, or remove the row")
    return found


def _spanned(table: Table, at: int) -> Row:
    """A text and its spans as words and BIO tags."""
    text, spans = table.rows[at]
    where = f"{table.path.name}, {table.where(at)}"
    pieces = list(_WORD.finditer(_text(text, where, "a text")))
    if not isinstance(text, str) or not pieces:
        raise DataError(f"{where}: spans are of a text with words, got {str(text)[:40]!r}")
    tags = ["O"] * len(pieces)
    for span in spans or ():
        start, end, name = _span_of(span, text, where)
        shown = f"{where}: the column holds spans of characters, and {span!s:.60}"
        inside = [piece for piece, word in enumerate(pieces) if word.start() < end and start < word.end()]
        if not inside or pieces[inside[0]].start() < start or pieces[inside[-1]].end() > end:
            raise DataError(
                f"{shown} is {text[start:end][:40]!r}, which is no whole words: move its ends to those of words"
            )
        if any(tags[piece] != "O" for piece in inside):
            raise DataError(f"{shown} overlaps another one; a word has one tag")
        tags[inside[0]] = f"B-{name}"
        for piece in inside[1:]:
            tags[piece] = f"I-{name}"
    return Row(texts=tuple(word[0] for word in pieces), tags=tuple(tags))


def _span_of(span: Any, text: str, where: str) -> tuple[int, int, str]:
    """Start, end and name of a span, without white space at its ends."""
    if isinstance(span, dict):
        span = [next((span[key] for key in keys if key in span), None) for keys in _SPAN_KEYS]
    start, end, name = span
    whole = all(isinstance(place, int) and not isinstance(place, bool) for place in (start, end))
    if not whole or not isinstance(name, str) or not name.strip() or not 0 <= start < end <= len(text):
        raise DataError(
            f"{where}: a span is [start, end, tag] with characters of the text from 0 to {len(text)}, got {span!s:.60}"
        )
    shown = text[start:end]
    return start + len(shown) - len(shown.lstrip()), end - len(shown) + len(shown.rstrip()), name.strip()


def _question(table: Table, at: int) -> Row:
    question, context, answers = table.rows[at]
    where = f"{table.path.name}, {table.where(at)}"
    texts = _text(question, where, "a question"), _text(context, where, "a context")
    if isinstance(answers, list) and all(isinstance(one, dict) for one in answers):
        answers = {key: [one.get(key) for one in answers] for key in ("text", "answer_start")}
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
