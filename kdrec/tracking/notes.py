"""What a person reads beside a run in MLflow: Markdown in which every foreign word is escaped.

MLflow renders `mlflow.note.content` as Markdown and cuts it at 8,000 characters; tables are shortened here, in words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final

from kdrec.errors import spelled
from kdrec.resolution import tied
from kdrec.types import (
    Candidate,
    Configuration,
    Decision,
    FineTuning,
    KDConfig,
    TaskFeatures,
    TeacherChoice,
    Training,
    Trial,
)

NOTE_LIMIT: Final = 7500


def escaped(text: str) -> str:
    r"""Text that Markdown and HTML show as it is, on one line.

    An underscore between letters means nothing in Markdown, and stays: tables of MLflow show the text as it is written.

    >>> escaped("<b>a|b_c _d_</b>")
    '&lt;b&gt;a\\|b_c \\_d\\_&lt;/b&gt;'
    """
    plain = spelled(" ".join(text.split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|#~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", plain)


def trial_name(config: KDConfig, seed: int) -> str:
    """Name of a trial's run, short because MLflow's table shows its first 16 letters.

    >>> trial_name(KDConfig(tau_t=4), 0)
    'ce t_ll 0.5 4/1 s0'
    """
    if config.alpha == 0:
        return f"labels only s{seed}"
    taus = "" if config.distance == "mse" else f" {config.tau_t:g}/{config.tau_s:g}"
    scaled = "" if config.scale_soft_loss == "none" else " scaled"
    return f"{config.distance} {config.teacher} {config.alpha:g}{taus} s{seed}{scaled}"


def calibration_name(training: Training) -> str:
    """Name of a calibration's run.

    >>> calibration_name(Training(learning_rate=6e-4, n_steps=120))
    'calibrate 0.0006 x 120'
    """
    length = f"{training.n_steps}" if training.n_steps else f"{training.epochs} epochs"
    return f"calibrate {training.learning_rate:g} x {length}"


def study_note(study: str) -> str:
    """Description of an experiment: how to read what is in it."""
    return (
        f"Study {escaped(study)} of kdrec: which knowledge-distillation configuration to use.\n\n"
        "- One parent run per cell (task/student) and one child run per trial; teachers have runs of their own.\n"
        "- A trial is named by distance, teacher, alpha, tau_t/tau_s and seed, which are also its only params: *Views* "
        "holds a table of all trials and one of the cells; select trials and *Compare* to see what differs.\n"
        "- `val_score` and `test_score` are the metric of the task, 0-100, higher is better; no choice sees the test.\n"
        "- `kdrec.status`: started, completed, diverged (kept as evidence), failed, replaced."
    )


def cell_note(
    student: str,
    features: TaskFeatures,
    *,
    training: Training,
    rows: Mapping[str, int],
    searched: str,
    read: str = "",
    left_out: Sequence[str] = (),
    calibrated: str = "",
) -> str:
    """Description of a cell's parent run, known before its first trial.

    Parameters
    ----------
    student : str
        Name of the student's model card.
    features : TaskFeatures
        What is known of the task.
    training : Training
        How the cell's students are trained.
    rows : mapping of str to int
        Number of rows by split, in the order shown.
    searched : str
        One line in words: strategy, number of configurations, seeds.
    read : str
        What a file of the user's own was read as.
    left_out : sequence of str
        Sentences that count what was dropped or cut on the way from the source to the model.
    calibrated : str
        How learning rate and length were found, where the study left them out.

    Returns
    -------
    str
        Markdown.
    """
    task = (features.family and f"{features.family} task") or "task"
    classes = f", {features.n_classes} classes" if features.n_classes else ""
    lines = [
        f"Search for the configuration that best distils **{escaped(student)}** for **{escaped(features.task)}**.",
        "",
        "| | |",
        "|---|---|",
        f"| Task | {escaped(features.task)} ({task}{classes}) |",
        f"| Rows | {escaped(rows_in_words(rows))} |",
        f"| Student | {escaped(student)}{_params(features.student_params)} |",
        f"| Teacher | {_teacher(features)} |",
        f"| Training | {_training(training)} |",
        *([f"| Calibration | {escaped(calibrated)} |"] if calibrated else []),
        f"| Search | {escaped(searched)} |",
        *([f"| Read | {escaped(read)} |"] if read else []),
        *(f"| Left out | {escaped(sentence)} |" for sentence in left_out),
    ]
    return "\n".join(lines)


def warned(note: str, warning: str) -> str:
    """A description with something amiss said first."""
    return f"**Warning:** {escaped(warning)}.\n\n{note}"


def rows_in_words(rows: Mapping[str, int]) -> str:
    """Number of rows by split.

    >>> rows_in_words({"train": 300, "test": 60, "transfer": 1500})
    '300 train, 60 test, 1,500 without labels'
    """
    words = {"transfer": "without labels", "teacher": "to fine-tune the teacher"}
    return ", ".join(f"{count:,} {words.get(split, split)}" for split, count in rows.items())


_ENDINGS: Final = {
    "patience": "no longer better",
    "cap": "most steps allowed",
    "length": "epochs as given",
    "diverged": "diverged",
}


def teacher_note(
    task: str,
    candidates: Sequence[Candidate],
    selection: Mapping[TeacherChoice, Candidate],
    runs: Sequence[FineTuning] = (),
) -> str:
    """Description of a teacher's run: what the two choices are, what they measured, and why each run ended."""
    ended = [
        f"| {run.learning_rate:g} | {run.seed} | {run.n_steps} | {_ENDINGS.get(run.ending, run.ending)} | "
        f"{'yes' if run.still_improving else 'cannot be told' if run.still_improving is None else 'no'} |"
        for run in runs
    ]
    if ended:
        ended = ["", "| Learning rate | Seed | Steps | Ended | Still improving |", "|--:|--:|--:|---|---|", *ended]
    rows = [
        f"| `{choice}` | {c.learning_rate:g} | {c.seed} | {c.epoch:g} | {c.score:.2f} | {c.loss:.4f} | {c.ece:.4f} |"
        for choice, c in selection.items()
    ]
    return "\n".join(
        [
            f"Teacher of **{escaped(task)}**, chosen from {len(candidates)} evaluated checkpoints: `t_hs` has the "
            "highest validation score, `t_ll` the lowest validation loss, `t_llg` the lowest loss among those whose "
            "score is within one standard error of the highest; ties go to the earlier checkpoint.",
            "",
            "| Choice | Learning rate | Seed | Epoch | Validation score | Validation loss | Calibration error |",
            "|---|--:|--:|--:|--:|--:|--:|",
            *rows,
            *ended,
            "",
            "All checkpoints are in the artifact `trace.json`.",
        ]
    )


def closing_note(
    opening: str,
    trials: Sequence[Trial],
    *,
    path: Sequence[str],
    best: KDConfig,
    decisions: Sequence[Decision] = (),
) -> str:
    """Description of a finished cell: the answer, the opening, the way to it, and the table of trials.

    Parameters
    ----------
    opening : str
        What `cell_note` made.
    trials : sequence of Trial
        All trials of the cell.
    path : sequence of str
        One line per step of the search: what was tried, what was kept, and why.
    best : KDConfig
        The configuration chosen on validation.
    decisions : sequence of Decision, optional
        What the recommender said, of a search that asked it: shown as a table in place of `path`.

    Returns
    -------
    str
        Markdown, shortened where MLflow would cut it.
    """
    by_config: dict[Configuration, list[Trial]] = {}
    for trial in trials:
        by_config.setdefault(trial.config, []).append(trial)
    chosen = by_config.get(best, [])
    equal = len(tied(trials, best))
    crowned = f"Tied on validation with {equal} other{'s' if equal > 1 else ''}" if equal else "Best on validation"
    title = "Suggested" if decisions else crowned
    answer = f"**{title}: {escaped(best.label())}**, " + ", ".join(
        f"{words} {_mean(chosen, name)}" for words, name in (("validation", "val_score"), ("test", "test_score"))
    )
    steps = [f"{number}. {escaped(step)}" for number, step in enumerate(path, 1)]
    steps = ["How the search went:", "", *steps] if steps else []
    steps = _advice(decisions) if decisions else steps
    head = "\n".join([answer, "", opening, "", *steps, ""])  # MLflow folds a description after its first lines
    ranked = sorted(by_config.items(), key=lambda pair: _rank(pair[1]))
    return _with_table(head, [_table_row(config, same, config == best) for config, same in ranked])


def _advice(decisions: Sequence[Decision]) -> list[str]:
    """How the recommender was asked, step by step, and where that ended."""
    rows = []
    for d in decisions:
        proposed = ", ".join(config.label() for config in d.proposed) or "nothing more"
        cells = (str(d.step), str(d.n_trials), f"{d.worth:.3f}", f"{d.price:g}", escaped(proposed), escaped(d.reason))
        rows.append(f"| {' | '.join(cells)} |")
    over = "".join(
        f" Trying all the rest would gain {gain.mean:+.2f} points (80 %: {gain.lo80:.2f} to {gain.hi80:.2f})."
        for gain in decisions[-1].answer.gain
        if gain.trials == "all"
    )
    head = ("| Step | Trials | Worth | Price | Tried next | Why |", "|--:|--:|--:|--:|---|---|")
    about = (
        "Worth is what a trial is forecast to gain, at the best number of trials, in points; it is weighed against the "
        "price of a trial. All answers are in the artifact `decisions.json`."
    )
    return ["How the recommender was asked:", "", *head, *rows, "", f"{about}{over}"]


_TABLE_HEAD: Final = (
    "| Configuration | Validation score | Validation loss | Test score | Seconds | Seeds |\n|---|--:|--:|--:|--:|--:|"
)


def _with_table(head: str, rows: list[str]) -> str:
    """Add as many rows as fit, and say how many do not; a head that is too long itself ends in an ellipsis."""
    head = head if len(head) <= NOTE_LIMIT - 1500 else head[: NOTE_LIMIT - 1500] + " ...\n"
    text = f"{head}\n{_TABLE_HEAD}"
    for number, row in enumerate(rows):
        if len(text) + len(row) > NOTE_LIMIT:
            return f"{text}\n\n... and {len(rows) - number} more configurations, in the child runs."
        text = f"{text}\n{row}"
    return text


def _table_row(config: Configuration, trials: Sequence[Trial], is_best: bool) -> str:
    label = f"**{escaped(config.label())}**" if is_best else escaped(config.label())
    states = sorted({trial.status for trial in trials} - {"completed"})
    label += f" ({', '.join(states)})" if states else ""
    means = (_mean(trials, "val_score"), _mean(trials, "val_loss", 4), _mean(trials, "test_score"))
    return f"| {label} | {' | '.join(means)} | {_mean(trials, 'seconds', 0)} | {len(trials)} |"


def _rank(trials: Sequence[Trial]) -> tuple[float, float]:
    scores = [trial.val_score for trial in trials if trial.val_score is not None]
    losses = [trial.val_loss for trial in trials if trial.val_loss is not None]
    return (-fmean(scores) if scores else 1.0, fmean(losses) if losses else float("inf"))


def _mean(trials: Sequence[Trial], name: str, digits: int = 2) -> str:
    values = [value for trial in trials if (value := getattr(trial, name)) is not None]
    return f"{fmean(values):.{digits}f}" if values else "-"


def _params(count: int | None) -> str:
    return f", {count / 1e6:.1f} M parameters" if count else ""


def _teacher(features: TaskFeatures) -> str:
    parts = [
        f"{words} {value:.{digits}f}"
        for words, value, digits in (
            ("validation score", features.teacher_score, 2),
            ("loss", features.teacher_nll, 4),
            ("calibration error", features.teacher_ece, 4),
        )
        if value is not None
    ]
    size = _params(features.teacher_params).removeprefix(", ")
    return ", ".join([*parts, *([size] if size else [])]) or "not yet known"


def _training(training: Training) -> str:
    length = f"{training.n_steps} steps" if training.n_steps else f"{training.epochs} epochs"
    return (
        f"{length} of batch {training.batch_size} at learning rate {training.learning_rate:g}, "
        f"at most {training.max_length} tokens"
    )
