"""L_KD, and nothing else: pure functions of logits, labels and knobs.

The objective is that of Sultan et al. (2024), arXiv 2401.06356:

    L_KD = (1 - alpha) L1(q, p^s) + alpha L2(o^t_{tau_t}, o^s_{tau_s})

A unit whose label nobody knows (`UNLABELLED`) has no L1: its loss is w L2, with w = 1 unless a training says otherwise,
whatever alpha above 0 is. The mean is over all units, with and without a label; with alpha = 0 labelled units alone are
seen.

Losses are returned as *sums* over units (examples, or labelled tokens) next to the number of units, because only the
caller knows how many units an optimizer step holds over all its micro-batches and processes: the division is his, once,
and so 4 x 4 accumulated examples give the gradient of 16.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from kdrec.errors import MismatchError
from kdrec.examples import UNLABELLED
from kdrec.types import KDConfig

IGNORED_LABEL = -100
"""A unit with this label (padding, a continuation piece) is in neither loss."""


class LossSums(NamedTuple):
    """Sums over the units of a batch, each a scalar tensor; `total` carries the gradient."""

    total: torch.Tensor
    hard: torch.Tensor
    """L1 of the units that have a label."""
    soft: torch.Tensor
    """L2 of all units, unweighted."""
    kl: torch.Tensor
    """KL(teacher || student) of the softened distributions: the soft `ce` without the teacher's own entropy."""
    units: int


def kd_loss(
    student_UC: torch.Tensor,
    teacher_UC: torch.Tensor | None,
    labels_U: torch.Tensor,
    config: KDConfig,
    inside_UC: torch.Tensor | None = None,
    transfer_weight: float = 1.0,
) -> LossSums:
    """Sum ``(1 - alpha) L1 + alpha L2`` over the labelled units of a batch, and ``w L2`` over those without a label.

    Parameters
    ----------
    student_UC : torch.Tensor
        Student logits of U units (examples, or tokens) over C classes.
    teacher_UC : torch.Tensor or None
        Teacher logits of the same units; None only where ``alpha == 0``.
    labels_U : torch.Tensor
        Label indices; `IGNORED_LABEL` leaves a unit out of both losses, `UNLABELLED` out of the first, and out of both
        where ``alpha == 0``.
    config : KDConfig
        The knobs.
    inside_UC : torch.Tensor, optional
        Which classes a unit has, where they differ in number (places of a window): the rest is padding, in no softmax
        and no mean. Default: all.
    transfer_weight : float
        The w above.

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
    alone = config.alpha == 0 or teacher_UC is None
    keep_U = labels_U >= 0 if alone else labels_U != IGNORED_LABEL
    labels_U = labels_U[keep_U]
    inside_UC = None if inside_UC is None else inside_UC[keep_U]
    # Half precision is widened, float64 stays as it is.
    student_UC = student_UC[keep_U].to(torch.promote_types(student_UC.dtype, torch.float32))
    hard = F.nll_loss(_log_softmax(student_UC, 1.0, inside_UC), labels_U, reduction="sum", ignore_index=UNLABELLED)
    if alone:
        zero = torch.zeros_like(hard)
        return LossSums(total=hard, hard=hard, soft=zero, kl=zero, units=len(labels_U))
    assert teacher_UC is not None, "checked above"
    teacher_UC = teacher_UC[keep_U].to(student_UC.dtype)
    distance = _mse if config.distance == "mse" else _ce
    soft_U, kl = distance(student_UC, teacher_UC, config, inside_UC)
    # no boolean index: it would wait for a GPU
    weights_U = torch.full_like(soft_U, config.alpha).masked_fill(labels_U == UNLABELLED, transfer_weight)
    total = (1 - config.alpha) * hard + (weights_U * soft_U).sum()
    return LossSums(total=total, hard=hard, soft=soft_U.sum(), kl=kl, units=len(labels_U))


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
    """Cross-entropy of softened distributions (Hinton et al. 2015, eq. 2) of each unit, scaled where asked for.

    Beside it the sum of unscaled KL.
    """
    log_p_UC = _log_softmax(teacher_UC, config.tau_t, inside_UC)
    log_q_UC = _log_softmax(student_UC, config.tau_s, inside_UC)
    p_UC = _mass(log_p_UC, inside_UC)
    factor = config.tau_t * config.tau_s if config.scale_soft_loss == "tau_t*tau_s" else 1.0
    cross_entropy_U = -factor * (p_UC * log_q_UC).sum(dim=-1)
    kl = (p_UC * (log_p_UC - log_q_UC)).sum()
    return cross_entropy_U, kl.detach()


def _mse(
    student_UC: torch.Tensor, teacher_UC: torch.Tensor, config: KDConfig, inside_UC: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean over classes of squared differences of raw logits (Kim et al. 2021) of each unit, and KL at temperature 1.

    The mean keeps the size of the loss independent of the number of classes, as `torch.nn.MSELoss` does.
    """
    squared_UC = (student_UC - teacher_UC).square()
    if inside_UC is None:
        squared_U = squared_UC.mean(dim=-1)
    else:
        squared_U = (squared_UC * inside_UC).sum(dim=-1) / inside_UC.sum(dim=-1)
    with torch.no_grad():
        log_p_UC, log_q_UC = (_log_softmax(logits, 1.0, inside_UC) for logits in (teacher_UC, student_UC))
        kl = (_mass(log_p_UC, inside_UC) * (log_p_UC - log_q_UC)).sum()
    return squared_U, kl
