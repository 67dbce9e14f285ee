"""What the cost benchmarks share: eight configurations, kdrec's recipe for them, and a process of its own to measure.

Nothing heavy is imported here before a recipe runs, so the process that starts the others stays small. The usual recipe
is in `usual.py`.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdrec.types import KDConfig, ModelCard, Training

if TYPE_CHECKING:
    from kdrec.trial import Bench

CONFIGS = [
    KDConfig(),
    KDConfig(alpha=1.0),
    KDConfig(tau_t=2.0, tau_s=2.0),
    KDConfig(tau_t=4.0),
    KDConfig(distance="mse"),
    KDConfig(distance="mse", alpha=1.0),
    KDConfig(teacher="t_hs"),
    KDConfig(teacher="t_hs", tau_t=2.0),
]
LIBRARIES = ("torch", "transformers", "accelerate", "tokenizers")


def run_ours(bench: Bench, card: ModelCard, training: Training, configs: Sequence[KDConfig]) -> list[float]:
    """Best validation score of each configuration by kdrec's engine."""
    from kdrec import encoder, engine, tasks

    train, validation = bench.encoded("train"), bench.encoded("validation")
    grade = tasks.grader(bench.task, bench.task.validation, validation)
    scores = []
    for config in configs:
        classifier = encoder.build(card, bench.folder, bench.task, (train, validation), seed=training.seed)
        lesson = engine.Lesson(
            train=train,
            validation=validation,
            grade=grade,
            n_classes=len(bench.task.labels),
            signal=bench.signal(config.teacher),
        )
        *_, finished = engine.fit(classifier, lesson, config, training, bench.accelerator)
        scores.append(finished.best.score)
    return scores


def forget(home: Path) -> None:
    """Drop cached logits and tokens: the teacher is given to both recipes, these are part of our cost."""
    for cache in ("logits", "tokens"):
        for path in (home / cache).glob("*"):
            path.unlink()


def in_process(script: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Run a script in a process of its own; what its last line says (JSON), and its wall seconds."""
    started = time.monotonic()
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return {**json.loads(done.stdout.splitlines()[-1]), "wall_seconds": time.monotonic() - started}


def usage() -> dict[str, float | int]:
    """What this process has cost so far: CPU seconds, its start included, and peak memory in bytes."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu_seconds": used.ru_utime + used.ru_stime, "peak_bytes": _peak_bytes()}


def _peak_bytes() -> int:
    """Peak resident memory; Linux counts the parent's peak into `ru_maxrss` of a child, and not into `VmHWM`."""
    status = Path("/proc/self/status")
    if status.exists():
        peaks = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        if peaks:
            return int(peaks[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def machine() -> dict[str, str]:
    """Where and from what a result was made."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "commit": commit.stdout.strip()}


def versions() -> dict[str, str]:
    """Python and the libraries that a cost depends on."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def read(results: Path) -> list[dict[str, Any]]:
    """Records measured before."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def append(results: Path, record: dict[str, Any]) -> None:
    """Keep a record at once, so that a stopped benchmark goes on where it was."""
    results.parent.mkdir(exist_ok=True)
    with results.open("a") as file:
        file.write(json.dumps(record) + "\n")


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds."""
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values) if len(values) > 1 else 0:.1f}"


def welch(theirs: Sequence[float], ours: Sequence[float]) -> str:
    """Ours minus theirs, with twice its standard error from the seeds."""
    if len(theirs) < 2:
        return f"{statistics.mean(ours) - statistics.mean(theirs):+.1f}"
    error = (statistics.variance(theirs) / len(theirs) + statistics.variance(ours) / len(ours)) ** 0.5
    return f"{statistics.mean(ours) - statistics.mean(theirs):+.1f} ± {2 * error:.1f}"
