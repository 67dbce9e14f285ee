from __future__ import annotations

from flows.pieces import Outcome
from flows.reference import Reference, best_of
from kdrec.studies import Cell
from kdrec.tracking.notes import escaped
from kdrec.types import DEFAULT_CONFIG, TaskFeatures, Trial

TINY = Cell(task="trec", student="tiny")


def trial(run_id: str, score: float) -> Trial:
    return Trial(
        features=TaskFeatures(task="trec", family="sentence", n_train=300, n_classes=6),
        student="tiny",
        config=DEFAULT_CONFIG,
        seed=int(run_id[1:]),
        status="completed",
        val_score=score,
        val_loss=0.5,
        test_score=None,
        seconds=1.0,
        run_id=run_id,
    )


def test_a_reference_is_read_from_labels_as_it_was_written() -> None:
    trials = (trial("r1", 80.0), trial("r2", 81.0))
    outcome = Outcome(cell=TINY, trials=trials, path=(), best=DEFAULT_CONFIG, run_id="abc")
    found = Reference.of(outcome, before={"r1"})
    assert (found.run_id, found.new, found.found, found.val_score, found.test_score) == ("abc", 1, 1, 80.5, None)
    assert Reference.from_labels({"prefect.flow.id": "x", **found.to_labels()}) == found
    assert Reference.from_labels({"prefect.flow.id": "x"}) is None
    assert f"| trec/tiny | {escaped(DEFAULT_CONFIG.label())} | 80.50 | - | abc |" in best_of({TINY: found})
