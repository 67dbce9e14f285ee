"""Every service of `compose.yaml` together: the servers on Postgres, deployments, a worker, and a study through them.

Some minutes long, so it runs on request: `make team`, before a change of the servers is merged.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import postgres
import psycopg
import pytest
from team import PASSWORD, Team

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not os.environ.get("KDREC_TEAM"), reason="runs on request: make team"),
]


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory, sources_folder: Path) -> Iterator[Team]:
    with postgres.running() as server:
        team = Team(tmp_path_factory.mktemp("team"), server)
        (team.folder / "home").mkdir(mode=0o700)
        (team.folder / "home" / "sources").symlink_to(sources_folder, target_is_directory=True)
        try:
            yield team
        finally:
            team.end()


def test_a_study_goes_through_all_of_them(team: Team, mini: Path) -> None:
    check = team.page["services"]["postgres"]["healthcheck"]["test"][1:]
    place = ["--port", str(team.postgres.port)]
    programs = postgres.programs()
    assert programs is not None
    subprocess.run([programs / check[0], *check[1:], *place], check=True, capture_output=True)

    team.start("mlflow")
    team.start("prefect")
    for _ in range(2):  # a team that is started again deploys again
        done = team.run("deploy")
        assert done.returncode == 0, done.stdout + done.stderr
    team.start("worker")
    command = [word.replace("quickstart", str(mini)) for word in team.page["services"]["study"]["command"]]
    done = team.run("study", *command, seconds=900)
    assert done.returncode == 0, done.stdout + done.stderr + team.log("worker").read_text()

    kept = {}
    for database, table in (("mlflow", "runs"), ("mlflow_auth", "users"), ("prefect", "flow_run")):
        with psycopg.connect(team.postgres.uri(database, PASSWORD, "postgresql")) as connection:
            [kept[table]] = connection.execute(f"SELECT count(*) FROM {table}").fetchone() or [0]
    assert kept == {"runs": 7, "users": 1, "flow_run": kept["flow_run"]}  # a teacher, a cell, five trials
    assert kept["flow_run"] >= 1

    kdrec = [sys.executable, "-m", "kdrec"]
    done = team.run("study", *kdrec, "history", "sync")
    assert "the history holds 5 trials" in done.stdout, done
    done = team.run("study", *kdrec, "suggest", "questions", "--student", "tiny", "--history", "own", "--json")
    assert json.loads(done.stdout)["task"] == "questions", done
    done = team.run("study", *kdrec, "doctor", "--json")
    states = {(line["part"], line["state"]) for line in json.loads(done.stdout)}
    assert {("store", "ok"), ("prefect", "ok")} <= states, done.stdout
    assert not {("store", "broken"), ("prefect", "broken")} & states, done.stdout


def test_prefect_answers_nobody_without_its_password(team: Team) -> None:
    page = f"http://127.0.0.1:{team.prefect_port}/api/admin/version"
    for headers in ({}, {"Authorization": "Basic YWRhOndyMG5n"}):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(urllib.request.Request(page, headers=headers), timeout=30)
    for name in ("mlflow", "prefect", "worker"):
        assert "s3cret" not in team.log(name).read_text(encoding="utf-8")
