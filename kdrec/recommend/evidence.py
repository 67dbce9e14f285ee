"""Why, and what is not known: the past behind a suggestion, in plain values and plain sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from kdrec.recommend.design import META, similarity
from kdrec.recommend.model import FIT_ROWS, nearest_rows
from kdrec.recommend.table import Table
from kdrec.types import Floats, TaskFeatures, Trial
from kdrec.weak_teacher import weak_teacher

MAX_SIMILAR: Final = 5
MAX_RUNS: Final = 20
UNLIKE: Final = 0.2
"""A nearest task under this similarity is called unlike."""


def gather(
    table: Table, chosen: int, effect: Floats, p_better: float, widened: float, n_contenders: int
) -> dict[str, Any]:
    """Evidence of a suggestion: counts, similar tasks, run ids, the chosen configuration's effect, notes.

    `effect` holds the mean and the ends of the 80 % interval of the chosen configuration's net effect over the default.
    Trials are proposed among `n_contenders` candidates.
    """
    near_T = similarity(table.tasks)[table.asked_task]
    has_rows_T = np.zeros(len(near_T), dtype=bool)
    has_rows_T[table.task_D[table.cell_R]] = True
    others = [t for t in range(len(near_T)) if t != table.asked_task and has_rows_T[t]]
    others.sort(key=lambda t: (-near_T[t], t))
    similar = [table.tasks[t].task for t in others[:MAX_SIMILAR]]
    own_task = table.tasks[table.asked_task].task
    n_runs = sum(not trial.config.is_baseline for trial in table.trials)
    return {
        "n_tasks": len(others) + int(has_rows_T[table.asked_task]),
        "n_trials": n_runs,
        "n_own_trials": sum(t.task == own_task for t in table.trials if not t.config.is_baseline),
        "n_shipped_trials": sum(t.is_shipped for t in table.trials if not t.config.is_baseline),
        "n_baseline_trials": len(table.trials) - n_runs,
        "similar_tasks": similar,
        "similarity": {table.tasks[t].task: round(float(near_T[t]), 3) for t in others[:MAX_SIMILAR]},
        "run_ids": _run_ids(table, chosen, similar),
        "expected_effect": {
            "over": table.configs[0].label(),
            "mean": round(float(effect[0]), 3) + 0.0,
            "lo80": round(float(effect[1]), 3) + 0.0,
            "hi80": round(float(effect[2]), 3) + 0.0,
            "p_better": round(p_better, 3),
        },
        "crash_probability": {d: round(table.crashes.probability(d), 3) for d in sorted(table.crashes.runs)},
        "noise_points": round(float(table.noise_D[table.asked]), 3),
        "notes": [*_notes(table, near_T, others, widened), *_contender_notes(table, n_contenders)],
    }


def _run_ids(table: Table, chosen: int, similar: list[str]) -> list[str]:
    """Runs of the suggestion and of the default: own task first, then similar ones, then the rest; at most 20."""
    pair = (table.configs[chosen], table.configs[0])
    own = table.tasks[table.asked_task].task
    nearness = {name: place for place, name in enumerate([own, *similar])}
    runs = [trial for trial in table.trials if trial.config in pair and trial.run_id]
    runs.sort(key=lambda t: (nearness.get(t.task, len(nearness)), t.task, t.student, t.run_id))
    return list(dict.fromkeys(trial.run_id for trial in runs))[:MAX_RUNS]


def _notes(table: Table, near_T: Floats, others: list[int], widened: float) -> list[str]:
    """What a reader must know before believing: every sentence is true of this table."""
    notes = list(table.notes)
    asked = table.tasks[table.asked_task]
    student = table.students[int(table.student_D[table.asked])]
    own = [trial for trial in table.trials if (trial.task, trial.student) == (asked.task, student)]
    weak = weak_teacher(own, asked.teacher_score)
    if weak:
        notes.insert(0, str(weak))
    notes.extend(_training_notes(own, asked))
    if not len(table.mean_R):
        notes.insert(0, "no past trial stands behind this: the answer is the prior alone, and its intervals are wide")
    elif not others:
        notes.append(f"only {asked.task!r} itself stands behind this: nothing is known of how tasks differ")
    elif len(others) == 1:
        notes.append("a single past task stands behind this: how tasks differ is taken from the prior")
    missing = [name for name, *_ in META if getattr(asked, name) is None]
    if len(missing) == len(META):
        notes.append("nothing is known of this task's data, so no past task counts as similar")
    elif missing:
        notes.append(f"unknown of this task, and taken as average: {', '.join(missing)}")
    if others and len(missing) < len(META) and near_T[others[0]] < UNLIKE:
        notes.append("this task is unlike anything in this history")
    families = {table.tasks[t].family for t in others}
    if asked.family is None:
        notes.append("the family of this task is unknown, so no family's history was used for it")
    elif others and asked.family not in families:
        notes.append(f"no past task is of the family {asked.family!r}")
    notes.extend(_measurement_notes(table))
    if widened > 1:
        notes.append(f"intervals were widened by {widened:.2f} after leaving one task out at a time")
    return notes


def _training_notes(own: Sequence[Trial], asked: TaskFeatures) -> list[str]:
    """What was still improving when its training ended, so that more of it might change the answer."""
    notes = []
    if asked.teacher_still_improving:
        notes.append("the teacher was still improving when its training ended: more steps may make distilling better")
    rising = sum(trial.still_improving is True for trial in own)
    if rising:
        notes.append(f"{rising} of {len(own)} trials of this cell were still improving when their training ended")
    return notes


def _contender_notes(table: Table, n_contenders: int) -> list[str]:
    if n_contenders == table.n_candidates:
        return []
    return [
        f"trials are proposed among the {n_contenders} most promising of {table.n_candidates} configurations, "
        'and "all" trials are these'
    ]


def _measurement_notes(table: Table) -> list[str]:
    notes = []
    if len(table.mean_R):
        if not table.noise_df:
            notes.append("no configuration was run with two seeds, so the seed noise is taken from the prior")
        scores = [t.val_score for t in table.trials if t.val_score is not None]
        if len(scores) > 1 and len(set(scores)) == 1:
            notes.append("every score in this history is the same value: it says nothing about the knobs")
        n_left_out = int((~nearest_rows(table, FIT_ROWS)).sum())
        if n_left_out:
            notes.append(
                f"{n_left_out} of {len(table.mean_R)} measured configurations, on the tasks least like this one, "
                "were left out of the learning"
            )
        unseen = table.n_candidates - len({int(c) for c in table.config_R if c < table.n_candidates})
        if unseen:
            notes.append(f"{unseen} of {table.n_candidates} configurations were never measured: judged by their knobs")
    n_shipped = sum(trial.is_shipped for trial in table.trials)
    if n_shipped:
        notes.append(f"{n_shipped} trials come with kdrec (docs/replication.md), their times from another machine")
    n_crashed = sum(table.crashes.crashed.values())
    if n_crashed:
        notes.append(
            f"{n_crashed} of {sum(table.crashes.runs.values())} runs diverged or crashed; "
            f"a crash is taken to cost {table.crashes.loss:.1f} points"
        )
    if table.baseline_gains:
        mean = sum(table.baseline_gains) / len(table.baseline_gains)
        notes.append(
            f"distillation (default) against labels only: {mean:+.2f} points in {len(table.baseline_gains)} cells"
        )
    return notes
