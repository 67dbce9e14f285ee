"""The usual recipe: a subclass of the transformers `Trainer` with its own loss, for the heads of all four families.

The teacher is in the loop, in eval mode and without gradients. Rows are tokenised as in transformers' own example
scripts (`run_glue.py`, `run_ner.py`, `run_qa.py`); labels are -100 where a word goes on, and a long context becomes
windows. Hard losses are those of transformers' models; soft ones are over classes, labelled words, or positions that
are no padding, as means over start and end. Scores are kdrec's: `tasks.grader` reads the logits of the Trainer's own
windows and words.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file

from kdrec import tasks
from kdrec.encoder import HEADS
from kdrec.examples import Encoded, Reading, Split, offsets_of
from kdrec.heads import logits_of
from kdrec.tasks.family import family
from kdrec.tasks.qa import NOWHERE, Span, answers_of
from kdrec.trial import Bench
from kdrec.types import KDConfig, ModelCard, Training

IGNORED = -100


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How rows become examples: at most `max_length` tokens, padded to it or (dynamically) to the longest of a batch.

    Windows of one context share a third of `max_length` (`run_qa.py`: 128 of 384).
    """

    max_length: int
    to_max_length: bool = False
    evaluation_batch_size: int = 64

    def arguments(self) -> dict[str, Any]:
        """Of a call of the tokenizer."""
        return {"max_length": self.max_length, "padding": "max_length" if self.to_max_length else False}


@dataclass(frozen=True, kw_only=True)
class Laid:
    """Rows as a Trainer takes them, and as a grader of kdrec reads their logits."""

    features: list[dict[str, Any]]
    encoded: Encoded


class DistillationTrainer(transformers.Trainer):
    """A Trainer whose loss asks the teacher, live, about every batch."""

    config: KDConfig
    teacher: torch.nn.Module

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Hard and soft loss of a batch, means over its units."""
        labels = take_labels(inputs)
        outputs = model(**inputs)
        with torch.no_grad():
            teacher_logits = logits_of(self.teacher(**inputs))
        student_UC, teacher_UC, labels_U, inside_UC = units(logits_of(outputs), teacher_logits, labels, inputs)
        hard = F.cross_entropy(student_UC, labels_U)
        soft = soft_loss(student_UC, teacher_UC, inside_UC, self.config)
        loss = (1 - self.config.alpha) * hard + self.config.alpha * soft
        return (loss, outputs) if return_outputs else loss

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """Logits of the student alone."""
        labels = take_labels(inputs)
        with torch.no_grad():
            return None, logits_of(model(**inputs)), labels


def take_labels(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Take the labels out of a batch: (B,) classes, (B, L) tags, or (B, 2) starts and ends."""
    if "labels" in inputs:
        return inputs.pop("labels")
    return torch.stack((inputs.pop("start_positions"), inputs.pop("end_positions")), dim=-1)


def units(
    student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, inputs: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Logits (U, C) of student and teacher, labels (U,), and which classes are no padding (None: all)."""
    if student.ndim == 2:
        return student, teacher, labels, None
    if labels.shape == student.shape[:2]:
        kept = labels != IGNORED
        return student[kept], teacher[kept], labels[kept], None
    student_UL, teacher_UL = (logits.transpose(1, 2).flatten(0, 1) for logits in (student, teacher))
    return student_UL, teacher_UL, labels.flatten(), inputs["attention_mask"].bool().repeat_interleave(2, dim=0)


def soft_loss(
    student_UC: torch.Tensor, teacher_UC: torch.Tensor, inside_UC: torch.Tensor | None, config: KDConfig
) -> torch.Tensor:
    """Squared difference of logits, or Kullback-Leibler divergence at the temperatures; a mean over units."""
    if config.distance == "mse":
        squared_UC = F.mse_loss(student_UC, teacher_UC, reduction="none")
        if inside_UC is None:
            return squared_UC.mean()
        return ((squared_UC * inside_UC).sum(dim=-1) / inside_UC.sum(dim=-1)).mean()
    student_UC, teacher_UC = student_UC / config.tau_s, teacher_UC / config.tau_t
    if inside_UC is not None:
        least = torch.finfo(student_UC.dtype).min
        student_UC, teacher_UC = (logits.masked_fill(~inside_UC, least) for logits in (student_UC, teacher_UC))
    return F.kl_div(F.log_softmax(student_UC, dim=-1), F.softmax(teacher_UC, dim=-1), reduction="batchmean")


def lay_texts(tokenizer: Any, split: Split, layout: Layout) -> Laid:
    """One text or two, a class each row."""
    columns = [list(column) for column in zip(*split.texts, strict=True)]
    made = tokenizer(*columns, truncation=True, **layout.arguments())
    labels = split.labels_U.tolist()
    return Laid(features=_features(made, labels=labels), encoded=_graded(labels, None))


def lay_words(tokenizer: Any, split: Split, layout: Layout) -> Laid:
    """Words, a tag at the first piece of each."""
    words = [list(texts) for texts in split.texts]
    made = tokenizer(words, is_split_into_words=True, truncation=True, **layout.arguments())
    firsts = [_first_pieces(made.word_ids(row)) for row in range(len(split))]
    labels = []
    for row, first in enumerate(firsts):
        tags = split.labels_of(row)
        labels.append([int(tags[first[at]]) if at in first else IGNORED for at in range(len(made["input_ids"][row]))])
    reading = _reading(
        "classes", range(len(split)), [[(at, (word, word + 1)) for at, word in first.items()] for first in firsts]
    )
    kept = [label for row in labels for label in row if label != IGNORED]
    return Laid(features=_features(made, labels=labels), encoded=_graded(kept, reading))


def lay_windows(tokenizer: Any, split: Split, layout: Layout) -> Laid:
    """A question and windows of its context, the positions of the first answer in each, or the first position."""
    made = tokenizer(
        [question.lstrip() for question, _ in split.texts],
        [context for _, context in split.texts],
        truncation="only_second",
        stride=layout.max_length // 3,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        **layout.arguments(),
    )
    rows, offsets = made.pop("overflow_to_sample_mapping"), made.pop("offset_mapping")
    places: list[list[tuple[int, Span]]] = []
    spans: list[Span] = []
    for window, row in enumerate(rows):
        context = [at for at, text in enumerate(made.sequence_ids(window)) if text == 1]
        places.append([(0, NOWHERE), *((at, tuple(offsets[window][at])) for at in context)])
        spans.append(_answer_at(places[-1], answers_of(split, row)[:1]))
    at_place = [{at: place for place, (at, _) in enumerate(window)} for window in places]
    labels = [at_place[window][at] for window, span in enumerate(spans) for at in span]
    starts, ends = zip(*spans, strict=True)
    return Laid(
        features=_features(made, start_positions=starts, end_positions=ends),
        encoded=_graded(labels, _reading("positions", rows, places)),
    )


LAY = {"sentence": lay_texts, "pair": lay_texts, "tokens": lay_words, "qa": lay_windows}


def _first_pieces(word_ids: Sequence[int | None]) -> dict[int, int]:
    """Word by the position of its first piece."""
    before = [None, *word_ids]
    return {at: word for at, word in enumerate(word_ids) if word is not None and word != before[at]}


def _answer_at(places: Sequence[tuple[int, Span]], answers: Sequence[Span]) -> Span:
    """Positions of first and last token of the answer, the first position where the window does not hold all of it."""
    for start, end in answers:
        context = places[1:]
        if context and context[0][1][0] <= start and end <= context[-1][1][1]:
            inside = [at for at, (begins, ends) in context if ends > start and begins < end]
            return inside[0], inside[-1]
    return 0, 0


def _features(made: Any, **labels: Sequence[Any]) -> list[dict[str, Any]]:
    columns = {**made, **labels}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _reading(axis: Any, rows: Sequence[int], places: Sequence[Sequence[tuple[int, Span]]]) -> Reading:
    flat = [place for some in places for place in some]
    return Reading(
        axis=axis,
        places_R=np.array([at for at, _ in flat], dtype=np.int64),
        offsets_N1=offsets_of(np.array([len(some) for some in places])),
        rows_N=np.array(rows, dtype=np.int64),
        origin_R2=np.array([origin for _, origin in flat], dtype=np.int64),
    )


def _graded(labels: Sequence[int], reading: Reading | None) -> Encoded:
    """What a grader asks of a tokenised split: labels and places, and no tokens."""
    n_examples = len(labels) if reading is None else len(reading.rows_N)
    return Encoded(
        input_ids_T=np.zeros(0, dtype=np.int32),
        token_type_ids_T=None,
        offsets_N1=np.zeros(n_examples + 1, dtype=np.int64),
        labels_U=np.array(labels, dtype=np.int64),
        ids_N=np.arange(n_examples),
        n_truncated=0,
        fingerprint="usual",
        reading=reading,
    )


def at_places(logits: np.ndarray, encoded: Encoded) -> np.ndarray:
    """Logits (R, C) at the places of a split, of (N, C) or (N, L, C)."""
    reading = encoded.reading
    if reading is None:
        return logits
    return logits[np.repeat(np.arange(len(encoded)), reading.counts_N), reading.places_R]


def collator(name: str, tokenizer: Any, layout: Layout) -> Any:
    """As the script of the family has it."""
    if name == "tokens":
        return transformers.DataCollatorForTokenClassification(tokenizer)
    return (
        transformers.default_data_collator if layout.to_max_length else transformers.DataCollatorWithPadding(tokenizer)
    )


def head_of(bench: Bench) -> Any:
    """A fresh model of the task's head on the pretrained encoder."""
    head = HEADS[family(bench.task.family).head]
    return head.from_pretrained(bench.folder, num_labels=len(bench.task.labels))


def teacher_of(bench: Bench, choice: str) -> torch.nn.Module:
    """The fine-tuned teacher."""
    model = head_of(bench)
    model.load_state_dict(load_file(bench.teacher.weights(choice)))
    return model.eval()


def student_of(bench: Bench, card: ModelCard, seed: int) -> torch.nn.Module:
    """The student, cut from the pretrained encoder."""
    transformers.set_seed(seed)
    model = head_of(bench)
    layers = model.base_model.encoder.layer
    model.base_model.encoder.layer = torch.nn.ModuleList([layers[i] for i in card.layers])
    model.config.num_hidden_layers = len(card.layers)
    return model


def arguments(training: Training, layout: Layout, folder: str | Path) -> transformers.TrainingArguments:
    """The same learning rate, warm-up, decay, clipping, batches and evaluations as ours."""
    return transformers.TrainingArguments(
        output_dir=str(folder),
        learning_rate=training.learning_rate,
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch_size,
        per_device_eval_batch_size=layout.evaluation_batch_size,
        warmup_steps=training.warmup_ratio,
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        lr_scheduler_type="linear",
        optim="adamw_torch_fused",
        eval_strategy="epoch",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        use_cpu=True,
        seed=training.seed,
        disable_tqdm=True,
    )


def run(bench: Bench, card: ModelCard, training: Training, configs: Sequence[KDConfig], layout: Layout) -> list[float]:
    """Best validation score of each configuration by the Trainer."""
    task = bench.task
    tokenizer = transformers.AutoTokenizer.from_pretrained(bench.folder)
    train, validation = (LAY[task.family](tokenizer, split, layout) for split in (task.train, task.validation))
    grader = tasks.grader(task, task.validation, validation.encoded)
    teachers = {choice: teacher_of(bench, choice) for choice in ("t_ll", "t_hs")}
    scores = []
    for config in configs:
        seen: list[float] = []

        def grade(prediction, seen=seen):
            seen.append(grader(at_places(prediction.predictions, validation.encoded)).score)
            return {"score": seen[-1]}

        with tempfile.TemporaryDirectory() as folder:
            trainer = DistillationTrainer(
                model=student_of(bench, card, training.seed),
                args=arguments(training, layout, folder),
                train_dataset=train.features,
                eval_dataset=validation.features,
                data_collator=collator(task.family, tokenizer, layout),
                compute_metrics=grade,
            )
            trainer.config, trainer.teacher = config, teachers[config.teacher]
            trainer.train()
        scores.append(max(seen))
    return scores
