"""What stands around the training: MLflow and Prefect per trial, `kdrec suggest` on 10,000 rows, a second worker.

    python benchmarks/overhead.py [mlflow] [prefect] [suggest] [workers]

Prints one line a figure, with the bound it is held to. Every store and home is new and temporary, except that of the
last part, which needs the teacher that `benchmarks/engine.py` makes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from kdrec import history
from kdrec.home import Home
from kdrec.space import Space
from kdrec.types import History, TaskFeatures, Training, Trial

TRIAL_SECONDS = 30.0
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PREFECT_LOGGING_LEVEL": "ERROR"}


def features(task: str = "trec", student_params: int = 13_840_896) -> TaskFeatures:
    """Meta-features of plausible size."""
    return TaskFeatures(
        task=task,
        family="sentence",
        n_train=1000,
        n_classes=6,
        label_entropy=1.6,
        mean_tokens=13.5,
        teacher_score=89.0,
        teacher_nll=0.36,
        teacher_ece=0.03,
        student_params=student_params,
        teacher_params=22_713_216,
    )


def mlflow_seconds(n: int = 20) -> float:
    """Median seconds that one trial spends in the store: look-up, start, 320 measurements, finish."""
    from kdrec.tracking import Store

    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Home.at(folder))
        experiment = store.experiment("overhead")
        parent = store.open_cell(experiment, "trec/tiny", features(), "note")
        seconds = []
        for at, config in zip(range(n), Space().configs(), strict=False):
            started = time.monotonic()
            fingerprint = f"{at:064d}"
            store.find(fingerprint)
            run = store.start_trial(
                experiment,
                parent,
                config=config,
                student="tiny",
                features=features(),
                seed=0,
                fingerprint=fingerprint,
                training=Training(),
            )
            names = ("train/loss", "train/kl", "train/soft_loss", "train/hard_loss")
            store.log_metrics(run, [(name, 0.5, step) for name in names for step in range(80)])
            store.finish_trial(
                run,
                Trial(
                    features=features(),
                    student="tiny",
                    config=config,
                    seed=0,
                    status="completed",
                    val_score=80.0,
                    val_loss=0.6,
                    test_score=79.0,
                    seconds=8.0,
                    run_id=run,
                    fingerprint=fingerprint,
                ),
            )
            seconds.append(time.monotonic() - started)
        return statistics.median(seconds)


def prefect_seconds(n: int = 200) -> float:
    """Seconds that Prefect adds to a piece of work (a cell or a teacher) once its server runs."""
    from prefect import flow, task
    from prefect.task_runners import ThreadPoolTaskRunner
    from prefect.testing.utilities import prefect_test_harness

    @task
    def piece(at: int) -> int:
        return at

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
    def pieces(count: int) -> None:
        for future in [piece.submit(at) for at in range(count)]:
            future.result()

    with prefect_test_harness(server_startup_timeout=120):
        pieces(2)
        started = time.monotonic()
        pieces(2)
        few = time.monotonic() - started
        started = time.monotonic()
        pieces(2 + n)
        return (time.monotonic() - started - few) / n


def suggest_seconds(n_rows: int = 10_000) -> float:
    """Median wall seconds of `kdrec suggest` as a user runs it, on a synced history of `n_rows` trials."""
    rng = np.random.default_rng(0)
    configs = Space().configs()
    rows = [
        Trial(
            features=features(f"task-{task}", params),
            student=student,
            config=config,
            seed=seed,
            status="completed",
            val_score=float(80 + rng.normal()),
            val_loss=0.6,
            test_score=float(80 + rng.normal()),
            seconds=30.0,
            run_id=f"{task}-{student}-{seed}-{at}",
            fingerprint=f"{task}-{student}-{seed}-{at}",
        )
        for task, (student, params), seed, (at, config) in product(
            range(35), (("small", 15_615_360), ("tiny", 13_840_896)), range(6), enumerate(configs)
        )
    ][:n_rows]
    with tempfile.TemporaryDirectory() as folder:
        home = Home.at(folder)
        history.add(home, History(tuple(rows)))
        (home.root / "features.json").write_text(
            json.dumps({k: v for k, v in vars(replace(features("new"))).items() if v is not None})
        )
        command = [sys.executable, "-m", "kdrec", "suggest", "--features", str(home.root / "features.json")]
        command += ["--student", "small", "--json"]
        seconds = []
        for _ in range(5):
            started = time.monotonic()
            done = subprocess.run(command, env=os.environ | {"KDREC_HOME": folder}, capture_output=True, check=True)
            seconds.append(time.monotonic() - started)
        assert json.loads(done.stdout)["evidence"]["n_trials"] == n_rows
        return statistics.median(seconds)


def worker_ratio() -> float:
    """Wall seconds of two pieces of training one after the other, over the same two side by side."""
    engine = Path(__file__).with_name("engine.py")
    command = [sys.executable, str(engine), "--one", "ours", "small", "0", "--home", ".kdrec/benchmark-engine"]
    subprocess.run(command, check=True, capture_output=True)  # tokens and logits are there for all that follow
    started = time.monotonic()
    for _ in range(2):
        subprocess.run(command, check=True, capture_output=True)
    one = time.monotonic() - started
    started = time.monotonic()
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    return one / (time.monotonic() - started)


def main() -> None:
    """Measure what is asked for; all by default."""
    asked = sys.argv[1:] or ["mlflow", "prefect", "suggest", "workers"]
    per_trial = {}
    if "mlflow" in asked:
        per_trial["mlflow"] = mlflow_seconds()
        print(f"MLflow on SQLite: {per_trial['mlflow']:.2f} s a trial")
    if "prefect" in asked:
        per_trial["prefect"] = prefect_seconds()
        print(f"Prefect: {per_trial['prefect']:.2f} s a piece; a piece is a cell of ten trials or more")
    if per_trial:
        share = 100 * sum(per_trial.values()) / TRIAL_SECONDS
        print(f"both, were each trial a piece: {share:.1f} % of a {TRIAL_SECONDS:.0f} s trial (bound 5 %)")
    if "suggest" in asked:
        print(f"kdrec suggest, 10,000 rows: {suggest_seconds():.2f} s (bound 2 s)")
    if "workers" in asked:
        print(f"two worker processes: {worker_ratio():.2f} x one (bound 1.8 x)")


if __name__ == "__main__":
    main()
