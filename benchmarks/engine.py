"""What eight configurations cost: the usual Trainer recipe against kdrec's engine, on the same task, teacher and seeds.

    python benchmarks/engine.py [--seeds 5] [--rows 500] [--epochs 4] [--students tiny small] [--report]

Each run of eight configurations is a process of its own on one thread, so CPU seconds and peak memory are the operating
system's. Ours starts with no cached logits and no tokens: the teacher's one pass is inside its figures. The two recipes
take turns. Results are appended to `benchmarks/results/engine.jsonl` as they come; runs found there are not repeated.

The usual recipe (`usual.py`) is a subclass of the transformers `Trainer` with its own `compute_loss`: teacher in the
loop (eval, no gradients), dynamic padding, fused AdamW, the same learning rate, warm-up, decay, clipping, batches,
evaluations.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}

import recipes
from recipes import CONFIGS, spread, welch

from kdrec.home import Home
from kdrec.studies import Cell, Study

RESULTS = Path(__file__).parent / "results" / "engine.jsonl"


def study_of(rows: int, epochs: int) -> Study:
    """One real task, two students, trained as in the quickstart study."""
    return Study.from_dict(
        {
            "name": "benchmark-engine",
            "tasks": ["trec"],
            "students": ["small", "tiny"],
            "rows": {"train": rows, "validation": 500, "test": 100},
            "teacher": {"learning_rates": [2e-4], "epochs": 3, "evaluations_per_epoch": 2},
            "training": {"epochs": epochs, "learning_rate": 6e-4},
            "override": [{"student": "tiny", "learning_rate": 1e-3}],
        }
    )


def scores_of(recipe: str, study: Study, student: str, seed: int, home: Home) -> list[float]:
    """Best validation scores of the eight by kdrec's engine, or by a subclass of the transformers Trainer."""
    from kdrec import catalog
    from kdrec.trial import Bench

    bench, card = Bench(study, "trec", "minilm", home), catalog.card(student)
    training = study.training_for(Cell(task="trec", student=student)).resolved(seed=seed)
    if recipe == "ours":
        return recipes.run_ours(bench, card, training, CONFIGS)
    import usual

    return usual.run(bench, card, training, CONFIGS, usual.Layout(max_length=training.max_length))


def measure(recipe: str, student: str, seed: int, rows: int, epochs: int, home: Path) -> dict:
    """One process, eight configurations: scores, CPU and wall seconds, peak memory."""
    if recipe == "ours":
        recipes.forget(home)
    arguments = ["--one", recipe, student, str(seed), "--rows", str(rows), "--epochs", str(epochs)]
    return recipes.in_process(__file__, [*arguments, "--home", str(home)])


def one(recipe: str, student: str, seed: int, rows: int, epochs: int, home: Home) -> None:
    """Inside the measured process."""
    import torch

    torch.set_num_threads(1)
    scores = scores_of(recipe, study_of(rows, epochs), student, seed, home)
    print(json.dumps({"scores": scores, **recipes.usage()}))


def report(records: list[dict]) -> None:
    """Tables: cost per student, and scores with their seed noise."""
    for student in dict.fromkeys(record["student"] for record in records):
        mine = {
            recipe: [r for r in records if r["student"] == student and r["recipe"] == recipe]
            for recipe in ("trainer", "ours")
        }
        shared = {r["seed"] for r in mine["trainer"]} & {r["seed"] for r in mine["ours"]}
        mine = {recipe: [r for r in rs if r["seed"] in shared] for recipe, rs in mine.items()}
        print(f"\n{student}: 8 configurations, seeds {sorted(shared)} (medians)")
        print(f"{'':10}{'CPU s':>10}{'wall s':>10}{'peak MB':>10}")
        for recipe, rs in mine.items():
            row = [statistics.median(r[k] for r in rs) for k in ("cpu_seconds", "wall_seconds", "peak_bytes")]
            print(f"{recipe:10}{row[0]:10.1f}{row[1]:10.1f}{row[2] / 2**20:10.0f}")
        ratios = [
            t["cpu_seconds"] / o["cpu_seconds"] for t in mine["trainer"] for o in mine["ours"] if t["seed"] == o["seed"]
        ]
        print(f"CPU ratio, pair by pair: {min(ratios):.2f} / {statistics.median(ratios):.2f} / {max(ratios):.2f}")
        print(f"{'validation score':44}{'trainer':>16}{'ours':>16}{'difference':>18}")
        for at, config in enumerate(CONFIGS):
            theirs, ours = ([r["scores"][at] for r in mine[recipe]] for recipe in ("trainer", "ours"))
            print(f"{config.label():44}{spread(theirs):>16}{spread(ours):>16}{welch(theirs, ours):>18}")
        theirs, ours = ([statistics.mean(r["scores"]) for r in mine[recipe]] for recipe in ("trainer", "ours"))
        print(f"{'mean of the eight':44}{spread(theirs):>16}{spread(ours):>16}{welch(theirs, ours):>18}")


def main() -> None:
    """Measure what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--students", nargs="+", default=["tiny", "small"], choices=["tiny", "small"])
    parser.add_argument("--home", type=Path, default=Path(".kdrec") / "benchmark-engine")
    parser.add_argument("--report", action="store_true", help="print the tables of what was measured before")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    home = Home.at(given.home)
    if given.one:
        recipe, student, seed = given.one
        one(recipe, student, int(seed), given.rows, given.epochs, home)
        return
    records = recipes.read(RESULTS)
    if not given.report:
        from kdrec.trial import prepare_teacher

        prepare_teacher(study_of(given.rows, given.epochs), "trec", "minilm", home)
        known = {(r["recipe"], r["student"], r["seed"], r["rows"], r["epochs"]) for r in records}
        for seed in range(given.seeds):
            for student in given.students:
                for recipe in ("trainer", "ours") if seed % 2 else ("ours", "trainer"):
                    key = (recipe, student, seed, given.rows, given.epochs)
                    if key in known:
                        continue
                    record = dict(zip(("recipe", "student", "seed", "rows", "epochs"), key, strict=True))
                    record |= recipes.machine() | measure(*key, home.root)
                    recipes.append(RESULTS, record)
                    records.append(record)
                    print(recipe, student, seed, f"{record['cpu_seconds']:.1f} CPU s", flush=True)
    report([r for r in records if (r["rows"], r["epochs"]) == (given.rows, given.epochs)])


if __name__ == "__main__":
    main()
