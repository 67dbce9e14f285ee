"""What eight configurations cost in each family: transformers' example recipe against kdrec's engine, and their scores.

    python benchmarks/families.py [--families sentence pair tokens qa] [--seeds 3] [--rows 200] [--epochs 3]
                                  [--configs 8] [--padding script|dynamic] [--report]

The tasks of `pair`, `tokens` and `qa` are read from a local folder that the environment variable KDREC_DATA names
(`NAME/{train,test}.parquet`). The student is `small`, two layers of its teacher.

Each run is a process of its own on one thread, so CPU seconds are the operating system's; its start is inside them.
Ours begins with no cached logits and no tokens: the teacher's one pass counts. The fine-tuned teacher is given to both.
The two recipes take turns. Results are appended to `benchmarks/results/families.jsonl` as they come; runs found there
are not repeated.

The usual recipe (`usual.py`) is a subclass of the transformers `Trainer`. With `--padding script` it pads as the
scripts of transformers (`examples/pytorch`) do where nothing is said: `run_glue.py` and `run_qa.py` have
`pad_to_max_length=True` and pad every example to `max_seq_length` (128 and 384), `run_ner.py` has
`pad_to_max_length=False` and pads to the longest of a batch (`DataCollatorForTokenClassification`). With `dynamic` all
three pad to the longest of a batch, in random order. Window overlap is `doc_stride`, 128 of 384. Both recipes have
fused AdamW, the same learning rate, warm-up, linear decay, clipping, batches of 16, epochs, and an evaluation an epoch
on as many rows as they train on (fewer where the task has fewer); the best of these evaluations is the score.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}

import recipes

from kdrec.errors import KdrecError
from kdrec.home import Home
from kdrec.studies import Cell, Study

RESULTS = Path(__file__).parent / "results" / "families.jsonl"
DATA_VARIABLE = "KDREC_DATA"
TEACHER, STUDENT = "minilm", "small"
EVALUATION_TOKENS = 4096
"""Padded tokens of an evaluation batch of the usual recipe, as many as ours has."""
SAME = ("family", "rows", "epochs", "configs")
"""What two runs that are compared have in common, beside the seed."""
COLUMNS = (
    *((name, 10) for name in SAME),
    ("padding", 12),
    ("seeds", 7),
    ("CPU s, both", 15),
    ("ratio", 24),
    ("peak MB, both", 15),
    ("score, both", 15),
    ("ours - Trainer", 18),
)
"""Of the report, with their widths; `both` is Trainer / ours."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The task of a family and how it is trained; `pads` says whether its script pads to `max_length`."""

    task: str
    max_length: int
    pads: bool
    learning_rate: float = 3e-4
    teacher_learning_rate: float = 2e-4


SETTINGS = {
    "sentence": Setting(task="trec", max_length=128, pads=True),
    "pair": Setting(task="sick", max_length=128, pads=True),
    "tokens": Setting(task="wnut17", max_length=128, pads=False, learning_rate=6e-4, teacher_learning_rate=5e-4),
    "qa": Setting(task="xquad_en", max_length=384, pads=True),
}
LOCAL = ("pair", "tokens", "qa")
"""Families whose tasks are in the folder that `DATA_VARIABLE` names."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One process to measure; `padding` is what the recipe does, so ours has one of its own."""

    family: str
    recipe: str
    seed: int
    rows: int
    epochs: int
    configs: int
    padding: str


def study_of(setting: Setting, rows: int, epochs: int) -> Study:
    """The task of a family as a study of one cell."""
    shared = {"epochs": epochs, "batch_size": 16, "max_length": setting.max_length}
    return Study.from_dict(
        {
            "name": "benchmark-families",
            "tasks": [setting.task],
            "students": [STUDENT],
            "rows": {"train": rows, "validation": rows, "test": 10},
            "teacher": {
                **shared,
                "learning_rates": [setting.teacher_learning_rate],
                "epochs": 3,
                "evaluations_per_epoch": 2,
            },
            "training": {**shared, "learning_rate": setting.learning_rate},
        }
    )


def runs_of(given: argparse.Namespace) -> list[Run]:
    """All runs that were asked for, the two recipes in turns."""
    return [
        Run(
            family=family,
            recipe=recipe,
            seed=seed,
            rows=given.rows,
            epochs=given.epochs,
            configs=given.configs,
            padding=padding_of(family, recipe, given.padding),
        )
        for seed in range(given.seeds)
        for family in given.families
        for recipe in (("trainer", "ours") if seed % 2 else ("ours", "trainer"))
    ]


def padding_of(family: str, recipe: str, asked: str) -> str:
    """What a recipe does with `--padding`."""
    if recipe == "ours":
        return "own"
    return "max_length" if asked == "script" and SETTINGS[family].pads else "dynamic"


def scores_of(run: Run, home: Home) -> list[float]:
    """Inside the measured process: best validation scores of the first `configs` configurations."""
    import torch

    from kdrec import catalog
    from kdrec.trial import Bench

    torch.set_num_threads(1)
    setting, configs = SETTINGS[run.family], recipes.CONFIGS[: run.configs]
    study, card = study_of(setting, run.rows, run.epochs), catalog.card(STUDENT)
    bench = Bench(study, setting.task, TEACHER, home)
    training = study.training_for(Cell(task=setting.task, student=STUDENT)).resolved(seed=run.seed)
    if run.recipe == "teacher":
        return [bench.teacher.selection.t_hs.score]
    if run.recipe == "ours":
        return recipes.run_ours(bench, card, training, configs)
    import usual

    layout = usual.Layout(
        max_length=setting.max_length,
        to_max_length=run.padding == "max_length",
        evaluation_batch_size=EVALUATION_TOKENS // setting.max_length,
    )
    return usual.run(bench, card, training, configs, layout)


def measure(run: Run, home: Home) -> dict[str, Any]:
    """A record: the run, where it was made, scores, CPU and wall seconds, peak memory."""
    if run.recipe == "ours":
        recipes.forget(home.root)
    setting = {key: value for key, value in asdict(SETTINGS[run.family]).items() if key != "pads"}
    record = {**asdict(run), **setting, "student": STUDENT, **recipes.machine(), "versions": recipes.versions()}
    return record | recipes.in_process(__file__, ["--one", json.dumps(asdict(run)), "--home", str(home.root)])


def measure_missing(runs: Sequence[Run], home: Home) -> None:
    """Measure what no record holds, each teacher made before."""
    known = [{key: record[key] for key in Run.__dataclass_fields__} for record in recipes.read(RESULTS)]
    missing = [run for run in runs if asdict(run) not in known]
    for run in {run.family: run for run in missing}.values():
        teacher = {**asdict(run), "recipe": "teacher"}
        made = recipes.in_process(__file__, ["--one", json.dumps(teacher), "--home", str(home.root)])
        print(f"{run.family}: teacher ready, validation {made['scores'][0]:.1f}", flush=True)
    for run in missing:
        record = measure(run, home)
        recipes.append(RESULTS, record)
        print(run.family, run.recipe, run.seed, f"{record['cpu_seconds']:.1f} CPU s", flush=True)


def report(records: Sequence[dict[str, Any]]) -> None:
    """One line a family, size and padding: CPU, peak memory, scores, and how far they are apart."""
    print("".join(f"{name:>{width}}" for name, width in COLUMNS))
    groups = dict.fromkeys((*(r[key] for key in SAME), r["padding"]) for r in records if r["recipe"] == "trainer")
    for *same, padding in groups:
        alike = [r for r in records if [r[key] for key in SAME] == same]
        theirs = {r["seed"]: r for r in alike if r["padding"] == padding}
        ours = {r["seed"]: r for r in alike if r["recipe"] == "ours"}
        pairs = [(theirs[seed], ours[seed]) for seed in sorted(theirs.keys() & ours.keys())]
        if pairs:
            cells = [*same, padding, len(pairs), *measured(pairs)]
            print("".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True)))


def measured(pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    """The measured cells of a line: Trainer and ours, seed by seed."""
    sides = list(zip(*pairs, strict=True))
    cpu = [statistics.median(r["cpu_seconds"] for r in side) for side in sides]
    peak = [statistics.median(r["peak_bytes"] for r in side) / 2**20 for side in sides]
    means = [[statistics.mean(r["scores"]) for r in side] for side in sides]
    ratios = [theirs["cpu_seconds"] / ours["cpu_seconds"] for theirs, ours in pairs]
    return [
        f"{cpu[0]:.0f} / {cpu[1]:.0f}",
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        f"{peak[0]:.0f} / {peak[1]:.0f}",
        " / ".join(f"{statistics.mean(side):.1f}" for side in means),
        difference(*means),
    ]


def difference(theirs: Sequence[float], ours: Sequence[float]) -> str:
    """Mean over seeds of ours minus theirs, and its standard error; pairs share seed, teacher and rows."""
    apart = [mine - other for other, mine in zip(theirs, ours, strict=True)]
    if len(apart) < 2:
        return f"{apart[0]:+.2f} (one seed)"
    return f"{statistics.mean(apart):+.2f} ± {statistics.stdev(apart) / len(apart) ** 0.5:.2f}"


def arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=200, help="of training, and of validation")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--configs", type=int, default=len(recipes.CONFIGS), choices=range(1, len(recipes.CONFIGS) + 1))
    parser.add_argument("--padding", default="script", choices=["script", "dynamic"])
    parser.add_argument("--home", type=Path, default=Path(".kdrec") / "benchmark-families")
    parser.add_argument("--report", action="store_true", help="print the table of all that was measured before")
    parser.add_argument("--one", type=lambda text: Run(**json.loads(text)), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rows < 10:
        parser.error(f"--rows must be at least 10, got {given.rows}")
    local = [family for family in given.families if family in LOCAL]
    if local and not (given.report or given.one or os.environ.get(DATA_VARIABLE)):
        names = ", ".join(SETTINGS[family].task for family in local)
        parser.error(
            f"a local folder is needed for {names}: set {DATA_VARIABLE} to the one that holds NAME/train.parquet and "
            "NAME/test.parquet, or ask for --families sentence"
        )
    return given


def main() -> None:
    """Measure what is missing, then report all that there is."""
    given = arguments()
    home = Home.at(given.home)
    if given.one:
        try:
            scores = scores_of(given.one, home)
        except KdrecError as error:
            sys.exit(str(error))
        print(json.dumps({"scores": scores, **recipes.usage()}))
        return
    if not given.report:
        measure_missing(runs_of(given), home)
    report(recipes.read(RESULTS))


if __name__ == "__main__":
    main()
