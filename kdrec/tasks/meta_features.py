"""What is known of a task before anything is trained on it: the part of `TaskFeatures` that its rows tell."""

from __future__ import annotations

import numpy as np

from kdrec.types import DATA_DIGITS, Task, TaskFeatures


def features(task: Task, *, mean_tokens: float | None = None) -> TaskFeatures:
    """Meta-features of a task's training split.

    Parameters
    ----------
    task : Task
    mean_tokens : float, optional
        Mean tokens of an example, where it has been tokenised.

    Returns
    -------
    TaskFeatures
        `label_entropy` is the entropy of the training labels (of `tokens`: of the words' tags) in nats. What a teacher
        tells stays None, and so do labels where answers are places of a text (`qa`), and the number of rows without
        labels where there are none. `data` tells these rows from all others.
    """
    spans = task.family == "qa"  # whose labels are places of a text
    return TaskFeatures(
        task=task.name,
        family=task.family,
        n_train=len(task.train),
        n_classes=None if spans else len(task.labels),
        label_entropy=None if spans else _entropy(task),
        mean_tokens=mean_tokens,
        n_transfer=None if task.transfer is None else len(task.transfer),
        data=task.fingerprint[:DATA_DIGITS],
    )


def _entropy(task: Task) -> float:
    counts_C = np.bincount(task.train.labels_U, minlength=len(task.labels))
    p = counts_C[counts_C > 0] / counts_C.sum()
    return max(0.0, float(-(p * np.log(p)).sum()))
