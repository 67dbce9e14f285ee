"""Predictions and logits to numbers: score, negative log-likelihood, calibration error. Pure numpy.

Nothing here knows tasks, models or files. Shape legend: N examples, C classes, M bins; U units, each with a softmax of
its own over the places of an example.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kdrec.errors import BadArgument
from kdrec.types import Floats, Ints, Metric

CLASSIFICATION: Final[tuple[Metric, ...]] = ("accuracy", "macro_f1")
"""What `score` knows; of tags and of answers, `span_f1` and `squad_f1` have functions of their own."""


RESAMPLES: Final = 200
"""Bootstrap samples behind a standard error: enough to know it to 5 %."""
BOOTSTRAP_SEED: Final = 0
"""The same rows and predictions have the same standard error."""


@dataclass(frozen=True, kw_only=True)
class Grade:
    """What a model's logits on a split are worth: main score (0-100), mean NLL (nats a unit), calibration error.

    `also` are scores (0-100) that are customary beside the main one, by name. `score_se` is the standard error of the
    score over other rows of the same kind, in points; None where it was not asked for.
    """

    score: float
    loss: float
    ece: float
    also: Mapping[str, float] = field(default_factory=dict)
    score_se: float | None = None


Grader = Callable[[npt.NDArray[np.float32]], Grade]
"""From the logits (R, C) at all places of a split to its grade."""


def grade_classes(
    metric: Metric, logits_NC: npt.NDArray[np.floating[Any]], labels_N: Ints, *, with_error: bool = False
) -> Grade:
    """Grade one class an example; parameters as of `score`, `nll` and `ece`; the standard error only if asked for."""
    predictions_N, n_classes = logits_NC.argmax(-1), logits_NC.shape[1]
    return Grade(
        score=score(metric, predictions_N, labels_N, n_classes),
        loss=nll(logits_NC, labels_N),
        ece=ece(logits_NC, labels_N),
        score_se=score_se(metric, predictions_N, labels_N, n_classes) if with_error else None,
    )


def score(
    metric: Metric, predictions_N: npt.NDArray[np.integer[Any]], labels_N: npt.NDArray[np.integer[Any]], n_classes: int
) -> float:
    """Score predictions on a scale of 0 to 100, higher is better.

    Parameters
    ----------
    metric : {"accuracy", "macro_f1"}
        Share of right predictions, or the unweighted mean of the F1 of all classes.
    predictions_N, labels_N : integer arrays of shape (N,)
        Class indices in [0, n_classes).
    n_classes : int
        Number of classes of the task. A class that is neither predicted nor present counts with an F1 of 0, so that
        scores of one task are comparable whatever rows they were taken on.

    Returns
    -------
    float
        Percentage.

    Raises
    ------
    BadArgument
        For an unknown metric, no examples, different lengths, or an index outside the classes.
    """
    _check_indices(predictions_N, labels_N, n_classes)
    if metric == "accuracy":
        return float(100 * np.mean(predictions_N == labels_N))
    if metric == "macro_f1":
        return float(100 * np.mean(_f1_C(predictions_N, labels_N, n_classes)))
    raise BadArgument(f"metric must be one of {', '.join(CLASSIFICATION)}, got {metric!r}")


def score_se(
    metric: Metric, predictions_N: npt.NDArray[np.integer[Any]], labels_N: npt.NDArray[np.integer[Any]], n_classes: int
) -> float:
    """Standard error of `score` in points: binomial of accuracy, by resampled rows of macro-F1; parameters as there."""
    _check_indices(predictions_N, labels_N, n_classes)
    if metric == "accuracy":
        return mean_se(predictions_N == labels_N)
    pairs_G, sizes_G = np.unique(labels_N * n_classes + predictions_N, return_counts=True)  # rows of a pair are equal
    classes_C = np.arange(n_classes)
    label_GC, prediction_GC = ((part[:, None] == classes_C).astype(float) for part in divmod(pairs_G, n_classes))
    draws_SG = _resampled(sizes_G)
    hits_SC, seen_SC = draws_SG @ (label_GC * prediction_GC), draws_SG @ (label_GC + prediction_GC)
    return _deviation(100 * np.mean(2 * hits_SC / np.maximum(seen_SC, 1), axis=1))


def mean_se(values_N: npt.NDArray[Any]) -> float:
    """Standard error, in points, of 100 times a mean over rows: what resampling rows without end would give.

    Of values that are 0 or 1 it is the binomial one.
    """
    return float(100 * np.std(values_N) / np.sqrt(len(values_N)))


def ratio_se(over_N: npt.NDArray[Any], under_N: npt.NDArray[Any]) -> float:
    """Standard error, in points, of 100 times the sum of `over` by that of `under`, by resampled rows (0 by 0 is 0).

    Words or spans of one row are resampled together: they are not independent.
    """
    counts_G2, sizes_G = np.unique(np.column_stack([over_N, under_N]), axis=0, return_counts=True)
    over_S, under_S = (_resampled(sizes_G) @ counts_G2).T
    return _deviation(100 * over_S / np.where(under_S > 0, under_S, 1))


def _resampled(sizes_G: Ints) -> Floats:
    """How often each kind of row is in each of `RESAMPLES` bootstrap samples (S, G), from how often it was seen."""
    n_rows = int(sizes_G.sum())
    draws_SG = np.random.default_rng(BOOTSTRAP_SEED).multinomial(n_rows, sizes_G / n_rows, size=RESAMPLES)
    return draws_SG.astype(np.float64)  # products of integers are slow


def _deviation(scores_S: Floats) -> float:
    return float(np.std(scores_S, ddof=1))


def nll(logits_NC: npt.NDArray[np.floating[Any]], labels_N: npt.NDArray[np.integer[Any]]) -> float:
    """Mean negative log-likelihood of the labels, in nats; not finite where the logits are not.

    Parameters
    ----------
    logits_NC : float array of shape (N, C)
        Unnormalised log-probabilities; computed in float64 with the maximum subtracted.
    labels_N : integer array of shape (N,)

    Raises
    ------
    BadArgument
        When shapes do not fit or a label is not a class.
    """
    log_p_NC = _log_softmax(_checked_logits(logits_NC, labels_N))
    return float(-np.mean(log_p_NC[np.arange(len(labels_N)), labels_N]))


def ece(logits_NC: npt.NDArray[np.floating[Any]], labels_N: npt.NDArray[np.integer[Any]], bins: int = 15) -> float:
    """Expected calibration error, 0 (calibrated) to 1; nan where the logits are not finite.

    Examples are put into `bins` half-open bins ((m-1)/M, m/M] of equal width by their confidence, the largest softmax
    probability. The error is the mean distance between accuracy and mean confidence of a bin, weighted by its size
    (Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017, equation 3).

    Parameters
    ----------
    logits_NC : float array of shape (N, C)
    labels_N : integer array of shape (N,)
    bins : int
        Number of bins M, at least 1.

    Raises
    ------
    BadArgument
        When shapes do not fit, a label is not a class, or `bins` is below 1.
    """
    if bins < 1:
        raise BadArgument(f"bins must be a whole number of at least 1, got {bins!r}")
    logits = _checked_logits(logits_NC, labels_N)
    if not np.isfinite(logits).all():
        return float("nan")
    p_NC = np.exp(_log_softmax(logits))
    return calibration_error(p_NC.max(axis=1), logits.argmax(axis=1) == labels_N, bins)


def calibration_error(confidence_N: Floats, right_N: npt.NDArray[np.bool_], bins: int = 15) -> float:
    """`ece` of predictions whose confidence, and whether they were right, are known."""
    bin_N = np.clip(np.ceil(confidence_N * bins).astype(np.int64) - 1, 0, bins - 1)
    gap_M = np.bincount(bin_N, weights=right_N - confidence_N, minlength=bins)  # bin size times (accuracy - confidence)
    return float(np.abs(gap_M).sum() / len(right_N))


def span_f1(predicted: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> float:
    """Micro-averaged F1 (0-100) of the entities that BIO tags spell, by the rules of CoNLL's `conlleval` (seqeval).

    An entity counts when its type and both its ends are right. 0 where there is no entity at all.
    """
    from seqeval.metrics import f1_score

    return float(100 * f1_score([list(tags) for tags in gold], [list(tags) for tags in predicted], zero_division=0))


def span_counts(predicted: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> Ints:
    """Entities of every row (N, 3): right ones, predicted ones, gold ones; `span_f1` is of their sums."""
    from seqeval.metrics.sequence_labeling import get_entities

    pairs = (
        (set(get_entities(list(one))), set(get_entities(list(other))))
        for one, other in zip(predicted, gold, strict=True)
    )
    return np.array([(len(mine & true), len(mine), len(true)) for mine, true in pairs], dtype=np.int64).reshape(-1, 3)


def exact_match(answer: str, gold: Sequence[str]) -> float:
    """1 when the answer equals any of the gold ones up to case, punctuation, articles and white space, else 0.

    SQuAD's own definition (Rajpurkar et al. 2016, `evaluate-v1.1.py`). `gold` holds one empty text where the question
    has no answer.
    """
    return float(any(_plain(answer) == _plain(text) for text in gold))


def answer_f1(answer: str, gold: Sequence[str]) -> float:
    """Largest F1 (0-1) over the gold answers of the words shared with one, as SQuAD counts them.

    Where a question has no answer, 1 for an empty answer and 0 for any other (`evaluate-v2.0.py`).
    """
    return max(_word_f1(_plain(answer).split(), _plain(text).split()) for text in gold)


def _word_f1(words: Sequence[str], gold: Sequence[str]) -> float:
    if not words or not gold:
        return float(words == gold)
    shared = sum((Counter(words) & Counter(gold)).values())
    return 2 * shared / (len(words) + len(gold))


def _plain(text: str) -> str:
    """Lower case, then without ASCII punctuation, then without articles, white space made single: SQuAD's order."""
    text = "".join(letter for letter in text.lower() if letter not in _PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


_PUNCTUATION: Final = frozenset(string.punctuation)


def ragged_nll(
    logits_RC: npt.NDArray[np.floating[Any]], offsets_N1: Ints, labels_U: Ints
) -> tuple[float, Floats, npt.NDArray[np.bool_]]:
    """Mean NLL, confidences and hits where each column of each example is a unit, with a softmax over its places.

    Parameters
    ----------
    logits_RC : float array of shape (R, C)
        Logits of C columns (start and end) at the places of all examples, those of one example in a row.
    offsets_N1 : integer array of shape (N + 1,)
        Example `i` has the places `offsets_N1[i]` to `offsets_N1[i + 1]`; at least one.
    labels_U : integer array of shape (N * C,)
        The right place of each unit, counted from the first of its example; columns of one example in a row.

    Returns
    -------
    float, float array of shape (N * C,), bool array of shape (N * C,)
    """
    logits, starts_N = logits_RC.astype(np.float64), offsets_N1[:-1]
    counts_N = np.diff(offsets_N1)
    top_NC = np.maximum.reduceat(logits, starts_N, axis=0)
    with np.errstate(invalid="ignore"):
        total_NC = np.add.reduceat(np.exp(logits - np.repeat(top_NC, counts_N, axis=0)), starts_N, axis=0)
    labels_NC = labels_U.reshape(len(starts_N), -1)
    gold_NC = np.take_along_axis(logits, starts_N[:, None] + labels_NC, axis=0)
    nll_NC = top_NC + np.log(total_NC) - gold_NC
    return float(nll_NC.mean()), (1.0 / total_NC).reshape(-1), (gold_NC == top_NC).reshape(-1)


def _f1_C(predictions_N: npt.NDArray[Any], labels_N: npt.NDArray[Any], n_classes: int) -> Floats:
    """F1 of every class; 2 TP / (predicted + present), and 0 where a class is neither."""
    hits_C = np.bincount(labels_N[predictions_N == labels_N], minlength=n_classes)
    seen_C = np.bincount(predictions_N, minlength=n_classes) + np.bincount(labels_N, minlength=n_classes)
    return np.asarray(2 * hits_C / np.maximum(seen_C, 1), dtype=np.float64)


def _log_softmax(logits_NC: Floats) -> Floats:
    with np.errstate(invalid="ignore"):  # inf - inf is nan, which is what a diverged model has earned
        shifted_NC = logits_NC - logits_NC.max(axis=1, keepdims=True)
        return np.asarray(shifted_NC - np.log(np.exp(shifted_NC).sum(axis=1, keepdims=True)))


def _checked_logits(logits_NC: npt.NDArray[Any], labels_N: npt.NDArray[Any]) -> Floats:
    if logits_NC.ndim != 2:
        raise BadArgument(f"logits must have the shape (examples, classes), got {logits_NC.shape}")
    if len(logits_NC) != len(labels_N):
        raise BadArgument(f"one row of logits a label was expected, got {len(logits_NC)} and {len(labels_N)}")
    _check_range("labels", labels_N, logits_NC.shape[1])
    return logits_NC.astype(np.float64)


def _check_indices(predictions_N: npt.NDArray[Any], labels_N: npt.NDArray[Any], n_classes: int) -> None:
    if len(predictions_N) != len(labels_N):
        raise BadArgument(f"one prediction a label was expected, got {len(predictions_N)} and {len(labels_N)}")
    _check_range("predictions", predictions_N, n_classes)
    _check_range("labels", labels_N, n_classes)


def _check_range(name: str, indices_N: Ints, n_classes: int) -> None:
    if not len(indices_N):
        raise BadArgument(f"{name} must hold at least one example, got none")
    low, high = int(indices_N.min()), int(indices_N.max())
    if low < 0 or high >= n_classes:
        raise BadArgument(f"{name} must be class indices in [0, {n_classes}), got {low if low < 0 else high}")
