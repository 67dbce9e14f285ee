"""Saved views of MLflow's table of runs, which bare shows no score and no knob: columns, filter and order of a study.

MLflow keeps a view as a tag of the experiment, offers it under *Views*, and opens it by its name in the address
(``viewStateShareKey``). The form is what its page of 3.17 writes; another one ignores what it does not know.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any, Final

from kdrec.bulletin import AHEAD
from kdrec.tracking.runs import CELL, KIND, STATUS

VIEWS: Final = "kdrec.views"
"""Says that an experiment was given its views: one that a user deletes does not come back."""

AHEAD_METRIC: Final = f"gain_of_{AHEAD}_more"
SUGGESTED: Final = "kdrec.suggested"
VERDICT: Final = "kdrec.verdict"

_PREFIX: Final = "mlflow.sharedViewState."


def view_tags() -> dict[str, str]:
    """Tags of an experiment that holds a study: what differs between its trials, and what to do in its cells."""
    knobs = ("distance", "teacher", "alpha", "tau_t", "tau_s", "seed")
    trials = _view(
        "Trials, best first",
        kind="trial",
        by="val_score",
        metrics=("val_score", "val_loss", "test_score"),
        others=(*(f"params.`{knob}`" for knob in knobs), f"tags.`{CELL}`", f"tags.`{STATUS}`"),
    )
    cells = _view(
        "Cells, most to gain first",
        kind="cell",
        by=AHEAD_METRIC,
        metrics=(AHEAD_METRIC, "best_val_score", "best_test_score", "n_trials"),
        others=(f"tags.`{SUGGESTED}`", f"tags.`{VERDICT}`"),
    )
    return {VIEWS: "1", f"{_PREFIX}kdrec-trials": trials, f"{_PREFIX}kdrec-cells": cells}


def _view(name: str, *, kind: str, by: str, metrics: tuple[str, ...], others: tuple[str, ...]) -> str:
    """A view as its tag says it: the runs of a kind, ordered by a metric from the highest down."""
    state: dict[str, Any] = {
        "searchFilter": f"tags.`{KIND}` = '{kind}'",
        "orderByKey": f"metrics.`{by}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [*(f"metrics.`{metric}`" for metric in metrics), *others],
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "FIRST_20_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    return json.dumps({"name": name, "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"})
