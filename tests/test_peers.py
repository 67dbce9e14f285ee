"""kdrec's objective beside those that other libraries publish, and the page that says how they compare.

The other libraries are no dependency: their formulas are *transcribed* here, each from the source named with it, so
these tests hold kdrec to what we read there. `benchmarks/peers.py equality` calls the packages themselves.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from kdrec.objective import IGNORED_LABEL, kd_loss
from kdrec.types import KDConfig

REPOSITORY = Path(__file__).parent.parent
BENCHMARKS = REPOSITORY / "benchmarks"


def logits(n_classes: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(n_classes)
    student, teacher = (2 * torch.randn(12, n_classes, generator=source, dtype=dtype) for _ in range(2))
    return student.requires_grad_(), teacher, torch.randint(n_classes, (12,), generator=source)


def assert_equal(theirs: torch.Tensor, config: KDConfig, data: tuple, *, constant: torch.Tensor | float = 0.0) -> None:
    """Value (less a constant that moves no gradient) and gradient are those of our mean over units."""
    sums = kd_loss(*data, config)
    mine = sums.total / sums.units
    torch.testing.assert_close(theirs, mine - constant, rtol=0, atol=1e-6)
    (their_slope,), (slope,) = (torch.autograd.grad(loss, data[0]) for loss in (theirs, mine))
    torch.testing.assert_close(their_slope, slope, rtol=0, atol=1e-6)


def entropy(teacher: torch.Tensor, tau: float) -> torch.Tensor:
    """Mean entropy of the teacher: cross-entropy is KL and this."""
    return torch.distributions.Categorical(logits=teacher / tau).entropy().mean()


SCALED = [
    KDConfig(alpha=alpha, tau_t=tau, tau_s=tau, scale_soft_loss="tau_t*tau_s") for alpha in (0.5, 0.9) for tau in (1, 4)
]


@pytest.mark.parametrize("n_classes", [2, 6])
@pytest.mark.parametrize("config", SCALED, ids=KDConfig.label)
def test_torchdistill_as_transcribed_is_ours_with_the_factor(config: KDConfig, n_classes: int) -> None:
    # KDLoss.forward, where alpha weighs the labels and is not 0:
    # https://github.com/yoshitomo-matsubara/torchdistill/blob/main/torchdistill/losses/mid_level.py
    student, teacher, labels = data = logits(n_classes)
    tau, alpha = config.tau_t, 1 - config.alpha
    soft = torch.nn.KLDivLoss(reduction="batchmean")(
        torch.log_softmax(student / tau, dim=1), torch.softmax(teacher / tau, dim=1)
    )
    theirs = alpha * F.cross_entropy(student, labels) + (1 - alpha) * tau**2 * soft
    assert_equal(theirs, config, data, constant=config.alpha * tau**2 * entropy(teacher, tau))


@pytest.mark.parametrize("tau", [1.0, 4.0])
def test_textbrewer_as_transcribed_is_ours_without_the_factor(tau: float) -> None:
    # kd_ce_loss, weighted as BasicDistiller.compute_loss does:
    # https://github.com/airaria/TextBrewer/blob/master/src/textbrewer/losses.py
    student, teacher, labels = data = logits(6)
    p = F.softmax(teacher / tau, dim=-1)
    soft = -(p * F.log_softmax(student / tau, dim=-1)).sum(dim=-1).mean()
    theirs = 0.3 * F.cross_entropy(student, labels) + 0.7 * soft
    assert_equal(theirs, KDConfig(alpha=0.7, tau_t=tau, tau_s=tau), data)


@pytest.mark.parametrize("tau", [1.0, 4.0])
def test_keras_as_transcribed_is_ours_with_the_factor_above_its_floor(tau: float) -> None:
    # LogitsDistillation.compute_loss with an instance of KLDivergence, whose probabilities are at least 1e-7:
    # https://github.com/keras-team/keras/blob/master/keras/src/distillation/distillation_loss.py
    student, teacher, _ = data = logits(6)
    p, q = (torch.softmax(x / tau, dim=-1).clamp(1e-7, 1.0) for x in (teacher, student))
    theirs = (p * torch.log(p / q)).sum(dim=-1).mean() * tau**2
    config = KDConfig(alpha=1.0, tau_t=tau, tau_s=tau, scale_soft_loss="tau_t*tau_s")
    assert_equal(theirs, config, data, constant=tau**2 * entropy(teacher, tau))


def test_sentence_transformers_as_transcribed_differs_by_the_ratio_of_the_temperatures() -> None:
    # DistillKLDivLoss.compute_loss_from_embeddings, its scores taken as logits; its factor is the student's squared:
    # https://github.com/huggingface/sentence-transformers, sentence_transformer/losses/distill_kl_div.py (6.2)
    student, teacher, labels = logits(6)
    tau_t, tau_s = 4.0, 2.0
    p = torch.softmax(teacher / tau_t, dim=1)
    theirs = torch.nn.KLDivLoss(reduction="batchmean")(torch.log_softmax(student / tau_s, dim=1), p) * tau_s**2
    config = KDConfig(alpha=1.0, tau_t=tau_t, tau_s=tau_s, scale_soft_loss="tau_t*tau_s")
    (slope,) = torch.autograd.grad(theirs, student)
    (own,) = torch.autograd.grad(kd_loss(student, teacher, labels, config).total / 12, student)
    torch.testing.assert_close(slope, own * tau_s / tau_t)


def test_the_squared_error_of_textbrewer_and_keras_is_ours_over_the_squared_temperature() -> None:
    # kd_mse_loss; LogitsDistillation with MeanSquaredError: both divide logits first. Ours are raw (Kim et al. 2021).
    student, teacher, _ = data = logits(6)
    config = KDConfig(alpha=1.0, distance="mse")
    assert_equal(F.mse_loss(student, teacher), config, data)
    assert_equal(F.mse_loss(student / 4.0, teacher / 4.0) * 16.0, config, data)


def test_a_soft_loss_without_a_mask_counts_padding_and_ours_does_not() -> None:
    student, teacher, labels = logits(6)
    labels[8:] = IGNORED_LABEL
    p = torch.softmax(teacher, dim=-1)
    everywhere = -(p * torch.log_softmax(student, dim=-1)).sum(dim=-1)
    sums = kd_loss(student, teacher, labels, KDConfig(alpha=1.0))
    torch.testing.assert_close(everywhere[:8].mean(), sums.total / sums.units)
    assert abs(float((everywhere.mean() - sums.total / sums.units).detach())) > 1e-3


def test_the_page_says_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import peers_page
    import recipes

    written = (REPOSITORY / "docs" / "peers.md").read_text(encoding="utf-8")
    answers = json.loads((BENCHMARKS / "results" / "recommenders.json").read_text(encoding="utf-8"))
    assert written == peers_page.page(recipes.read(BENCHMARKS / "results" / "peers.jsonl"), answers)


def test_a_hole_of_the_score_table_is_the_mean_of_its_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import numpy as np
    import recommenders

    from kdrec.history.replication import shipped

    past = shipped()
    kept = type(past)(tuple(t for t in past if t.task in ("trec", "sick", "sms_spam", "ewt_pos")))
    for cell, table in recommenders.asked(kept):
        whole, holes = recommenders.filled(table), recommenders.as_measured(table)
        assert np.isfinite(whole).all()
        assert (whole[np.isfinite(holes)] == holes[np.isfinite(holes)]).all()
        assert cell.features.task not in {table.tasks[table.task_D[d]].task for d in recommenders.others(table)}
        assert {*table.configs[: table.n_candidates]} == {*cell.configs}
        column = int(np.argmax(np.isnan(holes).sum(axis=0)))
        if np.isnan(holes[:, column]).any() and np.isfinite(holes[:, column]).any():
            made = whole[np.isnan(holes[:, column]), column]
            assert made == pytest.approx(np.nanmean(holes[:, column]))
