"""kdrec beside other distillation libraries: one teacher, student, task and objective; and where definitions differ.

    python benchmarks/peer_packages.py                # once: the others, in a folder of their own
    python benchmarks/peers.py train [--seeds 2]      # minutes: each recipe teaches the same student
    python benchmarks/peers.py equality               # seconds: each loss beside kdrec's, value and gradient
    python benchmarks/peers.py page                   # docs/peers.md from what was measured

Each run is a process of its own on one thread. Results are appended to `benchmarks/results/peers.jsonl` as they come;
runs found there are not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
os.environ.setdefault("KERAS_BACKEND", "torch")

import peer_packages
import peers_page
import recipes
from peer_packages import ROOT

from kdrec.home import Home

RESULTS = ROOT / "benchmarks" / "results" / "peers.jsonl"
RECOMMENDERS = ROOT / "benchmarks" / "results" / "recommenders.json"
PAGE = ROOT / "docs" / "peers.md"
PEERS = ("torchdistill", "textbrewer", "keras", "sentence-transformers")


def about() -> dict:
    """What stands beside every result."""
    import kdrec

    versions = {"kdrec": kdrec.__version__, **recipes.versions(), **peer_packages.versions(*PEERS)}
    return {**peer_packages.about(), "versions": versions}


def train(seeds: int, home: Home) -> None:
    """Every recipe with every seed, in turn."""
    import peer_runs

    from kdrec.trial import prepare_teacher

    prepare_teacher(peer_runs.study(), "trec", "minilm", home)
    known = {(r["recipe"], r["seed"]) for r in recipes.read(RESULTS) if r["part"] == "train"}
    for seed in range(seeds):
        for recipe in peer_runs.RECIPES:
            if (recipe, seed) in known:
                continue
            record = {"part": "train", "recipe": recipe, "seed": seed, **about()}
            if recipe == "kdrec":
                recipes.forget(home.root)
            record |= recipes.in_process(__file__, ["one", recipe, str(seed), "--home", str(home.root)])
            recipes.append(RESULTS, record)
            print(recipe, seed, f"{record['score']:.1f} %", f"{record['cpu_seconds']:.1f} CPU s", flush=True)


def one(recipe: str, seed: int, home: Home) -> None:
    """Inside the measured process: score, and CPU seconds with and without imports and data."""
    import peer_runs
    import torch

    from kdrec import catalog
    from kdrec.studies import Cell
    from kdrec.trial import Bench

    torch.set_num_threads(1)
    study = peer_runs.study()
    bench, card = Bench(study, "trec", "minilm", home), catalog.card("tiny")
    start = recipes.usage()["cpu_seconds"]
    training = study.training_for(Cell(task="trec", student="tiny")).resolved(seed=seed)
    score = peer_runs.run(recipe, bench, card, training)
    used = recipes.usage()
    used["run_cpu_seconds"] = used["cpu_seconds"] - start
    print(json.dumps({"score": score, "user_lines": peer_runs.user_code(recipe), **used}))


def equality() -> None:
    """Each published loss beside kdrec's, on the same logits; exit code 1 where the answer is not the expected one."""
    import peer_equality

    peer_packages.use("distillation")
    said = peer_equality.loop_of_torchdistill()
    recipes.append(RESULTS, {"part": "loop", **about(), "said": said})
    found = list(peer_equality.rows())
    for row in found:
        recipes.append(RESULTS, {"part": "equality", **about(), **row})
        print(row["library"], row["what"], row["difference"], row["factor"], flush=True)
    surprises = [f"{row['library']}: {row['what']}" for row in found if not peer_equality.as_expected(row)]
    if surprises:
        sys.exit(f"not as expected: {', '.join(surprises)}")


def main() -> None:
    """Measure what is missing, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("train", "equality", "page", "one"))
    parser.add_argument("which", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--home", type=Path, default=ROOT / ".kdrec" / "benchmark-peers")
    given = parser.parse_args()
    if given.command == "page":
        answers = json.loads(RECOMMENDERS.read_text()) if RECOMMENDERS.exists() else None
        PAGE.write_text(peers_page.page(recipes.read(RESULTS), answers), encoding="utf-8")
        return
    peer_packages.use("distillation")
    home = Home.at(given.home)
    if given.command == "one":
        one(given.which[0], int(given.which[1]), home)
    elif given.command == "equality":
        equality()
    else:
        train(given.seeds, home)


if __name__ == "__main__":
    main()
