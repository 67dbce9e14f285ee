"""What differs between families of tasks: one protocol, and the families that implement it.

A new family (`tokens`, `qa`) is one file with one class and one line in `FAMILIES`; nothing else asks for a family's
name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

from kdrec.errors import BadArgument
from kdrec.tasks.pair import PairFamily
from kdrec.tasks.rows import Texts
from kdrec.tasks.sentence import SentenceFamily
from kdrec.types import Family as FamilyName
from kdrec.types import Ints, Metric, Split

HeadKind = Literal["sequence_classification", "token_classification", "question_answering"]


class Family(Protocol):
    """Rows to model inputs, head and metric of one family."""

    @property
    def n_texts(self) -> int:
        """Texts per row."""

    @property
    def head(self) -> HeadKind:
        """Which head a transformers encoder gets."""

    @property
    def truncation(self) -> Literal["longest_first", "only_first", "only_second"]:
        """Which text loses tokens when a row is longer than `max_length`."""

    def inputs(self, texts: Sequence[Texts]) -> Sequence[Any]:
        """What the tokenizer encodes, row by row."""

    def targets(self, split: Split) -> Ints:
        """What the head predicts, row by row."""

    def group(self, texts: Texts) -> Texts:
        """What of a row never straddles splits, in normal form."""

    def metric(self, counts: Mapping[str, int]) -> Metric:
        """Main metric of a task with these rows per label."""


FAMILIES: Final[dict[FamilyName, Family]] = {"sentence": SentenceFamily(), "pair": PairFamily()}


def family(name: FamilyName) -> Family:
    """The family of this name; a family of the vocabulary that is not built yet is refused in words."""
    if name not in FAMILIES:
        raise BadArgument(f"tasks of the family {name!r} are not supported yet; supported are {', '.join(FAMILIES)}")
    return FAMILIES[name]
