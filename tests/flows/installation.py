"""A private Prefect for tests: a server on a free port, commands against it, and what it knows."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil
from running import REPOSITORY, gone

from kdrec.home import Home


class Installation:
    """A Prefect of its own, and the kdrec home; what it starts ends with `end`."""

    def __init__(self, folder: Path, home: Home) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
        self.folder = folder
        self.environment = clean | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "KDREC_HOME": str(home.root),
        }
        self._started: list[psutil.Popen] = []

    def start(self, command: str, folder: Path = REPOSITORY) -> Path:
        """Start a command in the background; returns its log."""
        log = self.folder / f"log{len(self._started)}"
        with log.open("wb") as out:
            self._started.append(
                psutil.Popen(command.split(), cwd=folder, env=self.environment, stdout=out, stderr=subprocess.STDOUT)
            )
        return log

    def run(self, command: str, seconds: float = 240) -> subprocess.CompletedProcess[str]:
        """Run a command of the shell to its end."""
        return subprocess.run(
            command,
            shell=True,
            cwd=REPOSITORY,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def wait_for_server(self) -> None:
        end = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{self.environment['PREFECT_API_URL']}/health", timeout=10).close()
                return
            except OSError:
                assert time.monotonic() < end, "prefect server start: no answer"
                time.sleep(0.3)

    def post(self, path: str, what: dict[str, Any]) -> Any:
        """What the server answers."""
        request = urllib.request.Request(
            f"{self.environment['PREFECT_API_URL']}/{path}",
            json.dumps(what).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def ask(self, path: str) -> list[dict[str, Any]]:
        """All that the server knows of a kind, such as ``flow_runs``."""
        found: list[dict[str, Any]] = self.post(f"{path}/filter", {})
        return found

    def submit(self, deployment: str, parameters: dict[str, Any]) -> str:
        """Have a worker run a flow; returns the flow run's id."""
        known = {one["name"]: one["id"] for one in self.ask("flows")}
        flow, name = deployment.split("/")
        (found,) = [d["id"] for d in self.ask("deployments") if (d["flow_id"], d["name"]) == (known[flow], name)]
        return str(self.post(f"deployments/{found}/create_flow_run", {"parameters": parameters})["id"])

    def states(self, ids: Iterable[str]) -> set[str]:
        """States of these flow runs."""
        now = {run["id"]: run["state_type"] for run in self.ask("flow_runs")}
        return {now[one] for one in ids}

    def kill(self, flow_run: str) -> None:
        """End the process of a flow run as the kernel does it when memory is short."""
        (place,) = [run["infrastructure_pid"] for run in self.ask("flow_runs") if run["id"] == flow_run]
        psutil.Process(int(place.rpartition(":")[2])).kill()

    def end(self) -> None:
        for process in reversed(self._started):
            if not process.is_running():
                continue
            family = [process, *process.children(recursive=True)]
            process.terminate()
            if not gone(family):
                for left in family:
                    if left.is_running():
                        left.kill()
                gone(family)


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Return when something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not so after {seconds} s"
        time.sleep(0.3)


def readme_commands(heading: str) -> list[str]:
    """The commands of Prefect in a section of the README, in order."""
    page = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^##+ {heading}\n(.*?)(?=^##+ )", page, re.DOTALL | re.MULTILINE)
    blocks = re.findall(r"```(?:sh|bash|console|shell)\n(.*?)```", section, re.DOTALL)
    lines = [line.removeprefix("$ ").split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("prefect ")]
