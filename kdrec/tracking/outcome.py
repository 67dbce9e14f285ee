"""A study as its runs tell it: cells with their trials and decisions, and the traces of its teachers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from kdrec.errors import BadArgument, StoreError, did_you_mean
from kdrec.outcome import CellOutcome, Outcome, TeacherOutcome
from kdrec.tracking.decisions import DECISIONS, read_decision
from kdrec.tracking.ledger import Ledger
from kdrec.tracking.notes import escaped
from kdrec.tracking.runs import (
    CELL,
    FEATURES,
    ROWS,
    STATUS,
    TRAINING,
    base_tags,
    finished,
    key_of,
    trial_of,
)
from kdrec.types import SCHEMA_2_COLUMNS, TEACHERS, Candidate, FineTuning, TaskFeatures, Training

Kind = tuple[dict[str, Any], dict[str, Any]]
"""Features, and training without its seed."""
TRANSFER: Final = ("n_transfer", "transfer_entropy")
"""Features that tell of rows without labels; where they are not recorded there are none, whatever the schema."""

PAGE: Final = "report.html"
"""Artifact of the run that stands for a study."""


def outcome(ledger: Ledger, experiments: Sequence[str], study: str) -> Outcome:
    """Read what is finished of a study; see `Store.outcome`."""
    own = _experiment(ledger, experiments, study)
    cells = {run.data.tags[CELL]: run for run in _by_start(ledger.runs([own], "cell")) if ROWS in run.data.tags}
    if not cells:
        raise StoreError(f"study {study!r} has no cell yet: nothing of it was searched")
    trials = _by_start(finished(ledger.runs(experiments, "trial")))
    try:
        return Outcome(
            study=study,
            cells=tuple(_cell(ledger, name, run, trials) for name, run in sorted(cells.items())),
            teachers=_teachers(ledger, own),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise StoreError(f"the runs of study {study!r} cannot be read ({error!s:.120})") from None


def write_page(ledger: Ledger, experiments: Sequence[str], study: str, page: str) -> str:
    """Keep a study's page in the one run that stands for the study, made when there is none; returns its id.

    A cell's run is one of many, and a page is of all: it has a run beside them, which a later page replaces.
    """
    own, fingerprint = _experiment(ledger, experiments, study), key_of("report", study)
    note = f"The report of study {escaped(study)} is the artifact `{PAGE}`; `kdrec report {study}` writes it anew."
    known = ledger.runs([own], "report", fingerprint)
    tags = base_tags("report", "completed", f"report of {study}", note, fingerprint)
    run_id = str(known[0].info.run_id) if known else ledger.create(own, tags)
    with ledger.asking("storing a report"):
        ledger.client.log_text(run_id, page, PAGE)
    ledger.end(run_id, "FINISHED")
    if known:
        ledger.write(run_id, tags=tags)
    return run_id


def _experiment(ledger: Ledger, experiments: Sequence[str], study: str) -> str:
    """Id of a study's experiment; an unknown study is answered with the nearest one."""
    with ledger.asking("looking for a study"):
        names = {ledger.client.get_experiment(number).name: number for number in experiments}
    if study not in names:
        near = did_you_mean(study, names) or "; the store holds none"
        raise BadArgument(f"no study {study!r} in the tracking store{near}")
    return names[study]


def _by_start(runs: Sequence[Any]) -> list[Any]:
    return sorted(runs, key=lambda run: (run.info.start_time or 0, run.info.run_id))


def _cell(ledger: Ledger, name: str, run: Any, trials: Sequence[Any]) -> CellOutcome:
    tags, (task, _, student) = run.data.tags, name.rpartition("/")
    what = _kind(tags)
    own = [trial for trial in trials if trial.data.tags.get(CELL) == name and _is_of(trial, what)]
    return CellOutcome(
        task=task,
        student=student,
        features=TaskFeatures.from_dict(json.loads(tags[FEATURES])),
        rows=json.loads(tags[ROWS]),
        training=what[1],
        done=tags.get(STATUS) == "completed",
        trials=tuple(trial_of(trial) for trial in own),
        n_found=sum(trial.info.experiment_id != run.info.experiment_id for trial in own),
        decisions=tuple(map(read_decision, _artifact(ledger, run.info.run_id, DECISIONS) or ())),
    )


def _is_of(trial: Any, what: Kind) -> bool:
    """Whether a trial is of this kind; a baseline, which sees no rows without labels, whether or not there are any."""
    kind = _kind(trial.data.tags)
    if float(trial.data.params.get("alpha", 1)) == 0:
        return _alike(_labelled(kind), _labelled(what))
    return _alike(kind, what) and all((kind[0].get(name) or 0) == (what[0].get(name) or 0) for name in TRANSFER)


def _labelled(kind: Kind) -> Kind:
    features, training = kind
    return (
        {key: value for key, value in features.items() if key not in TRANSFER},
        {key: value for key, value in training.items() if key != "transfer_weight"},
    )


def _kind(tags: Mapping[str, str]) -> Kind:
    """What makes trials of one name comparable: features of the task and its teacher, and the training but its seed."""
    training = {key: value for key, value in json.loads(tags[TRAINING]).items() if key != "seed"}
    return json.loads(tags[FEATURES]), training


def _alike(one: Kind, other: Kind) -> bool:
    """Whether nothing differs; a newer feature counts only where both know it, as runs of schema 1 know none."""
    features, training = zip(one, other, strict=True)
    unknown = {name for name in SCHEMA_2_COLUMNS if not all(name in known for known in features)}
    first, second = ({k: v for k, v in known.items() if k not in unknown} for known in features)
    return first == second and _spelled(training[0]) == _spelled(training[1])


def _spelled(training: Mapping[str, Any]) -> dict[str, Any]:
    """A training with the fields that came after it was recorded: their defaults mean what was done before."""
    return {**{f.name: f.default for f in fields(Training) if f.name != "seed"}, **training}


def _teachers(ledger: Ledger, experiment: str) -> tuple[TeacherOutcome, ...]:
    """The newest teacher of every task and card."""
    runs = [run for run in _by_start(ledger.runs([experiment], "teacher")) if run.data.tags.get(STATUS) == "completed"]
    newest = {(run.data.params["task"], run.data.params["teacher"]): run.info.run_id for run in runs}
    return tuple(_teacher(ledger, *key, run_id) for key, run_id in sorted(newest.items()))


def _teacher(ledger: Ledger, task: str, card: str, run_id: str) -> TeacherOutcome:
    trace = _artifact(ledger, run_id, "trace.json")
    chosen = {choice: Candidate(**trace["selection"][choice]) for choice in TEACHERS if choice in trace["selection"]}
    candidates = tuple(Candidate(**values) for values in trace["candidates"])
    runs = tuple(FineTuning(**values) for values in trace.get("runs", ()))
    return TeacherOutcome(task=task, card=card, candidates=candidates, runs=runs, **chosen)


def _artifact(ledger: Ledger, run_id: str, name: str) -> Any:
    """A decoded JSON artifact; None where the run has none."""
    with ledger.asking(f"reading the artifact {name}"), TemporaryDirectory() as folder:
        if name not in [item.path for item in ledger.client.list_artifacts(run_id)]:
            return None
        text = Path(ledger.client.download_artifacts(run_id, name, folder)).read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise StoreError(f"the artifact {name} of run {run_id} is damaged; delete it in MLflow to go on") from None
