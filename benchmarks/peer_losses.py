"""Distillation losses as other libraries publish them, called through their own code and asked in kdrec's words.

`LOSSES[name](tau, alpha)` is a function of student logits, teacher logits and labels; `alpha` is kdrec's, the weight of
the teacher. All of them are asked for the same objective, with `tau^2` before the soft loss:

    (1 - alpha) CE(labels, student) + alpha tau^2 KL(teacher at tau || student at tau)

Shapes: B examples, C classes.
"""

from __future__ import annotations

import os
from collections.abc import Callable

os.environ.setdefault("KERAS_BACKEND", "torch")

import torch
import torch.nn.functional as F

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def recipe(tau: float, alpha: float) -> Loss:
    """What most tutorials write around the transformers `Trainer`."""

    def loss(student_BC, teacher_BC, labels_B):
        log_q_BC, p_BC = F.log_softmax(student_BC / tau, dim=-1), F.softmax(teacher_BC / tau, dim=-1)
        soft = F.kl_div(log_q_BC, p_BC, reduction="batchmean") * tau**2
        return (1 - alpha) * F.cross_entropy(student_BC, labels_B) + alpha * soft

    return loss


def torchdistill(tau: float, alpha: float) -> Loss:
    """`KDLoss`, whose `alpha` is the weight of the labels."""
    from torchdistill.losses.mid_level import KDLoss

    criterion = KDLoss("logits", "output", "logits", "output", temperature=tau, alpha=1 - alpha)

    def loss(student_BC, teacher_BC, labels_B):
        return criterion({"logits": {"output": student_BC}}, {"logits": {"output": teacher_BC}}, labels_B)

    return loss


def textbrewer(tau: float, alpha: float) -> Loss:
    """`kd_ce_loss`, weighted as its distillers do; `tau^2` is the caller's."""
    from textbrewer.losses import kd_ce_loss

    def loss(student_BC, teacher_BC, labels_B):
        hard = F.cross_entropy(student_BC, labels_B)
        return (1 - alpha) * hard + alpha * tau**2 * kd_ce_loss(student_BC, teacher_BC, tau)

    return loss


def keras(tau: float, alpha: float) -> Loss:
    """`LogitsDistillation` on its torch backend, given an instance of its loss, weighted as its `Distiller` does."""
    from keras.distillation import LogitsDistillation
    from keras.losses import KLDivergence

    distillation = LogitsDistillation(temperature=tau, loss=KLDivergence())

    def loss(student_BC, teacher_BC, labels_B):
        soft = distillation.compute_loss(teacher_BC, student_BC)
        return (1 - alpha) * F.cross_entropy(student_BC, labels_B) + alpha * soft

    return loss


def keras_by_default(tau: float, alpha: float) -> Loss:
    """`LogitsDistillation` with its default argument, the name of that loss: Keras 3.15.1 then takes no softmax."""
    from keras.distillation import LogitsDistillation

    distillation = LogitsDistillation(temperature=tau)

    def loss(student_BC, teacher_BC, labels_B):
        soft = distillation.compute_loss(teacher_BC, student_BC)
        return (1 - alpha) * F.cross_entropy(student_BC, labels_B) + alpha * soft

    return loss


def sentence_transformers(tau: float, alpha: float) -> Loss:
    """`DistillKLDivLoss`, a loss of ranking: its scores become logits when candidate c is the c-th unit vector."""
    from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss
    from sentence_transformers.util import pairwise_dot_score

    distillation = DistillKLDivLoss(None, similarity_fct=pairwise_dot_score, temperature=tau)

    def loss(student_BC, teacher_BC, labels_B):
        candidates = torch.eye(student_BC.shape[1], dtype=student_BC.dtype).unsqueeze(1).expand(-1, len(student_BC), -1)
        soft = distillation.compute_loss_from_embeddings([student_BC, *candidates], teacher_BC)
        return (1 - alpha) * F.cross_entropy(student_BC, labels_B) + alpha * soft

    return loss


LOSSES = {
    "HF Trainer": recipe,
    "torchdistill": torchdistill,
    "TextBrewer": textbrewer,
    "Keras": keras,
    "Keras by default": keras_by_default,
    "sentence-transformers": sentence_transformers,
}
