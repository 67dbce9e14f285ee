"""From an order to a student at home: taught or found, saved, examined, written about, registered."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.torch import load_file
from transformers.utils import logging

from kdrec import encoder, engine, tasks
from kdrec.errors import MismatchError
from kdrec.home import Home
from kdrec.space import canonical
from kdrec.student import graph
from kdrec.student.card import Body, Results, card
from kdrec.student.examination import Logits, examine
from kdrec.student.extras import check_onnx
from kdrec.student.facts import FILE, Facts
from kdrec.student.folder import Saved, being_saved, check_place, facts_of, opened
from kdrec.student.order import Order
from kdrec.student.passes import Forward, Speed, forward_of, logits_on, speeds
from kdrec.teacher import live_logits
from kdrec.tracking import CARD, Entry, Store, Version
from kdrec.trial import Progress, Taught, teach
from kdrec.types import DEFAULT_CONFIG, Encoded, check_name
from kdrec.weak_teacher import weak_teacher

EXPORTS: Final = "exports"
TOLERANCE: Final = 1e-3
"""Largest difference of a logit that the saved student may have from the trained one."""
PIPELINES: Final = {
    "sentence": "text-classification",
    "pair": "text-classification",
    "tokens": "token-classification",
    "qa": None,  # transformers 5 has none
}
REQUIRED: Final = ("mlflow", "torch", "transformers", "tokenizers", "safetensors", "accelerate", "numpy", "pandas")
"""What loads a registered student; the versions here are pinned, since MLflow would ask an index for them."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What is wanted beside the student: where, under which name, as graphs, with texts in its card."""

    out: Path | None = None
    name: str | None = None
    onnx: bool = False
    int8: bool = False
    examples: bool = False


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A student at home."""

    folder: Path
    facts: Facts
    card: str
    version: Version
    n_new: int
    """Trials that were made for it; the others were found."""


@dataclass(frozen=True)
class _Runner:
    """A model whose speed is to be measured; the rest is as in `Body`."""

    name: str
    forward: Forward
    score: float
    n_params: int | None
    n_bytes: int
    note: str = ""

    @classmethod
    def of(cls, name: str, model: Any, score: float, file: Path) -> _Runner:
        n_params = sum(parameter.numel() for parameter in model.parameters())
        return cls(name, forward_of(model), score, n_params, file.stat().st_size)

    def body(self, speed: Speed | None) -> Body:
        return Body(
            name=self.name,
            score=self.score,
            n_params=self.n_params,
            n_bytes=self.n_bytes,
            speed=speed,
            note=self.note,
        )


def take_home(
    order: Order, home: Home, wishes: Wishes, on_progress: Callable[[Progress], None] = lambda _: None
) -> Taken:
    """Distil a student, or find it, and save, examine and register it.

    Parameters
    ----------
    order : Order
        The cell, its configuration, and its seeds.
    home : Home
        Holds trials, weights and registry; without `wishes.out` the student is saved in its folder `exports`.
    wishes : Wishes
    on_progress : callable
        Told how far the work is.

    Raises
    ------
    BadArgument
        For a folder that holds something else, or a name that is none.
    KdrecError
        When every seed diverged, or the extra `onnx` is wanted and not installed.
    """
    name = wishes.name or f"{order.cell.task}-{order.cell.student}"[:80]
    check_name("name of a model", name)
    out = (wishes.out or home.root / EXPORTS / name).expanduser().resolve()
    check_place(out)
    wishes = _with_graphs_of(out, wishes)
    check_onnx(wishes.onnx, wishes.int8)
    logging.disable_progress_bar()  # of single files of weights
    store = Store.open(home)
    before = {trial.run_id for trial in store.trials()[0]}
    taught = teach(order.study, home, on_progress)
    facts = facts_of(taught, order, name)

    def tell(message: str) -> None:
        on_progress(Progress(part=str(order.cell), done=1, expected=1, message=message))

    tell("saving")
    with being_saved(out, taught, facts) as new:
        saved = opened(new)
        tell("examining")
        text = _examined(taught, saved, wishes, new)
        (new / CARD).write_text(text, encoding="utf-8")
        tell("registering")
        version = store.register(taught.place.experiment_id, _entry(taught, saved, new, text))
    made = {trial.run_id for trial in (*taught.trials, *taught.baseline)}
    return Taken(folder=out, facts=facts, card=text, version=version, n_new=len(made - before))


def _with_graphs_of(out: Path, wishes: Wishes) -> Wishes:
    """Wish again for the graphs that are there: a student distilled once more must not lose them."""
    here = {name: (out / file).is_file() for name, file in (("onnx", graph.FP32), ("int8", graph.INT8))}
    return replace(wishes, onnx=wishes.onnx or here["onnx"], int8=wishes.int8 or here["int8"])


def _examined(taught: Taught, saved: Saved, wishes: Wishes, folder: Path) -> str:
    """The card of a saved student; graphs are written beside it."""
    bench, facts = taught.place.bench, saved.facts
    task, test, validation = bench.task, bench.encoded("test"), bench.encoded("validation")
    student = logits_on(forward_of(saved.model), test, saved.pad_id)
    _check_same(student, _as_trained(taught, test), "the saved student", TOLERANCE)
    weights = bench.teacher.weights(taught.config.teacher)
    weak = weak_teacher((*taught.trials, *taught.baseline), bench.teacher.selection.of(taught.config.teacher).score)
    exam = examine(
        task,
        test,
        student,
        live_logits(bench.pupil, weights, bench.accelerator, test),
        may_be_none=facts.may_be_none,
    )
    teacher = encoder.whole(bench.teacher_card, bench.folder, task, load_file(weights))
    runners = [
        _Runner.of(f"teacher ({bench.teacher_card.name})", teacher, exam.teacher.score, weights),
        _Runner.of("this student", saved.model, exam.student.score, saved.weights_file),
        *_graphs(taught, saved, wishes, folder, student),
    ]
    fast = speeds([runner.forward for runner in runners], validation, saved.pad_id)
    results = Results(
        facts=facts,
        training=replace(taught.place.training, seed=facts.seed),
        rows=task.n_rows(),
        trials=taught.trials,
        baseline=taught.baseline,
        examination=exam,
        bodies=tuple(runner.body(one) for runner, one in zip(runners, fast.known, strict=True)),
        method=fast.method(),
        licence=taught.place.student.licence,
        data_licence=task.licence,
        notes=taught.notes,
        warning=str(weak or ""),
    )
    return card(results, examples=task.test if wishes.examples else None)


def _as_trained(taught: Taught, split: Encoded) -> Logits:
    """Logits of the trained weights by the shortcuts of training, which the saved student must repeat without them."""
    place = taught.place
    classifier = encoder.build(place.student, place.folder, place.bench.task, (split,), seed=0)
    classifier.load_full_state(taught.state)
    accelerator = place.bench.accelerator
    return engine.predict(classifier.model.to(accelerator.device), classifier, split, accelerator)


def _graphs(taught: Taught, saved: Saved, wishes: Wishes, folder: Path, student: Logits) -> Iterator[_Runner]:
    """The student as ONNX graphs, as far as they are wanted; fp32 must repeat its logits on the whole test split."""
    if not (wishes.onnx or wishes.int8):
        return
    bench = taught.place.bench
    test, grade = bench.encoded("test"), tasks.grader(bench.task, bench.task.test, bench.encoded("test"))

    def runner(name: str, made: graph.Graph, logits: Logits, note: str) -> _Runner:
        return _Runner(name, made.forward, grade(logits).score, None, made.path.stat().st_size, note)

    full = graph.export(saved.model, folder / graph.FP32)
    logits = logits_on(full.forward, test, saved.pad_id)
    apart = _check_same(logits, student, "the ONNX graph", graph.TOLERANCE)
    within = f"within {apart:.0e} (more than {graph.TOLERANCE:g} is refused)"
    note = f"`{graph.FP32}` gives the logits of the test split {within}."
    if wishes.onnx:
        yield runner("ONNX, fp32", full, logits, note)
    if wishes.int8:
        small = graph.quantise(full, folder / graph.INT8)
        logits = logits_on(small.forward, test, saved.pad_id)
        yield runner("ONNX, int8", small, logits, _int8_note(saved.facts, logits, student))
    if not wishes.onnx:
        full.path.unlink()


def _int8_note(facts: Facts, logits: Logits, student: Logits) -> str:
    apart = float(np.abs(logits - student).max())
    note = f"`{graph.INT8}` (dynamic int8) gives logits up to {apart:.2g} away"
    if facts.family == "qa":
        return f"{note}."
    return f"{note}, and the same class in {100 * float(np.mean(logits.argmax(-1) == student.argmax(-1))):.1f} %."


def _check_same(logits: Logits, wanted: Logits, what: str, tolerance: float) -> float:
    """Largest difference of logits, which must be small on the whole test split."""
    apart = float(np.abs(logits - wanted).max())
    if not apart <= tolerance:
        raise MismatchError(
            f"{what} differs from the trained one by {apart:.2g} in a logit; at most {tolerance:g} passes"
        )
    return apart


def _entry(taught: Taught, saved: Saved, folder: Path, text: str) -> Entry:
    facts, task = saved.facts, taught.place.bench.task
    default = canonical(DEFAULT_CONFIG, aliases=taught.place.bench.teacher.selection.aliases)
    training = replace(taught.place.training, seed=facts.seed)
    return Entry(
        name=facts.name,
        fingerprint=facts.fingerprint,
        task_fingerprint=facts.task_fingerprint,
        val_score=facts.val_score,
        is_default=facts.config == default,
        tags={
            "kdrec.task": facts.task,
            "kdrec.student": facts.student,
            "kdrec.config": facts.config.label(),
            "kdrec.seed": str(facts.seed),
            "kdrec.why": facts.why,
            "kdrec.teacher": facts.teacher,
            "kdrec.teacher_checkpoint": facts.teacher_checkpoint,
            "kdrec.training": json.dumps(asdict(training)),
            "kdrec.version": facts.kdrec,
            "kdrec.trial_run": taught.best.run_id,
            "kdrec.metric": task.metric,
        },
        card=text,
        folder=folder,
        pipeline=PIPELINES[facts.family],
        inputs=("text", "text_pair") if facts.family == "pair" else ("text",),
        components={"model": saved.model, "tokenizer": saved.tokenizer()},
        requirements=_requirements(),
        beside=tuple(name for name in (FILE, CARD, graph.FP32, graph.INT8) if (folder / name).is_file()),
    )


def _requirements() -> list[str]:
    """The pip requirements of a registered student; a local build (`+cpu`) is asked for by its public version."""
    return [f"{name}=={version(name).partition('+')[0]}" for name in REQUIRED]
