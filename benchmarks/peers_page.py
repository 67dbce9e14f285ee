"""From the records of `peers.py` and `recommenders.py` to `docs/peers.md`: tables, and sentences with their figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, Final

from kdrec.replication.markdown import DASH, counted, filled, plain, signed, table

Record = dict[str, Any]

TITLE: Final = """
# Beside other libraries

Written by `python benchmarks/peers.py page` from `benchmarks/results/peers.jsonl` and `recommenders.json`, which
`benchmarks/peers.py` and `benchmarks/recommenders.py` fill. The others are called through their own published code, in
the versions named at the end, installed beside kdrec and no part of it (`benchmarks/peer_packages.py`).
"""
TAUGHT: Final = """
One task (TREC, 500 questions, 4 epochs), one 1-layer student, one teacher, and the one objective that all can be asked
for: `alpha = 0.5`, both temperatures 2, `tau²` before the soft loss. Learning rate, warm-up, decay, clipping, batch
size, evaluations and fused AdamW are the same; every run is a process of its own on one thread. *Trainer* is the
transformers `Trainer` with the teacher in the loop, dynamic padding, and the named loss in `compute_loss`. The score is
the best validation accuracy of the four epochs.
"""
READ: Final = """
- {same}
- TextBrewer and kdrec draw their batches in another order than the `Trainer`, so their scores need not be the same;
  this table is too small to rank scores.
- kdrec took {ratio} times less CPU than the cheapest of the others. A study of many configurations gains more, because
  imports and the teacher's pass are paid once ([How fast](quickstart.md)).
- Your code: lines of the study file for kdrec; for the others the statements of `benchmarks/peer_runs.py` and of
  what it takes from `usual.py` (rows, models, arguments, the call of the loop), without docstrings. None of those
  keeps a history of trials or chooses a teacher checkpoint.
- *Keras by default* is `LogitsDistillation(temperature)`, its loss left at the default. That is another loss
  ([why](#what-could-not-be-asked)), and costs {lost} points here.
"""
DEFINITIONS: Final = """
On the same random logits (the first question: 2, 6 and 50 classes, temperatures 1, 2 and 4; the others: 6 classes),
through each package's own code, value and gradient beside those of `kdrec.objective` (of TextBrewer's cross-entropy the
gradient: the teacher's own entropy is a constant in its value). *Equal* is a largest difference
of at most 1e-6 (float64; Keras counts in float32). A factor is theirs over ours, given where one number says it all.
`tests/test_peers.py` holds kdrec to the formulas as we transcribed them from these sources.
"""
QUESTIONS: Final = {
    "common": "`(1 - alpha) CE + alpha tau² KL`, both temperatures alike",
    "alpha0": "teacher alone (its `alpha = 0`), `tau = 4`: it drops `tau²` there, and only there",
    "no_factor": "`kd_ce_loss` at `tau = 4` beside our default, which has no `tau²` (the paper's objective)",
    "factor": "`kd_ce_loss` at `tau = 4` beside ours with `tau²`: the weight is the caller's",
    "two_temperatures": "`teacher_temperature = 4`, `student_temperature = 2`: factor `tau_s²`, ours `tau_t·tau_s`",
    "mse1": "MSE of logits, temperature 1: the mean over classes, as ours",
    "mse4": "MSE of logits, temperature 4: it divides logits first, ours are raw",
    "floor": "logits so far apart that probabilities fall under its floor of 1e-7, where it has no gradient",
    "mean": "`kl_div` with `reduction = 'mean'`, its default, six classes: over classes too, not over examples alone",
    "words": "words with padding (`-100`), logits as they come: padding is in the soft loss",
    "words_masked": "the same with its `logits_mask`",
}
ASKED: Final = """
The {n_trials} trials that come with kdrec: 13 tasks, three students each. Every task is left out in turn, each of its
students asked about with what was measured there to choose from, and the choice judged by test scores. Regret is the
distance to the best measured configuration (whose lead is partly noise, so that nobody reaches 0); errors are standard
errors over tasks. Everybody gets the same table of the other tasks and the same features of the asked one. Of its
pairs of a configuration and a cell {share} % were measured; FLAML and syne-tune want all, so for them holes are filled
with the configuration's mean effect elsewhere.
"""
SAID: Final = """
- **With its default settings kdrec never left the default on this history**, so it lost {own} points, exactly what
  always-default loses. syne-tune ({syne}), the head of FLAML's portfolio ({flaml}) and the simple best on average
  ({average}) lost less.
- They win {over} points over the default, with errors nearly as large. The task of rare entities (WNUT-17) makes
  most of that: without it they win {without}. In the median task it is at most {half}.
- The same model told to trust the default less (`--trust-default low`) lost {low}, the least in this table. We
  looked at many methods on one history, and this setting was not chosen before looking: it says that our caution
  costs something here, not that the setting leads.
- FLAML's zero-shot rule, what was best in the nearest cell, lost more than no suggestion: it rests on the few runs of
  one cell.
- None of the others says what further tuning would gain, or when to stop; how well kdrec does is [another
  question](recommender.md#audit).
"""
NOT_ASKED: Final = """
- torchdistill's own training loop: `{torchdistill}`. It needs torchvision, which we do not install
  beside our torch; its loss is lent to the `Trainer`.
- Keras' `Distiller` trains Keras models; teacher and student here are transformers', so its loss is lent, too.
- Keras' default: `LogitsDistillation(temperature)` looks its loss up by name and gets a function, while its code takes
  the softmax only for an instance of `KLDivergence`; so scaled logits are clipped and used as probabilities. Given
  `loss=keras.losses.KLDivergence()`, it is the loss that its documentation describes.
- sentence-transformers has no loss over classes. `DistillKLDivLoss` ranks candidates; it becomes one here by unit
  vectors as candidates. Its `MSELoss` for cross-encoders refuses models of more than one label (read in its source).
- FLAML's `greedy-feedback` portfolio: {feedback}. Where it wants a configuration's name, it takes that of the first
  cell.
- FLAML's greedy portfolio as it is: {unpadded}, where it comes to hold all configurations but one. The table above has
  one more row, worse than all others by 100 points, that is never chosen.
- syne-tune's own way with holes, `use_surrogates=True`: {surrogates}. With that set by hand, the candidates that
  it draws differ from cell to cell, while it averages their ranks row by row.
- KD_Lib, DistillKit and ModelOpt were not tried.
"""


KERAS: Final = ("Keras", "Keras by default")


def page(records: Sequence[Record], answers: Mapping[str, Any] | None) -> str:
    """The page of these records; of one question the newest counts."""
    trained = {(r["recipe"], r["seed"]): r for r in records if r["part"] == "train"}
    equal = {(r["library"], r["what"]): r for r in records if r["part"] == "equality"}
    loop = [DASH, *(r["said"] for r in records if r["part"] == "loop")][-1]
    blocks = [TITLE, "## The same student, taught by each", TAUGHT, *_taught(list(trained.values()))]
    blocks += ["## Where definitions agree, and where they differ", DEFINITIONS, _definitions(list(equal.values()))]
    blocks += ["## First suggestions", *_suggestions(answers)]
    blocks += ["## What could not be asked", NOT_ASKED.format(torchdistill=loop, **_refusals(answers))]
    blocks += ["## Measured on", _made_on([*trained.values(), *equal.values(), *([answers] if answers else [])])]
    return filled("\n\n".join(block.strip() for block in blocks)) + "\n"


def _taught(records: list[Record]) -> list[str]:
    if not records:
        return ["Not measured yet."]
    by_recipe: dict[str, list[Record]] = {}
    for record in records:
        by_recipe.setdefault(record["recipe"], []).append(record)
    rows, cost = [], {}
    for recipe, runs in by_recipe.items():
        cost[recipe] = fmean(r["cpu_seconds"] for r in runs)
        scores = ", ".join(plain(r["score"], 1) for r in sorted(runs, key=lambda r: r["seed"]))
        seconds = (plain(cost[recipe], 1), plain(fmean(r["run_cpu_seconds"] for r in runs), 1))
        rows.append((recipe, _loop(recipe), scores, *seconds, runs[0]["user_lines"]))
    header = ("loss", "loop", "score, a seed each", "CPU s a run", "of it after imports", "your code, lines")
    ratio = min(seconds for recipe, seconds in cost.items() if recipe != "kdrec") / cost["kdrec"]
    loads = [r["load_before"] for r in records]
    seeds = len({r["seed"] for r in records})
    busy = (
        f"{counted(seeds, 'seed')}, on two cores that other work kept busy "
        f"(load {min(loads):.0f} to {max(loads):.0f}), on which CPU seconds depend a little."
    )
    return [
        table(header, rows, words=3),
        busy,
        READ.format(ratio=f"{ratio:.1f}", same=_same(records), lost=_lost(by_recipe)),
    ]


def _lost(by_recipe: Mapping[str, list[Record]]) -> str:
    """Points that Keras' default argument costs; a dash where it was not measured."""
    scores = [fmean(r["score"] for r in by_recipe[name]) for name in KERAS if name in by_recipe]
    return plain(scores[0] - scores[1], 1) if len(scores) == 2 else DASH


def _same(records: list[Record]) -> str:
    """Whether the scores of one loop are those of one loss, seed by seed."""
    lent = [r for r in records if _loop(r["recipe"]) == "Trainer" and r["recipe"] != "Keras by default"]
    seen = {(r["seed"], r["score"]) for r in lent}
    if len(seen) == len({r["seed"] for r in lent}):
        return "The losses lent to the `Trainer` end at the same score, seed by seed: as their gradients say below."
    return "The losses lent to the `Trainer` end at scores that differ, though their gradients agree: by rounding."


def _loop(recipe: str) -> str:
    return {"kdrec": "kdrec", "TextBrewer": "TextBrewer"}.get(recipe, "Trainer")


def _definitions(records: list[Record]) -> str:
    if not records:
        return "Not measured yet."
    rows = [(r["library"], QUESTIONS[r["what"]], _verdict(r)) for r in records]
    return table(("library", "asked", "beside kdrec"), rows, words=3)


def _verdict(record: Record) -> str:
    if record["agrees"]:
        return f"equal ({record['difference']:.1e})"
    if record["factor"] is not None:
        return f"factor {record['factor']:.3g}"
    return f"differs by up to {record['difference']:.2g}"


def _suggestions(answers: Mapping[str, Any] | None) -> list[str]:
    if answers is None:
        return ["Not measured yet."]
    found = {r["method"]: r for r in answers["results"]}
    asked = [r for r in answers["results"] if r["n_cells"] == found["kdrec"]["n_cells"]]
    rows = [
        (
            r["method"],
            f"{plain(r['regret'])} ± {plain(r['regret_se'])}",
            f"{signed(r['over_default'])} ± {plain(r['over_default_se'])}",
            signed(r["over_default_median"]),
            signed(_without(r, "wnut17")),
            f"{r['better']} / {r['worse']}",
            f"{r['n_default']} of {r['n_cells']}",
            plain(r["seconds"], 1),
        )
        for r in sorted(asked, key=lambda r: r["regret"])
    ]
    header = (
        *("chosen by", "regret", "over the default", "median task", "without WNUT-17"),
        *("tasks better / worse", "the default", "CPU s"),
    )
    rivals = [found[name] for name in ("syne-tune, zero-shot", "FLAML, head of the portfolio", "best on average")]
    gains = [signed(r["over_default"]) for r in rivals]
    figures = {name: plain(r["regret"]) for name, r in zip(("syne", "flaml", "average"), rivals, strict=True)}
    figures["own"] = plain(found["kdrec"]["regret"])
    figures["low"] = _error(found["kdrec, trust in the default low"])
    figures["over"] = f"{min(gains)} to {max(gains)}"
    without = [signed(_without(r, "wnut17")) for r in rivals]
    figures["without"] = f"{min(without)} to {max(without)}"
    figures["half"] = plain(max(r["over_default_median"] for r in rivals))
    about = ASKED.format(n_trials=answers["n_trials"], share=f"{100 * answers['measured_share']:.0f}")
    return [about, table(header, rows), SAID.format(**figures)]


def _without(result: Record, task: str) -> float:
    """Mean over the other tasks of what was won over the default."""
    won: dict[str, list[float]] = {}
    for cell in result["cells"]:
        won.setdefault(cell["task"], []).append(cell["default_regret"] - cell["regret"])
    return fmean(fmean(values) for name, values in won.items() if name != task)


def _error(result: Record) -> str:
    return f"{plain(result['regret'])} ± {plain(result['regret_se'])}"


def _refusals(answers: Mapping[str, Any] | None) -> dict[str, str]:
    """What methods said that chose nothing, with the number of cells."""
    methods = {
        "feedback": "FLAML, zero-shot with feedback",
        "unpadded": "FLAML, head of the portfolio, not padded",
        "surrogates": "syne-tune, zero-shot, own surrogates",
    }
    found = {r["method"]: r["refusals"] for r in answers["results"]} if answers else {}
    return {
        key: ", ".join(f"`{said}` ({counted(n, 'cell')})" for said, n in found.get(name, {}).items()) or DASH
        for key, name in methods.items()
    }


def _made_on(records: Iterable[Mapping[str, Any]]) -> str:
    groups: dict[tuple[str, ...], list[float]] = {}
    for r in records:
        versions = ", ".join(f"{name} {number}" for name, number in r["versions"].items())
        key = (r.get("part", "suggestions"), r["date"][:10], r["machine"], r["commit"], versions)
        groups.setdefault(key, []).append(r["load_before"])
    rows = [(*key[:4], f"{min(loads):.0f} to {max(loads):.0f}", key[4]) for key, loads in sorted(groups.items())]
    return table(("of", "date", "machine", "kdrec of", "load", "versions"), rows, words=6)
