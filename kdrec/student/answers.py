"""What a saved student says of the rows of a table: a label and its probability for each.

Rows are read, cut and tokenised as the student's own were, so a table of its task is answered as in its examination.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdrec.errors import BadArgument, DataError
from kdrec.student.folder import Saved
from kdrec.student.passes import forward_of, logits_on
from kdrec.tasks import family
from kdrec.tasks.encoding import tokenise
from kdrec.tasks.qa import sure_answers
from kdrec.tasks.structured import find_bare_words
from kdrec.tasks.tables import read_table
from kdrec.types import Encoded, Floats, Split


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Of one row: a label, a tag for every word joined by spaces, or the text of an answer (empty: there is none).

    `probability` is the student's own, from 0 to 1: of a text of words, that of its least sure tag. Without any text
    there is nothing to answer: the label is empty and the probability None, so that answers stand beside their rows.
    """

    texts: tuple[str, ...]
    label: str
    probability: float | None


def answers(saved: Saved, path: Path, columns: Sequence[str]) -> list[Answer]:
    """Answer every row of a table that has a text; a row without one keeps its place.

    Parameters
    ----------
    saved : Saved
        The student.
    path : pathlib.Path
        CSV, TSV, JSONL, Parquet or (of words) CoNLL.
    columns : sequence of str
        Columns of the text, two for pairs and for questions.

    Raises
    ------
    BadArgument
        For more or fewer columns than the student reads.
    DataError
        For a file that cannot be used as it is.
    """
    facts = saved.facts
    n_columns = 2 if facts.family in ("pair", "qa") else 1
    if len(columns) != n_columns:
        raise BadArgument(
            f"{facts.name} reads {'two text columns' if n_columns == 2 else 'one text column'}: --text COL"
            f"{' --text COL' if n_columns == 2 else ''}, got {len(columns)}"
        )
    rows = find_bare_words(path, columns[0]) if facts.family == "tokens" else _texts(path, columns)
    if not rows:
        raise DataError(f"{path.name} has no rows")
    full = [bool(row) and not any(map(is_blank, row)) for row in rows]
    texts = [row for row, is_full in zip(rows, full, strict=True) if is_full]
    if not texts:
        raise DataError(f"{path.name}: no row has a text in {' and '.join(map(repr, columns))}")
    split = _split(texts, saved)
    encoded = tokenise(split, family(facts.family), saved.tokenizer_file, facts.max_length)
    logits_RC = logits_on(forward_of(saved.model), encoded, saved.pad_id)
    said = iter(_said(saved, split, encoded, logits_RC))
    found = [next(said) if is_full else ("", None) for is_full in full]
    return [Answer(texts=row, label=label, probability=sure) for row, (label, sure) in zip(rows, found, strict=True)]


def is_blank(text: str) -> bool:
    """Whether a text has no sign that can be seen: nothing, white space, zero-width or control signs."""
    return all(unicodedata.category(sign)[0] in "CZ" for sign in text)


def skipped(found: Sequence[Answer]) -> str | None:
    """A sentence about rows that were not answered, where there are any."""
    blank = [number for number, one in enumerate(found, start=1) if one.probability is None]
    if not blank:
        return None
    return (
        f"{len(blank):,} of {len(found):,} rows have an empty text or word and were not answered (first row "
        f"{blank[0]:,}, counted without the header); their labels are empty"
    )


def _said(saved: Saved, split: Split, encoded: Encoded, logits_RC: Any) -> list[tuple[str, float]]:
    facts = saved.facts
    if facts.family == "qa":
        return sure_answers(logits_RC, split, encoded, may_be_none=facts.may_be_none)
    said_R, sure_R = logits_RC.argmax(-1), _probabilities(logits_RC).max(-1)
    if encoded.reading is None:
        return [(facts.labels[at], float(sure)) for at, sure in zip(said_R.tolist(), sure_R.tolist(), strict=True)]
    made = []
    for row, texts in enumerate(split.texts):
        at = slice(int(encoded.reading.offsets_N1[row]), int(encoded.reading.offsets_N1[row + 1]))
        tags = ["?"] * len(texts)  # of a word that was cut off, or became no token
        for word, label in zip(encoded.reading.origin_R2[at, 0].tolist(), said_R[at].tolist(), strict=True):
            tags[word] = facts.labels[label]
        made.append((" ".join(tags), float(sure_R[at].min())))
    return made


def _probabilities(logits_RC: Any) -> Floats:
    logits = logits_RC.astype(np.float64)
    p_RC = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(p_RC / p_RC.sum(axis=1, keepdims=True))


def _split(texts: Sequence[tuple[str, ...]], saved: Saved) -> Split:
    """Rows whose labels nobody knows: 0 where the family wants one."""
    facts = saved.facts
    counts = [len(row) if facts.family == "tokens" else 0 if facts.family == "qa" else 1 for row in texts]
    flat = facts.family in ("sentence", "pair")
    return Split(
        texts=tuple(texts),
        labels_U=np.zeros(sum(counts), dtype=np.int64),
        ids_N=np.arange(len(texts)),
        offsets_N1=None if flat else np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )


def _texts(path: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(cell or "" for cell in row) for row in read_table(path, columns).rows]
