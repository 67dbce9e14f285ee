"""The flow `study`: all cells of a study file. Also the command `python -m flows.study STUDY`."""

from __future__ import annotations

import sys
from dataclasses import replace

if __name__ == "__main__":  # the command line sets the scene before Prefect is imported and reads its settings
    from flows.command import main

    sys.exit(main())

from typing import Annotated, Literal

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from flows.artifacts import explained
from flows.conduct import conduct, send
from flows.pieces import STUDIES, Outcome, find_study
from flows.reference import Reference
from kdrec.errors import BadArgument
from kdrec.home import Home

KnownStudy = Literal[tuple(sorted(file.stem for file in STUDIES.glob("*.toml")))]  # type: ignore[valid-type]
"""Choices of a form, as they were when this was imported."""

StudyName = Annotated[
    KnownStudy | str,
    Field(title="Study", description="Name of a file under flows/studies, or the path of a study file."),
]
HomeFolder = Annotated[
    str | None,
    Field(title="Home", description="Folder of studies, caches and history; empty: KDREC_HOME, or ./.kdrec."),
]
CellsOn = Annotated[
    str | None,
    Field(
        title="Cells on",
        description="Deployment of the flow cell, such as cell/local, that gets every cell; empty: this machine.",
    ),
]
Quietly = Annotated[bool, Field(title="Quiet", description="Show results and errors, and nothing on the way.")]
Processes = Annotated[
    int | None, Field(title="Workers", ge=1, description="Worker processes; empty: one a core, or one with ranks.")
]
Ranks = Annotated[
    int | None,
    Field(title="Ranks", ge=1, description="Processes (GPUs) that train each model together; empty: one."),
]
Minutes = Annotated[
    float | None,
    Field(
        title="Minutes",
        gt=0,
        description="Most minutes that the search for a training may take, of each teacher and of each cell.",
    ),
]


@explained
@flow(name="study", flow_run_name="{study}", task_runner=ThreadPoolTaskRunner(), persist_result=False)
def study(
    study: StudyName = "quickstart",
    home: HomeFolder = None,
    workers: Processes = None,
    cells_on: CellsOn = None,
    ranks: Ranks = None,
    quiet: Quietly = False,
    minutes: Minutes = None,
) -> list[Outcome] | list[Reference]:
    """Search every cell of a study: teachers are fine-tuned, students distilled, all of it recorded in MLflow.

    Finished trials are found, not repeated: a study that was stopped goes on where it was.
    """
    plan, place = find_study(study), Home.at(home) if home else Home.from_env()
    if minutes is not None:
        plan = replace(plan, budget=replace(plan.budget, minutes=minutes))
    if cells_on is None:
        return conduct(plan, plan.cells(), place, workers, ranks, quiet=quiet)
    for name, number in (("workers", workers), ("ranks", ranks)):
        if number is not None:
            raise BadArgument(f"{name} = {number} are processes of this machine, and the cells go to {cells_on!r}")
    if minutes is not None:
        raise BadArgument(f"cells that go to {cells_on!r} read the study file: write minutes into its [budget]")
    return send(plan, study, place, cells_on, quiet=quiet)
