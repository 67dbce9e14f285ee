"""The services of `compose.yaml` as processes of this machine: their own commands, environments and health checks.

What differs from Docker is names alone: addresses and ports of the loopback, and folders in the place of volumes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg
import yaml
from postgres import PASSWORD, Postgres, free_port

REPOSITORY: Final = Path(__file__).parent.parent
VARIABLE: Final = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
SECRETS: Final = {
    "POSTGRES_PASSWORD": PASSWORD,
    "MLFLOW_ADMIN_USERNAME": "ada",
    "MLFLOW_ADMIN_PASSWORD": "admin-s3cret",
    "MLFLOW_SECRET_KEY": "key-s3cret",
    "PREFECT_AUTH_STRING": "ada:prefect-s3cret",
}


def interpolated(text: str, environment: Mapping[str, str]) -> str:
    """`${NAME}` as Docker Compose reads it: `:-` gives a default, `:?` refuses to go on without."""

    def value(found: re.Match[str]) -> str:
        name, sign, word = found.groups()
        known = environment.get(name, "")
        if not known and sign == "?":
            raise KeyError(f"{name}: {word}")
        return known or (word if sign == "-" else "")

    return VARIABLE.sub(value, text)


class Team:
    """The page of services, on a Postgres that runs; what is started ends with `end`."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self.folder, self.postgres = folder, postgres
        self.mlflow_port, self.prefect_port = free_port(), free_port()
        text = interpolated((REPOSITORY / "compose.yaml").read_text(encoding="utf-8"), SECRETS)
        here = {
            "postgres:5432": f"127.0.0.1:{postgres.port}",
            "http://mlflow:5000": f"http://127.0.0.1:{self.mlflow_port}",
            "http://prefect:4200": f"http://127.0.0.1:{self.prefect_port}",
            "5000": str(self.mlflow_port),
            "4200": str(self.prefect_port),
            "0.0.0.0": "127.0.0.1",
            "/artifacts": str(folder / "artifacts"),
            "KDREC_HOME: /data": f"KDREC_HOME: {folder / 'home'}",
            "/etc/kdrec": str(folder),
        }
        for name, place in here.items():
            text = text.replace(name, place)
        self.page: dict[str, Any] = yaml.safe_load(text)
        self._started: dict[str, psutil.Popen] = {}
        postgres.create(self.page["services"]["postgres"]["environment"]["POSTGRES_DB"])
        with psycopg.connect(postgres.uri("postgres", driver="postgresql"), autocommit=True) as connection:
            for statement in self.page["configs"]["databases"]["content"].splitlines():
                connection.execute(statement.encode())

    def environment(self, name: str) -> dict[str, str]:
        """The environment of a service: that of this process without what speaks of servers, and its own."""
        clean = {key: word for key, word in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_", "KDREC_"))}
        common = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PREFECT_HOME": str(self.folder / f"prefect-{name}"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        return clean | common | self.page["services"][name]["environment"]

    def start(self, name: str) -> None:
        """Start a service, and return when its health check, where it has one, says so."""
        service = self.page["services"][name]
        for config in service.get("configs", ()):
            Path(config["target"]).write_text(self.page["configs"][config["source"]]["content"], encoding="utf-8")
        with self.log(name).open("wb") as log:
            self._started[name] = psutil.Popen(
                service["command"], cwd=REPOSITORY, env=self.environment(name), stdout=log, stderr=subprocess.STDOUT
            )
        end = time.monotonic() + 240
        while "healthcheck" in service and not self.healthy(name):
            assert self._started[name].poll() is None, self.log(name).read_text()
            assert time.monotonic() < end, self.log(name).read_text()
            time.sleep(0.3)

    def healthy(self, name: str) -> bool:
        """What the health check of a service says."""
        sign, *command = self.page["services"][name]["healthcheck"]["test"]
        assert sign == "CMD"
        return not subprocess.run(command, env=self.environment(name), capture_output=True).returncode

    def run(self, name: str, *command: str, seconds: float = 400) -> subprocess.CompletedProcess[str]:
        """Run a service, or another command in its place, to its end."""
        return subprocess.run(
            command or self.page["services"][name]["command"],
            cwd=REPOSITORY,
            env=self.environment(name),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def log(self, name: str) -> Path:
        """What a service said."""
        return self.folder / f"{name}.log"

    def end(self) -> None:
        """End all services, the last first."""
        for process in reversed(self._started.values()):
            if not process.is_running():
                continue
            family = [process, *process.children(recursive=True)]
            process.terminate()
            for left in psutil.wait_procs(family, timeout=10)[1]:
                left.kill()
            psutil.wait_procs(family, timeout=10)
