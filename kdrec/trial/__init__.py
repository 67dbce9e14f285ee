"""Wiring: a study's task becomes a teacher, a cell becomes trials, a configuration becomes one Trial, once.

The only room that knows sources, tasks, models, engine and tracking at the same time. Every door is idempotent: what
the store or the home already holds is found by fingerprint and not done again. Prefect is not known here; flows wrap
these functions. `bench` holds what the trials of a task share, `one` makes a trial, `cell` searches, `study` takes one
cell after another, `taught` has the trained student of one configuration as well.
"""

from kdrec.trial.bench import Bench, load_task
from kdrec.trial.cell import CellResult, Progress, prepare_teacher, run_cell
from kdrec.trial.one import fingerprint
from kdrec.trial.study import run_study
from kdrec.trial.taught import Taught, teach

__all__ = [
    "Bench",
    "CellResult",
    "Progress",
    "Taught",
    "fingerprint",
    "load_task",
    "prepare_teacher",
    "run_cell",
    "run_study",
    "teach",
]
