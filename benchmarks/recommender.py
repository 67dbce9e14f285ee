"""The recommender's mark sheet: situations with known truth, tasks left out one at a time, every mark with its error.

    python benchmarks/recommender.py --seeds 100 101 102 --cases 6 --out outcomes.jsonl

Outcomes are written as they come; run again to go on where it stopped. `--sheet` prints the sheet of a file and runs
nothing. Exit code 1 when a mark is missed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from kdrec.recommend import suggest
from kdrec.recommend.exam import Outcome, Sheet, examine, marks
from kdrec.recommend.simulate import SITUATIONS, greedy_history, make_world
from kdrec.space import Space
from kdrec.types import Configuration, History, Settings

Case = tuple[str, str, int, int]


def spaces() -> dict[str, tuple[Configuration, ...] | None]:
    """Spaces to be examined in; None is the default space of 24 configurations."""
    fine = Space(alphas=(0.3, 0.5, 0.8, 1.0), distances=("ce",), teachers=("t_ll",), teacher_temperatures=(1, 3, 8))
    grid = itertools.product((1e-4, 3e-5, 3e-4, 1e-3), ("kl", "mse", "cosine"), (6, 3))
    foreign = (Settings.of(rate=rate, loss=loss, layers=layers) for rate, loss, layers in grid)
    ordered = (fine.default(), *(config for config in fine.configs() if config != fine.default()))
    return {"default": None, "fine": ordered, "foreign": tuple(foreign)}


def run(case: Case) -> Outcome:
    """One outcome: a world, one of its tasks left out, one of its students."""
    situation, space, seed, number = case
    world = make_world(situation, seed, configs=spaces()[space])

    def ask(history, features, student):
        known = world.configs if len(history) == 0 or space != "default" else None
        return suggest(history, features, student, budget=len(world.configs) - 1, space=known)

    rng = np.random.default_rng([seed, 1])
    trials = {task: greedy_history(world, [task], rng) for task in world.features}
    luck = np.random.default_rng([seed, 2, number])
    order = np.random.default_rng([seed, 3]).permutation(len(trials))
    task = list(trials)[order[number % len(trials)]]
    student = list(world.students)[int(luck.integers(len(world.students)))]
    others = [name for name in trials if name != task]
    if situation == "one task in history":
        others = others[:1]
    past = History(tuple(trial for name in others for trial in trials[name]))
    return examine(world, seed, past, task, student, ask, luck)


COLUMNS = {
    "n": "cases",
    "regret": "regret",
    "default regret": "default",
    "cover80": "in 80 %",
    "cover90": "in 90 %",
    "width": "width",
    "bootstrap width": "bootstr",
    "forecast": "forecast",
    "realised": "realised",
    "stop net": "stop net",
    "stop net error": "+-",
    "stop trials": "trials",
    "best fixed net": "best net",
    "best fixed trials": "trials",
}


def text(sheet: Sheet) -> str:
    """Numbers by situation, then the marks."""
    lines = ["situation".ljust(31) + "".join(head.rjust(9) for head in COLUMNS.values())]
    for situation, row in sheet.situations.items():
        lines.append(situation.ljust(31) + "".join(f"{row[name]:9.2f}" for name in COLUMNS))
    lines.append("")
    for mark in sheet.marks:
        verdict = "pass" if mark.passed else "FAIL"
        lines.append(f"{verdict}  {mark.name}: {mark.value:.3f} +- {mark.error:.3f} (must be {mark.bound})")
    return "\n".join(lines)


def provenance(done: list[dict]) -> dict:
    """What was run, of which commit, on what kind of machine."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    ).stdout.strip()
    cases = [entry["case"] for entry in done]
    return {
        "commit": commit,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, CPU only",
        "space": sorted({case[1] for case in cases}),
        "seeds": sorted({case[2] for case in cases}),
        "cases": len(cases),
    }


def main() -> int:
    """Run the cases that are missing, print the sheet of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="worlds of every situation")
    parser.add_argument("--cases", type=int, default=4, help="tasks left out of every world")
    parser.add_argument("--situations", nargs="+", choices=SITUATIONS, default=SITUATIONS)
    parser.add_argument("--space", choices=tuple(spaces()), default="default", help="knobs to be examined in")
    parser.add_argument("--out", type=Path, default=Path("outcomes.jsonl"))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--record", type=Path, help="write sheet, commit, seeds and machine to this JSON file")
    parser.add_argument("--sheet", action="store_true", help="only print the sheet of --out")
    args = parser.parse_args()
    done = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    if not args.sheet:
        known = {tuple(entry["case"]) for entry in done}
        cases = [(s, args.space, seed, n) for seed in args.seeds for n in range(args.cases) for s in args.situations]
        cases = [case for case in cases if case not in known]
        started = time.monotonic()
        with multiprocessing.get_context("spawn").Pool(args.workers) as pool, args.out.open("a") as file:
            for case, outcome in zip(cases, pool.imap(run, cases), strict=True):
                entry = {"case": case, "outcome": outcome.to_dict()}
                done.append(entry)
                file.write(json.dumps(entry) + "\n")
                file.flush()
        print(f"{len(cases)} cases in {time.monotonic() - started:.0f} s with {args.workers} workers", file=sys.stderr)
    sheet = marks([Outcome.from_dict(entry["outcome"]) for entry in done])
    print(text(sheet))
    if args.record is not None:
        args.record.write_text(json.dumps(provenance(done) | asdict(sheet), indent=1) + "\n")
    return 0 if sheet.passed else 1


if __name__ == "__main__":
    sys.exit(main())
