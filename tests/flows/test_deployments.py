from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import Installation, readme_commands

from kdrec.home import Home
from kdrec.tracking import Store

pytestmark = pytest.mark.slow


@pytest.fixture
def prefect(tmp_path: Path, home: Home) -> Iterator[Installation]:
    """A Prefect of this test's own; it is stopped after the test."""
    made = Installation(tmp_path, home)
    yield made
    made.end()


def test_the_four_commands_of_the_readme_run_a_study_on_a_worker(
    mini: Path, home: Home, prefect: Installation, tmp_path: Path
) -> None:
    server, prepare, worker, run = readme_commands("With a Prefect server")
    prefect.start(server)
    prefect.wait_for_server()
    assert prefect.run(prepare, 120).returncode == 0
    assert {deployment["name"] for deployment in prefect.ask("deployments")} == {"local"}
    log = prefect.start(worker, tmp_path)  # a worker may be started anywhere

    assert "study=quickstart" in run
    done = prefect.run(run.replace("study=quickstart", f"study={mini}"))
    assert done.returncode == 0, done.stdout + log.read_text(encoding="utf-8")
    assert "Completed" in done.stdout
    trials, _ = Store.open(home).trials()
    assert len(trials) == 5
    assert "Study mini: 5 trials, 5 new and 0 found in the store." in log.read_text(encoding="utf-8")
    assert {run["name"] for run in prefect.ask("task_runs")} == {"questions/minilm", "questions/tiny"}
    shown = {one["key"]: one["data"] for one in prefect.ask("artifacts")}
    assert shown.keys() == {"study-mini", "study-mini-progress"}
    assert "| questions/tiny |" in shown["study-mini"]
    assert "| questions | tiny |" in shown["study-mini"], "what to do next stands there as well"
    assert float(shown["study-mini-progress"]) == 100
    forms = {one["entrypoint"]: one["parameter_openapi_schema"]["properties"] for one in prefect.ask("deployments")}
    assert {"flows.study.study", "flows.cell.cell", "flows.refresh.refresh"} < forms.keys()
    assert all(field["description"] for form in forms.values() for field in form.values())
    choices, path = forms["flows.study.study"]["study"]["anyOf"]
    assert "quickstart" in choices["enum"]
    assert path == {"type": "string"}, "a path of a study file can be given too"
    (nightly,) = [one["schedules"] for one in prefect.ask("deployments") if one["schedules"]]
    assert [one["active"] for one in nightly] == [False], "nothing runs at night before it is asked for"
