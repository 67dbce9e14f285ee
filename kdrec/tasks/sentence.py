"""The family `sentence`: one text, one label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

from kdrec.metrics import Grader, grade_classes
from kdrec.tasks.example import Example, encode_texts
from kdrec.tasks.rows import Texts
from kdrec.tasks.splits import whole
from kdrec.types import Encoded, Metric, Split, Task

SKEW: Final = 4
"""Classes are skewed when the largest has more than this many times the rows of the smallest."""


def classification_metric(counts: Mapping[str, int]) -> Metric:
    """Accuracy, or macro-F1 where the largest class has more than `SKEW` times the rows of the smallest."""
    return "macro_f1" if max(counts.values()) > SKEW * min(counts.values()) else "accuracy"


@dataclass(frozen=True)
class SentenceFamily:
    """One text to a tokenizer, one class of a sequence."""

    head: Literal["sequence_classification"] = "sequence_classification"
    axis: None = None

    def prepare(self, tokenizer: Any) -> None:
        """Whole texts are read as they are."""

    def encode(self, split: Split, tokenizer: Any, max_length: int) -> Iterator[Example]:
        """One example a row."""
        return encode_texts(split, lambda texts: [text for (text,) in texts], tokenizer, max_length)

    def grader(self, task: Task, split: Split, encoded: Encoded, *, with_error: bool = False) -> Grader:
        """Grade one class a row."""
        return partial(grade_classes, task.metric, labels_N=encoded.labels_U, with_error=with_error)

    def group(self, texts: Texts) -> Texts:
        """What never straddles splits."""
        return whole(texts)

    def metric(self, counts: Mapping[str, int]) -> Metric:
        """Main metric of a task with these rows per label."""
        return classification_metric(counts)
