"""How a trial is spelled as an MLflow run, and read back: tags, params and metrics that are exact inverses.

Params are the knobs and the seed and nothing else, so that comparing runs shows what differs. What must return to the
bit (features, results) is JSON in a tag, where a float is written as its shortest exact decimal. Metrics repeat results
for people and charts.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, Literal

import kdrec
from kdrec.errors import BadArgument, KdrecError, StoreError
from kdrec.types import SCHEMA_VERSION, KDConfig, TaskFeatures, Training, Trial

SCHEMA: Final = "kdrec.schema"
VERSION: Final = "kdrec.version"
"""Of the kdrec that wrote a run: told, and never a condition for reading it."""
KIND: Final = "kdrec.kind"
STATUS: Final = "kdrec.status"
FINGERPRINT: Final = "kdrec.fingerprint"
CELL: Final = "kdrec.cell"
STUDENT: Final = "kdrec.student"
FEATURES: Final = "kdrec.features"
TRAINING: Final = "kdrec.training"
RESULT: Final = "kdrec.result"
ROWS: Final = "kdrec.rows"
SETTINGS: Final = "kdrec.settings"
"""What a study says of a cell beside its knobs: limits of rows, training, teacher and budget, as it asked for them."""
NOTE: Final = "mlflow.note.content"
NAME: Final = "mlflow.runName"
PARENT: Final = "mlflow.parentRunId"

TrialKind = Literal["trial", "calibration"]
"""What kind of run a training is: a trial is evidence for a knob, the calibration of a cell is none."""

EVIDENCE: Final = ("completed", "diverged")
"""Statuses that are evidence; `started`, `failed` and `replaced` runs are seen in MLflow and never in a history."""

RESULTS: Final = ("val_score", "val_loss", "test_score", "seconds")
"""Metrics that `finish` writes once; curves have other names."""

TRAINED: Final = ("learning_rate", "epochs", "n_steps", "still_improving")
"""How a trial was trained, in the tag of its results; runs of schema 1 have it in that of their training alone."""

READ: Final = tuple(str(version) for version in range(1, SCHEMA_VERSION + 1))
"""Schemas whose runs are understood here."""

TAG_LIMIT: Final = 8000
"""MLflow cuts a longer tag without a word."""


def key_of(*parts: str) -> str:
    """A word safe inside a filter string, whatever the text it stands for."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def base_tags(kind: str, status: str, name: str, note: str, fingerprint: str) -> dict[str, str]:
    """Tags that every run of ours carries."""
    tags = {
        SCHEMA: str(SCHEMA_VERSION),
        VERSION: kdrec.__version__,
        KIND: kind,
        STATUS: status,
        FINGERPRINT: fingerprint,
    }
    return {**tags, NAME: name, NOTE: note}


def to_json(noun: TaskFeatures | Training | Mapping[str, Any]) -> str:
    """JSON of a noun without its unknown (None) values, for a tag; floats return to the bit."""
    values = dict(noun) if isinstance(noun, Mapping) else asdict(noun)
    text = json.dumps({key: value for key, value in values.items() if value is not None}, allow_nan=False)
    if len(text) > TAG_LIMIT:
        raise BadArgument(f"a tag of a run holds at most {TAG_LIMIT} characters, got {len(text)}: {text[:60]}...")
    return text


def started_tags(*, student: str, features: TaskFeatures, training: Training) -> dict[str, str]:
    """Tags that say what a trial is about, known when it starts."""
    cell = f"{features.task}/{student}"
    return {CELL: cell, STUDENT: student, FEATURES: to_json(features), TRAINING: to_json(training)}


def result_tags(trial: Trial) -> dict[str, str]:
    """Tags that say what a trial came to."""
    result = {name: getattr(trial, name) for name in (*RESULTS, *TRAINED)}
    return {STATUS: trial.status, FEATURES: to_json(trial.features), RESULT: to_json(result)}


def check_schema(version: str | None, where: str) -> None:
    """Refuse what a newer version of kdrec wrote: what its words mean is not known here."""
    if version in READ:
        return
    newer = version is not None and version.isdecimal() and int(version) > SCHEMA_VERSION
    advice = "; update kdrec to read it" if newer else ""
    raise StoreError(
        f"{where} has kdrec schema {version or 'unknown'}, and this kdrec knows schemas up to {SCHEMA_VERSION}{advice}"
    )


def trial_of(run: Any) -> Trial:
    """The typed trial of a finished MLflow run."""
    tags, params = run.data.tags, run.data.params
    check_schema(tags.get(SCHEMA), f"run {run.info.run_id}")
    try:
        result = json.loads(tags[RESULT])
        _refuse_contradiction(result, run.data.metrics)
        if tags[SCHEMA] == "1":
            result |= _trained_before(tags)
        return Trial(
            features=TaskFeatures.from_dict(json.loads(tags[FEATURES])),
            student=tags[STUDENT],
            config=KDConfig.from_params(params),
            seed=int(params["seed"]),
            status=tags[STATUS],
            **{name: result.get(name) for name in (*RESULTS, *TRAINED)},
            run_id=run.info.run_id,
            fingerprint=tags[FINGERPRINT],
        )
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError, KdrecError) as error:
        raise StoreError(
            f"run {run.info.run_id} cannot be read as a trial ({error!s:.120}); delete it in MLflow to go on"
        ) from None


def _refuse_contradiction(result: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Refuse a result that is not what MLflow's own metrics of the run say: one of the two was changed since."""
    for name in RESULTS:
        told, shown = result.get(name), metrics.get(name)
        if told is not None and shown is not None and not math.isclose(told, shown, rel_tol=1e-9, abs_tol=1e-12):
            raise ValueError(f"its tag {RESULT} says {name} {told:.15g}, and its metric says {shown:.15g}")


def _trained_before(tags: Mapping[str, str]) -> dict[str, Any]:
    """What the training of a run of schema 1 says of it; such a run did not count its steps."""
    training = json.loads(tags.get(TRAINING, "{}"))
    return {name: training.get(name) for name in ("learning_rate", "epochs")}


def finished(runs: Sequence[Any]) -> list[Any]:
    """The runs that are evidence, in the order in which they ended."""
    return sorted((run for run in runs if is_evidence(run)), key=ended)


def is_evidence(run: Any) -> bool:
    """Whether a run is that of a completed or diverged trial."""
    return run.data.tags.get(STATUS) in EVIDENCE


def ended(run: Any) -> tuple[float, str]:
    """What sorts runs by the moment at which they ended; one that has none comes last."""
    return run.info.end_time or math.inf, run.info.run_id
