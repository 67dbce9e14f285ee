"""A deployment of the flow `cell` as the `Pool` that a study's cells are sent to: the only speaker of Prefect's API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final
from uuid import UUID

import httpx
from prefect import runtime
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.concurrency.sync import concurrency
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling, Crashed

from flows.fanout import Run, Unreachable
from flows.reference import Reference
from kdrec import errors
from kdrec.errors import BadArgument, KdrecError, did_you_mean
from kdrec.studies import Cell

GLOBAL_LIMIT: Final = "kdrec-cells"
"""Name of a global concurrency limit over the cells of all pools; without it nothing limits them but their pools."""

_LIVING: Final = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED]
_STATES: Final = {
    StateType.RUNNING: "at work",
    StateType.COMPLETED: "done",
    StateType.FAILED: "failed",
    StateType.CRASHED: "crashed",
    StateType.CANCELLED: "cancelled",
}
_REFUSALS: Final = {name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, Exception)}
_PAGE: Final = 100
"""Runs asked for at once; the server answers with 200 at most."""


class CellDeployment:
    """A deployment of the flow `cell`, found by its name ``cell/...``.

    Parameters
    ----------
    client : SyncPrefectClient
        Open for as long as this is used.
    name : str
        Of the deployment.
    parameters : callable
        What a run of a cell is told.
    """

    def __init__(self, client: SyncPrefectClient, name: str, parameters: Callable[[Cell], dict[str, Any]]) -> None:
        self.client, self.name, self._parameters = client, name, parameters

    def check(self) -> None:
        """As in `Pool`.

        Raises
        ------
        BadArgument
            There is no such deployment, it is not of the flow `cell`, or its work pool has room for the study alone.
        """
        with _reachable():
            self._check(self.name)

    def _check(self, name: str) -> None:
        if not name.startswith("cell/"):
            raise BadArgument(
                f"cells_on must name a deployment of the flow 'cell', got {name!r}{did_you_mean(name, self._known())}"
            )
        try:
            deployment = self.client.read_deployment_by_name(name)
        except (ObjectNotFound, ValueError):
            raise BadArgument(f"no deployment {name!r}{did_you_mean(name, self._known())}") from None
        if deployment.work_pool_name is None:
            return
        limit = self.client.read_work_pool(deployment.work_pool_name).concurrency_limit
        if limit == 1 and self._own_pool() == deployment.work_pool_name:
            raise BadArgument(
                f"the study holds the one place of work pool {deployment.work_pool_name!r}, so no cell could begin; "
                f"raise its limit (prefect work-pool set-concurrency-limit {deployment.work_pool_name} 3)"
            )

    def _known(self) -> list[str]:
        flows = {flow.id: flow.name for flow in self.client.read_flows()}
        names = [f"{flows.get(one.flow_id, '?')}/{one.name}" for one in self.client.read_deployments()]
        return [name for name in names if name.startswith("cell/")]

    def _own_pool(self) -> str | None:
        """Work pool of the study's own flow run; None on a machine of the user's."""
        return self.client.read_flow_run(UUID(own)).work_pool_name if (own := runtime.flow_run.id) else None

    def living(self, key: str) -> Run | None:
        """As in `Pool`. A run that is being cancelled is on its way out and does not count."""
        state = FlowRunFilterState(type=FlowRunFilterStateType(any_=_LIVING))
        with _reachable():
            runs = self.client.read_flow_runs(
                flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[key]), state=state)
            )
        return _run(runs[0]) if runs else None

    def count(self, key: str) -> int:
        """As in `Pool`."""
        with _reachable():
            return self.client.count_flow_runs(flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[key])))

    def start(self, cell: Cell, key: str, idempotency_key: str) -> Run:
        """As in `Pool`; the run is linked to the study's, so that Prefect shows it there and cancels it with it."""
        told = self._parameters(cell)
        try:
            with _reachable():
                made: Any = run_deployment(
                    self.name, parameters=told, tags=[key], idempotency_key=idempotency_key, timeout=0
                )
        except httpx.HTTPStatusError as error:
            raise KdrecError(
                f"{self.name} takes no {cell} (HTTP {error.response.status_code}); was it deployed from this version "
                "(prefect deploy --all)?"
            ) from error
        return _run(made)

    def look(self, ids: Sequence[str]) -> list[Run]:
        """As in `Pool`."""
        found: list[FlowRun] = []
        for start in range(0, len(ids), _PAGE):
            wanted = [UUID(one) for one in ids[start : start + _PAGE]]
            with _reachable():
                found += self.client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=wanted)))
        return [_run(one) for one in found]

    def bury(self, run_id: str) -> None:
        """As in `Pool`; gives its place in the work pool back."""
        with _reachable():
            self.client.set_flow_run_state(
                UUID(run_id), Crashed(message="its process is gone, and nobody told Prefect"), force=True
            )

    def abandon(self, ids: Sequence[str]) -> bool:
        """As in `Pool`: cancel the cells of a cancelled study; those of one that was stopped or killed go on.

        Prefect itself cancels what a cancelled study started, but not what that study found at work.
        """
        own = runtime.flow_run.id
        with suppress(httpx.HTTPError, ObjectNotFound):  # what ended the study is to be told, not this
            state = self.client.read_flow_run(UUID(own)).state if own else None
            if state is not None and (state.is_cancelling() or state.is_cancelled()):
                for one in ids:
                    self.client.set_flow_run_state(UUID(one), Cancelling(message="The study was cancelled."))
                return True
        return False


def _run(flow_run: FlowRun) -> Run:
    state = flow_run.state
    return Run(
        id=str(flow_run.id),
        name=flow_run.name,
        state=_STATES.get(state.type, "waiting") if state else "waiting",  # type: ignore[arg-type]
        message=_sentence(state.message or "") if state else "",
        reference=Reference.from_labels(flow_run.labels),
    )


def _sentence(message: str) -> str:
    """What was said, without the words that Prefect puts before it and the name of our exception."""
    said = message.removeprefix("Flow run encountered an exception: ")
    kind, _, sentence = said.partition(": ")
    return sentence if kind in _REFUSALS else said


@contextmanager
def _reachable() -> Iterator[None]:
    """Tell a server that is away, or busy, from one that says no."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in (408, 429) and error.response.status_code < 500:
            raise
        raise Unreachable(f"HTTP {error.response.status_code}") from error
    except httpx.TransportError as error:
        raise Unreachable(type(error).__name__) from error


@contextmanager
def a_place(client: SyncPrefectClient) -> Iterator[None]:
    """Hold one place of the global limit `GLOBAL_LIMIT`, where the user has made one."""
    try:
        client.read_global_concurrency_limit_by_name(GLOBAL_LIMIT)
    except ObjectNotFound:
        yield
        return
    with concurrency(GLOBAL_LIMIT):
        yield


def tell(client: SyncPrefectClient, reference: Reference) -> None:
    """Leave the reference of this flow run's cell where the study that sent it looks."""
    client.update_flow_run_labels(UUID(runtime.flow_run.id), dict(reference.to_labels()))
