"""An example: what a tokenizer makes of a row, and where and with which labels a head is read.

How whole texts become examples is told here as well, once for the families `sentence` and `pair`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kdrec.tasks.rows import Texts
from kdrec.types import Split

CHUNK: Final = 1024
"""Rows given to a tokenizer at once."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One example of a split; `places` and `origin` as in `kdrec.examples.Reading`, None where the head is read once.

    `truncated` and `n_lost` (labels or answers that no example of the row holds) are said once a row, with its first.
    """

    row: int
    ids: Sequence[int]
    type_ids: Sequence[int]
    labels: Sequence[int]
    window: int = 0
    places: Sequence[int] | None = None
    origin: Sequence[tuple[int, int]] = ()
    truncated: bool = False
    n_lost: int = 0


def encode_texts(
    split: Split, inputs: Callable[[Sequence[Texts]], Sequence[Any]], tokenizer: Any, max_length: int
) -> Iterator[Example]:
    """Whole texts, one example a row and one label an example; of a pair, the longer text loses tokens first."""
    tokenizer.enable_truncation(max_length, strategy="longest_first")
    for begins in range(0, len(split), CHUNK):
        encodings = tokenizer.encode_batch_fast(inputs(split.texts[begins : begins + CHUNK]))
        for row, encoding in enumerate(encodings, start=begins):
            yield Example(
                row=row,
                ids=encoding.ids,
                type_ids=encoding.type_ids,
                labels=(int(split.labels_U[row]),),
                truncated=bool(encoding.overflowing),
            )
