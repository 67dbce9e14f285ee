"""Predictions and logits to numbers: score, negative log-likelihood, calibration error. Pure numpy.

Nothing here knows tasks, models or files. Shape legend: N examples, C classes, M bins.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kdrec.errors import BadArgument
from kdrec.types import Floats, Ints, Metric

METRICS: tuple[Metric, ...] = ("accuracy", "macro_f1")


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
    raise BadArgument(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")


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
    confidence_N = p_NC.max(axis=1)
    right_N = (logits.argmax(axis=1) == labels_N).astype(np.float64)
    bin_N = np.clip(np.ceil(confidence_N * bins).astype(np.int64) - 1, 0, bins - 1)
    gap_M = np.bincount(bin_N, weights=right_N - confidence_N, minlength=bins)  # bin size times (accuracy - confidence)
    return float(np.abs(gap_M).sum() / len(labels_N))


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
