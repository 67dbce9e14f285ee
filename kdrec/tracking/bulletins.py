"""How a table of recommendations is kept: a run for each that said something new, all of them in one experiment.

The experiment is no study: it has no schema tag, and its name no study can have.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any, Final

from kdrec.bulletin import AHEAD, Bulletin, Line
from kdrec.errors import StoreError
from kdrec.tracking.ledger import Ledger
from kdrec.tracking.notes import NOTE_LIMIT, escaped
from kdrec.tracking.runs import KIND, NOTE, SCHEMA, STATUS, base_tags, check_schema, key_of

EXPERIMENT: Final = "kdrec recommendations"
TABLE: Final = "recommendations.json"
PAGE: Final = "recommendations.md"

_ABOUT: Final = (
    "What kdrec recommends for every task and student of the history: a run for each time that something changed, the "
    f"newest first. What changed is in its description, the whole table in its artifacts `{PAGE}` and `{TABLE}`.\n\n"
    f"`mean_gain` is what {AHEAD} further trials of a cell are expected to gain, in points, over all cells; `go_on` "
    "counts those that are worth tuning further."
)
_HEAD: Final = (
    f"| Task | Student | Start with | Tuning | Gain of {AHEAD} further trials | 80 % | Trials |\n"
    "|---|---|---|---|--:|---|--:|"
)


def write_bulletin(ledger: Ledger, bulletin: Bulletin, told: Sequence[str]) -> str:
    """Keep a table in a run of its own; returns its id. Until all of it is written, it is no one's last."""
    news = _count(len(told), "change") if _runs(ledger) else "first"
    note = bulletin_note(bulletin, told, limit=NOTE_LIMIT)
    name = f"{_count(len(bulletin.lines), 'cell')}, {news}"
    fingerprint = key_of("bulletin", bulletin.history, bulletin.version)
    tags = base_tags("bulletin", "started", name, note, fingerprint)
    run_id = ledger.create(_experiment(ledger), tags)
    with ledger.asking("storing recommendations"):
        ledger.client.log_text(run_id, json.dumps(bulletin.to_dict(), indent=1, allow_nan=False), TABLE)
        ledger.client.log_text(run_id, bulletin_note(bulletin, told), PAGE)
    ledger.end(run_id, "FINISHED")
    counted = {
        "cells": len(bulletin.lines),
        "trials": bulletin.n_trials,
        "go_on": sum(not line.stop for line in bulletin.lines),
        "changes": len(told),
        "mean_gain": fmean(line.gain for line in bulletin.lines) if bulletin.lines else 0.0,
    }
    metrics = [(name, float(value), 0) for name, value in counted.items()]
    params = {"history": bulletin.history[:12], "kdrec": bulletin.version}
    ledger.write(run_id, metrics=metrics, params=params, tags={STATUS: "completed"})
    return run_id


def last_bulletin(ledger: Ledger) -> Bulletin | None:
    """The table published last."""
    runs = _runs(ledger)
    if not runs:
        return None
    run_id = runs[-1].info.run_id
    check_schema(runs[-1].data.tags.get(SCHEMA), f"run {run_id}")
    with ledger.asking("reading recommendations"), TemporaryDirectory() as folder:
        text = Path(ledger.client.download_artifacts(run_id, TABLE, folder)).read_text(encoding="utf-8")
    try:
        return Bulletin.from_dict(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise StoreError(f"the artifact {TABLE} of run {run_id} is damaged; delete the run to go on") from None


def bulletin_note(bulletin: Bulletin, told: Sequence[str], limit: int | None = None) -> str:
    """A table as Markdown below what changed in it, every foreign word escaped.

    Parameters
    ----------
    bulletin : Bulletin
        The table.
    told : sequence of str
        What changed; nothing is said where it is empty.
    limit : int, optional
        Characters that it may have: what does not fit is counted, and said to be in the artifact.
    """
    room = limit or 10**9
    news = _cut([f"- {escaped(sentence)}" for sentence in told], room // 2, "changes")
    head = "\n".join([*(["**What changed**", "", *news, ""] if told else []), _HEAD])
    return "\n".join([head, *_cut([_row(line) for line in bulletin.lines], room - len(head), "cells")])


def _row(line: Line) -> str:
    words = (escaped(line.task), escaped(line.student), escaped(line.config), line.verdict)
    gain, lo80, hi80 = (round(points, 2) + 0.0 for points in (line.gain, line.lo80, line.hi80))  # no -0.00
    numbers = (f"{gain:+.2f}", f"{lo80:.2f} to {hi80:.2f}", f"{line.n_trials:,}")
    return f"| {' | '.join((*words, *numbers))} |"


def _cut(lines: Sequence[str], room: int, what: str) -> list[str]:
    """The lines that fit, and how many do not."""
    kept: list[str] = []
    used = 120
    for number, line in enumerate(lines):
        used += len(line) + 1
        if used > room:
            return [*kept, "", f"... and {len(lines) - number} more {what}, in the artifact `{PAGE}`."]
        kept.append(line)
    return kept


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _runs(ledger: Ledger) -> list[Any]:
    """Tables that were written to their end, the newest last."""
    with ledger.asking("looking for recommendations"):
        found = ledger.client.get_experiment_by_name(EXPERIMENT)
    runs = ledger.runs([str(found.experiment_id)], "bulletin") if found else []
    done = [run for run in runs if run.data.tags.get(STATUS) == "completed"]
    return sorted(done, key=lambda run: (run.info.start_time or 0, run.info.run_id))


def _experiment(ledger: Ledger) -> str:
    """Id of the experiment, made when there is none."""
    with ledger.asking("opening the experiment of recommendations"):
        found = ledger.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            remote = ledger.home.tracking_uri.startswith(("http://", "https://"))
            root = None if remote else (ledger.home.artifacts / "recommendations").as_uri()
            tags = {KIND: "bulletins", NOTE: _ABOUT}
            return str(ledger.client.create_experiment(EXPERIMENT, artifact_location=root, tags=tags))
    if found.lifecycle_stage != "active":
        raise StoreError(f"the experiment {EXPERIMENT!r} is in MLflow's trash; restore it, or empty the trash")
    return str(found.experiment_id)
