"""Faults at random moments of a real study, over and over: nothing finished is lost, doubled or different.

The suite does one; `make chaos` does 50, or `KDREC_CHAOS_FAULTS` of them from the seed `KDREC_CHAOS_SEED`, and writes
one line a fault to `KDREC_CHAOS_LOG`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from running import Running, gone

from kdrec.home import Home
from kdrec.tracking import Store
from kdrec.types import Trial

FAULTS = int(os.environ.get("KDREC_CHAOS_FAULTS", "1"))
SEED = int(os.environ.get("KDREC_CHAOS_SEED", "0"))
LOG = os.environ.get("KDREC_CHAOS_LOG")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(max(600, 120 * FAULTS))]


def kill(processes: list[psutil.Process]) -> bool:
    """Whether there was any to kill."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return bool(processes)


def a_worker(run: Running) -> bool:
    return kill(run.workers()[:1])


def the_flow(run: Running) -> bool:
    run.process.kill()
    return True


def flow_and_workers(run: Running) -> bool:
    workers = run.workers()
    run.process.kill()
    return kill(workers)


def prefect_server(run: Running) -> bool:
    return kill([child for child in run.family() if os.getsid(child.pid) == child.pid])


def ctrl_c(run: Running) -> bool:
    os.killpg(run.process.pid, signal.SIGINT)
    return True


def sigterm(run: Running) -> bool:
    run.process.terminate()
    return True


KINDS = (a_worker, the_flow, flow_and_workers, prefect_server, ctrl_c, sigterm)


def finished(home: Home) -> dict[str, Trial]:
    """Finished trials by run id, of which no two are one trial."""
    store = Store.open(home)
    runs = store.ledger.runs(store.ledger.experiments(), "trial")
    done = [run.data.tags for run in runs if run.data.tags["kdrec.status"] in ("completed", "diverged")]
    assert set(Counter(tags["kdrec.fingerprint"] for tags in done).values()) <= {1}
    return {trial.run_id: trial for trial in store.trials()[0]}


def results(trials: dict[str, Trial]) -> dict[str, tuple[float | None, ...]]:
    """What trials measured, to the bit, by what they are."""
    return {made.fingerprint: (made.val_score, made.val_loss, made.test_score) for made in trials.values()}


def strike(run: Running, fault: Callable[[Running], bool], after: float) -> list[psutil.Process] | None:
    """Let a fault happen after so many seconds; the processes there were, or None when there was nothing to strike."""
    with suppress(subprocess.TimeoutExpired):
        run.process.wait(after)
        return None
    family = run.family()
    return family if fault(run) else None


def disturbed(study: Path, home: Home, faults: Iterator[tuple[Callable[[Running], bool], float]]) -> Iterator[dict]:
    """Run a study again and again, each time with the next fault while there is one, until it comes to its end."""
    before: dict[str, Trial] = {}
    code = -1
    while code != 0:
        run = Running(str(study), "--home", str(home.root))
        fault, after = next(faults, (None, 0.0))
        family = strike(run, fault, after) if fault else None
        code = run.wait()
        assert "Traceback" not in run.text, run.text
        assert gone(family or []), "no process outlives its study"
        now = finished(home)
        assert before.items() <= now.items(), "what was finished is as it was"
        if fault and family is not None:
            yield {"fault": fault.__name__, "after": round(after, 1), "exit": code, "new": len(now) - len(before)}
        before = now


def test_faults_at_random_moments_lose_double_and_change_nothing(mini: Path, tmp_path: Path, shared_home: Home) -> None:
    def new_home(name: str) -> Home:
        (tmp_path / name).mkdir()
        (tmp_path / name / "sources").symlink_to((shared_home.root / "sources").resolve(), target_is_directory=True)
        return Home.at(tmp_path / name)

    started = time.monotonic()
    calm, home = Running(str(mini), "--home", str(new_home("calm").root)), Home.at(tmp_path / "calm")
    assert calm.wait() == 0, calm.text
    seconds, undisturbed = time.monotonic() - started, results(finished(home))

    rng, told = random.Random(SEED), []
    while len(told) < FAULTS:
        faults = iter([(rng.choice(KINDS), rng.uniform(0.5, seconds)) for _ in range(FAULTS - len(told))])
        home = new_home(f"after-{len(told)}-faults-{time.monotonic_ns()}")
        told += disturbed(mini, home, faults)
        assert results(finished(home)) == undisturbed
    if LOG:
        Path(LOG).write_text("".join(json.dumps(line) + "\n" for line in told), encoding="utf-8")
