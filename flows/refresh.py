"""The flow `refresh`: recommendations for all that the history knows. Also the command `python -m flows.refresh`."""

from __future__ import annotations

import sys

if __name__ == "__main__":  # the command line sets the scene before Prefect is imported and reads its settings
    from flows.command import refresh as main

    sys.exit(main())

from prefect import flow, runtime
from prefect.logging import get_run_logger

from flows.artifacts import Bar, explained, key_of, show_table, show_text
from flows.progress import Log, Terminal
from flows.study import HomeFolder
from kdrec.home import Home
from kdrec.refresh import Refreshed
from kdrec.refresh import refresh as renew
from kdrec.terminal import spelled
from kdrec.tracking import bulletin_note

KEY = key_of("recommendations")


@explained
@flow(name="refresh", flow_run_name="recommendations", persist_result=False)
def refresh(home: HomeFolder = None) -> list[str]:
    """Sync the history, ask the recommender about every task and student of it anew, and publish what changed.

    The table is an artifact here and a run in MLflow; where nothing is new, neither is written. Returns the changes.
    """
    place = Home.at(home) if home else Home.from_env()
    outlet = Log(get_run_logger().info) if runtime.deployment.id else Terminal()
    share = [0.0]

    def watch(done: int, of: int, name: str) -> None:
        share[0] = done / of
        outlet.say(f"{spelled(name)}: asked ({done} of {of}).")

    with Bar(key_of(KEY, "progress"), "Cells that the recommender was asked about", lambda: share[0]):
        found = renew(place, watch)
        share[0] = 1.0
    for sentence in _summary(found):
        outlet.say(f"{spelled(sentence)}.")  # a control sign in the name of a task must not speak to the terminal
    if found.run_id:
        note = bulletin_note(found.bulletin, found.changes)
        show_text(f"{note}\n\nMLflow run: {found.run_id}", KEY, "Recommendations", outlet.say)
        show_table(found.bulletin, key_of(KEY, "table"), "Recommendations, to search in")
    return list(found.changes)


def _summary(found: Refreshed) -> list[str]:
    """What came of it, in sentences without their full stop."""
    if not found.bulletin.lines and not found.changes:
        return ["Nothing to recommend: the history holds no trial; run a study first"]
    if not found.run_id:
        n = len(found.bulletin.lines)
        return [f"Nothing new: what was recommended of {n} cell{'' if n == 1 else 's'} stands, and no run was written"]
    return [*found.changes, f"Published as MLflow run {found.run_id}"]
