"""What differs between families of tasks: one protocol, and the families that implement it.

A new family is one file with one class and one line in `FAMILIES`; nothing else asks for a family's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, Protocol

from kdrec.metrics import Grader
from kdrec.tasks.example import Example
from kdrec.tasks.pair import PairFamily
from kdrec.tasks.qa import QaFamily
from kdrec.tasks.rows import Texts
from kdrec.tasks.sentence import SentenceFamily
from kdrec.tasks.tokens import TokensFamily
from kdrec.types import Encoded, Metric, Split, Task
from kdrec.types import Family as FamilyName

HeadKind = Literal["sequence_classification", "token_classification", "question_answering"]


class Family(Protocol):
    """Rows to model inputs, head and score of one family."""

    @property
    def head(self) -> HeadKind:
        """Which head a transformers encoder gets."""

    @property
    def axis(self) -> Literal["classes", "positions"] | None:
        """What a softmax runs over (`kdrec.examples.Reading`); None where the head is read once an example."""

    def prepare(self, tokenizer: Any) -> None:
        """Change a tokenizer as the family needs it; `encode` does so too."""

    def encode(self, split: Split, tokenizer: Any, max_length: int) -> Iterator[Example]:
        """Examples of a split, in its order; the tokenizer is the caller's to spoil."""

    def grader(self, task: Task, split: Split, encoded: Encoded, *, with_error: bool = False) -> Grader:
        """From logits at the places of `encoded` to the grade of `split`, all of whose labels count."""

    def group(self, texts: Texts) -> Texts:
        """What of a row never straddles splits, in normal form."""

    def metric(self, counts: Mapping[str, int]) -> Metric:
        """Main metric of a task with this many of each label."""


FAMILIES: Final[dict[FamilyName, Family]] = {
    "sentence": SentenceFamily(),
    "pair": PairFamily(),
    "tokens": TokensFamily(),
    "qa": QaFamily(),
}


def family(name: FamilyName) -> Family:
    """The family of this name."""
    return FAMILIES[name]


def grader(task: Task, split: Split, encoded: Encoded, *, with_error: bool = False) -> Grader:
    """From a model's logits on `split`, encoded as `encoded`, to its grade on the task's main metric.

    With `with_error` the grade has the standard error of its score, which costs a little.
    """
    return family(task.family).grader(task, split, encoded, with_error=with_error)
