"""The one training loop: a generator of events on top of Accelerate; teacher and students are trained by it alike.

It prints nothing, logs nothing and decides nothing about knobs. What differs between tasks and distances is a value
handed in. A batch of the plan is one optimizer step: it is cut into micro-batches and over processes, and the loss is
divided once by the units of the whole step, so neither changes the gradient.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch.nn.parallel import DistributedDataParallel

from kdrec import batches, heads, lean
from kdrec.checkpoints import Checkpoint
from kdrec.encoder import Classifier, weights_of
from kdrec.errors import MismatchError
from kdrec.examples import runs
from kdrec.metrics import Grader
from kdrec.objective import LossSums, kd_loss
from kdrec.schedule import Ending, Schedule, least_gain
from kdrec.signals import TeacherSignal
from kdrec.stopwatch import Stopwatch
from kdrec.types import UNLABELLED, Encoded, Ints, KDConfig, Training

LOG_EVERY = 10
"""Optimizer steps per `Step` event: losses are read from the device, and looked at for NaN, once for all of them."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Means over the units of the last optimizer steps, and the learning rate of the very last.

    Every mean is over all units, though those without a label have no hard loss.
    """

    step: int
    epoch: float
    loss: float
    hard_loss: float
    soft_loss: float
    kl: float
    grad_norm: float
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The validation split, scored; while the event is held the model still has these weights."""

    step: int
    epoch: float
    score: float
    loss: float
    ece: float
    is_best: bool
    score_se: float | None = None
    """Standard error of the score in points, where the lesson's grade has one."""


@dataclass(frozen=True, kw_only=True)
class Diverged:
    """A loss or gradient was not finite; training ended here, and that is evidence."""

    step: int
    epoch: float
    reason: str
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Training ran to its end; the model has the weights of its best evaluation."""

    step: int
    best: Evaluation
    plan_hash: str
    n_tokens: int
    seconds: float
    ending: Ending
    still_improving: bool | None
    """None where its evaluations are too few to tell."""


Event = Step | Evaluation | Diverged | Finished


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """What is taught: splits, how validation is graded, the teacher's signal (None where alpha is 0), a checkpoint.

    Rows of `train` without labels (`UNLABELLED`) are taught by the signal alone. `n_classes` are the columns of the
    head: labels, or start and end of an answer.
    """

    train: Encoded
    validation: Encoded
    grade: Grader
    n_classes: int
    signal: TeacherSignal | None = None
    checkpoint: Checkpoint = field(default_factory=Checkpoint.none)


def make_accelerator(*, device: str | None = None) -> Accelerator:
    """An Accelerator whose precision follows its device: bf16 on GPUs that compute in it, fp32 elsewhere.

    Never fp16: its scaler overflows on purpose, which no one could tell from a divergence, and its state would have to
    be part of every checkpoint. Processes that torchrun started train on the CPUs where their machine has no GPU:
    Accelerate would take each of them for alone, unless told so.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    on_cpu = device == "cpu" or (several and not _has_gpus())
    on_gpu = not on_cpu and torch.cuda.is_available()
    precision = "bf16" if on_gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    return Accelerator(cpu=on_cpu, mixed_precision=precision)


def _has_gpus() -> bool:
    """Whether there are devices that several processes can share out; Apple's is one for all."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return found is not None and found.type != "mps"


def fit(
    classifier: Classifier, lesson: Lesson, config: KDConfig, training: Training, accelerator: Accelerator
) -> Iterator[Event]:
    """Train `classifier.model` on a lesson and yield what happens.

    Raises
    ------
    MismatchError
        The configuration needs a teacher and the lesson has none, or their classes differ in number; or labels alone
        teach, and the lesson has rows without.
    """
    if config.alpha == 0 and (lesson.train.labels_U == UNLABELLED).any():
        raise MismatchError("alpha = 0 learns from labels alone, and the lesson has rows without")
    if config.alpha > 0:
        if lesson.signal is None:
            raise MismatchError(f"alpha = {config.alpha:g} needs a teacher, and the lesson has none")
        n_known = lesson.signal.logits_RC.shape[1]
        if n_known != lesson.n_classes:
            raise MismatchError(f"the teacher knows {n_known} classes, the task has {lesson.n_classes}")
    try:
        yield from _Loop(classifier, lesson, config, training, accelerator).run()
    finally:
        accelerator.free_memory()  # else it would hold every model and optimizer that it ever prepared


class _Loop:
    """State of one training run; methods are the stages of a step."""

    def __init__(
        self, classifier: Classifier, lesson: Lesson, config: KDConfig, training: Training, accelerator: Accelerator
    ) -> None:
        self.classifier, self.lesson, self.config, self.training = classifier, lesson, config, training
        self.accelerator = accelerator
        self.steps_per_epoch = max(1, -(-len(lesson.train) // training.batch_size))
        gain = least_gain(len(lesson.validation))
        self.schedule = Schedule(training=training, steps_per_epoch=self.steps_per_epoch, least_gain=gain)
        self.plan = batches.plan(
            lesson.train.lengths_N, training.batch_size, n_steps=self.schedule.most_steps, seed=training.seed
        )
        optimizer = torch.optim.AdamW(
            _decay_groups(classifier.model, training.weight_decay), lr=training.learning_rate, fused=True
        )
        self.model, self.optimizer = accelerator.prepare(classifier.model, optimizer)
        self.step, self.n_tokens = 0, 0
        self.best: Evaluation | None = None
        self.best_weights: dict[str, torch.Tensor] = {}
        self.sums: list[tuple[torch.Tensor, ...]] = []
        self.scores: list[float] = []

    def run(self) -> Iterator[Event]:
        torch.manual_seed(self.training.seed * 1009 + self.accelerator.process_index)
        self.watch = Stopwatch()
        self._resume()
        while self.step < self.schedule.last_step:
            self.sums.append(self._optimize(self.plan[self.step]))
            self.step += 1
            self.watch.lap()
            evaluate = self.schedule.evaluates(self.step)
            if len(self.sums) == LOG_EVERY or evaluate:
                event = self._report()
                yield event
                if isinstance(event, Diverged):
                    return
            if evaluate:
                evaluation = self._evaluate()
                yield evaluation
                if isinstance(evaluation, Diverged):
                    return
                self._note(evaluation)
                self._save()
        assert self.best is not None, "the last step of a plan is always evaluated"
        self.accelerator.unwrap_model(self.model).load_state_dict(self.best_weights)
        yield Finished(
            step=self.step,
            best=self.best,
            plan_hash=batches.plan_hash(self.plan[: self.step], self.lesson.train.ids_N),
            n_tokens=self.n_tokens,
            seconds=self.watch.lap(),
            ending=self.schedule.ending,
            still_improving=self.schedule.still_improving(self.scores),
        )

    def _note(self, evaluation: Evaluation) -> None:
        """Tell the schedule; a run that begins to cool down goes back to its best weights, before it overfitted."""
        self.scores.append(evaluation.score)
        if self.schedule.saw(evaluation.step, evaluation.score, evaluation.loss):
            self.accelerator.unwrap_model(self.model).load_state_dict(self.best_weights)

    @property
    def epoch(self) -> float:
        return self.step / self.steps_per_epoch

    def _optimize(self, rows_B: Ints) -> tuple[torch.Tensor, ...]:
        """One optimizer step over the examples `rows_B`, cut over processes and micro-batches."""
        self.model.train()
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        units = max(1, int(self.lesson.train.units_N[rows_B].sum()))  # no word of these rows may have become a token
        mine = np.array_split(rows_B, world)[rank]
        # Gradients are exchanged by all processes: one without a share of a short batch computes, and counts, nothing.
        share = 1.0 if len(mine) else 0.0
        mine = mine if len(mine) else rows_B[:1]
        micro = [part for part in np.array_split(mine, self.training.gradient_accumulation_steps) if len(part)]
        total = [torch.zeros((), device=self.accelerator.device) for _ in range(4)]
        for at, rows in enumerate(micro):
            with _sync(self.accelerator, self.model, last=at == len(micro) - 1):
                losses = self._losses(rows)
                # DDP averages gradients over processes; the factor turns its mean back into the step's sum.
                self.accelerator.backward(losses.total * (share * world / units))
            for slot, value in zip(total, losses[:4], strict=True):
                slot += share * value.detach()
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.training.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate(self.step)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.n_tokens += int(self.lesson.train.lengths_N[rows_B].sum())
        means = [value / units for value in total]
        return (*means, torch.as_tensor(norm, device=means[0].device))

    def _losses(self, rows: Ints) -> LossSums:
        signal = self.lesson.signal if self.config.alpha > 0 else None
        batch = batches.collate(
            self.lesson.train,
            rows,
            pad_id=self.classifier.pad_id,
            vocabulary_V=self.classifier.vocabulary_V,
            signal=signal,
        )
        batch = batch.to(self.accelerator.device)
        places_R = lean.aim(self.classifier.model, batch.counts_B, batch.places_R)
        with self.accelerator.autocast():
            logits = heads.logits_of(self.model(**batch.inputs()))
        student_RC = heads.at_places(logits, batch.counts_B, places_R)
        reading, weight = self.lesson.train.reading, self.training.transfer_weight
        if reading is None or reading.axis == "classes":
            return kd_loss(student_RC, batch.teacher_RC, batch.labels_U, self.config, None, weight)
        assert batch.counts_B is not None, "a split that is read at places makes batches that are"
        student_UC, inside_UC = heads.over_positions(student_RC, batch.counts_B)
        teacher_UC = None if batch.teacher_RC is None else heads.over_positions(batch.teacher_RC, batch.counts_B)[0]
        return kd_loss(student_UC, teacher_UC, batch.labels_U, self.config, inside_UC, weight)

    def _report(self) -> Step | Diverged:
        means = torch.stack([torch.stack(parts) for parts in self.sums])
        means[:, :4] = self.accelerator.reduce(means[:, :4].contiguous(), "sum")
        self.sums = []
        loss, hard, soft, kl, norm = (float(value) for value in means.double().mean(dim=0))
        if not all(math.isfinite(value) for value in (loss, hard, soft, kl, norm)):
            return self._diverged(f"training loss {loss}, gradient norm {norm}")
        return Step(
            step=self.step,
            epoch=self.epoch,
            loss=loss,
            hard_loss=hard,
            soft_loss=soft,
            kl=kl,
            grad_norm=norm,
            learning_rate=self.schedule.learning_rate(self.step - 1),
        )

    def _diverged(self, reason: str) -> Diverged:
        return Diverged(step=self.step, epoch=self.epoch, reason=reason, seconds=self.watch.lap())

    def _evaluate(self) -> Evaluation | Diverged:
        logits_RC = predict(self.model, self.classifier, self.lesson.validation, self.accelerator)
        if not np.isfinite(logits_RC).all():
            return self._diverged("validation logits are not finite")
        grade = self.lesson.grade(logits_RC)
        is_best = self.best is None or (grade.score, -grade.loss) > (self.best.score, -self.best.loss)
        event = Evaluation(
            step=self.step,
            epoch=self.epoch,
            score=grade.score,
            loss=grade.loss,
            ece=grade.ece,
            is_best=is_best,
            score_se=grade.score_se,
        )
        if is_best:
            self.best, self.best_weights = event, weights_of(self.accelerator.unwrap_model(self.model))
        return event

    def _save(self) -> None:
        if not self.lesson.checkpoint.due() or not self.accelerator.is_main_process:
            return
        if self.step == self.schedule.last_step:
            return
        assert self.best is not None, "a checkpoint follows an evaluation"
        self.lesson.checkpoint.save(
            model=weights_of(self.accelerator.unwrap_model(self.model)),
            best=self.best_weights,
            optimizer=self.optimizer.state_dict(),
            progress={
                "step": self.step,
                "n_tokens": self.n_tokens,
                "seconds": self.watch.lap(),
                "best": vars(self.best),
                "scores": self.scores,
                "schedule": self.schedule.state(),
                "plan": batches.plan_hash(self.plan, self.lesson.train.ids_N),
            },
        )

    def _resume(self) -> None:
        state = self.lesson.checkpoint.load()
        mine = state is not None and state.progress["plan"] == batches.plan_hash(self.plan, self.lesson.train.ids_N)
        if not self._agreed(mine):
            return
        assert state is not None, "this process agreed"
        self.accelerator.unwrap_model(self.model).load_state_dict(state.model)
        self.optimizer.load_state_dict(state.optimizer)
        self.best, self.best_weights = Evaluation(**state.progress["best"]), state.best
        self.step, self.n_tokens = state.progress["step"], state.progress["n_tokens"]
        self.watch, self.scores = Stopwatch(state.progress["seconds"]), state.progress["scores"]
        self.schedule.restore(state.progress["schedule"])
        if self.accelerator.num_processes == 1:
            state.restore_rng()
        else:  # each process draws its own dropout: after a resume, from a stream that no step before has used
            torch.manual_seed((self.training.seed * 1009 + self.step) * 1009 + self.accelerator.process_index)

    def _agreed(self, found: bool) -> bool:
        """Whether every process found it: one that went on while another starts over would never meet it again."""
        if self.accelerator.num_processes == 1:
            return found
        votes = self.accelerator.reduce(torch.tensor([float(found)], device=self.accelerator.device), "sum")
        return int(votes) == int(self.accelerator.num_processes)


def predict(model: Any, classifier: Classifier, split: Encoded, accelerator: Accelerator) -> npt.NDArray[np.float32]:
    """Logits (R, C) in fp32 at every place of `split`, in its order, in eval mode and without gradients.

    Without a `Reading` an example has one place, and R is N. `model` is `classifier.model`, prepared by `accelerator`
    or not. Processes share the batches; every one returns all rows.
    """
    was_training = model.training
    model.eval()
    unwrapped, device = accelerator.unwrap_model(model), accelerator.device
    ends_N1 = np.arange(len(split) + 1) if split.reading is None else split.reading.offsets_N1
    logits_RC = torch.zeros(int(ends_N1[-1]), unwrapped.config.num_labels, device=device)
    shares = list(batches.evaluation_batches(split.lengths_N))[accelerator.process_index :: accelerator.num_processes]
    with torch.inference_mode():
        for rows in shares:
            batch = batches.collate(split, rows, pad_id=classifier.pad_id, vocabulary_V=classifier.vocabulary_V)
            batch = batch.to(device)
            places_R = lean.aim(unwrapped, batch.counts_B, batch.places_R)
            logits = heads.logits_of(unwrapped(**batch.inputs()))
            at_R = torch.from_numpy(runs(ends_N1[rows], ends_N1[rows + 1] - ends_N1[rows])).to(device)
            logits_RC[at_R] = heads.at_places(logits, batch.counts_B, places_R).float()
    if accelerator.num_processes > 1:
        logits_RC = accelerator.reduce(logits_RC, "sum")
    model.train(was_training)
    result: npt.NDArray[np.float32] = logits_RC.cpu().numpy()
    return result


def _sync(accelerator: Accelerator, model: Any, *, last: bool) -> Any:
    """Exchange gradients between processes with the last micro-batch only."""
    return nullcontext() if last or not isinstance(model, DistributedDataParallel) else accelerator.no_sync(model)


def _decay_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices of linear layers only (`lean` relies on embeddings having none)."""
    decayed: list[Any] = []
    kept: list[Any] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            is_matrix = name == "weight" and isinstance(module, torch.nn.Linear)
            (decayed if is_matrix else kept).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
