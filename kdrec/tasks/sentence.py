"""The family `sentence`: one text, one label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from kdrec.tasks.rows import Texts
from kdrec.tasks.splits import whole
from kdrec.types import Ints, Metric, Split

SKEW: Final = 4
"""Classes are skewed when the largest has more than this many times the rows of the smallest."""


def classification_metric(counts: Mapping[str, int]) -> Metric:
    """Accuracy, or macro-F1 where the largest class has more than `SKEW` times the rows of the smallest."""
    return "macro_f1" if max(counts.values()) > SKEW * min(counts.values()) else "accuracy"


@dataclass(frozen=True)
class SentenceFamily:
    """One text to a tokenizer, one class of a sequence."""

    n_texts: int = 1
    head: Literal["sequence_classification"] = "sequence_classification"
    truncation: Literal["longest_first"] = "longest_first"

    def inputs(self, texts: Sequence[Texts]) -> list[str]:
        """What the tokenizer encodes, row by row."""
        return [text for (text,) in texts]

    def targets(self, split: Split) -> Ints:
        """What the head predicts, row by row."""
        return split.labels_N

    def group(self, texts: Texts) -> Texts:
        """What never straddles splits."""
        return whole(texts)

    def metric(self, counts: Mapping[str, int]) -> Metric:
        """Main metric of a task with these rows per label."""
        return classification_metric(counts)
