"""What is written of advice to a cell's parent run: each decision of a search, the history it knew, the latest answer.

The history is pinned when the search begins, as short words in an artifact: a search that is run again, after a kill or
years later, is advised from the same past and so decides the same, whatever other cells have done meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from kdrec.bulletin import Line
from kdrec.errors import StoreError
from kdrec.tracking.ledger import Ledger
from kdrec.tracking.runs import key_of
from kdrec.tracking.views import AHEAD_METRIC, SUGGESTED, VERDICT
from kdrec.types import Decision, Gain, History, KDConfig, NextTrial, Suggestion, Trial

DECISIONS: Final = "decisions.json"
PINNED: Final = "history.json"
SUGGESTION: Final = "suggestion.json"
WORD: Final = 16
"""Letters that stand for a trial in the pinned history: 10,000 trials are 190 kB, and no two are mistaken."""


def write_decisions(ledger: Ledger, run_id: str, decisions: Sequence[Decision]) -> None:
    """Write worth and price as curves over the steps (a point that is there is not written again), and all as JSON."""
    curves = {"decision/worth": [d.worth for d in decisions], "decision/price": [d.price for d in decisions]}
    with ledger.asking("reading the decisions of a cell"):
        known = {name: {(m.step, m.value) for m in ledger.client.get_metric_history(run_id, name)} for name in curves}
    new = [
        (name, value, step)
        for name, values in curves.items()
        for step, value in enumerate(values)
        if (step, value) not in known[name]
    ]
    if new:
        ledger.write(run_id, metrics=new)
    text = json.dumps([decision.to_dict() for decision in decisions], indent=1, allow_nan=False)
    with ledger.asking("storing the decisions of a cell"):
        ledger.client.log_text(run_id, text, DECISIONS)


def write_suggestion(ledger: Ledger, run_id: str, answer: Suggestion) -> None:
    """Write an answer in place of an earlier one: whole as an artifact, and what a table of runs can show and sort."""
    line = Line.of(answer, n_trials=0)
    with ledger.asking("storing a suggestion"):
        ledger.client.log_text(run_id, json.dumps(answer.to_dict(), indent=1, allow_nan=False), SUGGESTION)
    tags = {SUGGESTED: line.config, VERDICT: line.verdict}
    ledger.write(run_id, metrics=[(AHEAD_METRIC, line.gain, 0)], tags=tags)


def read_decision(values: Mapping[str, Any]) -> Decision:
    """A decision from its plain values; `Decision.to_dict` is the inverse."""
    answer = values["answer"]
    upcoming = (NextTrial(config=KDConfig(**trial["config"]), worth=trial["worth"]) for trial in answer["next"])
    gains = (Gain(**gain) for gain in answer["gain"])
    made = {"config": KDConfig(**answer["config"]), "gain": tuple(gains), "next": tuple(upcoming)}
    own = {key: value for key, value in values.items() if key not in ("worth", "price")}  # both follow from the answer
    proposed = tuple(KDConfig(**config) for config in values["proposed"])
    return Decision(**{**own, "proposed": proposed, "answer": Suggestion(**{**answer, **made})})


def pinned_history(ledger: Ledger, run_id: str, past: History) -> tuple[History, int]:
    """The part of `past` that the first search of this cell knew (all of it, for the first), and how much is gone."""
    words = {_word(trial) for trial in past}
    known = _read(ledger, run_id)
    if known is None:
        with ledger.asking("pinning the history of a cell"):
            ledger.client.log_text(run_id, json.dumps(sorted(words)), PINNED)
        return past, 0
    return History(tuple(trial for trial in past if _word(trial) in known)), len(known - words)


def _word(trial: Trial) -> str:
    """Short name of a trial: its run, where it has one, else what it is."""
    name = trial.run_id or trial.fingerprint or trial.spelled()
    return key_of(name)[:WORD]


def _read(ledger: Ledger, run_id: str) -> set[str] | None:
    with ledger.asking("reading the pinned history of a cell"), TemporaryDirectory() as folder:
        if PINNED not in [item.path for item in ledger.client.list_artifacts(run_id)]:
            return None
        text = Path(ledger.client.download_artifacts(run_id, PINNED, folder)).read_text(encoding="utf-8")
    try:
        return set(json.loads(text))
    except (ValueError, TypeError, RecursionError):
        raise StoreError(f"the artifact {PINNED} of run {run_id} is damaged; delete it to go on") from None
