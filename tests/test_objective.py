"""The objective against its written definition in float64 numpy, against torch's own losses, and its algebra."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdrec.errors import MismatchError
from kdrec.objective import IGNORED_LABEL, LossSums, kd_loss
from kdrec.space import canonical
from kdrec.types import BASELINE_CONFIG, UNLABELLED, KDConfig

ALPHAS = (0.0, 0.3, 0.5, 1.0)
TAUS = (0.5, 1.0, 2.0, 4.0)
GRID = [
    KDConfig(alpha=alpha, distance=distance, tau_t=tau_t, tau_s=tau_s, scale_soft_loss=scale)
    for alpha in ALPHAS
    for distance in ("ce", "mse")
    for tau_t in TAUS
    for tau_s in (1.0, tau_t)
    for scale in ("none", "tau_t*tau_s")
]

logits_UC = arrays(np.float64, (5, 4), elements=st.floats(-8, 8))
configs = st.builds(
    KDConfig,
    alpha=st.floats(0, 1),
    distance=st.sampled_from(["ce", "mse"]),
    tau_t=st.floats(0.25, 8),
    tau_s=st.floats(0.25, 8),
    scale_soft_loss=st.sampled_from(["none", "tau_t*tau_s"]),
)
LABELS = torch.tensor([0, 3, 1, 2, 0])


def softmax(x_UC: np.ndarray) -> np.ndarray:
    powers = np.exp(x_UC - x_UC.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def definition(student_UC: np.ndarray, teacher_UC: np.ndarray, labels_U: np.ndarray, config: KDConfig) -> float:
    """L_KD written out, unit by unit and class by class, from the formula of the paper."""
    total = 0.0
    for student, teacher, label in zip(student_UC, teacher_UC, labels_U, strict=True):
        hard = -math.log(softmax(student[None])[0, label])
        if config.distance == "ce":
            p = softmax(teacher[None] / config.tau_t)[0]
            q = softmax(student[None] / config.tau_s)[0]
            soft = -sum(p[c] * math.log(q[c]) for c in range(len(p)))
            if config.scale_soft_loss == "tau_t*tau_s":
                soft *= config.tau_t * config.tau_s
        else:
            soft = sum((student[c] - teacher[c]) ** 2 for c in range(len(student))) / len(student)
        total += (1 - config.alpha) * hard + config.alpha * soft
    return total


def random_logits(seed: int, shape: tuple[int, ...] = (5, 4)) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 3, shape))


def gradient(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, config: KDConfig) -> torch.Tensor:
    student = student.clone().requires_grad_()
    (grad,) = torch.autograd.grad(kd_loss(student, teacher, labels, config).total, student)
    return grad


@pytest.mark.parametrize("config", GRID, ids=str)
def test_loss_equals_its_written_definition(config: KDConfig):
    student, teacher = random_logits(1), random_logits(2)
    expected = definition(student.numpy(), teacher.numpy(), LABELS.numpy(), config)
    in_64 = kd_loss(student, teacher, LABELS, config)
    assert in_64.total.dtype == torch.float64
    assert in_64.total.item() == pytest.approx(expected, rel=1e-12)
    assert in_64.units == 5
    in_32 = kd_loss(student.float(), teacher.float(), LABELS, config)
    assert in_32.total.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_summed_in_float32(dtype: torch.dtype):
    student, teacher = random_logits(1).to(dtype), random_logits(2).to(dtype)
    sums = kd_loss(student, teacher, LABELS, KDConfig(tau_t=2, tau_s=2))
    assert sums.total.dtype == torch.float32
    assert sums.total.item() == pytest.approx(
        definition(student.double().numpy(), teacher.double().numpy(), LABELS.numpy(), KDConfig(tau_t=2, tau_s=2)),
        rel=1e-5,
    )


@pytest.mark.parametrize("tau_t", TAUS)
@pytest.mark.parametrize("tau_s", TAUS)
def test_kl_is_that_of_torch(tau_t: float, tau_s: float):
    student, teacher = random_logits(3), random_logits(4)
    sums = kd_loss(student, teacher, LABELS, KDConfig(tau_t=tau_t, tau_s=tau_s))
    log_q, log_p = F.log_softmax(student / tau_s, -1), F.log_softmax(teacher / tau_t, -1)
    assert sums.kl.item() == pytest.approx(F.kl_div(log_q, log_p, log_target=True, reduction="sum").item(), rel=1e-12)
    assert sums.soft.item() == pytest.approx(
        F.cross_entropy(student / tau_s, F.softmax(teacher / tau_t, -1), reduction="sum").item(), rel=1e-12
    )


def test_mse_is_that_of_torch_times_the_units():
    student, teacher = random_logits(3), random_logits(4)
    sums = kd_loss(student, teacher, LABELS, KDConfig(alpha=1, distance="mse"))
    assert sums.total.item() == pytest.approx(5 * F.mse_loss(student, teacher).item(), rel=1e-12)
    log_q, log_p = F.log_softmax(student, -1), F.log_softmax(teacher, -1)
    assert sums.kl.item() == pytest.approx(F.kl_div(log_q, log_p, log_target=True, reduction="sum").item(), rel=1e-12)


def test_size_of_mse_does_not_depend_on_the_number_of_classes():
    for n_classes in (2, 7, 150):
        student = torch.full((3, n_classes), 1.5, dtype=torch.float64)
        sums = kd_loss(student, student + 2, torch.zeros(3, dtype=torch.int64), KDConfig(alpha=1, distance="mse"))
        assert sums.total.item() == pytest.approx(3 * 4.0)


@pytest.mark.parametrize("config", [c for c in GRID if c.alpha in (0.3, 1.0)], ids=str)
def test_gradient_equals_finite_differences(config: KDConfig):
    student, teacher = random_logits(5, (3, 4)), random_logits(6, (3, 4))
    labels = torch.tensor([0, IGNORED_LABEL, 2])
    assert torch.autograd.gradcheck(
        lambda x: kd_loss(x, teacher, labels, config).total, (student.requires_grad_(),), eps=1e-6, atol=1e-7
    )


@given(student=logits_UC, teacher=logits_UC, config=configs)
def test_kl_is_never_negative(student: np.ndarray, teacher: np.ndarray, config: KDConfig):
    sums = kd_loss(torch.from_numpy(student), torch.from_numpy(teacher), LABELS, config)
    assert sums.kl.item() >= -1e-12


@given(logits=logits_UC, tau=st.floats(0.25, 8))
def test_soft_loss_is_zero_when_student_equals_teacher(logits: np.ndarray, tau: float):
    same = torch.from_numpy(logits)
    ce = KDConfig(alpha=1, tau_t=tau, tau_s=tau)
    assert kd_loss(same, same, LABELS, ce).kl.item() == pytest.approx(0, abs=1e-12)
    assert gradient(same, same, LABELS, ce).abs().max().item() < 1e-12
    mse = kd_loss(same, same, LABELS, KDConfig(alpha=1, distance="mse"))
    assert mse.total.item() == 0
    assert mse.kl.item() == pytest.approx(0, abs=1e-12)


@given(student=logits_UC, teacher=logits_UC, config=configs, shift=st.floats(-20, 20))
def test_ce_does_not_see_a_constant_added_to_all_logits_of_a_unit(
    student: np.ndarray, teacher: np.ndarray, config: KDConfig, shift: float
):
    config = KDConfig(alpha=config.alpha, tau_t=config.tau_t, tau_s=config.tau_s)
    before = kd_loss(torch.from_numpy(student), torch.from_numpy(teacher), LABELS, config)
    after = kd_loss(torch.from_numpy(student + shift), torch.from_numpy(teacher - shift), LABELS, config)
    assert after.total.item() == pytest.approx(before.total.item(), rel=1e-9, abs=1e-9)
    assert after.kl.item() == pytest.approx(before.kl.item(), rel=1e-9, abs=1e-9)


@given(student=logits_UC, teacher=logits_UC, tau_t=st.floats(0.25, 8), tau_s=st.floats(0.25, 8))
def test_gradient_of_ce_is_gradient_of_kl(student: np.ndarray, teacher: np.ndarray, tau_t: float, tau_s: float):
    x = torch.from_numpy(student).requires_grad_()
    log_p = F.log_softmax(torch.from_numpy(teacher) / tau_t, -1)
    kl = F.kl_div(F.log_softmax(x / tau_s, -1), log_p, log_target=True, reduction="sum")
    (expected,) = torch.autograd.grad(kl, x)
    config = KDConfig(alpha=1, tau_t=tau_t, tau_s=tau_s)
    torch.testing.assert_close(gradient(x.detach(), torch.from_numpy(teacher), LABELS, config), expected)


@given(student=logits_UC, teacher=logits_UC, config=configs)
def test_canonical_spelling_trains_the_same_student(student: np.ndarray, teacher: np.ndarray, config: KDConfig):
    x, t = torch.from_numpy(student), torch.from_numpy(teacher)
    expected = kd_loss(x, t, LABELS, config).total.item()
    assert kd_loss(x, t, LABELS, canonical(config)).total.item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(gradient(x, t, LABELS, canonical(config)), gradient(x, t, LABELS, config))


@pytest.mark.parametrize("config", [KDConfig(tau_t=4), KDConfig(distance="mse"), BASELINE_CONFIG], ids=str)
def test_ignored_units_change_nothing(config: KDConfig):
    student, teacher = random_logits(7, (8, 4)), random_logits(8, (8, 4))
    keep = torch.tensor([0, 2, 3, 6])
    labels = torch.full((8,), IGNORED_LABEL)
    labels[keep] = torch.tensor([1, 0, 3, 2])
    for garbage in (0.0, 1e30, math.nan, math.inf):
        dirty = student.clone(), teacher.clone()
        for logits in dirty:
            logits[labels == IGNORED_LABEL] = garbage
        sums = kd_loss(*dirty, labels, config)
        alone = kd_loss(student[keep], teacher[keep], labels[keep], config)
        assert sums.units == alone.units == 4
        torch.testing.assert_close(torch.stack(sums[:4]), torch.stack(alone[:4]), rtol=0, atol=0)
        grad = gradient(*dirty, labels, config)
        assert (grad[labels == IGNORED_LABEL] == 0).all()
        torch.testing.assert_close(grad[keep], gradient(student[keep], teacher[keep], labels[keep], config))


def padded(tokens: list[torch.Tensor], length: int, value: float) -> torch.Tensor:
    return torch.stack([F.pad(t, (0,) * (2 * (t.ndim - 1)) + (0, length - len(t)), value=value) for t in tokens])


def test_token_losses_do_not_depend_on_padding():
    lengths, config = (3, 7, 1), KDConfig(tau_t=2)
    student = [random_logits(10 + n, (n, 4)) for n in lengths]
    teacher = [random_logits(20 + n, (n, 4)) for n in lengths]
    labels = [torch.arange(n) % 4 for n in lengths]
    totals = [
        kd_loss(
            padded(student, length, 9.0).flatten(0, 1),
            padded(teacher, length, -9.0).flatten(0, 1),
            padded(labels, length, IGNORED_LABEL).flatten(),
            config,
        )
        for length in (7, 8, 40)
    ]
    assert all(sums.units == 11 for sums in totals)
    for sums in totals[1:]:
        torch.testing.assert_close(sums.total, totals[0].total, rtol=1e-14, atol=0)


@pytest.mark.parametrize("config", [KDConfig(tau_t=4), KDConfig(distance="mse"), BASELINE_CONFIG], ids=str)
@pytest.mark.parametrize("ignored", [0, 23], ids=["examples", "tokens"])
def test_four_micro_batches_of_four_give_the_gradient_of_sixteen(config: KDConfig, ignored: int):
    """With ignored units unevenly spread, a mean of means would be wrong; sums over one common count are not."""
    torch.manual_seed(0)
    head = torch.nn.Linear(6, 4, dtype=torch.float64)
    inputs, teacher = random_logits(30, (16, 3, 6)), random_logits(31, (16, 3, 4))
    labels = torch.randint(0, 4, (48,))
    labels[:ignored] = IGNORED_LABEL
    labels = labels.view(16, 3)
    units = int((labels != IGNORED_LABEL).sum())

    def grads(parts: int) -> list[torch.Tensor]:
        head.zero_grad()
        for x, t, y in zip(inputs.chunk(parts), teacher.chunk(parts), labels.chunk(parts), strict=True):
            sums = kd_loss(head(x).flatten(0, 1), t.flatten(0, 1), y.flatten(), config)
            (sums.total / units).backward()
        return [p.grad.clone() for p in head.parameters()]

    for at_once, in_parts in zip(grads(1), grads(4), strict=True):
        torch.testing.assert_close(in_parts, at_once, rtol=1e-12, atol=1e-15)


def test_alpha_zero_needs_no_teacher_and_is_plain_cross_entropy():
    student = random_logits(9)
    sums = kd_loss(student, None, LABELS, BASELINE_CONFIG)
    assert sums.total.item() == pytest.approx(F.cross_entropy(student, LABELS, reduction="sum").item())
    assert sums.soft.item() == sums.kl.item() == 0
    assert isinstance(sums, LossSums)


def test_alpha_one_does_not_see_the_labels():
    student, teacher = random_logits(1), random_logits(2)
    a = gradient(student, teacher, LABELS, KDConfig(alpha=1))
    assert torch.equal(a, gradient(student, teacher, (LABELS + 1) % 4, KDConfig(alpha=1)))


@pytest.mark.parametrize(
    ("student", "teacher", "labels", "words"),
    [
        ((5, 4), None, 5, "got none"),
        ((5, 4), (5, 3), 5, r"shape \(5, 4\), got \(5, 3\)"),
        ((5, 4), (4, 4), 5, r"got \(4, 4\)"),
        ((5, 4), (5, 1, 4), 5, r"got \(5, 1, 4\)"),
        ((5, 4), (5, 4), 6, r"got \(5, 4\) and \(6,\)"),
        ((5,), (5,), 5, r"got \(5,\)"),
        ((5, 2, 4), (5, 2, 4), 5, r"got \(5, 2, 4\)"),
    ],
)
def test_wrong_shapes_are_refused(student: tuple[int, ...], teacher: tuple[int, ...] | None, labels: int, words: str):
    with pytest.raises(MismatchError, match=words):
        kd_loss(
            torch.zeros(student),
            None if teacher is None else torch.zeros(teacher),
            torch.zeros(labels, dtype=torch.int64),
            KDConfig(),
        )


@pytest.mark.parametrize("config", [KDConfig(), KDConfig(distance="mse"), BASELINE_CONFIG], ids=str)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_logit_that_is_not_finite_makes_the_loss_not_finite(config: KDConfig, bad: float):
    student = random_logits(1)
    student[2, 1] = bad
    assert not math.isfinite(kd_loss(student, random_logits(2), LABELS, config).total.item())


def test_no_units_lose_nothing():
    sums = kd_loss(torch.ones(3, 4), torch.ones(3, 4), torch.full((3,), IGNORED_LABEL), KDConfig())
    assert sums.units == 0
    assert sums.total.item() == 0


@pytest.mark.parametrize("config", [KDConfig(tau_t=2.0), KDConfig(distance="mse"), BASELINE_CONFIG])
def test_classes_outside_a_unit_are_in_no_softmax_and_no_mean(config: KDConfig):
    """Units of two and three classes, padded to four with anything, lose what each loses alone; no gradient is NaN."""
    rng = np.random.default_rng(0)
    counts, labels = [2, 3], torch.tensor([1, 0])
    student = torch.tensor(rng.normal(size=(2, 4)), requires_grad=True)
    teacher = torch.tensor(rng.normal(size=(2, 4)))
    inside = torch.arange(4)[None, :] < torch.tensor(counts)[:, None]
    padded = kd_loss(student, teacher, labels, config, inside)
    alone = [kd_loss(student[[at], :n], teacher[[at], :n], labels[[at]], config) for at, n in enumerate(counts)]
    for name in ("total", "hard", "soft", "kl"):
        expected = sum(getattr(one, name).detach() for one in alone)
        torch.testing.assert_close(getattr(padded, name).detach(), expected)
    (gradient,) = torch.autograd.grad(padded.total, student)
    assert gradient.isfinite().all()
    assert (gradient[~inside] == 0).all()
    assert (gradient[inside] != 0).all()


UNKNOWN = torch.tensor([0, UNLABELLED, 1, UNLABELLED, IGNORED_LABEL])


def with_unlabelled(
    student: np.ndarray, teacher: np.ndarray, labels: np.ndarray, config: KDConfig, weight: float
) -> tuple[float, int]:
    """Sum over units and their number: (1 - alpha) L1 + alpha L2 with a label, w L2 without, each unit by itself."""
    total, units = 0.0, 0
    soft_alone = replace(config, alpha=1.0)
    for at, label in enumerate(labels):
        if label == IGNORED_LABEL or (label == UNLABELLED and config.alpha == 0):
            continue
        units += 1
        one = student[[at]], teacher[[at]]
        if label == UNLABELLED:
            total += weight * definition(*one, np.array([0]), soft_alone)
        else:
            total += definition(*one, labels[[at]], config)
    return total, units


@pytest.mark.parametrize("weight", [1.0, 0.25, 3.0])
@pytest.mark.parametrize("config", GRID, ids=str)
def test_units_without_a_label_lose_by_their_written_definition(config: KDConfig, weight: float):
    student, teacher = random_logits(1), random_logits(2)
    sums = kd_loss(student, teacher, UNKNOWN, config, transfer_weight=weight)
    total, units = with_unlabelled(student.numpy(), teacher.numpy(), UNKNOWN.numpy(), config, weight)
    assert sums.total.dtype == torch.float64
    assert sums.total.item() == pytest.approx(total, rel=1e-12)
    assert sums.units == units == (2 if config.alpha == 0 else 4)
    assert sums.hard.item() == pytest.approx(F.cross_entropy(student[[0, 2]], UNKNOWN[[0, 2]], reduction="sum").item())


@pytest.mark.parametrize(
    "config", [KDConfig(tau_t=2.0), KDConfig(distance="mse"), KDConfig(alpha=1.0), BASELINE_CONFIG]
)
def test_units_of_few_classes_without_a_label_lose_what_they_lose_alone(config: KDConfig):
    """As the places of a window are: padded with anything, each of two, three and four classes."""
    student, teacher = random_logits(3), random_logits(4)
    counts, labels = [2, 3, 4, 3, 2], torch.tensor([1, UNLABELLED, UNLABELLED, 0, IGNORED_LABEL])
    inside = torch.arange(4)[None, :] < torch.tensor(counts)[:, None]
    sums = kd_loss(student.requires_grad_(), teacher, labels, config, inside, transfer_weight=0.5)
    alone = [
        with_unlabelled(
            student.detach().numpy()[[at], :n], teacher.numpy()[[at], :n], labels.numpy()[[at]], config, 0.5
        )
        for at, n in enumerate(counts)
    ]
    assert sums.total.item() == pytest.approx(sum(total for total, _ in alone), rel=1e-12)
    assert sums.units == sum(units for _, units in alone)
    (grad,) = torch.autograd.grad(sums.total, student)
    assert grad.isfinite().all()
    assert (grad[~inside] == 0).all()


def test_alpha_zero_does_not_see_units_without_a_label():
    student = random_logits(9)
    sums = kd_loss(student, random_logits(1), UNKNOWN, BASELINE_CONFIG, transfer_weight=7.0)
    alone = kd_loss(student[[0, 2]], None, UNKNOWN[[0, 2]], BASELINE_CONFIG)
    assert (sums.total, sums.units) == (alone.total, alone.units)


@given(student=logits_UC, teacher=logits_UC, config=configs)
def test_where_alpha_is_one_a_label_changes_nothing(student: np.ndarray, teacher: np.ndarray, config: KDConfig):
    x, t, config = torch.from_numpy(student), torch.from_numpy(teacher), replace(config, alpha=1.0)
    bare = torch.full((5,), UNLABELLED)
    assert kd_loss(x, t, bare, config).total.item() == pytest.approx(kd_loss(x, t, LABELS, config).total.item())
    torch.testing.assert_close(gradient(x, t, bare, config), gradient(x, t, LABELS, config))
