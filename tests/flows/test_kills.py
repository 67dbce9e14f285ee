from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from installation import until
from running import Running, gone

from kdrec.home import Home
from kdrec.tracking import Store
from kdrec.types import Trial

pytestmark = pytest.mark.slow


def finished(home: Home) -> dict[str, Trial]:
    """Finished trials by run id."""
    return {trial.run_id: trial for trial in Store.open(home).trials()[0]}


def test_a_study_killed_in_any_way_leaves_no_process_and_loses_no_finished_trial(mini: Path, home: Home) -> None:
    interrupted = Running(str(mini), "--home", str(home.root))
    interrupted.wait_for("labels only: validation")
    family = interrupted.family()
    os.killpg(interrupted.process.pid, signal.SIGINT)
    assert interrupted.wait() == 130, interrupted.text
    assert gone(family)
    assert "Stopped; the same command goes on from here." in interrupted.lines[-1]
    assert "Traceback" not in interrupted.text
    before = finished(home)
    assert 1 <= len(before) < 5

    killed = Running(str(mini), "--home", str(home.root))
    killed.wait_for(f"questions/tiny {len(before) + 1}/")
    family = killed.family()
    assert killed.workers()
    killed.process.kill()
    assert killed.wait() == -signal.SIGKILL
    assert gone(family), "worker processes and the embedded server die with their parent"
    between = finished(home)
    assert before.items() < between.items()

    last = Running(str(mini), "--home", str(home.root))
    last.wait_for(f"questions/tiny {len(between) + 1}/")
    (worker,) = last.workers()
    worker.kill()
    assert last.wait() == 0, "a study outlives its workers:\n" + last.text
    after = finished(home)
    assert between.items() <= after.items(), "what was finished is as it was"
    assert f"Study mini: 5 trials, {5 - len(between)} new and {len(between)} found in the store." in last.text
    assert set(Counter(trial.fingerprint for trial in after.values()).values()) == {1}


def test_two_that_start_at_once_on_a_new_home_get_their_servers_and_sigterm_stops_them_as_ctrl_c_does(
    mini: Path, home: Home
) -> None:
    """One server is killed before it answers; both meet on databases that nobody has made yet."""
    runs = [Running(str(mini), "--home", str(home.root)) for _ in range(2)]
    until(lambda: bool(runs[0].servers()))
    runs[0].servers()[0].kill()
    families = []
    for run in runs:
        run.wait_for("reading rows and weights")
        families.append(run.family())
    for run, family in zip(runs, families, strict=True):
        run.process.terminate()
        assert run.wait() == 130, run.text
        assert gone(family)
        assert "Traceback" not in run.text
