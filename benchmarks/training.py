"""What training that ends by itself reaches and costs, against fixed recipes: teacher and labels-only student.

    python benchmarks/training.py [--tasks trec vader_tweets sick ...] [--recipes auto shipped x3] [--report]

A recipe is `auto`, or fixed numbers: `shipped` is that of the first replication (docs/replication.md), `xN` trains
teacher and student for N times as many epochs. Each run is a process of its own on one thread with a home of its own,
so CPU seconds are the operating system's; they are of the teacher's stage, and of the student's calibration with two
labels-only trials. Scores are of the validation split for the teacher (t_hs) and of the test split for the student
(mean of two seeds). Results are appended to `benchmarks/results/training.jsonl` as they come; runs found there are not
repeated. Tasks that no package brings are read from KDREC_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}

RESULTS = Path(__file__).parent / "results" / "training.jsonl"
TASKS = {
    "trec": (400, 32, 5),
    "vader_tweets": (400, 48, 5),
    "sick": (800, 48, 6),
    "wnut17": (400, 48, 6),
    "clinc150": (1500, 32, 6),
}
"""Training rows, tokens, and epochs of a student in the first replication."""
RATES = {"wnut17": ([2e-4, 5e-4], 4, 1e-3), "clinc150": ([3e-4, 6e-4], 6, 1e-3)}
"""Rates and epochs of the teacher, and rate of the student, where the replication has its own."""
STUDENT, TEACHER = "tiny", "minilm"


def table_of(task: str, recipe: str) -> dict[str, Any]:
    """The study of one task and recipe."""
    rows, length, epochs = TASKS[task]
    rates, teacher_epochs, rate = RATES.get(task, ([1e-4, 3e-4], 4, 5e-4))
    times = 1 if recipe == "shipped" else int(recipe.removeprefix("x") or 1) if recipe != "auto" else 0
    student: dict[str, Any] = {"batch_size": 16, "max_length": length}
    teacher: dict[str, Any] = {"batch_size": 16, "max_length": length}
    if times:
        student |= {"learning_rate": rate, "epochs": epochs * times}
        teacher |= {"learning_rates": rates, "epochs": teacher_epochs * times, "evaluations_per_epoch": 1}
    return {
        "name": "training",
        "tasks": [task],
        "students": [STUDENT],
        "seeds": [0, 1],
        "rows": {"train": rows, "validation": 300, "test": 700},
        "training": student,
        "teacher": teacher,
    }


def measure(task: str, recipe: str, home: Path) -> dict[str, Any]:
    """One run: scores, steps and CPU seconds."""
    import torch
    from transformers.utils import logging

    from kdrec import trial
    from kdrec.home import Home
    from kdrec.studies import Study
    from kdrec.trial.cell import _Runner
    from kdrec.types import BASELINE_CONFIG

    torch.set_num_threads(1)
    logging.disable_progress_bar()
    study = Study.from_dict(table_of(task, recipe))
    bench, started = trial.Bench(study, task, TEACHER, Home.at(home)), time.process_time()
    chosen, runs = bench.teacher.selection, bench.teacher.runs
    after_teacher = time.process_time()
    runner = _Runner(bench, study.cells()[0], lambda progress: None)
    made = runner.evaluate([BASELINE_CONFIG])
    return {
        "teacher_score": chosen.t_hs.score,
        "teacher_loss": chosen.t_ll.loss,
        "teacher_still_improving": chosen.still_improving,
        "teacher_steps": sum(run.n_steps for run in runs),
        "teacher_runs": len(runs),
        "teacher_cpu_seconds": after_teacher - started,
        "student_test": sum(one.test_score or 0.0 for one in made) / len(made),
        "student_validation": sum(one.val_score or 0.0 for one in made) / len(made),
        "student_learning_rate": made[0].learning_rate,
        "student_steps": made[0].n_steps,
        "student_still_improving": made[0].still_improving,
        "student_cpu_seconds": time.process_time() - after_teacher,
        "trial_cpu_seconds": sum(one.seconds for one in made) / len(made),
    }


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--recipes", nargs="+", default=["shipped", "x3", "auto"])
    parser.add_argument("--report", action="store_true", help="print the table and measure nothing")
    parser.add_argument("--one", nargs=3, metavar=("TASK", "RECIPE", "HOME"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.one[0], asked.one[1], Path(asked.one[2]))))
        return
    for task in asked.tasks:
        for recipe in asked.recipes:
            if not asked.report and (task, recipe) not in {(one["task"], one["recipe"]) for one in results()}:
                _run(task, recipe)
    _report()


def results() -> list[dict[str, Any]]:
    """What was measured."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def _run(task: str, recipe: str) -> None:
    home = Path(tempfile.mkdtemp(prefix="kdrec-training-"))
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--one", task, recipe, str(home)], stdout=subprocess.PIPE, text=True, check=True
        )
    finally:
        shutil.rmtree(home, ignore_errors=True)
    about = {"task": task, "recipe": recipe, "commit": _commit(), "cores": os.cpu_count()}
    with RESULTS.open("a") as file:
        file.write(json.dumps({**about, **json.loads(done.stdout.splitlines()[-1])}) + "\n")


def _commit() -> str:
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()


def _report() -> None:
    print("task          recipe   teacher  steps  CPU s   student test  rate    steps  CPU s")
    for one in results():
        rising = ["+" if one[f"{who}_still_improving"] else " " for who in ("teacher", "student")]
        print(
            f"{one['task']:13} {one['recipe']:8} {one['teacher_score']:6.2f}{rising[0]} {one['teacher_steps']:6} "
            f"{one['teacher_cpu_seconds']:6.0f}   {one['student_test']:11.2f}{rising[1]}  "
            f"{one['student_learning_rate']:<7g} {one['student_steps']:5} {one['student_cpu_seconds']:6.0f}"
        )


if __name__ == "__main__":
    main()
