"""The MLflow calls behind the doors, each with explicit ids, few of them, and failures as `StoreError` sentences."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from kdrec.errors import BadArgument, redacted
from kdrec.home import Home
from kdrec.tracking.connect import asking
from kdrec.tracking.runs import FINGERPRINT, KIND, SCHEMA, check_schema

PAGE: Final = 1000
"""Rows of one answer: MLflow allows 50,000, and a server answers small pages sooner."""

BATCH: Final = 1000
"""Most metrics that MLflow takes in one call."""

Measurement = tuple[str, float, int]
"""Name, finite value, step."""


@dataclass(frozen=True)
class Ledger:
    """A connected store, as few words as its doors need."""

    home: Home
    client: Any

    def asking(self, doing: str) -> AbstractContextManager[None]:
        """Raise what goes wrong in the block as a `StoreError`."""
        return asking(self.home.tracking_uri, doing)

    def experiments(self) -> list[str]:
        """Ids of the experiments that are kdrec's; refused when one is of another schema."""
        with self.asking("listing experiments"):
            found = list(_pages(lambda token: self.client.search_experiments(max_results=PAGE, page_token=token)))
        ours = [experiment for experiment in found if SCHEMA in experiment.tags]
        for experiment in ours:
            where = f"experiment {experiment.name!r} in {redacted(self.home.tracking_uri)}"
            check_schema(experiment.tags[SCHEMA], where)
        return [str(experiment.experiment_id) for experiment in ours]

    def runs(
        self, experiments: Sequence[str], kind: str, fingerprint: str | None = None, ended_after: int | None = None
    ) -> list[Any]:
        """All runs of a kind, which `each_run` gives page by page."""
        return list(self.each_run(experiments, kind, fingerprint, ended_after))

    def each_run(
        self, experiments: Sequence[str], kind: str, fingerprint: str | None = None, ended_after: int | None = None
    ) -> Iterator[Any]:
        """Runs of a kind, a page at a time in memory; only plain words reach the filter, never a user's text.

        A database goes through every run to join a second tag, so the kind is asked for only where it is what leaves
        most runs out: of cells and teachers. Nearly all runs are trials.
        """
        if not experiments:
            return
        wanted = []
        if kind != "trial" and fingerprint is None and ended_after is None:
            wanted.append(f"tags.`{KIND}` = '{kind}'")
        if fingerprint is not None:
            if not fingerprint or not all(letter.isalnum() or letter in "._:-" for letter in fingerprint):
                raise BadArgument(f"a fingerprint is a word of letters and digits, got {fingerprint!r}")
            wanted.append(f"tags.`{FINGERPRINT}` = '{fingerprint}'")
        if ended_after is not None:
            wanted.append(f"attributes.end_time > {ended_after}")
        query = {"experiment_ids": list(experiments), "filter_string": " and ".join(wanted), "max_results": PAGE}
        for run in _pages(lambda token: self._page(query, token)):
            if run.data.tags.get(KIND) == kind:
                yield run

    def _page(self, query: Mapping[str, Any], token: str | None) -> Any:
        with self.asking("reading runs"):
            return self.client.search_runs(**query, page_token=token)

    def curve(self, run_id: str, metric: str) -> tuple[float, ...]:
        """Values of a metric in the order of their steps; none where it was not logged."""
        with self.asking("reading a curve"):
            points = self.client.get_metric_history(run_id, metric)
        return tuple(float(point.value) for point in sorted(points, key=lambda point: point.step))

    def create(self, experiment_id: str, tags: Mapping[str, str]) -> str:
        """Id of a new run that carries `tags` from its first moment."""
        with self.asking("starting a run"):
            return str(self.client.create_run(experiment_id, tags=dict(tags)).info.run_id)

    def end(self, run_id: str, status: str) -> None:
        """Give a run its MLflow status and end time."""
        with self.asking("ending a run"):
            self.client.set_terminated(run_id, status)

    def reopen(self, run_id: str) -> None:
        """Show a run as running again."""
        with self.asking("continuing a run"):
            self.client.update_run(run_id, "RUNNING")

    def write(
        self,
        run_id: str,
        *,
        metrics: Sequence[Measurement] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write all of it in one call (more than 1,000 metrics in as few as MLflow allows), tags last."""
        from mlflow.entities import Metric, Param, RunTag

        now = now_milliseconds()
        made = [Metric(name, float(value), now, step) for name, value, step in metrics]
        last = (len(made) - 1) // BATCH * BATCH if made else 0
        rest = {
            "params": [Param(name, value) for name, value in (params or {}).items()],
            "tags": [RunTag(name, value) for name, value in (tags or {}).items()],
        }
        with self.asking("writing a run"):
            for start in range(0, last, BATCH):
                self.client.log_batch(run_id, metrics=made[start : start + BATCH])
            self.client.log_batch(run_id, metrics=made[last:], **rest)


def now_milliseconds() -> int:
    """The time as MLflow counts it."""
    return int(time.time() * 1000)


def _pages(ask: Callable[[str | None], Any]) -> Iterator[Any]:
    token = None
    while True:
        page = ask(token)
        yield from page
        token = page.token
        if not token:
            return
