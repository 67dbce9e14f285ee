"""Each published distillation loss beside kdrec's, on the same logits: do values and gradients agree, and if not, why.

Called are the packages themselves, in float64 (Keras counts in float32). `difference` is the largest of |theirs - ours|
over all values and gradients (gradients times the number of units, so that both are of one size); values compare KL,
because ours reports the teacher's own entropy with the cross-entropy, and a constant moves no gradient. `factor` is
theirs over ours where they are in one proportion.

Shapes: U units, C classes; B texts of L words.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import peer_losses
import torch
import torch.nn.functional as F

from kdrec.objective import IGNORED_LABEL, kd_loss
from kdrec.types import KDConfig

TEMPERATURES = (1.0, 2.0, 4.0)
CLASSES = (2, 6, 50)
BOUND = 1e-6
EQUAL = {"common", "no_factor", "mse1", "words_masked"}
"""Questions in which definitions are the same; in all others they are known to differ."""
Made = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One question and its answer."""

    library: str
    what: str
    difference: float
    factor: float | None = None

    @property
    def agrees(self) -> bool:
        """To the bound."""
        return self.difference <= BOUND


def made(n_classes: int, dtype: torch.dtype = torch.float64, size: float = 2.0) -> Made:
    """Logits of student and teacher for sixteen units, and labels."""
    source = torch.Generator().manual_seed(n_classes)
    student_UC, teacher_UC = (size * torch.randn(16, n_classes, generator=source, dtype=dtype) for _ in range(2))
    return student_UC.requires_grad_(), teacher_UC, torch.randint(n_classes, (16,), generator=source)


def ours(config: KDConfig) -> peer_losses.Loss:
    """Our loss as a mean over units, with KL in the place of the cross-entropy: the same gradient."""

    def loss(student_UC, teacher_UC, labels_U):
        sums = kd_loss(student_UC, teacher_UC, labels_U, config)
        entropy = 0.0 if config.distance == "mse" else sums.soft.detach() - _factor(config) * sums.kl
        return (sums.total - config.alpha * entropy) / sums.units

    return loss


def _factor(config: KDConfig) -> float:
    return config.tau_t * config.tau_s if config.scale_soft_loss == "tau_t*tau_s" else 1.0


def gradient(loss: peer_losses.Loss, data: Made) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and gradient to the student's logits, times the number of units."""
    value = loss(*data)
    return value.detach(), torch.autograd.grad(value, data[0])[0] * len(data[2])


def apart(theirs: peer_losses.Loss, mine: peer_losses.Loss, data: Made, *, values: bool = True) -> float:
    """Largest difference of gradients and, unless a constant stands between them, of values."""
    (value, slope), (own, own_slope) = gradient(theirs, data), gradient(mine, data)
    found = float((slope - own_slope).abs().max())
    return max(found, float((value - own).abs())) if values else found


def proportion(theirs: peer_losses.Loss, mine: peer_losses.Loss, data: Made) -> float | None:
    """Theirs over ours, if one number says it."""
    slope, own = gradient(theirs, data)[1], gradient(mine, data)[1]
    factor = float((slope * own).sum() / own.square().sum())
    return factor if float((slope - factor * own).abs().max()) <= BOUND * max(1.0, abs(factor)) else None


def rows() -> Iterator[dict[str, Any]]:
    """All questions, in the order of the page."""
    for row in (*_the_common_objective(), *_temperatures(), *_squares(), *_ends(), *_words()):
        yield asdict(row) | {"agrees": row.agrees}


def as_expected(row: dict[str, Any]) -> bool:
    """Whether theirs equals ours where the definitions are the same, and nowhere else."""
    same = row["what"] in EQUAL and row["library"] != "Keras by default"
    return bool(row["agrees"]) is same


def loop_of_torchdistill() -> str:
    """What comes of importing its own training loop."""
    try:
        importlib.import_module("torchdistill.core.distillation")
    except ImportError as error:
        return f"{type(error).__name__}: {error}"
    return "imported"


def _the_common_objective() -> Iterator[Row]:
    """(1 - alpha) CE + alpha tau^2 KL, over temperatures, alphas and numbers of classes."""
    for library, make in peer_losses.LOSSES.items():
        worst = 0.0
        for n_classes in CLASSES:
            data = made(n_classes, torch.float32 if library.startswith("Keras") else torch.float64)
            for tau in TEMPERATURES:
                for alpha in (0.5, 0.9):
                    config = KDConfig(alpha=alpha, tau_t=tau, tau_s=tau, scale_soft_loss="tau_t*tau_s")
                    # TextBrewer's is a cross-entropy: its value holds the teacher's entropy.
                    values = library != "TextBrewer"
                    worst = max(worst, apart(make(tau, alpha), ours(config), data, values=values))
        yield Row(library=library, what="common", difference=worst)


def _temperatures() -> Iterator[Row]:
    """What stands before the soft loss, at tau = 4, and where both temperatures differ."""
    from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss
    from sentence_transformers.util import pairwise_dot_score
    from textbrewer.losses import kd_ce_loss
    from torchdistill.losses.mid_level import KDLoss

    data = made(6)
    plain, scaled = (KDConfig(alpha=1.0, tau_t=4.0, tau_s=4.0, scale_soft_loss=s) for s in ("none", "tau_t*tau_s"))
    pure = KDLoss("logits", "output", "logits", "output", temperature=4.0, alpha=0.0)

    def without_labels(student_UC, teacher_UC, labels_U):
        return pure({"logits": {"output": student_UC}}, {"logits": {"output": teacher_UC}}, labels_U)

    def brewed(student_UC, teacher_UC, labels_U):
        return kd_ce_loss(student_UC, teacher_UC, 4.0)

    yield _compared("torchdistill", "alpha0", without_labels, ours(scaled), data)
    yield _compared("TextBrewer", "no_factor", brewed, ours(plain), data, values=False)
    yield _compared("TextBrewer", "factor", brewed, ours(scaled), data, values=False)
    two = DistillKLDivLoss(
        None, similarity_fct=pairwise_dot_score, teacher_temperature=4.0, student_temperature=2.0, temperature=1.0
    )

    def ranked(student_UC, teacher_UC, labels_U):
        candidates = torch.eye(6, dtype=student_UC.dtype).unsqueeze(1).expand(-1, len(student_UC), -1)
        return two.compute_loss_from_embeddings([student_UC, *candidates], teacher_UC)

    both = KDConfig(alpha=1.0, tau_t=4.0, tau_s=2.0, scale_soft_loss="tau_t*tau_s")
    yield _compared("sentence-transformers", "two_temperatures", ranked, ours(both), data)


def _squares() -> Iterator[Row]:
    """MSE of logits: theirs are divided by the temperature first."""
    from keras.distillation import LogitsDistillation
    from keras.losses import MeanSquaredError
    from textbrewer.losses import kd_mse_loss

    mine = ours(KDConfig(alpha=1.0, distance="mse"))
    for tau in (1.0, 4.0):
        distillation = LogitsDistillation(temperature=tau, loss=MeanSquaredError())

        def brewed(student_UC, teacher_UC, labels_U, tau=tau):
            return kd_mse_loss(student_UC, teacher_UC, tau)

        def keras(student_UC, teacher_UC, labels_U, distillation=distillation):
            return distillation.compute_loss(teacher_UC, student_UC)

        yield _compared("TextBrewer", f"mse{tau:g}", brewed, mine, made(6))
        yield _compared("Keras", f"mse{tau:g}", keras, mine, made(6, torch.float32))


def _ends() -> Iterator[Row]:
    """Logits so far apart that probabilities are under Keras' floor of 1e-7, and torch's mean over classes."""
    config = KDConfig(alpha=1.0)
    far = made(6, torch.float32, size=20.0)
    yield _compared("Keras", "floor", peer_losses.keras(1.0, 1.0), ours(config), far)

    def elementwise(student_UC, teacher_UC, labels_U):
        return F.kl_div(student_UC.log_softmax(-1), teacher_UC.softmax(-1), reduction="none").mean()

    yield _compared("torch", "mean", elementwise, ours(config), made(6))


def _words() -> Iterator[Row]:
    """Logits (B, L, C) with padding, whose labels are -100."""
    from textbrewer.distiller_utils import select_logits_with_mask
    from textbrewer.losses import kd_ce_loss
    from torchdistill.losses.mid_level import KDLoss

    data = made(6)
    labels_U = data[2].clone()
    labels_U[10:] = IGNORED_LABEL
    mask_BL = (labels_U != IGNORED_LABEL).reshape(2, 8)
    mine = ours(KDConfig(alpha=1.0))
    half = KDLoss("logits", "output", "logits", "output", temperature=1.0, alpha=0.5)

    def everywhere(student_UC, teacher_UC, labels_U):
        return kd_ce_loss(student_UC.reshape(2, 8, 6), teacher_UC.reshape(2, 8, 6))

    def masked(student_UC, teacher_UC, labels_U):
        chosen = (select_logits_with_mask([x.reshape(2, 8, 6)], [mask_BL])[0] for x in (student_UC, teacher_UC))
        return kd_ce_loss(*chosen)

    def over_words(student_UC, teacher_UC, labels_U):
        student_BCL, teacher_BCL = (x.reshape(2, 8, 6).transpose(1, 2) for x in (student_UC, teacher_UC))
        io = ({"logits": {"output": x}} for x in (student_BCL, teacher_BCL))
        return half(*io, labels_U.reshape(2, 8))

    padded = (data[0], data[1], labels_U)
    yield _compared("TextBrewer", "words", everywhere, mine, padded, values=False)
    yield _compared("TextBrewer", "words_masked", masked, mine, padded, values=False)
    yield _compared("torchdistill", "words", over_words, ours(KDConfig(alpha=0.5)), padded)


def _compared(
    library: str, what: str, theirs: Callable, mine: peer_losses.Loss, data: Made, *, values: bool = True
) -> Row:
    difference = apart(theirs, mine, data, values=values)
    return Row(library=library, what=what, difference=difference, factor=proportion(theirs, mine, data))
