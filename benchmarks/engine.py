"""What eight configurations cost: the usual Trainer recipe against kdrec's engine, on the same task, teacher and seeds.

    python benchmarks/engine.py [--seeds 5] [--rows 500] [--epochs 4] [--students tiny small] [--report]

Each run of eight configurations is a process of its own on one thread, so CPU seconds and peak memory are the operating
system's. Ours starts with no cached logits and no tokens: the teacher's one pass is inside its figures. The two recipes
take turns. Results are appended to `benchmarks/results/engine.jsonl` as they come; runs found there are not repeated.

The usual recipe is a subclass of the transformers `Trainer` with its own `compute_loss`: teacher in the loop (eval,
no gradients), dynamic padding, fused AdamW, the same learning rate, warm-up, decay, clipping, batches, evaluations.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}

from kdrec.home import Home
from kdrec.studies import Cell, Study
from kdrec.types import KDConfig

RESULTS = Path(__file__).parent / "results" / "engine.jsonl"
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


def run_ours(study: Study, student: str, seed: int, home: Home) -> list[float]:
    """Best validation scores of the eight by kdrec's engine."""
    from kdrec import catalog, encoder, engine, tasks
    from kdrec.trial import Bench

    bench, card = Bench(study, "trec", "minilm", home), catalog.card(student)
    training = study.training_for(Cell(task="trec", student=student), seed)
    train, validation = bench.encoded("train"), bench.encoded("validation")
    grade = tasks.grader(bench.task, bench.task.validation, validation)
    scores = []
    for config in CONFIGS:
        classifier = encoder.build(card, bench.folder, bench.task, (train, validation), seed=seed)
        lesson = engine.Lesson(
            train=train, validation=validation, grade=grade, n_classes=6, signal=bench.signal(config.teacher)
        )
        *_, finished = engine.fit(classifier, lesson, config, training, bench.accelerator)
        scores.append(finished.best.score)
    return scores


def run_trainer(study: Study, student: str, seed: int, home: Home) -> list[float]:
    """Best validation scores of the eight by a subclass of the transformers Trainer."""
    import torch
    import torch.nn.functional as F
    import transformers
    from safetensors.torch import load_file

    from kdrec import catalog
    from kdrec.trial import Bench

    class DistillationTrainer(transformers.Trainer):
        config: KDConfig
        teacher: torch.nn.Module

        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            labels = inputs.pop("labels")
            outputs = model(**inputs)
            with torch.no_grad():
                teacher_logits = self.teacher(**inputs).logits
            if self.config.distance == "mse":
                soft = F.mse_loss(outputs.logits, teacher_logits)
            else:
                log_q = F.log_softmax(outputs.logits / self.config.tau_s, dim=-1)
                soft = F.kl_div(log_q, F.softmax(teacher_logits / self.config.tau_t, dim=-1), reduction="batchmean")
            hard = F.cross_entropy(outputs.logits, labels)
            loss = (1 - self.config.alpha) * hard + self.config.alpha * soft
            return (loss, outputs) if return_outputs else loss

        def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
            labels = inputs.pop("labels")
            with torch.no_grad():
                logits = model(**inputs).logits
            return None, logits, labels

    bench, card = Bench(study, "trec", "minilm", home), catalog.card(student)
    training = study.training_for(Cell(task="trec", student=student), seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(bench.folder)

    def rows(split):
        encoded = tokenizer([texts[0] for texts in split.texts], truncation=True, max_length=128)
        return [
            {"input_ids": ids, "attention_mask": mask, "labels": int(label)}
            for ids, mask, label in zip(encoded["input_ids"], encoded["attention_mask"], split.labels_U, strict=True)
        ]

    train, validation = rows(bench.task.train), rows(bench.task.validation)

    def teacher_model(choice):
        model = transformers.AutoModelForSequenceClassification.from_pretrained(bench.folder, num_labels=6)
        model.load_state_dict(load_file(bench.teacher.weights(choice)))
        return model.eval()

    teachers = {choice: teacher_model(choice) for choice in ("t_ll", "t_hs")}
    scores = []
    for config in CONFIGS:
        transformers.set_seed(seed)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(bench.folder, num_labels=6)
        layers = model.base_model.encoder.layer
        model.base_model.encoder.layer = torch.nn.ModuleList([layers[i] for i in card.layers])
        model.config.num_hidden_layers = len(card.layers)
        seen: list[float] = []

        def accuracy(prediction, seen=seen):
            seen.append(100 * float((prediction.predictions.argmax(-1) == prediction.label_ids).mean()))
            return {"accuracy": seen[-1]}

        with tempfile.TemporaryDirectory() as folder:
            trainer = DistillationTrainer(
                model=model,
                args=transformers.TrainingArguments(
                    output_dir=folder,
                    learning_rate=training.learning_rate,
                    num_train_epochs=training.epochs,
                    per_device_train_batch_size=training.batch_size,
                    per_device_eval_batch_size=64,
                    warmup_steps=training.warmup_ratio,
                    weight_decay=training.weight_decay,
                    lr_scheduler_type="linear",
                    optim="adamw_torch_fused",
                    eval_strategy="epoch",
                    save_strategy="no",
                    logging_strategy="no",
                    report_to=[],
                    use_cpu=True,
                    seed=seed,
                    disable_tqdm=True,
                ),
                train_dataset=train,
                eval_dataset=validation,
                data_collator=transformers.DataCollatorWithPadding(tokenizer),
                compute_metrics=accuracy,
            )
            trainer.config, trainer.teacher = config, teachers[config.teacher]
            trainer.train()
        scores.append(max(seen))
    return scores


def measure(recipe: str, student: str, seed: int, rows: int, epochs: int, home: Path) -> dict:
    """One process, eight configurations: scores, CPU and wall seconds, peak memory."""
    command = [sys.executable, __file__, "--one", recipe, student, str(seed)]
    command += ["--rows", str(rows), "--epochs", str(epochs), "--home", str(home)]
    if recipe == "ours":  # the teacher is given to both; its logits and our tokens are part of our cost
        for cache in ("logits", "tokens"):
            for path in (home / cache).glob("*"):
                path.unlink()
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return {**json.loads(done.stdout.splitlines()[-1]), "wall_seconds": time.monotonic() - started}


def one(recipe: str, student: str, seed: int, rows: int, epochs: int, home: Home) -> None:
    """Inside the measured process."""
    import torch

    torch.set_num_threads(1)
    run = {"ours": run_ours, "trainer": run_trainer}[recipe]
    scores = run(study_of(rows, epochs), student, seed, home)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "scores": scores,
                "cpu_seconds": usage.ru_utime + usage.ru_stime,
                "peak_bytes": usage.ru_maxrss * 1024,
            }
        )
    )


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


def spread(values: list[float]) -> str:
    """Mean and standard deviation over seeds."""
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values) if len(values) > 1 else 0:.1f}"


def welch(theirs: list[float], ours: list[float]) -> str:
    """Ours minus theirs, with twice its standard error from the seeds."""
    if len(theirs) < 2:
        return f"{statistics.mean(ours) - statistics.mean(theirs):+.1f}"
    error = (statistics.variance(theirs) / len(theirs) + statistics.variance(ours) / len(ours)) ** 0.5
    return f"{statistics.mean(ours) - statistics.mean(theirs):+.1f} ± {2 * error:.1f}"


def machine() -> dict:
    """Where and from what a result was made."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "commit": commit.stdout.strip()}


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
    RESULTS.parent.mkdir(exist_ok=True)
    records = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
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
                    record |= machine() | measure(*key, home.root)
                    with RESULTS.open("a") as file:
                        file.write(json.dumps(record) + "\n")
                    records.append(record)
                    print(recipe, student, seed, f"{record['cpu_seconds']:.1f} CPU s", flush=True)
    report([r for r in records if (r["rows"], r["epochs"]) == (given.rows, given.epochs)])


if __name__ == "__main__":
    main()
