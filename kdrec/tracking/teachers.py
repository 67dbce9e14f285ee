"""A teacher's run: the trace of its candidates as curves, the chosen as metrics, all of it as one JSON artifact."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from kdrec.tracking.ledger import Ledger, Measurement
from kdrec.tracking.notes import teacher_note
from kdrec.tracking.runs import STATUS, base_tags, key_of, to_json
from kdrec.types import Candidate, FineTuning, TeacherChoice


def write_teacher(
    ledger: Ledger,
    experiment_id: str,
    task: str,
    candidates: Sequence[Candidate],
    selection: Mapping[TeacherChoice, Candidate],
    params: Mapping[str, str],
    key: str | None,
    runs: Sequence[FineTuning] = (),
) -> str:
    """Write a teacher's run unless it is there already; see `Store.log_teacher`."""
    trace = {
        "task": task,
        "params": dict(params),
        "selection": {choice: asdict(candidate) for choice, candidate in selection.items()},
        "candidates": [asdict(candidate) for candidate in candidates],
    }
    if runs:
        trace["runs"] = [asdict(run) for run in runs]
    fingerprint = key_of("teacher", key or json.dumps(trace, sort_keys=True))
    for run in ledger.runs([experiment_id], "teacher", fingerprint):
        if run.data.tags.get(STATUS) == "completed":
            return str(run.info.run_id)
    note = teacher_note(task, candidates, selection, runs)
    run_id = ledger.create(experiment_id, base_tags("teacher", "started", f"teacher of {task}", note, fingerprint))
    ledger.write(run_id, metrics=_curves(candidates), params=params)
    with ledger.asking("storing a teacher's trace"):
        ledger.client.log_text(run_id, json.dumps(trace, indent=1), "trace.json")
    chosen = [
        (f"{choice}_{name}", value, 0)
        for choice, candidate in selection.items()
        for name, value in _quantities(candidate)
    ]
    tags = {f"kdrec.{choice}": to_json(asdict(candidate)) for choice, candidate in selection.items()}
    ledger.end(run_id, "FINISHED")
    ledger.write(run_id, metrics=chosen, tags={**tags, STATUS: "completed"})
    return run_id


def _curves(candidates: Sequence[Candidate]) -> list[Measurement]:
    """One curve for each fine-tuning run and quantity; MLflow groups charts by the part before the slash."""
    return [
        (f"teacher_{name}/lr {candidate.learning_rate:g} seed {candidate.seed}", value, candidate.step)
        for candidate in candidates
        for name, value in _quantities(candidate)
    ]


def _quantities(candidate: Candidate) -> list[tuple[str, float]]:
    """What was measured of a candidate; a diverged checkpoint's loss is in the artifact only."""
    named = (("score", candidate.score), ("loss", candidate.loss), ("ece", candidate.ece))
    return [(name, value) for name, value in named if math.isfinite(value)]
