"""A whole study in this process, one cell after another: for a script that needs neither Prefect nor many cores."""

from __future__ import annotations

from transformers.utils import logging

from kdrec import catalog, history
from kdrec.home import Home
from kdrec.studies import Study
from kdrec.tracking import Store
from kdrec.trial.cell import CellResult, OnProgress, prepare_teacher, run_cell


def _silent(_: object) -> None:
    """Progress that nobody watches."""


def run_study(study: Study, home: Home, on_progress: OnProgress = _silent) -> tuple[CellResult, ...]:
    """Search every cell of a study here and now; what was finished before is found, not repeated.

    `python -m flows.study` does the same in worker processes, as many as there are cores.

    Parameters
    ----------
    study : Study
        What to search.
    home : Home
        Where teachers and caches are kept; its store gets the runs, its history the new trials.
    on_progress : callable, optional
        Hears of every evaluated teacher checkpoint and every trial.

    Returns
    -------
    tuple of CellResult
        In the order of the study's cells.
    """
    logging.disable_progress_bar()  # one for every student's weights would bury what the script prints
    teachers = {(cell.task, catalog.teacher_of(cell.student)) for cell in study.cells()}
    for task, teacher in sorted(teachers):
        prepare_teacher(study, task, teacher, home, on_progress)
    results = tuple(run_cell(study, cell, home, on_progress) for cell in study.cells())
    history.sync(home, Store.open(home).trials)
    return results
