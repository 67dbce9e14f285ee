"""The one loop: it learns, repeats itself to the bit, resumes to the bit, and gives one gradient however it is cut."""

from __future__ import annotations

import dataclasses
import gc
import json
import math
import os
import subprocess
import sys
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import two_ranks
from safetensors.torch import load_file
from tiny_models import KINDS, accuracy_on, card_of, keyword_split, signal_for, task_of, write_encoder
from tiny_tasks import write_speaker

from kdrec import catalog, encoder, engine, metrics, sources, tasks
from kdrec.batches import plan, plan_hash
from kdrec.checkpoints import Checkpoint
from kdrec.engine import Diverged, Evaluation, Event, Finished, Lesson, Step, fit, predict
from kdrec.errors import MismatchError
from kdrec.home import Home
from kdrec.schedule import learning_rate_at
from kdrec.stopwatch import Stopwatch
from kdrec.studies import RowLimits
from kdrec.types import BASELINE_CONFIG, Encoded, Family, KDConfig, Training

TRAIN, VALIDATION = keyword_split(60), keyword_split(80, seed=1)
CPU = engine.make_accelerator(device="cpu")
SHORT = Training(learning_rate=3e-3, epochs=3, batch_size=8, evaluations_per_epoch=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder with dropout."""
    return write_encoder(tmp_path_factory.mktemp("dropping") / "m", dropout=0.1)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder without dropout."""
    return write_encoder(tmp_path_factory.mktemp("still") / "m")


def lesson_of(train: Encoded = TRAIN, validation: Encoded = VALIDATION, **more: Any) -> Lesson:
    return Lesson(
        **{
            **{"train": train, "validation": validation, "grade": accuracy_on(validation), "n_classes": 3},
            **{"signal": signal_for(train, 3)},
            **more,
        }
    )


def classifier_of(folder: Path, seed: int = 0) -> encoder.Classifier:
    return encoder.build(card_of(), folder, task_of(3), (TRAIN, VALIDATION), seed=seed)


def trained(
    folder: Path, training: Training = SHORT, config: KDConfig | None = None, **more: Any
) -> tuple[list[Event], dict[str, torch.Tensor]]:
    made = classifier_of(folder)
    events = list(fit(made, lesson_of(**more), config or KDConfig(tau_t=2), training, CPU))
    return events, encoder.weights_of(made.model)


def of(kind: type, events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], atol: float = 0.0) -> None:
    """With a tolerance, biases of keys are left out: attention does not see them, and AdamW blows up their rounding."""
    assert set(a) == set(b)
    for name, tensor in a.items():
        if atol and name.endswith(("key.bias", "qa_outputs.bias")):
            continue
        torch.testing.assert_close(b[name], tensor, rtol=atol, atol=atol, msg=lambda text, name=name: f"{name}: {text}")


def without_seconds(events: list[Event]) -> list[Event]:
    return [dataclasses.replace(e, seconds=0.0) if isinstance(e, Finished | Diverged) else e for e in events]


# What comes out


@pytest.mark.parametrize("config", [KDConfig(tau_t=2), KDConfig(distance="mse", alpha=1), BASELINE_CONFIG], ids=str)
def test_loss_falls_and_a_learnable_task_is_learnt(still: Path, config: KDConfig):
    events, _ = trained(still, Training(learning_rate=5e-3, epochs=12, batch_size=8), config)
    assert of(Step, events)[-1].loss < of(Step, events)[0].loss
    assert of(Step, events)[-1].hard_loss < 0.5 < of(Step, events)[0].hard_loss
    assert of(Finished, events)[0].best.score > 80


def test_real_questions_are_fitted_near_perfectly(shared_home: Home):
    """150 questions of TREC, a one-layer student of MiniLM, validated on what it was taught."""
    task = tasks.load("trec", shared_home, RowLimits(train=150, validation=10, test=10))
    card = catalog.card("tiny")
    folder = sources.resolve(card.source, shared_home)
    split = tasks.encode(task.train, task, folder / "tokenizer.json", 64, shared_home)
    made = encoder.build(card, folder, task, (split,), seed=0)
    lesson = Lesson(train=split, validation=split, grade=accuracy_on(split), n_classes=len(task.labels))
    events = list(fit(made, lesson, BASELINE_CONFIG, Training(learning_rate=6e-4, epochs=8, batch_size=16), CPU))
    assert of(Finished, events)[0].best.score > 97
    assert of(Step, events)[-1].loss < 0.2 * of(Step, events)[0].loss


def test_events_are_plain_finite_numbers_in_a_known_order(folder: Path):
    events, _ = trained(folder)
    per_epoch = 8  # 60 examples in batches of 8
    assert [e.step for e in of(Evaluation, events)] == [4, 8, 12, 16, 20, 24]
    assert [e.epoch for e in of(Evaluation, events)] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert isinstance(events[-1], Finished)
    assert events[-1].step == 3 * per_epoch
    assert events[-1].plan_hash == plan_hash(plan(TRAIN.lengths_N, 8, n_steps=24, seed=0), TRAIN.ids_N)
    assert events[-1].n_tokens == 3 * len(TRAIN.input_ids_T)
    for event in events:
        for name, value in vars(event).items():
            if name == "score_se":
                assert value is None, "students are graded without it"
            elif name not in ("plan_hash", "best", "ending"):
                assert type(value) in (float, int, bool)
                assert math.isfinite(value)
    json.dumps([dataclasses.asdict(event) for event in events])


def test_steps_are_reported_every_ten_and_before_each_evaluation(still: Path):
    events, _ = trained(still, Training(learning_rate=1e-3, epochs=2, batch_size=4))  # 15 steps an epoch
    assert [(type(e).__name__, e.step) for e in events] == [
        *(("Step", 10), ("Step", 15), ("Evaluation", 15)),
        *(("Step", 25), ("Step", 30), ("Evaluation", 30), ("Finished", 30)),
    ]


def test_a_step_reports_the_mean_over_its_units(still: Path):
    """One step over all examples: its losses are those of the untrained model, and the total is their mixture."""
    config, made = KDConfig(alpha=0.3, tau_t=2), classifier_of(still)
    logits = predict(made.model, made, TRAIN, CPU)
    events = fit(made, lesson_of(), config, Training(batch_size=60, epochs=1, learning_rate=1e-3), CPU)
    step = next(events)
    assert isinstance(step, Step)
    assert step.hard_loss == pytest.approx(metrics.nll(logits, TRAIN.labels_U), rel=1e-5)
    assert step.loss == pytest.approx(0.7 * step.hard_loss + 0.3 * step.soft_loss, rel=1e-5)
    assert 0 < step.kl < step.soft_loss
    events.close()


def test_an_evaluation_scores_the_weights_held_while_it_is_yielded(folder: Path):
    made = classifier_of(folder)
    for event in fit(made, lesson_of(), KDConfig(), SHORT, CPU):
        if isinstance(event, Evaluation):
            logits = predict(made.model, made, VALIDATION, CPU)
            assert event.loss == metrics.nll(logits, VALIDATION.labels_U)
            assert event.score == 100 * float((logits.argmax(-1) == VALIDATION.labels_U).mean())
            assert event.ece == metrics.ece(logits, VALIDATION.labels_U)


def test_best_weights_are_those_at_the_end(folder: Path):
    """Ties in score go to the lower loss, then to the earlier step; the model ends with exactly those weights."""
    made, seen = classifier_of(folder), []
    for event in fit(made, lesson_of(), KDConfig(), Training(learning_rate=2e-2, epochs=6, batch_size=8), CPU):
        if isinstance(event, Evaluation):
            seen.append((event, encoder.weights_of(made.model)))
    assert isinstance(event, Finished)
    best, weights = max(seen, key=lambda pair: (pair[0].score, -pair[0].loss))
    assert best != seen[-1][0], "the law is of a best that is not the last"
    assert event.best == best
    assert_equal(weights, encoder.weights_of(made.model))
    flags = [evaluation.is_best for evaluation, _ in seen]
    ranks = [(evaluation.score, -evaluation.loss) for evaluation, _ in seen]
    assert flags == [rank > max(ranks[:at], default=(-1.0, 0.0)) for at, rank in enumerate(ranks)]


def test_model_is_in_train_mode_after_an_evaluation_and_in_eval_mode_during_one(folder: Path):
    made, modes = classifier_of(folder), []
    made.model.classifier.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    for event in fit(made, lesson_of(), KDConfig(), SHORT, CPU):
        if isinstance(event, Step):
            assert all(modes), "training forwards"
            modes.clear()
        elif isinstance(event, Evaluation):
            assert modes
            assert not any(modes), "evaluating forwards"
            assert made.model.training
            modes.clear()


def test_predict_keeps_the_order_and_does_not_depend_on_its_batches(folder: Path):
    made = classifier_of(folder)
    logits = predict(made.model, made, TRAIN, CPU)
    assert logits.dtype == np.float32
    assert logits.shape == (60, 3)
    assert np.array_equal(logits, predict(made.model, made, TRAIN, CPU)), "no dropout"
    for row in (0, 31, 59):
        start, end = TRAIN.offsets_N1[row], TRAIN.offsets_N1[row + 1]
        alone = dataclasses.replace(
            TRAIN,
            input_ids_T=TRAIN.input_ids_T[start:end],
            offsets_N1=np.array([0, end - start]),
            labels_U=TRAIN.labels_U[[row]],
            ids_N=TRAIN.ids_N[[row]],
        )
        np.testing.assert_allclose(predict(made.model, made, alone, CPU)[0], logits[row], atol=1e-5)


# Repeating and resuming


def test_same_seed_same_bits_and_another_seed_another_run(folder: Path):
    (events, weights), (again, same) = trained(folder), trained(folder)
    assert without_seconds(events) == without_seconds(again)
    assert_equal(weights, same)
    other, _ = trained(folder, dataclasses.replace(SHORT, seed=1))
    assert of(Step, other)[0].loss != of(Step, events)[0].loss
    assert of(Finished, other)[0].plan_hash != of(Finished, events)[0].plan_hash


@pytest.mark.parametrize("stop_after", [3, 7, 11])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(folder: Path, tmp_path: Path, stop_after: int):
    """To the bit, dropout and optimizer included; and the checkpoint is written while running, not at the end."""
    undisturbed, weights = trained(folder)
    path = tmp_path / "run.safetensors"
    lesson = lesson_of(checkpoint=Checkpoint(path=path, every_seconds=0))
    events = fit(classifier_of(folder), lesson, KDConfig(tau_t=2), SHORT, CPU)
    for _ in range(stop_after):
        next(events)
    events.close()
    assert path.exists()
    torch.manual_seed(99)  # a new process starts from anywhere
    made = classifier_of(folder)
    rest = list(fit(made, lesson_of(checkpoint=Checkpoint(path=path)), KDConfig(tau_t=2), SHORT, CPU))
    assert 0 < len(rest) < len(undisturbed)
    assert without_seconds(rest) == without_seconds(undisturbed)[-len(rest) :]
    assert rest[0].step > 4, "it did not start over"
    assert_equal(weights, encoder.weights_of(made.model))


@pytest.mark.parametrize("stop_after", [4, 9, 15])
def test_a_run_of_unknown_length_goes_on_to_the_bit_before_and_within_its_cooldown(
    folder: Path, tmp_path: Path, stop_after: int
):
    training = dataclasses.replace(SHORT, learning_rate=1e-2, n_steps=60, evaluate_every=4, patience=2)
    undisturbed, weights = trained(folder, training)
    last = of(Finished, undisturbed)[0]
    assert last.ending == "patience"
    assert last.step < 60
    events = fit(
        classifier_of(folder),
        lesson_of(checkpoint=Checkpoint(path=tmp_path / "c", every_seconds=0)),
        KDConfig(tau_t=2),
        training,
        CPU,
    )
    for _ in range(stop_after):
        next(events)
    events.close()
    rest, same = trained(folder, training, checkpoint=Checkpoint(path=tmp_path / "c"))
    assert 0 < len(rest) < len(undisturbed)
    assert without_seconds(rest) == without_seconds(undisturbed)[-len(rest) :]
    assert_equal(weights, same)


def test_a_run_cools_down_from_its_best_weights(folder: Path, monkeypatch: pytest.MonkeyPatch):
    training = dataclasses.replace(SHORT, learning_rate=1e-2, n_steps=60, evaluate_every=4, patience=2)
    made, seen, note = classifier_of(folder), [], engine._Loop._note

    def watched(loop: engine._Loop, evaluation: Evaluation) -> None:
        before = encoder.weights_of(made.model)
        note(loop, evaluation)
        seen.append((evaluation, before, encoder.weights_of(made.model), loop.schedule.cooldown_from))

    monkeypatch.setattr(engine._Loop, "_note", watched)
    list(fit(made, lesson_of(), KDConfig(tau_t=2), training, CPU))
    turn = next(at for at, (*_, cooling) in enumerate(seen) if cooling is not None)
    best = max(seen[: turn + 1], key=lambda one: (one[0].score, -one[0].loss))
    assert best is not seen[turn], "the law is of a best that is not the last"
    assert_equal(best[1], seen[turn][2])
    for _, before, after, _ in seen[:turn] + seen[turn + 1 :]:
        assert_equal(before, after)


def test_seconds_are_those_of_all_processes_that_went_on_from_a_checkpoint(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(10_000))
    monkeypatch.setattr(engine, "Stopwatch", partial(Stopwatch, clock=lambda: float(next(now)), computed=lambda: 0.0))
    path = tmp_path / "c"
    undisturbed = trained(folder, checkpoint=Checkpoint(path=tmp_path / "other", every_seconds=0))[0][-1]
    trained(folder, checkpoint=Checkpoint(path=path, every_seconds=0))  # the last checkpoint stays
    monkeypatch.setattr(engine, "Stopwatch", lambda seconds=0.0: Stopwatch(seconds, lambda: 0.0, lambda: 0.0))
    rest = trained(folder, checkpoint=Checkpoint(path=path, every_seconds=0))[0][-1]
    assert isinstance(undisturbed, Finished)
    assert isinstance(rest, Finished)
    assert 0 < rest.seconds < undisturbed.seconds


def test_a_damaged_checkpoint_is_not_used(folder: Path, tmp_path: Path):
    undisturbed, weights = trained(folder)
    path = tmp_path / "run.safetensors"
    trained(folder, checkpoint=Checkpoint(path=path, every_seconds=0))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    again, same = trained(folder, checkpoint=Checkpoint(path=path))
    assert without_seconds(again) == without_seconds(undisturbed)
    assert_equal(weights, same)


def test_a_checkpoint_of_another_plan_is_not_used(folder: Path, tmp_path: Path):
    path = tmp_path / "run.safetensors"
    trained(folder, checkpoint=Checkpoint(path=path, every_seconds=0))
    events, _ = trained(folder, dataclasses.replace(SHORT, seed=3), checkpoint=Checkpoint(path=path))
    assert events[0].step == 4


# One gradient, however it is cut


@pytest.mark.parametrize("config", [KDConfig(tau_t=2), KDConfig(distance="mse"), BASELINE_CONFIG], ids=str)
def test_four_micro_batches_train_as_one_batch(still: Path, config: KDConfig):
    whole, weights = trained(still, dataclasses.replace(SHORT, batch_size=16), config)
    cut = dataclasses.replace(SHORT, batch_size=16, gradient_accumulation_steps=4)
    parts, same = trained(still, cut, config)
    assert [e.step for e in whole] == [e.step for e in parts]
    for a, b in zip(of(Step, whole), of(Step, parts), strict=True):
        assert b.loss == pytest.approx(a.loss, rel=1e-4)
        assert b.grad_norm == pytest.approx(a.grad_norm, rel=1e-3)
    assert_equal(weights, same, atol=2e-4)


LESSONS: tuple[Family | None, ...] = (None, "tokens", "qa")


@pytest.fixture(scope="module")
def by_two(still: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Family | None, Path]]:
    """What two real gloo ranks under torchrun make of every lesson, one after the other; the models they begin with."""
    out = tmp_path_factory.mktemp("two")
    models = {family: write_speaker(out / family / "m") if family else still for family in LESSONS}
    lessons = [word for family, folder in models.items() for word in (str(folder), family or "")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [two_ranks.__file__, str(out), *lessons]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out, models


@pytest.mark.parametrize("family", LESSONS)
def test_two_processes_train_as_one(family: Family | None, by_two: tuple[Path, dict[Family | None, Path]]):
    """With a last batch of one example, of which one rank has no share."""
    out, models = by_two
    events, weights, alone = two_ranks.train(models[family], family)
    assert alone == 1
    for rank in (0, 1):
        n_processes, seen = json.loads((out / f"events-{family or ''}-{rank}.json").read_text())
        assert n_processes == 2
        assert [event["step"] for event in seen] == [event["step"] for event in events]
        for mine, theirs in zip(events, seen, strict=True):
            for name in ("loss", "hard_loss", "soft_loss", "kl", "grad_norm", "score", "n_tokens", "plan_hash"):
                if name in mine:
                    assert theirs[name] == (
                        mine[name] if name == "plan_hash" else pytest.approx(mine[name], rel=1e-3, abs=1e-5)
                    )
        assert_equal(weights, load_file(out / f"weights-{family or ''}-{rank}.safetensors"), atol=5e-4)


# How it optimises


def test_the_rate_that_is_reported_is_the_rate_that_was_used(still: Path, monkeypatch: pytest.MonkeyPatch):
    used: list[float] = []
    plain = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self, *a: (used.append(self.param_groups[0]["lr"]), plain(self, *a))[1]
    )
    events, _ = trained(still)
    assert len(used) == 24
    assert [step.learning_rate for step in of(Step, events)] == [used[step.step - 1] for step in of(Step, events)]
    assert used == pytest.approx([learning_rate_at(step, 24, SHORT) for step in range(24)])


@pytest.mark.parametrize("kind", KINDS)
def test_weight_decay_is_for_matrices_of_linear_layers_only(tmp_path: Path, kind: str):
    model = encoder.build(card_of(), write_encoder(tmp_path / "m", kind), task_of(3), (TRAIN,), seed=0).model
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = engine._decay_groups(model, 0.3)
    decayed, kept = ([names[id(p)] for p in group["params"]] for group in groups)
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    assert sorted(decayed + kept) == sorted(names.values())
    spared = ("bias", "LayerNorm.weight", "embeddings.weight")
    assert sorted(kept) == sorted(name for name in names.values() if name.endswith(spared))
    assert len(decayed) == 2 * 6 + 2  # six matrices a layer, pooler or dense, and the head


def test_optimizer_is_fused_adamw_with_the_decay_of_the_training(still: Path, monkeypatch: pytest.MonkeyPatch):
    made: list[torch.optim.AdamW] = []
    plain = torch.optim.AdamW.__init__

    def spy(self: torch.optim.AdamW, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(torch.optim.AdamW, "__init__", spy)
    trained(still, dataclasses.replace(SHORT, epochs=1, weight_decay=0.25))
    (optimizer,) = made
    assert [(group["fused"], group["weight_decay"]) for group in optimizer.param_groups] == [(True, 0.25), (True, 0.0)]


def test_gradients_are_clipped_to_the_norm(still: Path):
    """With a tiny bound AdamW's first step is the same (it is scale-free), and what is reported is the norm before."""
    events, _ = trained(still, dataclasses.replace(SHORT, max_grad_norm=1e-3))
    free, _ = trained(still, dataclasses.replace(SHORT, max_grad_norm=1e9))
    assert of(Step, events)[0].grad_norm > 1e-2
    assert of(Step, events)[0].loss == pytest.approx(of(Step, free)[0].loss, rel=0.05)
    assert of(Step, events)[-1].loss != of(Step, free)[-1].loss


# What goes wrong


def test_a_run_that_is_not_finite_ends_as_diverged(still: Path):
    events, _ = trained(still, dataclasses.replace(SHORT, learning_rate=1e30))
    assert isinstance(events[-1], Diverged)
    assert not of(Finished, events)
    assert "finite" in events[-1].reason or "nan" in events[-1].reason or "inf" in events[-1].reason
    assert events[-1].step <= 10


def test_weights_that_are_not_finite_end_as_diverged_at_once(still: Path):
    made = classifier_of(still)
    with torch.no_grad():
        made.model.classifier.bias.fill_(math.nan)
    events = list(fit(made, lesson_of(), KDConfig(), SHORT, CPU))
    assert [type(event) for event in events] == [Diverged]
    assert events[0].step == 4


def test_a_teacher_is_needed_and_must_know_the_same_classes(still: Path):
    with pytest.raises(MismatchError, match=r"alpha = 0\.5 needs a teacher, and the lesson has none"):
        trained(still, signal=None)
    with pytest.raises(MismatchError, match="the teacher knows 4 classes, the task has 3"):
        trained(still, signal=signal_for(TRAIN, 4))
    events, _ = trained(still, config=BASELINE_CONFIG, signal=None)
    assert isinstance(events[-1], Finished)
    assert {(step.soft_loss, step.kl) for step in of(Step, events)} == {(0.0, 0.0)}


def test_an_example_that_the_teacher_never_saw_is_an_error(still: Path):
    with pytest.raises(MismatchError, match="the teacher has no logits for"):
        trained(still, signal=signal_for(VALIDATION, 3))


@pytest.mark.parametrize("ends", ["finished", "abandoned"])
def test_a_run_leaves_nothing_in_the_accelerator(still: Path, ends: str):
    """A worker trains one student after another with one accelerator: none may outlive its trial."""
    made = classifier_of(still)
    events = fit(made, lesson_of(), KDConfig(), SHORT, CPU)
    next(events) if ends == "abandoned" else list(events)
    model = weakref.ref(made.model)
    events.close()
    del made, events
    gc.collect()
    assert model() is None


def test_precision_follows_the_device():
    assert CPU.mixed_precision == "no"
    assert CPU.device.type == "cpu"
    expected = "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported(False) else "no"
    assert engine.make_accelerator().mixed_precision == expected
