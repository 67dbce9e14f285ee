"""The flow `distill`: one student taken home, by the suggested configuration, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger
from pydantic import Field

from flows.artifacts import explained
from flows.cell import StudentName
from flows.pieces import find_study
from flows.study import HomeFolder
from kdrec import question
from kdrec.home import Home

TaskName = Annotated[str, Field(title="Task", description="A task of the catalogue, or of the study below.")]
Like = Annotated[
    str | None,
    Field(title="Like", description="Study that says rows, training and data; empty: the defaults of a study."),
]
Seeds = Annotated[int, Field(title="Seeds", ge=1, description="Students to train; the best on validation is kept.")]
Out = Annotated[
    str | None, Field(title="Folder", description="Folder of the student; empty: exports/TASK-STUDENT in the home.")
]
Graph = Annotated[bool, Field(title="ONNX", description="Save an ONNX graph as well.")]
SmallGraph = Annotated[bool, Field(title="int8", description="Save an ONNX graph in int8 as well.")]


@explained
@flow(name="distill", flow_run_name="{task}-{student}", persist_result=False)
def distill(
    task: TaskName,
    student: StudentName,
    like: Like = None,
    seeds: Seeds = 1,
    out: Out = None,
    onnx: Graph = False,
    int8: SmallGraph = False,
    home: HomeFolder = None,
) -> dict[str, Any]:
    """Distil a student by the suggested configuration, save it, write its card, and register it in MLflow.

    What was made before is found: trials, weights, and the registered version.
    """
    from kdrec.student.extras import check_onnx
    from kdrec.student.order import order
    from kdrec.student.taking import Wishes, take_home

    check_onnx(onnx, int8)
    place = Home.at(home) if home else Home.from_env()
    plan = find_study(like) if like else None
    wanted = order(question.Asked(task=task), student, place, n_seeds=seeds, like=plan)
    log = get_run_logger()
    wishes = Wishes(out=Path(out) if out else None, onnx=onnx, int8=int8)
    taken = take_home(wanted, place, wishes, lambda at: log.info("%s: %s", at.part, at.message))
    question.sync(place, always=True)  # so that the next suggestion need not open the store
    create_markdown_artifact(taken.card, description=f"Card of {taken.facts.name}")
    version = taken.version
    return {"folder": str(taken.folder), "model": f"models:/{version.name}/{version.number}"}
