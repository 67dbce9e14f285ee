"""What a cell's flow run leaves for the study that sent it: where its results are, as labels of the run.

Results themselves stay in MLflow; nothing is pickled, and any later run of the study can read the labels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from flows.pieces import Outcome
from kdrec.studies import Cell
from kdrec.tracking.notes import escaped


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Where a searched cell is found, and what is worth saying of it.

    `run_id` is the MLflow run of the cell, whose children are its trials: `new` of them were trained, `found` were in
    the store before. Scores are means over the seeds, 0-100.
    """

    run_id: str
    new: int
    found: int
    best: str
    val_score: float | None = None
    test_score: float | None = None

    @classmethod
    def of(cls, outcome: Outcome, before: Collection[str]) -> Self:
        """Refer to an outcome; `before` are the run ids of trials that were there when its search began."""
        trials = [trial for trial in outcome.trials if trial.config == outcome.best]
        new = len({trial.run_id for trial in outcome.trials} - set(before))
        return cls(
            run_id=outcome.run_id,
            new=new,
            found=len({trial.run_id for trial in outcome.trials}) - new,
            best=outcome.best.label(),
            val_score=mean([trial.val_score for trial in trials]),
            test_score=mean([trial.test_score for trial in trials]),
        )

    def to_labels(self) -> dict[str, str | int | float]:
        """As labels of a flow run; the inverse of `from_labels`."""
        return {f"kdrec.{name}": value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_labels(cls, labels: Mapping[str, Any]) -> Self | None:
        """Read it from the labels of a flow run, among which may be others; None where it is not (whole)."""
        own = {name.removeprefix("kdrec."): value for name, value in labels.items() if name.startswith("kdrec.")}
        try:
            return cls(**own)
        except TypeError:
            return None


def mean(scores: list[float | None]) -> float | None:
    """Mean of the scores that there are, if there are any."""
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else None


def best_of(found: Mapping[Cell, Reference]) -> str:
    """The best of every cell as a Markdown table, for a page of Prefect's."""
    lines = ["| cell | best configuration | validation | test | MLflow run |", "|---|---|---|---|---|"]
    for cell, one in found.items():
        names, scores = (escaped(str(cell)), escaped(one.best)), (_shown(one.val_score), _shown(one.test_score))
        lines.append(f"| {' | '.join((*names, *scores, one.run_id))} |")
    return "\n".join(lines)


def _shown(score: float | None) -> str:
    return "-" if score is None else f"{score:.2f}"
