"""The run of a cell, the parent of its trials: opened once, and opened again only where a trial of it begins.

A search that finds everything leaves a finished run as it was, its end time among it: how long a cell took is told by
its run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filelock import FileLock

from kdrec.tracking.ledger import Ledger
from kdrec.tracking.runs import (
    CELL,
    FINGERPRINT,
    NOTE,
    SCHEMA,
    STATUS,
    base_tags,
    key_of,
    to_json,
)
from kdrec.types import TaskFeatures, Training

COMPLETED = "completed"


def open_cell(
    ledger: Ledger,
    experiment_id: str,
    cell: str,
    note: str,
    nouns: Mapping[str, TaskFeatures | Training | Mapping[str, Any] | None],
) -> str:
    """Run id of a cell's run, made or found; `nouns` are what it is of, by tag.

    A finished run of the same nouns is left as it is, until `begin`; of others, it is open again and has the new note.
    """
    known_nouns = {tag: to_json(noun) for tag, noun in nouns.items() if noun is not None}
    tags = {**base_tags("cell", "started", cell, note, key_of("cell", cell)), CELL: cell, **known_nouns}
    with FileLock(ledger.home.folder("locks") / f"cell-{key_of(experiment_id, cell)[:16]}.lock"):
        known = ledger.runs([experiment_id], "cell", tags[FINGERPRINT])
        if not known:
            return ledger.create(experiment_id, tags)
        run = min(known, key=lambda run: run.info.start_time)
        run_id = str(run.info.run_id)
        held = run.data.tags
        if _is_finished(run) and all(held.get(tag, value) == value for tag, value in known_nouns.items()):
            words = {SCHEMA: tags[SCHEMA], **known_nouns}
            if more := {tag: value for tag, value in words.items() if held.get(tag) != value}:
                ledger.write(run_id, tags=more)  # an earlier version did not say it
            return run_id
        ledger.reopen(run_id)
    ledger.write(run_id, tags=tags)
    return run_id


def begin(ledger: Ledger, run_id: str) -> None:
    """Show a finished cell as running again, since a trial of it begins."""
    if _is_finished(_run(ledger, run_id)):
        ledger.reopen(run_id)
        ledger.write(run_id, tags={STATUS: "started"})


def close_cell(ledger: Ledger, run_id: str, metrics: Mapping[str, float], note: str) -> None:
    """Finish a cell's run, unless it is; summary metrics and note are those of now."""
    if not _is_finished(_run(ledger, run_id)):
        ledger.end(run_id, "FINISHED")
    measured = [(name, value, 0) for name, value in metrics.items()]
    ledger.write(run_id, metrics=measured, tags={STATUS: COMPLETED, NOTE: note})


def _run(ledger: Ledger, run_id: str) -> Any:
    with ledger.asking("reading a cell"):
        return ledger.client.get_run(run_id)


def _is_finished(run: Any) -> bool:
    return bool(run.info.status == "FINISHED" and run.data.tags.get(STATUS) == COMPLETED)
