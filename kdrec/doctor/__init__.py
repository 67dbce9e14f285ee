"""One look at an installation: `kdrec doctor`. What is there, how it is, and what to do; nothing is changed.

Every probe is a process of its own with a time limit, all at once: a library that hangs or crashes when it is loaded, a
server that is silent, a disk that does not answer cost their own lines and no other. `machine` has the probes of this
machine, `services` those of store, shelf, Prefect and clocks; `python -m kdrec.doctor PROBE` is one of them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from kdrec.doctor.line import Line, State, broken, look, ok
from kdrec.home import Home

__all__ = ["LIMITS", "Line", "State", "broken", "examine", "look", "ok"]

LIMITS: Final = {
    "packages": 10.0,
    "gpu": 30.0,
    "home": 10.0,
    "disk": 10.0,
    "store": 30.0,
    "shared": 30.0,
    "prefect": 15.0,
    "hub": 10.0,
    "clock": 15.0,
}
"""Seconds that a probe may take, in the order shown; torch and MLflow take long to load from a cold disk."""


def examine(home: Home, probes: Sequence[str] = tuple(LIMITS)) -> list[Line]:
    """Look at everything, for as long as the slowest limit at most.

    Parameters
    ----------
    home : Home
        The installation; it is not created where it is not there.
    probes : sequence of str
        Names of `LIMITS`; all by default.

    Returns
    -------
    list of Line
        At least one a probe, in order. No line holds a credential.
    """
    started = time.monotonic()
    children = {name: _start(name, home) for name in probes}
    try:
        return [line for name, child in children.items() for line in _heard(name, child, started + LIMITS[name])]
    finally:  # after an interruption, too
        for child in children.values():
            _end(child)


def _start(name: str, home: Home) -> subprocess.Popen[bytes]:
    """A probe's process, with this very kdrec; URIs travel in its environment, where no list shows their passwords.

    MLflow asks a server for minutes before it gives up, unless it is told otherwise.
    """
    here = str(Path(__file__).resolve().parents[2])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "KDREC_HOME": str(home.root),
        "KDREC_TRACKING_URI": home.tracking_uri,
        "KDREC_SHARED": home.shared or "",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "kdrec.doctor", name],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _heard(name: str, child: subprocess.Popen[bytes], deadline: float) -> list[Line]:
    """What a probe has to say, or that it said nothing."""
    try:
        out, _ = child.communicate(timeout=max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return [broken(name, f"no answer within {LIMITS[name]:.0f} s", _LATE[name])]
    try:
        return [Line(**values) for values in json.loads(out.splitlines()[-1])]
    except (ValueError, TypeError, IndexError):
        how = f"signal {-child.returncode}" if child.returncode < 0 else f"exit code {child.returncode}"
        return [broken(name, f"looking at it ended with {how}", f"see: python -m kdrec.doctor {name}")]


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a probe and what it started; one that hangs inside the system is left behind."""
    if child.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            child.communicate(timeout=1)


_LATE: Final = {
    "packages": "is the disk of the Python environment slow or gone?",
    "gpu": "loading torch hangs: try python -c 'import torch', and nvidia-smi",
    "home": "the disk of KDREC_HOME does not answer",
    "disk": "the disk of KDREC_HOME or of the temporary folder does not answer",
    "store": "the tracking store is silent, or loading MLflow hangs: try python -c 'import mlflow'",
    "shared": "the place that KDREC_SHARED names is silent, such as a network folder whose server is away",
    "prefect": "the server at PREFECT_API_URL is silent",
    "hub": "try it again",
    "clock": "a server, or the disk of KDREC_HOME, is silent",
}
