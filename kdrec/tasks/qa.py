"""The family `qa`: a question, a context, and the span of the context that answers it, or none.

A long context is cut into overlapping windows, each an example with the whole question. A head with two columns (start,
end) is read at the first token, which stands for *no answer here*, and at every token of the context: the classes of
both softmaxes. A window without the answer is labelled with the first place, as is usual.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from kdrec.errors import DataError
from kdrec.metrics import Grade, Grader, answer_f1, calibration_error, exact_match, mean_se, ragged_nll
from kdrec.tasks.example import CHUNK, Example
from kdrec.tasks.rows import Texts, normalise
from kdrec.types import UNLABELLED, Encoded, Metric, Split, Task

LABELS: Final = ("start", "end")
MAX_ANSWER_TOKENS: Final = 30
"""Longest answer that is ever given, as in the scripts published with SQuAD models."""
MIN_ROOM: Final = 8
"""Fewest tokens of context in a window, beside the question."""
NOWHERE: Final = (-1, -1)
UNKNOWN: Final = (UNLABELLED, UNLABELLED)
"""The answer of a question without labels."""
Span = tuple[int, int]


@dataclass(frozen=True)
class QaFamily:
    """A question and windows of its context to a tokenizer, two places of each window."""

    head: Literal["question_answering"] = "question_answering"
    axis: Literal["positions"] = "positions"

    def prepare(self, tokenizer: Any) -> None:
        """Whole texts are read as they are."""

    def encode(self, split: Split, tokenizer: Any, max_length: int) -> Iterator[Example]:
        """Examples are windows; neighbours share a third of their context, so that few answers are cut."""
        tokenizer.no_truncation()
        for begins in range(0, len(split), CHUNK):
            rows = range(begins, min(begins + CHUNK, len(split)))
            questions = tokenizer.encode_batch_fast([split.texts[row][0] for row in rows], add_special_tokens=False)
            contexts = tokenizer.encode_batch([split.texts[row][1] for row in rows], add_special_tokens=False)
            for row, question, context in zip(rows, questions, contexts, strict=True):
                room = max_length - tokenizer.num_special_tokens_to_add(is_pair=True) - len(question.ids)
                if room < MIN_ROOM:
                    raise DataError(
                        f"the question {split.texts[row][0][:40]!r} has {len(question.ids)} tokens, which leaves "
                        f"{max(0, room)} of max_length = {max_length} for its context, and {MIN_ROOM} are needed; "
                        "raise max_length or shorten the question"
                    )
                context.truncate(room, stride=room // 3)
                windows = [tokenizer.post_process(question, part) for part in (context, *context.overflowing)]
                yield from _examples(row, windows, answers_of(split, row))

    def grader(self, task: Task, split: Split, encoded: Encoded, *, with_error: bool = False) -> Grader:
        """Grade the answers of all rows; loss and calibration are those of the starts and ends of all windows."""
        assert task.train.offsets_N1 is not None, "answers are any number a row"
        may_be_none = bool((np.diff(task.train.offsets_N1) == 0).any())
        gold = [_gold(split, row) for row in range(len(split))]

        def grade(logits_R2: npt.NDArray[np.float32]) -> Grade:
            answers = best_answers(logits_R2, split, encoded, may_be_none=may_be_none)
            pairs = list(zip(answers, gold, strict=True))
            shared_N, same_N = (np.array([of(*pair) for pair in pairs]) for of in (answer_f1, exact_match))
            score, exact = 100 * float(np.mean(shared_N)), 100 * float(np.mean(same_N))
            assert encoded.reading is not None, "windows are read at places"
            loss, confidence_U, right_U = ragged_nll(logits_R2, encoded.reading.offsets_N1, encoded.labels_U)
            error = calibration_error(confidence_U, right_U)
            return Grade(
                score=score,
                loss=loss,
                ece=error,
                also={"exact_match": exact},
                score_se=mean_se(shared_N) if with_error else None,
            )

        return grade

    def group(self, texts: Texts) -> Texts:
        """What never straddles splits: all questions about one context."""
        return (normalise(texts[1]),)

    def metric(self, counts: Mapping[str, int]) -> Metric:
        """SQuAD's F1."""
        return "squad_f1"


def answers_of(split: Split, row: int) -> list[Span]:
    """Character spans of the answers of a row, from and up to."""
    labels = split.labels_of(row).tolist()
    return list(zip(labels[::2], labels[1::2], strict=True))


def best_answers(logits_R2: npt.NDArray[np.float32], split: Split, encoded: Encoded, *, may_be_none: bool) -> list[str]:
    """The likeliest answer of every row: the span of largest start plus end logit over its windows.

    Parameters
    ----------
    logits_R2 : float array of shape (R, 2)
        Start and end logits at the places of `encoded`.
    split, encoded
        The rows, and the windows made of them.
    may_be_none : bool
        Whether no answer (an empty text) is one: given when the first places' sum, least over the windows of a row, is
        larger than the best span's (`evaluate-v2.0` with a threshold of 0).
    """
    return [text for text, _ in sure_answers(logits_R2, split, encoded, may_be_none=may_be_none)]


def sure_answers(
    logits_R2: npt.NDArray[np.float32], split: Split, encoded: Encoded, *, may_be_none: bool
) -> list[tuple[str, float]]:
    """`best_answers`, each with its probability: of its start times of its end, in the window that it is from."""
    assert encoded.reading is not None, "windows are read at places"
    reading = encoded.reading
    best: list[tuple[float, Span, float]] = [(-np.inf, NOWHERE, 0.0)] * len(split)
    null: list[tuple[float, float]] = [(np.inf, 0.0)] * len(split)
    for window, row in enumerate(reading.rows_N.tolist()):
        at = slice(int(reading.offsets_N1[window]), int(reading.offsets_N1[window + 1]))
        start_K, end_K = logits_R2[at].astype(np.float64).T
        total = float(np.logaddexp.reduce(start_K) + np.logaddexp.reduce(end_K))
        none = float(start_K[0] + end_K[0])
        null[row] = min(null[row], (none, float(np.exp(none - total))))
        score, first, last = _best_span(start_K[1:], end_K[1:])
        if score > best[row][0]:
            origin = reading.origin_R2[at][1:]
            best[row] = score, (int(origin[first, 0]), int(origin[last, 1])), float(np.exp(score - total))
    return [
        ("", null[row][1]) if may_be_none and null[row][0] > score else (split.texts[row][1][slice(*span)], sure)
        for row, (score, span, sure) in enumerate(best)
    ]


def _best_span(start_K: npt.NDArray[np.float64], end_K: npt.NDArray[np.float64]) -> tuple[float, int, int]:
    """Score, start and end of the best span of at most `MAX_ANSWER_TOKENS`: the best start at or shortly before an end.

    Works in one pass a length, so a window costs `MAX_ANSWER_TOKENS` vector operations.
    """
    best = (-np.inf, 0, 0)
    for length in range(min(MAX_ANSWER_TOKENS, len(start_K))):
        sums = start_K[: len(start_K) - length] + end_K[length:]
        at = int(sums.argmax())
        if sums[at] > best[0]:
            best = (float(sums[at]), at, at + length)
    return best


def _gold(split: Split, row: int) -> list[str]:
    return [split.texts[row][1][start:end] for start, end in answers_of(split, row)] or [""]


def _examples(row: int, windows: Sequence[Any], answers: Sequence[Span]) -> list[Example]:
    made = []
    found = False
    for window, encoding in enumerate(windows):
        places = [0, *(at for at, text in enumerate(encoding.sequence_ids) if text == 1)]
        origin = [NOWHERE, *(encoding.offsets[at] for at in places[1:])]
        if answers == [UNKNOWN]:
            labels = UNKNOWN
        else:
            labels = next((span for answer in answers if (span := _places_of(answer, origin))), (0, 0))
        found = found or labels != (0, 0)
        made.append(
            Example(
                row=row,
                window=window,
                ids=encoding.ids,
                type_ids=encoding.type_ids,
                labels=labels,
                places=places,
                origin=origin,
                truncated=window == 0 and len(windows) > 1,
            )
        )
    lost = bool(answers) and not found
    return [Example(**{**vars(made[0]), "n_lost": int(lost)}), *made[1:]]


def _places_of(answer: Span, origin: Sequence[Span]) -> Span | None:
    """First and last place of an answer among the places of a window (the first is no token of the context)."""
    start, end = answer
    if len(origin) < 2 or start < origin[1][0] or end > origin[-1][1]:
        return None
    inside = [at for at, (begins, ends) in enumerate(origin) if at and ends > start and begins < end]
    return (inside[0], inside[-1]) if inside else None
