"""The family `pair`: two texts, one label; truncation takes tokens from the longer text first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kdrec.tasks.example import Example, encode_texts
from kdrec.tasks.sentence import SentenceFamily
from kdrec.types import Split


@dataclass(frozen=True)
class PairFamily(SentenceFamily):
    """Two texts to a tokenizer, one class of the pair; a swapped pair is the same pair to `group`."""

    def encode(self, split: Split, tokenizer: Any, max_length: int) -> Iterator[Example]:
        """One example a row."""
        return encode_texts(split, lambda texts: [(first, second) for first, second in texts], tokenizer, max_length)
