"""The family `tokens`: the words of a text, a tag each; spans (NER) where the tags are BIO, else single words (POS).

A head is read at the first piece of every word. Continuation pieces, special tokens and padding are no places, so they
are in no loss. A word that `max_length` cut off, or that no piece stands for, is lost to training; when a split is
scored it counts as a word without an entity, or as a wrong one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from kdrec.errors import DataError
from kdrec.metrics import Grade, Grader, ece, nll, ratio_se, span_counts, span_f1
from kdrec.tasks.example import CHUNK, Example
from kdrec.tasks.rows import Texts, normalise
from kdrec.types import Encoded, Metric, Split, Task

OUTSIDE: Final = "O"
_BIO: Final = re.compile(r"[BI]-.+")
_OTHER_SCHEMES: Final = re.compile(r"([BIOESLU]-.+|[BI]_.+|[BIESLU])")


def is_bio(tags: Sequence[str]) -> bool:
    """Whether these tags spell spans.

    Raises
    ------
    DataError
        When some look like it and others do not fit: BIOES or IO tags, or `B_` in place of `B-`.
    """
    spans = [tag for tag in tags if _OTHER_SCHEMES.fullmatch(tag) and tag != OUTSIDE]
    if not spans or (OUTSIDE not in tags and not any(_BIO.fullmatch(tag) for tag in spans)):
        return False
    strange = sorted(tag for tag in tags if tag != OUTSIDE and not _BIO.fullmatch(tag))
    if strange:
        raise DataError(
            f"tags of spans must be {OUTSIDE}, B-TYPE or I-TYPE (BIO), got {strange[0]!r} beside {spans[0]!r}; "
            "other schemes such as BIOES have to be rewritten as BIO"
        )
    return True


@dataclass(frozen=True)
class TokensFamily:
    """Words to a tokenizer, one class of each word."""

    head: Literal["token_classification"] = "token_classification"
    axis: Literal["classes"] = "classes"

    def prepare(self, tokenizer: Any) -> None:
        """Byte-level tokenizers (RoBERTa's) know a word by the space before it, which separate words do not have."""
        from tokenizers.pre_tokenizers import ByteLevel

        if isinstance(tokenizer.pre_tokenizer, ByteLevel):
            tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=True)

    def encode(self, split: Split, tokenizer: Any, max_length: int) -> Iterator[Example]:
        """One example a row, read at the first piece of every word."""
        self.prepare(tokenizer)
        tokenizer.enable_truncation(max_length, strategy="longest_first")
        for begins in range(0, len(split), CHUNK):
            words = [list(texts) for texts in split.texts[begins : begins + CHUNK]]
            for row, encoding in enumerate(tokenizer.encode_batch(words, is_pretokenized=True), start=begins):
                yield _example(row, encoding, split.labels_of(row))

    def grader(self, task: Task, split: Split, encoded: Encoded, *, with_error: bool = False) -> Grader:
        """Grade all words of the split, those that no example holds among them; loss and calibration of the rest."""
        assert encoded.reading is not None, "tokens are read at places"
        assert split.offsets_N1 is not None, "words are several a row"
        reading, labels, spans = encoded.reading, encoded.labels_U, task.metric == "span_f1"
        word_R = np.repeat(split.offsets_N1[reading.rows_N], reading.counts_N) + reading.origin_R2[:, 0]
        missed = task.labels.index(OUTSIDE) if spans and OUTSIDE in task.labels else -1

        def grade(logits_RC: npt.NDArray[np.float32]) -> Grade:
            predicted_W = np.full(len(split.labels_U), missed, dtype=np.int64)
            predicted_W[word_R] = logits_RC.argmax(-1)
            score = _spans(task, split, predicted_W) if spans else 100 * float(np.mean(predicted_W == split.labels_U))
            error = (_spans_se if spans else _words_se)(task, split, predicted_W) if with_error else None
            return Grade(score=score, loss=nll(logits_RC, labels), ece=ece(logits_RC, labels), score_se=error)

        return grade

    def group(self, texts: Texts) -> Texts:
        """What never straddles splits: the same words in the same order."""
        return (normalise(" ".join(texts)),)

    def metric(self, counts: Mapping[str, int]) -> Metric:
        """Span F1 where the tags are BIO, else the share of words that are tagged right."""
        return "span_f1" if is_bio(list(counts)) else "accuracy"


def _example(row: int, encoding: Any, labels: npt.NDArray[np.int64]) -> Example:
    places: list[int] = []
    words: list[int] = []
    for place, word in enumerate(encoding.word_ids):
        if word is not None and (not words or word != words[-1]):
            places.append(place)
            words.append(word)
    return Example(
        row=row,
        ids=encoding.ids if words else (),
        type_ids=encoding.type_ids if words else (),
        labels=labels[words].tolist(),
        places=places,
        origin=[(word, word + 1) for word in words],
        truncated=bool(encoding.overflowing),
        n_lost=len(labels) - len(words),
    )


def _spans(task: Task, split: Split, predicted_W: npt.NDArray[np.int64]) -> float:
    return span_f1(*_tags(task, split, predicted_W))


def _spans_se(task: Task, split: Split, predicted_W: npt.NDArray[np.int64]) -> float:
    right_N, predicted_N, gold_N = span_counts(*_tags(task, split, predicted_W)).T
    return ratio_se(2 * right_N, predicted_N + gold_N)


def _words_se(task: Task, split: Split, predicted_W: npt.NDArray[np.int64]) -> float:
    assert split.offsets_N1 is not None, "words are several a row"
    right_N = np.diff(np.append(0, np.cumsum(predicted_W == split.labels_U))[split.offsets_N1])
    return ratio_se(right_N, np.diff(split.offsets_N1))


def _tags(task: Task, split: Split, predicted_W: npt.NDArray[np.int64]) -> tuple[list[list[str]], list[list[str]]]:
    """Predicted and gold tags of every row."""
    assert split.offsets_N1 is not None, "words are several a row"
    ends = split.offsets_N1[1:-1]
    names = np.array([*task.labels, OUTSIDE])  # index -1, of a word without a prediction, is the last
    predicted, gold = ([tags.tolist() for tags in np.split(names[of], ends)] for of in (predicted_W, split.labels_U))
    return predicted, gold
