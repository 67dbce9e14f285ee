"""Faults at random moments of a real study, over and over: nothing finished is lost, doubled or different.

The suite does one; `make chaos` does 50, or `KDREC_CHAOS_FAULTS` of them from the seed `KDREC_CHAOS_SEED`, in turn
alone and with servers, and writes one line a fault to `KDREC_CHAOS_LOG` as it comes.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import cycle
from pathlib import Path

import psutil
import pytest
from faults import Fault, Place, alone, served
from running import Running, gone

from kdrec.home import Home
from kdrec.tracking import Store
from kdrec.types import Trial

FAULTS = int(os.environ.get("KDREC_CHAOS_FAULTS", "1"))
SEED = int(os.environ.get("KDREC_CHAOS_SEED", "0"))
LOG = os.environ.get("KDREC_CHAOS_LOG")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(max(600, 180 * FAULTS))]


@pytest.fixture
def left_to_kdrec(mini: Path) -> Path:
    """The study of `mini` with no word of training: faults also meet a teacher's patience and a calibration."""
    text = mini.read_text(encoding="utf-8")
    head, _, _ = text.partition("[teacher]")
    path = mini.with_name("left_to_kdrec.toml")
    path.write_text(head + "[teacher]\nlearning_rates = [2e-4]\n\n[budget]\nmax_steps = 6\n", encoding="utf-8")
    return path


def finished(home: Home) -> dict[str, Trial]:
    """Finished trials by run id, of which no two are one trial; no two runs of a calibration are one either."""
    store = Store.open(home)
    for kind in ("trial", "calibration"):
        runs = store.ledger.runs(store.ledger.experiments(), kind)
        done = [run.data.tags for run in runs if run.data.tags["kdrec.status"] in ("completed", "diverged")]
        assert set(Counter(tags["kdrec.fingerprint"] for tags in done).values()) <= {1}
    return {trial.run_id: trial for trial in store.trials()[0]}


def results(trials: dict[str, Trial]) -> dict[str, tuple[float | None, ...]]:
    """What trials measured, to the bit, by what they are."""
    return {made.fingerprint: (made.val_score, made.val_loss, made.test_score) for made in trials.values()}


def shuffled(rng: random.Random, faults: Sequence[Fault]) -> Iterator[Fault]:
    """All faults in a random order, again and again: none waits long for its turn."""
    while True:
        yield from rng.sample(faults, len(faults))


def strike(run: Running, place: Place, fault: Fault, after: float) -> list[psutil.Process] | None:
    """Let a fault happen after so many seconds; the processes there were, or None when there was nothing to strike."""
    with suppress(subprocess.TimeoutExpired):
        run.process.wait(after)
        return None
    family = run.family()
    return family if fault(run, place) else None


def disturbed(place: Place, faults: Iterator[tuple[Fault, float]]) -> Iterator[str]:
    """Run a study to its end, each time with the next fault while there is one; tells of each as it is over."""
    before: dict[str, Trial] = {}
    code = -1
    while code != 0:
        run = place.run()
        fault, after = next(faults, (None, 0.0))
        family = strike(run, place, fault, after) if fault else None
        code = run.wait(600)
        place.heal()
        assert "Traceback" not in run.text, run.text
        assert gone(family or []), "no process outlives its study"
        now = finished(place.home)
        assert before.items() <= now.items(), "what was finished is as it was"
        if fault and family is not None:
            last = run.lines[-1].strip() if run.lines else ""
            told = {"where": place.name, "fault": fault.__name__, "after": round(after, 1)}
            yield json.dumps(told | {"exit": code, "new": len(now) - len(before), "said": last[:200]})
        before = now


def test_faults_at_random_moments_lose_double_and_change_nothing(
    left_to_kdrec: Path, tmp_path: Path, shared_home: Home
) -> None:
    sources = shared_home.root / "sources"
    with alone(tmp_path / "calm", left_to_kdrec, sources) as calm:
        started = time.monotonic()
        run = calm.run()
        assert run.wait() == 0, run.text
        seconds, undisturbed = time.monotonic() - started, results(finished(calm.home))

    rng, told, decks = random.Random(SEED), 0, dict[str, Iterator[Fault]]()
    for where in cycle((alone, served)):
        with where(tmp_path / f"after-{told}-{time.monotonic_ns()}", left_to_kdrec, sources) as place:
            deck = decks.setdefault(place.name, shuffled(rng, place.faults))
            faults = ((next(deck), rng.uniform(0.5, seconds)) for _ in range(FAULTS - told))
            for line in disturbed(place, faults):
                told += 1
                if LOG:
                    with Path(LOG).open("a", encoding="utf-8") as log:
                        log.write(line + "\n")
            assert results(finished(place.home)) == undisturbed
        if told >= FAULTS:
            break
