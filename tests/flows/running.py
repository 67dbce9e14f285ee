"""A study as a process of its own, heard line by line."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).parent.parent.parent


class Running:
    """`python -m flows.study` (or another) in a process group of its own, heard line by line."""

    def __init__(self, *words: str, environment: Mapping[str, str] | None = None, module: str = "flows.study") -> None:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            cwd=REPOSITORY,
            env=clean | dict(environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._hearing = threading.Thread(target=self._hear, daemon=True)
        self._hearing.start()

    def _hear(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def text(self) -> str:
        """All that was printed, with single spaces."""
        return "\n".join(" ".join(line.split()) for line in self.lines)

    def family(self) -> list[psutil.Process]:
        """All processes below this one."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def workers(self) -> list[psutil.Process]:
        """The children that have loaded torch."""
        return [child for child in self.family() if any("libtorch" in part.path for part in child.memory_maps())]

    def servers(self) -> list[psutil.Process]:
        """The embedded server: the one child with a session of its own."""
        return [child for child in self.family() if os.getsid(child.pid) == child.pid]

    def wait_for(self, words: str, seconds: float = 150) -> None:
        end = time.monotonic() + seconds
        while words not in self.text:
            assert self.process.poll() is None, self.text
            assert time.monotonic() < end, f"no {words!r} after {seconds} s in:\n{self.text}"
            time.sleep(0.02)

    def wait(self, seconds: float = 200) -> int:
        code = self.process.wait(seconds)
        self._hearing.join(10)
        return code


def gone(processes: list[psutil.Process], seconds: float = 10) -> bool:
    """Whether all of them end within `seconds`."""
    return not psutil.wait_procs(processes, timeout=seconds)[1]
