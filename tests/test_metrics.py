"""Score, NLL and calibration error against scikit-learn, scipy and their definitions."""

from __future__ import annotations

import re
import string
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from sklearn.metrics import accuracy_score, f1_score, log_loss

from kdrec.errors import BadArgument
from kdrec.metrics import (
    answer_f1,
    calibration_error,
    ece,
    exact_match,
    mean_se,
    nll,
    ragged_nll,
    ratio_se,
    score,
    score_se,
    span_counts,
    span_f1,
)


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
    probabilities = softmax(logits, axis=1)
    if probabilities.min() > np.finfo(probabilities.dtype).eps:  # scikit-learn clips what is smaller
        expected = log_loss(labels, probabilities, labels=list(range(n_classes)))
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


def test_an_entity_counts_when_type_and_both_ends_are_right():
    """Worked: three gold entities, three predicted, one of them right: precision and recall 1/3."""
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG"]]
    predicted = [["B-PER", "O", "O", "B-LOC"], ["O", "B-PER"]]
    assert span_f1(predicted, gold) == pytest.approx(100 / 3)
    assert span_f1(gold, gold) == 100
    assert span_f1([["O", "O"]], [["O", "O"]]) == 0


def test_stray_inside_tags_begin_an_entity_as_conlleval_has_it():
    """I-LOC after O, or after I-PER, begins a new entity; the type of B and I must agree."""
    assert span_f1([["O", "I-LOC"]], [["O", "B-LOC"]]) == 100
    assert span_f1([["B-PER", "I-LOC"]], [["B-PER", "B-LOC"]]) == 100
    assert span_f1([["B-PER", "I-PER"]], [["B-PER", "B-PER"]]) == 0


def official(text):
    """SQuAD's `normalize_answer`, transcribed step by step from its published description."""
    text = text.lower()
    text = text.translate(str.maketrans("", "", string.punctuation))
    text = re.sub(r"\b(a|an|the)\b", " ", text)
    return " ".join(text.split())


def official_f1(prediction, truth):
    prediction_tokens, truth_tokens = official(prediction).split(), official(truth).split()
    if len(prediction_tokens) == 0 or len(truth_tokens) == 0:
        return int(prediction_tokens == truth_tokens)
    num_same = sum((Counter(prediction_tokens) & Counter(truth_tokens)).values())
    if num_same == 0:
        return 0
    precision, recall = num_same / len(prediction_tokens), num_same / len(truth_tokens)
    return (2 * precision * recall) / (precision + recall)


SAMPLES = ["a", "The", "an", "cat", "cat,", "sat", "U.S.", "1,000", "é", "--", "\n"]
words = st.lists(st.sampled_from(SAMPLES), max_size=6)


@given(words.map(" ".join), st.lists(words.map(" ".join), min_size=1, max_size=3))
def test_answers_are_scored_as_squad_scores_them(answer, gold):
    assert answer_f1(answer, gold) == pytest.approx(max(official_f1(answer, text) for text in gold))
    assert exact_match(answer, gold) == max(official(answer) == official(text) for text in gold)


@pytest.mark.parametrize(
    ("answer", "gold", "f1", "exact"),
    [
        ("The Cat.", ["cat"], 1, 1),
        ("black cat", ["the cat"], 2 / 3, 0),
        ("black cat", ["dog", "a black cat sat"], 4 / 5, 0),
        ("", [""], 1, 1),
        ("cat", [""], 0, 0),
        ("", ["cat"], 0, 0),
        ("the", [""], 1, 1),
        ("cat cat", ["cat"], 2 / 3, 0),
    ],
)
def test_scores_of_answers_worked_by_hand(answer, gold, f1, exact):
    assert (answer_f1(answer, gold), exact_match(answer, gold)) == (pytest.approx(f1), exact)


@given(logits_and_labels())
def test_units_of_equal_size_have_the_likelihood_of_classes(case):
    """Examples of C places each, read in one column, are rows of C classes."""
    logits, labels = case
    offsets = np.arange(0, logits.size + 1, logits.shape[1])
    loss, confidence, right = ragged_nll(logits.reshape(-1, 1), offsets, labels)
    assert loss == pytest.approx(nll(logits, labels), rel=1e-6, abs=1e-9)
    np.testing.assert_allclose(confidence, softmax(logits, axis=1).max(axis=1))
    assert calibration_error(confidence, right) == pytest.approx(ece(logits, labels), abs=1e-9)


def test_ragged_likelihood_by_hand():
    """Two examples of two and three places, two columns each; labels of one example are neighbours."""
    logits = np.log(np.array([[0.25, 0.5], [0.75, 0.5], [0.2, 0.1], [0.3, 0.1], [0.5, 0.8]]))
    loss, confidence, right = ragged_nll(logits, np.array([0, 2, 5]), np.array([1, 0, 0, 2]))
    assert loss == pytest.approx(-np.mean(np.log([0.75, 0.5, 0.2, 0.8])))
    assert confidence == pytest.approx([0.75, 0.5, 0.5, 0.8])
    assert right.tolist() == [True, True, False, True]


# Standard errors


def resampled(n_rows, score_of, n_samples=400):
    """The bootstrap by its definition: rows drawn again one by one, scored anew."""
    rng = np.random.default_rng(7)
    return np.std([score_of(rng.integers(0, n_rows, n_rows)) for _ in range(n_samples)], ddof=1)


def classified(n_rows=300, n_classes=4):
    rng = np.random.default_rng(1)
    labels = rng.choice(n_classes, n_rows, p=[0.6, 0.2, 0.15, 0.05])
    return np.where(rng.random(n_rows) < 0.7, labels, rng.integers(0, n_classes, n_rows)), labels


def tagged(n_rows=60):
    rng = np.random.default_rng(2)
    gold = [list(rng.choice(["O", "O", "B-X", "I-X", "B-Y"], rng.integers(1, 12))) for _ in range(n_rows)]
    return [[tag if rng.random() < 0.8 else "O" for tag in tags] for tags in gold], gold


def test_standard_error_of_accuracy_is_binomial():
    predictions, labels = np.array([0, 1, 1, 0, 1]), np.array([0, 1, 0, 0, 1])
    assert score_se("accuracy", predictions, labels, 2) == pytest.approx(100 * np.sqrt(0.8 * 0.2 / 5))


def test_standard_error_of_macro_f1_is_that_of_rows_drawn_again():
    predictions, labels = classified()

    def macro(rows):
        return 100 * f1_score(labels[rows], predictions[rows], labels=range(4), average="macro", zero_division=0)

    assert score_se("macro_f1", predictions, labels, 4) == pytest.approx(resampled(300, macro), rel=0.15)


def test_standard_error_of_spans_is_that_of_rows_drawn_again():
    predicted_tags, gold = tagged()

    def f1(rows):
        return span_f1([predicted_tags[row] for row in rows], [gold[row] for row in rows])

    right, mine, true = span_counts(predicted_tags, gold).T
    assert 200 * right.sum() / (mine + true).sum() == pytest.approx(f1(range(60)))
    assert ratio_se(2 * right, mine + true) == pytest.approx(resampled(60, f1), rel=0.15)


def test_standard_error_of_a_mean_is_that_of_rows_drawn_again():
    values = np.random.default_rng(3).random(200) ** 3
    assert mean_se(values) == pytest.approx(resampled(200, lambda rows: 100 * values[rows].mean()), rel=0.15)


def test_words_of_one_row_are_not_independent():
    """Rows that are all right or all wrong: as uncertain as so many rows, not as so many words."""
    words = np.full(40, 25)
    right = np.where(np.arange(40) < 30, words, 0)
    assert ratio_se(right, words) == pytest.approx(mean_se(right > 0), rel=0.15)


@pytest.mark.parametrize(
    "error",
    [
        score_se("accuracy", np.array([1]), np.array([1]), 2),
        score_se("macro_f1", np.array([1]), np.array([0]), 2),
        score_se("macro_f1", np.arange(3).repeat(20), np.arange(3).repeat(20), 3),
        ratio_se(np.zeros(3), np.zeros(3)),
        mean_se(np.ones(5)),
    ],
    ids=["one row", "one wrong row", "all right", "no span at all", "all equal"],
)
def test_standard_error_is_no_number_but_0_where_nothing_varies(error):
    """One row is drawn again and again; classes that are all right are right in every sample."""
    assert error == pytest.approx(0, abs=0.1)


def test_one_standard_error_of_the_same_predictions():
    predictions, labels = classified()
    assert len({score_se("macro_f1", predictions, labels, 4) for _ in range(3)}) == 1
