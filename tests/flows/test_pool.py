"""Cells on a work pool, with Prefect's own server and worker: a study of two cells, and what can go wrong with it.

Turns that need no process are in `test_fanout.py`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import Installation, readme_commands, until

import kdrec
from kdrec import history
from kdrec.errors import BadArgument
from kdrec.home import Home
from kdrec.tracking import Store


@pytest.fixture(scope="module")
def two(mini: Path) -> Path:
    """The file of a study of two cells: one of two trials, and one of a task that is refused."""
    text = mini.read_text(encoding="utf-8").replace('"mini"', '"two"').replace('["questions"]', '["few", "questions"]')
    text = text.replace("[1.0, 4.0]", "[1.0]").replace("[space]\n", "[space]\nalphas = [0.5]\n")
    file = mini.with_name("two_cells.toml")
    file.write_text(f'{text}\n[data.few]\npath = "pair.csv"\ntext = "text"\nlabel = "label"\n', encoding="utf-8")
    mini.with_name("pair.csv").write_text("text,label\nhello,greeting\nbye,farewell\n", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory, module_home: Home) -> Iterator[Installation]:
    """A server with both deployments and the limits of the README, and no worker."""
    made = Installation(tmp_path_factory.mktemp("pool"), module_home)
    server, prepare, *_ = readme_commands("With a Prefect server")
    made.start(server)
    made.wait_for_server()
    done = made.run(" && ".join([prepare, *readme_commands("Past one machine")[:-1]]), 120)
    assert done.returncode == 0, done.stdout + done.stderr
    yield made
    made.end()


@pytest.fixture(scope="module")
def worker(prefect: Installation) -> Path:
    """The log of a worker."""
    return prefect.start(readme_commands("With a Prefect server")[2], prefect.folder)


@pytest.mark.slow
def test_a_deployment_that_cannot_take_cells_is_one_sentence_that_says_what_is_near(
    prefect: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.actions import WorkPoolUpdate

    from flows.pool import CellDeployment

    with SyncPrefectClient(prefect.environment["PREFECT_API_URL"]) as client:

        def refused(name: str) -> str:
            with pytest.raises(BadArgument) as error:
                CellDeployment(client, name, lambda cell: {}).check()
            return str(error.value)

        assert refused("cell/locl") == "no deployment 'cell/locl'; did you mean 'cell/local'?"
        assert refused("local") == (
            "cells_on must name a deployment of the flow 'cell', got 'local'; did you mean 'cell/local'?"
        )
        CellDeployment(client, "cell/local", lambda cell: {}).check()
        monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", prefect.submit("study/local", {"study": "nowhere"}))
        client.update_work_pool("local", WorkPoolUpdate(concurrency_limit=1))
        assert refused("cell/local").startswith("the study holds the one place of work pool 'local'")
        client.update_work_pool("local", WorkPoolUpdate(concurrency_limit=3))


@pytest.mark.slow
def test_cells_of_a_cancelled_study_are_cancelled_and_those_of_a_stopped_one_are_not(
    prefect: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import SyncPrefectClient

    from flows.pool import CellDeployment

    with SyncPrefectClient(prefect.environment["PREFECT_API_URL"]) as client:
        pool = CellDeployment(client, "cell/local", lambda cell: {})
        study, cell = prefect.submit("study/local", {"study": "nowhere"}), prefect.submit("cell/local", {})
        monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", study)
        assert not pool.abandon([cell])
        assert [run.state for run in pool.look([cell])] == ["waiting"]
        prefect.post(f"flow_runs/{study}/set_state", {"state": {"type": "CANCELLING"}, "force": True})
        assert pool.abandon([cell])
        assert [run.state for run in pool.look([cell])] == ["cancelled"]
        pool.bury(cell)
        assert [run.state for run in pool.look([cell])] == ["crashed"]


@pytest.mark.slow
def test_a_killed_study_run_again_waits_for_its_cells_and_sums_up_with_the_one_that_failed(
    prefect: Installation, worker: Path, two: Path, module_home: Home
) -> None:
    words = shlex.split(readme_commands("Past one machine")[-1])
    given = dict(word.split("=", 1) for word in words if "=" in word)
    assert given == {"study": "glue", "cells_on": "cell/local"}
    study = prefect.submit(words[3], given | {"study": str(two)})
    until(lambda: worker.read_text(encoding="utf-8").count(": sent to cell/local") == 2)
    prefect.kill(study)

    done = prefect.run(f"python -m flows.study {two} --cells-on cell/local")
    assert done.returncode == 2, done.stdout + done.stderr + worker.read_text(encoding="utf-8")
    assert done.stdout.count("waiting for it.") == 2
    assert "Study two: 2 trials, 2 new and 0 found in the store." in done.stdout
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(
        "kdrec: 1 of 2 cells failed, the others are done: few/tiny: few/minilm: pair.csv has 2"
    )
    assert prefect.states([study]) == {"CRASHED"}
    cells = {run["name"]: run for run in prefect.ask("flow_runs") if run["name"] in ("few-tiny", "questions-tiny")}
    assert sum(run["parameters"].get("study") == str(two) for run in prefect.ask("flow_runs")) == len(cells) + 2

    trials, _ = Store.open(module_home).trials()
    assert [trial.student for trial in trials] == ["tiny", "tiny"]
    assert {trial.run_id for trial in history.load(module_home)} == {trial.run_id for trial in trials}
    labels = cells["questions-tiny"]["labels"]
    assert (labels["kdrec.new"], labels["kdrec.found"]) == (2, 0)
    (table,) = [one["data"] for one in prefect.ask("artifacts") if labels["kdrec.run_id"] in str(one["data"])][-1:]
    best = str(labels["kdrec.best"])
    assert f"| questions/tiny | {best} |" in table


@pytest.mark.slow
def test_a_study_run_again_finds_all_that_its_cells_did(
    prefect: Installation, worker: Path, two: Path, module_home: Home
) -> None:
    study = two.read_text(encoding="utf-8").replace('["few", "questions"]', '["questions"]').split("[data.few]")[0]
    file = two.with_name("one_cell.toml")
    file.write_text(study, encoding="utf-8")
    before = Store.open(module_home).trials()[0]
    done = prefect.run(f"python -m flows.study {file} --cells-on cell/local")
    assert done.returncode == 0, done.stdout + done.stderr + worker.read_text(encoding="utf-8")
    assert "questions/tiny: done, 0 trials new and 2 found; MLflow run " in done.stdout
    assert "Study two: 2 trials, 0 new and 2 found in the store." in done.stdout
    assert Store.open(module_home).trials()[0] == before


@pytest.mark.slow
def test_a_worker_with_another_version_of_kdrec_refuses_in_one_sentence(
    prefect: Installation, worker: Path, two: Path, module_home: Home
) -> None:
    before = Store.open(module_home).trials()[0]
    asked = {"study": str(two), "task": "questions", "student": "tiny", "home": str(module_home.root)}
    cell = prefect.submit("cell/local", asked | {"version": "0.0.9"})
    until(lambda: prefect.states([cell]) == {"FAILED"})
    (message,) = [run["state"]["message"] for run in prefect.ask("flow_runs") if run["id"] == cell]
    assert f"this worker has kdrec {kdrec.__version__}, and the study was sent by kdrec 0.0.9" in message
    assert Store.open(module_home).trials()[0] == before


def test_without_a_server_of_the_users_cells_go_nowhere(
    two: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from flows.command import main

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert main([str(two), "--home", str(tmp_path), "--cells-on", "cell/local"]) == 2
    assert capsys.readouterr().err == (
        "kdrec: --cells-on needs the Prefect server that knows the deployment: set PREFECT_API_URL\n"
    )
