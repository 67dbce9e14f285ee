"""L_KD, and nothing else: pure functions of logits, labels and knobs.

The objective is that of Sultan et al. (2024), arXiv 2401.06356:

    L_KD = (1 - alpha) L1(q, p^s) + alpha L2(o^t_{tau_t}, o^s_{tau_s})

Losses are returned as *sums* over units (examples, or labelled tokens) next to the number of units, because only the
caller knows how many units an optimizer step holds over all its micro-batches and processes: the division is his, once,
and so 4 x 4 accumulated examples give the gradient of 16.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from kdrec.errors import MismatchError
from kdrec.types import KDConfig

IGNORED_LABEL = -100
"""A unit with this label (padding, a continuation piece) is in neither loss."""


class LossSums(NamedTuple):
    """Sums over the units of a batch, each a scalar tensor; `total` carries the gradient."""

    total: torch.Tensor
    hard: torch.Tensor
    soft: torch.Tensor
    kl: torch.Tensor
    """KL(teacher || student) of the softened distributions: the soft `ce` without the teacher's own entropy."""
    units: int


def kd_loss(
    student_UC: torch.Tensor,
    teacher_UC: torch.Tensor | None,
    labels_U: torch.Tensor,
    config: KDConfig,
    inside_UC: torch.Tensor | None = None,
) -> LossSums:
    """Sum ``(1 - alpha) L1 + alpha L2`` over the units of a batch.

    Parameters
    ----------
    student_UC : torch.Tensor
        Student logits of U units (examples, or tokens) over C classes.
    teacher_UC : torch.Tensor or None
        Teacher logits of the same units; None only where ``alpha == 0``.
    labels_U : torch.Tensor
        Label indices; `IGNORED_LABEL` leaves a unit out of both losses.
    config : KDConfig
        The knobs.
    inside_UC : torch.Tensor, optional
        Which classes a unit has, where they differ in number (places of a window): the rest is padding, in no softmax
        and no mean. Default: all.

    Returns
    -------
    LossSums
        Sums over the units that count, in nats (`mse`: squared logits, averaged over a unit's classes).

    Raises
    ------
    MismatchError
        The teacher's logits are missing, or a shape does not fit the student's logits.
    """
    if student_UC.ndim != 2 or labels_U.shape != student_UC.shape[:1]:
        raise MismatchError(
            f"a loss needs logits of shape (units, classes) and one label a unit, got {tuple(student_UC.shape)} "
            f"and {tuple(labels_U.shape)}"
        )
    if config.alpha > 0 and (teacher_UC is None or teacher_UC.shape != student_UC.shape):
        came = "none" if teacher_UC is None else str(tuple(teacher_UC.shape))
        raise MismatchError(f"distillation needs teacher logits of shape {tuple(student_UC.shape)}, got {came}")
    keep_U = labels_U != IGNORED_LABEL
    labels_U = labels_U[keep_U]
    inside_UC = None if inside_UC is None else inside_UC[keep_U]
    # Half precision is widened, float64 stays as it is.
    student_UC = student_UC[keep_U].to(torch.promote_types(student_UC.dtype, torch.float32))
    hard = F.nll_loss(_log_softmax(student_UC, 1.0, inside_UC), labels_U, reduction="sum")
    if config.alpha == 0 or teacher_UC is None:
        zero = torch.zeros_like(hard)
        return LossSums(total=hard, hard=hard, soft=zero, kl=zero, units=len(labels_U))
    teacher_UC = teacher_UC[keep_U].to(student_UC.dtype)
    distance = _mse if config.distance == "mse" else _ce
    soft, kl = distance(student_UC, teacher_UC, config, inside_UC)
    total = (1 - config.alpha) * hard + config.alpha * soft
    return LossSums(total=total, hard=hard, soft=soft, kl=kl, units=len(labels_U))


def _log_softmax(logits_UC: torch.Tensor, tau: float, inside_UC: torch.Tensor | None) -> torch.Tensor:
    """Log-probabilities at a temperature; padding has no mass, and stands as 0, so that sums of products pass it by."""
    if inside_UC is None:
        return F.log_softmax(logits_UC / tau, dim=-1)
    masked_UC = (logits_UC / tau).masked_fill(~inside_UC, -torch.inf)
    return F.log_softmax(masked_UC, dim=-1).masked_fill(~inside_UC, 0.0)


def _mass(log_p_UC: torch.Tensor, inside_UC: torch.Tensor | None) -> torch.Tensor:
    return log_p_UC.exp() if inside_UC is None else log_p_UC.exp() * inside_UC


def _ce(
    student_UC: torch.Tensor, teacher_UC: torch.Tensor, config: KDConfig, inside_UC: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of softened distributions (Hinton et al. 2015, eq. 2), scaled where asked for, and unscaled KL."""
    log_p_UC = _log_softmax(teacher_UC, config.tau_t, inside_UC)
    log_q_UC = _log_softmax(student_UC, config.tau_s, inside_UC)
    p_UC = _mass(log_p_UC, inside_UC)
    factor = config.tau_t * config.tau_s if config.scale_soft_loss == "tau_t*tau_s" else 1.0
    cross_entropy = -factor * (p_UC * log_q_UC).sum()
    kl = (p_UC * (log_p_UC - log_q_UC)).sum()
    return cross_entropy, kl.detach()


def _mse(
    student_UC: torch.Tensor, teacher_UC: torch.Tensor, config: KDConfig, inside_UC: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean over classes of squared differences of raw logits (Kim et al. 2021), and KL at temperature 1.

    The mean keeps the size of the loss independent of the number of classes, as `torch.nn.MSELoss` does.
    """
    squared_UC = (student_UC - teacher_UC).square()
    if inside_UC is None:
        squared = squared_UC.mean(dim=-1).sum()
    else:
        squared = ((squared_UC * inside_UC).sum(dim=-1) / inside_UC.sum(dim=-1)).sum()
    with torch.no_grad():
        log_p_UC, log_q_UC = (_log_softmax(logits, 1.0, inside_UC) for logits in (teacher_UC, student_UC))
        kl = (_mass(log_p_UC, inside_UC) * (log_p_UC - log_q_UC)).sum()
    return squared, kl
