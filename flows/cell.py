"""The flow `cell`: one task x student of a study with its teacher, the unit that can be sent to a work pool."""

from __future__ import annotations

from typing import Annotated

from prefect import flow, runtime
from prefect.client.orchestration import get_client
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

import kdrec
from flows import pool
from flows.artifacts import explained
from flows.conduct import conduct, known_trials
from flows.fanout import home_of
from flows.life import alive
from flows.pieces import Outcome, find_study
from flows.reference import Reference
from flows.study import HomeFolder, Ranks, StudyName
from kdrec.errors import BadArgument, MismatchError, did_you_mean
from kdrec.studies import Cell

TaskName = Annotated[str, Field(title="Task", description="A task of the study.")]
Version = Annotated[
    str | None,
    Field(title="Version", description="kdrec of whoever asks; a worker that has another refuses. Empty: any."),
]
StudentName = Annotated[str, Field(title="Student", description="A student of the study.")]


@explained
@flow(name="cell", flow_run_name="{task}-{student}", task_runner=ThreadPoolTaskRunner(), persist_result=False)
def cell(
    study: StudyName,
    task: TaskName,
    student: StudentName,
    home: HomeFolder = None,
    ranks: Ranks = None,
    version: Version = None,
) -> Outcome:
    """Search one cell of a study, in one worker process; its teacher is made first if nobody made it yet.

    A study that sent the cell here finds what came of it by the labels of this flow run.
    """
    if version not in (None, kdrec.__version__):
        raise MismatchError(
            f"this worker has kdrec {kdrec.__version__}, and the study was sent by kdrec {version}: their trials may "
            "differ; install one version on both sides"
        )
    plan = find_study(study)
    for kind, name, known in (("task", task, plan.tasks), ("student", student, plan.students)):
        if name not in known:
            raise BadArgument(f"study {plan.name!r} has no {kind} {name!r}{did_you_mean(name, known)}")
    wanted, place = Cell(task=task, student=student), home_of(home, sent=version is not None)
    with get_client(sync_client=True) as client, alive(place, str(runtime.flow_run.id)), pool.a_place(client):
        before = known_trials(place)
        (outcome,) = conduct(plan, [wanted], place, workers=1, ranks=ranks)
        pool.tell(client, Reference.of(outcome, before))
    return outcome
