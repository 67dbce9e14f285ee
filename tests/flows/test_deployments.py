from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import REPOSITORY, gone

from kdrec.home import Home
from kdrec.tracking import Store

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(tmp_path: Path, home: Home) -> dict[str, str]:
    """A private Prefect on a free port, and the kdrec home."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    return clean | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "KDREC_HOME": str(home.root),
    }


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[object]:
    """Start a command in the background; it is stopped after the test."""
    import psutil

    started: list[psutil.Popen] = []

    def begin(command: str, folder: Path) -> Path:
        log = tmp_path / f"log{len(started)}"
        with log.open("wb") as out:
            started.append(
                psutil.Popen(command.split(), cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
            )
        return log

    yield begin
    for process in reversed(started):
        family = [process, *process.children(recursive=True)]
        process.terminate()
        if not gone(family):
            for left in family:
                if left.is_running():
                    left.kill()
            gone(family)


def wait_for_server(environment: dict[str, str]) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"{environment['PREFECT_API_URL']}/health", timeout=10).close()
            return
        except OSError:
            assert time.monotonic() < end, "prefect server start: no answer"
            time.sleep(0.3)


def ask(environment: dict[str, str], path: str) -> list[dict[str, object]]:
    request = urllib.request.Request(
        f"{environment['PREFECT_API_URL']}/{path}/filter", b"{}", {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: list[dict[str, object]] = json.load(answer)
    return found


def readme_commands() -> list[str]:
    """The four commands of the README, in order."""
    page = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:sh|bash|console|shell)\n(.*?)```", page, re.DOTALL)
    lines = [line.removeprefix("$ ").split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("prefect ")]


def test_the_four_commands_of_the_readme_run_a_study_on_a_worker(
    mini: Path, home: Home, environment: dict[str, str], start, tmp_path: Path
) -> None:
    server, prepare, worker, run = readme_commands()
    start(server, REPOSITORY)
    wait_for_server(environment)
    subprocess.run(
        prepare, shell=True, cwd=REPOSITORY, env=environment, check=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert {deployment["name"] for deployment in ask(environment, "deployments")} == {"local"}
    log = start(worker, tmp_path)  # a worker may be started anywhere

    assert "study=quickstart" in run
    command = run.replace("study=quickstart", f"study={mini}")
    done = subprocess.run(
        command, shell=True, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + log.read_text(encoding="utf-8")
    assert "Completed" in done.stdout
    trials, _ = Store.open(home).trials()
    assert len(trials) == 5
    assert "Study mini: 5 trials, 5 new and 0 found in the store." in log.read_text(encoding="utf-8")
    assert {run["name"] for run in ask(environment, "task_runs")} == {"questions/minilm", "questions/tiny"}
    (artifact,) = ask(environment, "artifacts")
    assert "| questions/tiny |" in str(artifact["data"])
