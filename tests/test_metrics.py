"""Score, NLL and calibration error against scikit-learn, scipy and their definitions."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from sklearn.metrics import accuracy_score, f1_score, log_loss

from kdrec.errors import BadArgument
from kdrec.metrics import ece, nll, score


@st.composite
def predicted(draw):
    n_classes = draw(st.integers(2, 6))
    n = draw(st.integers(1, 40))
    rows = st.lists(st.integers(0, n_classes - 1), min_size=n, max_size=n)
    return np.array(draw(rows)), np.array(draw(rows)), n_classes


@st.composite
def logits_and_labels(draw, scale=20.0):
    n, n_classes = draw(st.integers(1, 30)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return rng.normal(size=(n, n_classes)) * draw(st.floats(0.01, scale)), rng.integers(0, n_classes, n)


@given(predicted())
def test_scores_agree_with_scikit_learn_over_all_classes_of_the_task(case):
    predictions, labels, n_classes = case
    macro = f1_score(labels, predictions, labels=range(n_classes), average="macro", zero_division=0)
    assert score("macro_f1", predictions, labels, n_classes) == pytest.approx(100 * macro)
    assert score("accuracy", predictions, labels, n_classes) == pytest.approx(100 * accuracy_score(labels, predictions))


def test_macro_f1_of_a_worked_example():
    # classes 0 and 1: one hit, three times predicted or present -> 2/3 each; class 2 never -> 0
    worked = score("macro_f1", np.array([0, 0, 1]), np.array([0, 1, 1]), 3)
    assert worked == pytest.approx(100 * (2 / 3 + 2 / 3 + 0) / 3)


@given(predicted(), st.integers(0, 2**32))
def test_scores_do_not_depend_on_the_order_of_examples_or_the_names_of_classes(case, seed):
    predictions, labels, n_classes = case
    rng = np.random.default_rng(seed)
    order, names = rng.permutation(len(labels)), rng.permutation(n_classes)
    for metric in ("accuracy", "macro_f1"):
        expected = score(metric, predictions, labels, n_classes)
        assert score(metric, names[predictions[order]], names[labels[order]], n_classes) == pytest.approx(expected)


@given(logits_and_labels())
def test_nll_is_the_log_loss_of_the_softmax(case):
    logits, labels = case
    n_classes = logits.shape[1]
    assert nll(logits, labels) == pytest.approx(-np.mean(log_softmax(logits, axis=1)[np.arange(len(labels)), labels]))
    if np.abs(logits).max() < 20:  # scikit-learn clips probabilities at the machine epsilon
        expected = log_loss(labels, softmax(logits, axis=1), labels=list(range(n_classes)))
        assert nll(logits, labels) == pytest.approx(expected, abs=1e-9)


@given(logits_and_labels(), st.floats(-1e3, 1e3))
def test_nll_does_not_change_when_a_constant_is_added_to_all_logits(case, shift):
    logits, labels = case
    assert nll(logits + shift, labels) == pytest.approx(nll(logits, labels), abs=1e-9)


def test_nll_is_stable_where_a_naive_softmax_overflows():
    logits = np.array([[1e4, 0.0], [0.0, -1e4]], dtype=np.float32)
    assert nll(logits, np.array([0, 0])) == 0.0
    assert nll(logits, np.array([1, 0])) == pytest.approx(5e3)


def test_non_finite_logits_give_a_non_finite_loss_without_a_warning():
    for bad in (np.nan, np.inf):
        logits = np.array([[bad, 0.0]])
        assert not np.isfinite(nll(logits, np.array([1])))
        assert np.isnan(ece(logits, np.array([1])))


def by_definition(logits, labels, bins):
    """Guo et al. 2017, equation 3, bin by bin."""
    p = softmax(logits.astype(np.float64), axis=1)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == labels
    total = 0.0
    for m in range(1, bins + 1):
        inside = ((m - 1) / bins < confidence) & (confidence <= m / bins)
        if inside.any():
            total += inside.sum() / len(labels) * abs(right[inside].mean() - confidence[inside].mean())
    return total


@settings(deadline=None)
@given(logits_and_labels(scale=5.0), st.integers(1, 20))
def test_ece_is_its_definition(case, bins):
    logits, labels = case
    assert ece(logits, labels, bins) == pytest.approx(by_definition(logits, labels, bins), abs=1e-9)


def test_ece_of_a_worked_example():
    # confidence 0.8 four times, right three times -> |0.75 - 0.8|; all in one bin
    logits = np.log(np.array([[0.8, 0.2]] * 4))
    assert ece(logits, np.array([0, 0, 0, 1])) == pytest.approx(0.05)
    assert ece(np.array([[50.0, 0.0]]), np.array([0])) == pytest.approx(0.0)
    assert ece(np.array([[50.0, 0.0]]), np.array([1])) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: score("f1", np.array([0]), np.array([0]), 2), "metric must be one of accuracy, macro_f1, got 'f1'"),
        (lambda: score("accuracy", np.array([0, 1]), np.array([0]), 2), "got 2 and 1"),
        (lambda: score("accuracy", np.array([2]), np.array([0]), 2), r"class indices in \[0, 2\), got 2"),
        (lambda: score("accuracy", np.array([], int), np.array([], int), 2), "at least one example"),
        (lambda: nll(np.zeros((2, 3)), np.array([0])), "got 2 and 1"),
        (lambda: nll(np.zeros((1, 3)), np.array([-1])), r"\[0, 3\), got -1"),
        (lambda: nll(np.zeros(3), np.array([1])), "shape"),
        (lambda: ece(np.zeros((1, 3)), np.array([1]), bins=0), "bins"),
    ],
)
def test_a_wrong_argument_gets_a_sentence(call, words):
    with pytest.raises(BadArgument, match=words):
        call()


def test_metrics_need_no_scikit_learn():
    code = "import sys, kdrec.metrics; assert not {'sklearn', 'scipy', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
