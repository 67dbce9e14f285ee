"""The family `pair`: two texts, one label; truncation takes tokens from the longer text first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from kdrec.tasks.rows import Texts
from kdrec.tasks.sentence import classification_metric
from kdrec.tasks.splits import whole
from kdrec.types import Ints, Metric, Split


@dataclass(frozen=True)
class PairFamily:
    """Two texts to a tokenizer, one class of the pair."""

    n_texts: int = 2
    head: Literal["sequence_classification"] = "sequence_classification"
    truncation: Literal["longest_first"] = "longest_first"

    def inputs(self, texts: Sequence[Texts]) -> list[tuple[str, str]]:
        """What the tokenizer encodes, row by row."""
        return [(first, second) for first, second in texts]

    def targets(self, split: Split) -> Ints:
        """What the head predicts, row by row."""
        return split.labels_N

    def group(self, texts: Texts) -> Texts:
        """What never straddles splits: the pair, in either order."""
        return whole(texts)

    def metric(self, counts: Mapping[str, int]) -> Metric:
        """Main metric of a task with these rows per label."""
        return classification_metric(counts)
