"""One student taught by each recipe: kdrec's engine, TextBrewer's own loop, or the `Trainer` with a published loss.

Whatever is not the recipe's own is the same: teacher, student, rows, seed, learning rate, warm-up, decay, clipping,
batches, an evaluation an epoch, fused AdamW, the grader. `user_code` counts what a user of each has to write.
"""

from __future__ import annotations

import ast
import inspect
import tempfile
import textwrap
import tomllib
from collections.abc import Callable, Sequence

import peer_losses
import recipes
import torch
import transformers
import usual
from torch.utils.data import DataLoader

from kdrec import tasks
from kdrec.studies import Study
from kdrec.trial import Bench
from kdrec.types import KDConfig, ModelCard, Training

CONFIG = KDConfig(alpha=0.5, tau_t=2.0, tau_s=2.0, scale_soft_loss="tau_t*tau_s")
"""The one objective that all of them can be asked for."""
STUDY = """
name = "benchmark-peers"
tasks = ["trec"]
students = ["tiny"]
search = "listed"
rows = {train = 500, validation = 500, test = 100}
teacher = {learning_rates = [2e-4], epochs = 3, evaluations_per_epoch = 2}
training = {epochs = 4, learning_rate = 1e-3}
configs = [{alpha = 0.5, tau_t = 2, tau_s = 2, scale_soft_loss = "tau_t*tau_s"}]
"""
"""What a user of kdrec writes."""


def study() -> Study:
    """The study of the benchmark."""
    return Study.from_dict(tomllib.loads(STUDY))


class LentLoss(transformers.Trainer):
    """A Trainer whose loss is another library's, the teacher live beside it."""

    def __init__(self, *arguments, loss: peer_losses.Loss, teacher: torch.nn.Module, **more):
        super().__init__(*arguments, **more)
        self.loss, self.teacher = loss, teacher

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Loss of a batch."""
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        with torch.no_grad():
            teacher_logits = self.teacher(**inputs).logits
        loss = self.loss(outputs.logits, teacher_logits, labels)
        return (loss, outputs) if return_outputs else loss


def laid(bench: Bench, training: Training) -> tuple:
    """Tokenised rows, the grader of the validation split, and a collator."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(bench.folder)
    layout = usual.Layout(max_length=training.max_length)
    splits = (bench.task.train, bench.task.validation)
    train, validation = (usual.lay_texts(tokenizer, split, layout) for split in splits)
    grader = tasks.grader(bench.task, bench.task.validation, validation.encoded)
    return train.features, validation.features, grader, transformers.DataCollatorWithPadding(tokenizer)


def by_trainer(bench: Bench, card: ModelCard, training: Training, loss: peer_losses.Loss) -> list[float]:
    """Validation scores, one an epoch."""
    train, validation, grader, collator = laid(bench, training)
    scores: list[float] = []

    def grade(prediction):
        scores.append(grader(prediction.predictions).score)
        return {"score": scores[-1]}

    with tempfile.TemporaryDirectory() as folder:
        trainer = LentLoss(
            model=usual.student_of(bench, card, training.seed),
            args=usual.arguments(training, usual.Layout(max_length=training.max_length), folder),
            train_dataset=train,
            eval_dataset=validation,
            data_collator=collator,
            compute_metrics=grade,
            loss=loss,
            teacher=usual.teacher_of(bench, CONFIG.teacher),
        )
        trainer.train()
    return scores


def by_textbrewer(bench: Bench, card: ModelCard, training: Training) -> list[float]:
    """Validation scores, one an epoch, by TextBrewer's distiller."""
    from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig

    train, validation, grader, collator = laid(bench, training)
    student = usual.student_of(bench, card, training.seed)
    scores: list[float] = []

    def collate(features):
        return dict(collator(features))  # it takes a dict, and no subclass of one, for named arguments

    def adaptor(batch, outputs):
        return {"logits": outputs.logits, "losses": outputs.loss}

    def grade(model, step):
        model.eval()
        with torch.no_grad():
            parts = [model(**batch).logits for batch in DataLoader(validation, batch_size=64, collate_fn=collate)]
        scores.append(grader(torch.cat(parts).numpy()).score)

    loader = DataLoader(train, batch_size=training.batch_size, shuffle=True, collate_fn=collate)
    steps = len(loader) * training.epochs
    decayed = [p for name, p in student.named_parameters() if p.ndim > 1 and "embeddings" not in name]
    spared = [p for name, p in student.named_parameters() if p.ndim == 1 or "embeddings" in name]
    groups = [{"params": decayed, "weight_decay": training.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=training.learning_rate, fused=True)
    distilled = DistillationConfig(
        temperature=CONFIG.tau_t,
        kd_loss_type="ce",
        kd_loss_weight=CONFIG.alpha * CONFIG.tau_t**2,
        hard_label_weight=1 - CONFIG.alpha,
    )
    with tempfile.TemporaryDirectory() as folder:
        trained = TrainingConfig(device="cpu", output_dir=folder, log_dir=folder)
        teacher = usual.teacher_of(bench, CONFIG.teacher)
        distiller = GeneralDistiller(trained, distilled, teacher, student, adaptor, adaptor)
        with distiller:
            distiller.train(
                optimizer,
                loader,
                num_epochs=training.epochs,
                scheduler_class=transformers.get_linear_schedule_with_warmup,
                scheduler_args={
                    "num_warmup_steps": int(steps * training.warmup_ratio),
                    "num_training_steps": steps,
                },
                max_grad_norm=training.max_grad_norm,
                callback=grade,
            )
    return scores


def run(recipe: str, bench: Bench, card: ModelCard, training: Training) -> float:
    """Best validation score of one student."""
    if recipe == "kdrec":
        return recipes.run_ours(bench, card, training, [CONFIG])[0]
    if recipe == "TextBrewer":
        return max(by_textbrewer(bench, card, training))
    return max(by_trainer(bench, card, training, peer_losses.LOSSES[recipe](CONFIG.tau_t, CONFIG.alpha)))


RECIPES = ("kdrec", *peer_losses.LOSSES)
_MODELS = (usual.lay_texts, usual._features, usual.head_of, usual.teacher_of, usual.student_of, laid)


def user_code(recipe: str) -> int:
    """Lines a user writes: of the study for kdrec, else statements of Python, docstrings and type hints left out."""
    if recipe == "kdrec":
        return len(STUDY.strip().splitlines())
    if recipe == "TextBrewer":
        return _statements((*_MODELS, by_textbrewer))
    return _statements((*_MODELS, LentLoss, usual.arguments, by_trainer, peer_losses.LOSSES[recipe]))


def _statements(written: Sequence[Callable]) -> int:
    trees = [ast.parse(textwrap.dedent(inspect.getsource(piece))) for piece in written]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    return sum(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in nodes)
