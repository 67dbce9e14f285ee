"""What a way of searching costs and finds: greedy, full and suggested on the two tasks of the quickstart.

    python benchmarks/strategies.py --grid     # trains the whole grid, 8 to 10 minutes on one core; resumable
    python benchmarks/strategies.py --replay   # seconds: every strategy searches the recorded trials

A strategy sees one seed's validation scores, as a study with one seed does. Its final choice is then judged by the mean
test score over all seeds: regret is how far that lies under the best configuration of the full grid (whose own mean
profits from having been picked, so that no regret is expected to be zero). Trained is `--grid` into a home of its own,
`.kdrec/strategies`; its trials and both steps' results are under `benchmarks/results`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from kdrec import history
from kdrec.home import Home
from kdrec.search import STRATEGIES, Propose
from kdrec.space import DEFAULT_SPACE, canonical
from kdrec.studies import Study
from kdrec.trial.advice import Adviser
from kdrec.types import History, KDConfig, Trial, TrustDefault

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
TRIALS, ANSWER = RESULTS / "strategies_trials.csv", RESULTS / "strategies.json"
STUDY = Study.from_dict(
    {
        "name": "strategies",
        "tasks": ["trec", "vader_tweets"],
        "students": ["tiny"],
        "search": "full",
        "seeds": [0, 1, 2],
        "rows": {"train": 300, "validation": 400, "test": 800},
        "teacher": {"learning_rates": [2e-4], "epochs": 3, "evaluations_per_epoch": 2, "max_length": 64},
        "training": {"learning_rate": 1e-3, "epochs": 6, "max_length": 64},
    }
)


@dataclass(frozen=True)
class Search:
    """One search of one task with one seed: what it took and where it ended."""

    strategy: str
    task: str
    seed: int
    n_trials: int
    regret: float
    seconds: float
    advice_seconds: float
    choice: str


def grid() -> None:
    """Train every configuration with every seed, or find that it was done, and keep the trials as a table."""
    import torch

    from kdrec import trial
    from kdrec.catalog import teacher_of

    torch.set_num_threads(1)
    home = Home.at(ROOT / ".kdrec" / "strategies")

    def say(progress: trial.Progress) -> None:
        print(f"{progress.part} {progress.done}/{progress.expected} {progress.message}", flush=True)

    made: list[Trial] = []
    for cell in STUDY.cells():
        trial.prepare_teacher(STUDY, cell.task, teacher_of(cell.student), home, say)
        made += trial.run_cell(STUDY, cell, home, say).trials
    history.write_table(History(tuple(made)), TRIALS)
    keep("grid", {"n_trials": len(made), "train_seconds": round(sum(t.seconds for t in made))})


def replay() -> None:
    """Let every strategy search the recorded trials; no training."""
    trials = history.read_table(TRIALS).trials
    runs = [run for task in STUDY.tasks for seed in STUDY.seeds for run in searches(trials, task, seed)]
    table = [summary([run for run in runs if run.strategy == name]) for name in dict.fromkeys(r.strategy for r in runs)]
    keep("replay", {"seeds": list(STUDY.seeds), "summary": table, "runs": [vars(run) for run in runs]})
    print(f"{'strategy':34}{'trials':>8}{'regret':>8}{'worst':>8}{'seconds':>9}{'advice s':>10}")
    for row in table:
        figures = f"{row['n_trials']:>8.1f}{row['regret']:>8.2f}{row['worst']:>8.2f}{row['seconds']:>9.0f}"
        print(f"{row['strategy']:34}{figures}{row['advice_seconds']:>10.1f}")


def searches(trials: Sequence[Trial], task: str, seed: int) -> list[Search]:
    """Every strategy on one task with one seed."""
    mine = [t for t in trials if t.task == task and t.config.alpha > 0]
    others = History(tuple(t for t in trials if t.task != task))
    by_config = {t.config: t for t in mine if t.seed == seed}
    aliases = {} if any(config.teacher == "t_hs" for config in by_config) else {"t_hs": "t_ll"}
    judged = {config: fmean(t.test_score or 0.0 for t in mine if t.config == config) for config in by_config}
    seconds: list[float] = []

    def adviser(past: History, trust: TrustDefault = "medium") -> Propose:
        features, student = mine[0].features, mine[0].student
        asked = replace(Adviser.of(STUDY, past, features, student, aliases=aliases), trust_default=trust)
        return lambda made: timed(seconds, lambda: asked(made))

    ways: list[tuple[str, str, Propose | None]] = [
        ("greedy", "greedy", None),
        ("full", "full", None),
        ("suggested, no history", "suggested", adviser(History())),
        ("suggested, no history, low trust", "suggested", adviser(History(), "low")),
        ("suggested, the other task's grid", "suggested", adviser(others)),
        ("... with low trust in the default", "suggested", adviser(others, "low")),
    ]
    default = canonical(DEFAULT_SPACE.default(), aliases=aliases)
    found = [searched("default, no search", task, seed, [by_config[default]], default, judged, 0.0)]
    for title, name, propose in ways:
        seconds.clear()
        result = STRATEGIES[name](
            DEFAULT_SPACE, lambda configs: [by_config[c] for c in configs], propose, aliases=aliases
        )
        found.append(searched(title, task, seed, result.trials, result.best, judged, sum(seconds)))
    return found


def timed(spent: list[float], ask: Callable[[], object]) -> object:
    """What `ask` says, with the seconds it took added to `spent`."""
    started = time.perf_counter()
    said = ask()
    spent.append(time.perf_counter() - started)
    return said


def searched(
    title: str,
    task: str,
    seed: int,
    trials: Sequence[Trial],
    choice: KDConfig,
    judged: dict[KDConfig, float],
    advice: float,
) -> Search:
    """A search's row; the choice is judged by means over all seeds, which it has not seen."""
    return Search(
        strategy=title,
        task=task,
        seed=seed,
        n_trials=len(trials),
        regret=round(max(judged.values()) - judged[choice], 3),
        seconds=round(sum(t.seconds for t in trials), 1),
        advice_seconds=round(advice, 2),
        choice=choice.label(),
    )


def summary(runs: Sequence[Search]) -> dict[str, float | str]:
    """Means of a strategy over tasks and seeds, and its worst regret."""
    names = ("n_trials", "regret", "seconds", "advice_seconds")
    means = {name: round(fmean(getattr(run, name) for run in runs), 3) for name in names}
    return {"strategy": runs[0].strategy, **means, "worst": max(run.regret for run in runs)}


def keep(step: str, values: dict[str, object]) -> None:
    """Write a step's results beside those of the other step."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, one thread"
    known = json.loads(ANSWER.read_text()) if ANSWER.exists() else {}
    known[step] = {"commit": commit, "machine": machine, **values}
    ANSWER.write_text(json.dumps(known, indent=1) + "\n")


def main() -> None:
    """Run the steps asked for; both without a word."""
    parser = argparse.ArgumentParser(description="Trials and regret of greedy, full and suggested searches.")
    parser.add_argument("--grid", action="store_true", help="train the grid (resumable)")
    parser.add_argument("--replay", action="store_true", help="search the recorded trials")
    asked = parser.parse_args()
    if asked.grid or not asked.replay:
        grid()
    if asked.replay or not asked.grid:
        replay()


if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    main()
