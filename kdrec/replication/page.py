"""The whole page, from the shipped trials, their provenance and audit; what was run, how fast, and what it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from kdrec.errors import NoHistory
from kdrec.findings.cells import Cell, cells
from kdrec.findings.choice import spread
from kdrec.findings.knobs import knob_effects
from kdrec.findings.labels_only import over_labels
from kdrec.findings.paper import PAPER_WORST
from kdrec.findings.path import gain_curve
from kdrec.history.provenance import Provenance, TaskFacts
from kdrec.plots import draw_audit
from kdrec.recommend.scorecard import Scorecard
from kdrec.replication import audited, figures, results
from kdrec.replication.markdown import DASH, counted, filled, picture, plain, signed, table
from kdrec.sources import atomic_write
from kdrec.types import History, Trial

PAGE: Final = "replication.md"
FOLDER: Final = "replication"


def write(history: History, facts: Provenance | None, audit: Mapping[str, Any], docs: Path) -> None:
    """Write the page, its figures and the audit into a folder of documents; same input, same bytes.

    Raises
    ------
    NoHistory
        When no cell has the default and another configuration: there is nothing to tell.
    """
    if not any(len(cell.configs) > 1 for cell in cells(history)):
        raise NoHistory("the page compares configurations, and no task and student has the default and another one")
    folder = docs / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    card = audited.card_of(audit)
    atomic_write(folder / audited.FILE, audited.to_text(audit).encode())
    draw(history, card, folder)
    atomic_write(docs / PAGE, text(history, facts, card).encode())


def draw(history: History, card: Scorecard, folder: Path) -> None:
    """Draw every figure of the page."""
    found = cells(history)
    figures.draw_effects(knob_effects(found), knob_effects(found, "family"), folder / "effects.svg")
    figures.draw_heat(found, folder / "heat.svg")
    figures.draw_gains(gain_curve(found), folder / "gain.svg")
    figures.draw_labels([over_labels(cell) for cell in found], folder / "labels.svg")
    figures.draw_spreads([spread(cell) for cell in found], PAPER_WORST, folder / "spread.svg")
    if card.audited:
        draw_audit(_without_gains(card), folder / "audit.svg")


def text(history: History, facts: Provenance | None, card: Scorecard) -> str:
    """The page's Markdown."""
    found = cells(history)
    sections = (
        _opening(history, found),
        _run_section(history, found, facts),
        results.paper_section(found),
        results.knobs_section(found),
        results.heat_section(found),
        results.choice_section(found),
        results.gain_section(found),
        results.labels_section(found),
        results.teachers_section(found, facts),
        results.noise_section(found),
        results.grids_section(found),
        _audit_section(card),
        _speed_section(history, facts),
        _limits_section(history, facts),
    )
    return filled("\n\n".join(sections)) + "\n"


def _without_gains(card: Scorecard) -> Scorecard:
    """What the audit's figure needs when no single cell is kept."""
    return Scorecard(
        n_tasks=card.n_tasks,
        n_cells=card.n_cells,
        n_trials=card.n_trials,
        regret=card.regret,
        over_default=card.over_default,
    )


def _opening(history: History, found: Sequence[Cell]) -> str:
    trials, tasks = counted(len(history), "trial"), counted(len(history.tasks()), "task")
    students, paper = (
        counted(len(history.students()), "student"),
        "[arXiv 2401.06356](https://arxiv.org/abs/2401.06356)",
    )
    return f"""# A replication of the four-knob study

We ran the study of Sultan, Trivedi, Awasthy and Sil ({paper}) anew, at our own size: {trials} of {tasks} and
{students} ({counted(len(found), "cell")}). The trials come with kdrec, and `kdrec suggest` learns from them unless told
otherwise. This page is written by `make replication-report` from these trials alone; no result in it is typed."""


def _run_section(history: History, found: Sequence[Cell], facts: Provenance | None) -> str:
    seeds = ", ".join(str(seed) for seed in sorted({trial.seed for trial in history}))
    grids = ", ".join(f"{cell.task} / {cell.student}" for cell in found if cell.is_full_grid)
    diverged = counted(sum(trial.status == "diverged" for trial in history), "run")
    ran = f"""Every cell: the baseline (alpha = 0), then a greedy search from the default (distance, teacher,
        temperatures, alpha; repeated until a pass changes nothing), every configuration with at least two of the seeds
        {seeds}. The whole grid was run in {grids or "no cell"}. {diverged} diverged. Scores are the task's main metric
        on a scale of 0 to 100; searches saw validation scores only."""
    about = _bare_tasks(history) if facts is None else _facts(facts)
    return f"## What was run\n\n{ran}\n\n{about}"


def _facts(facts: Provenance) -> str:
    """Machine, versions, tasks and training."""
    versions = ", ".join(f"{name} {number}" for name, number in sorted(facts.packages.items()))
    workers = "one worker process" if facts.workers == 1 else f"{facts.workers} worker processes"
    header = ("task", "family", "metric", "teacher", "licence", "source", "training", "validation", "test")
    rows = [_task_row(task) for task in facts.tasks]
    notes = "\n\n" + "\n".join(f"- {note}" for note in facts.notes) if facts.notes else ""
    return f"""Machine: {facts.machine}; {workers}. Commit `{facts.commit}`; {versions}.{notes}

{table(header, rows, words=6)}

What is not a knob:

{_training_table(facts.tasks)}{_curves_part(facts.tasks)}"""


def _task_row(task: TaskFacts) -> tuple[object, ...]:
    rows = [f"{task.rows[part]:,}" for part in ("train", "validation", "test")]
    return (task.task, task.family, task.metric, task.teacher, task.licence, f"`{task.source}`", *rows)


def _curves_part(tasks: Sequence[TaskFacts]) -> str:
    """Whether students were trained out: what their training on labels alone reached, evaluation by evaluation."""
    rows = [
        (f"{task.task} / {student}", ", ".join(plain(score, 1) for score in curve), signed(curve[-1] - curve[-2], 1))
        for task in tasks
        for student, curve in sorted(task.curves.items())
        if len(curve) > 1
    ]
    if not rows:
        return ""
    return f"""

Were students trained out? The validation score of training on labels alone after each evaluation, mean over seeds. A
curve that still rises at its end is of a student that was stopped early, and says more about the speed of learning.

{table(("cell", "validation score", "last step"), rows)}"""


def _bare_tasks(history: History) -> str:
    seen = {trial.task: trial.features for trial in history}
    rows = [(task, about.family or DASH, about.n_train or DASH) for task, about in seen.items()]
    return table(("task", "family", "training"), rows, words=2)


def _training_table(tasks: Sequence[TaskFacts]) -> str:
    """One row for all tasks and students that were trained alike."""
    alike: dict[tuple[tuple[str, float], ...], list[str]] = {}
    for task in tasks:
        for student, training in sorted(task.training.items()):
            alike.setdefault(tuple(sorted(training.items())), []).append(f"{task.task}/{student}")
    every = {f"{task.task}/{student}" for task in tasks for student in task.training}
    names = sorted({name for training in alike for name, _ in training})
    rows = [
        (
            "all" if set(members) == every else ", ".join(members),
            *(dict(training).get(name, DASH) for name in names),
        )
        for training, members in alike.items()
    ]
    return table(("cells", *(name.replace("_", " ") for name in names)), rows)


def _audit_section(card: Scorecard) -> str:
    title = "## How good the recommender is on these trials"
    if not card.audited:
        return f"{title}\n\n{card.verdict}"
    return f"""{title}

Every task was left out in truth, everything fitted anew, and each student asked about ([how](recommender.md#audit)).
{card.verdict}

{picture("audit.svg", "Points lost by each strategy to the best measured configuration, and won over the default")}

{_strategies(card)}

Part of every loss is noise in the best of several measured scores, the same for all strategies; it also draws the first
mark below towards 1.

{_gains(card)}{_marks(card)}"""


def _strategies(card: Scorecard) -> str:
    over = card.over_default
    rows = [
        (
            f"**{name}**" if name == "suggested" else name,
            f"{plain(lost.mean)} ± {plain(lost.se)}",
            signed(over[name].mean) if name in over else DASH,
            f"{signed(over[name].lo90)} to {signed(over[name].hi90)}" if name in over else DASH,
        )
        for name, lost in sorted(card.regret.items(), key=lambda pair: pair[1].mean)
    ]
    return table(("strategy", "lost", "over default", "90 % interval"), rows)


def _gains(card: Scorecard) -> str:
    if not card.gains:
        return ""
    rows = [
        (
            gain.trials,
            signed(gain.forecast),
            signed(gain.realised),
            f"{signed(gain.bias.mean)} ± {plain(gain.bias.se)}",
            plain(gain.coverage80.mean),
        )
        for gain in card.gains
    ]
    return table(("further trials", "foretold", "realised", "too high by", "in 80 % interval"), rows) + "\n\n"


def _marks(card: Scorecard) -> str:
    marks = audited.marks(card)
    failed = "; ".join(mark.name for mark in marks if mark.met is False)
    met = sum(mark.met is True for mark in marks)
    rows = [(mark.name, mark.must, mark.word, mark.value) for mark in marks]
    return f"""Of the pass marks that this audit can show, {met} are met. Failed: {failed or "none"}. A forecast of "no
change" has the interval [0, 0] and nearly always holds, so a coverage of gains above its band may say no more than
that; the bands of effects are those set for gains. The other marks are measured in
[simulated worlds](recommender.md#how-right-it-is).

{table(("mark", "must be", "verdict", "value"), rows, words=3)}"""


def _speed_section(history: History, facts: Provenance | None) -> str:
    hours = sum(trial.seconds for trial in history) / 3600
    rows = [_speed_row(student, [t for t in history if t.student == student], facts) for student in history.students()]
    text = f"## How fast\n\nAll trials together trained for {plain(hours, 1)} hours of one process."
    if facts is not None and facts.wall_hours:
        busy = hours / (facts.workers * facts.wall_hours)
        text += (
            f" The study took {plain(facts.wall_hours, 1)} hours from the first trial's start to the last one's end; "
            f"{plain(100 * busy, 0)} % of the workers' time went into the trials, the rest into teachers, logits, "
            "searches and pauses."
        )
        if facts.cpu_hours is not None:
            text += f" It used {plain(facts.cpu_hours, 1)} hours of CPU."
    header = ("student", "trials", "seconds a trial (median)", "training examples a second (median)")
    return f"{text}\n\n{table(header, rows)}"


def _speed_row(student: str, trials: Sequence[Trial], facts: Provenance | None) -> tuple[object, ...]:
    speeds = [speed for trial in trials if (speed := _examples_a_second(trial, facts)) is not None]
    shown = f"{median(speeds):,.0f}" if speeds else DASH
    return student, len(trials), plain(median(trial.seconds for trial in trials), 1), shown


def _examples_a_second(trial: Trial, facts: Provenance | None) -> float | None:
    """Training examples, each epoch counted, over the whole time of a trial: evaluation and logging included."""
    about = facts.of(trial.task) if facts else None
    epochs = about.training.get(trial.student, {}).get("epochs") if about else None
    if about is None or epochs is None or not trial.seconds or trial.status != "completed":
        return None
    return about.rows["train"] * epochs / trial.seconds


def _limits_section(history: History, facts: Provenance | None) -> str:
    sizes = [trial.features.student_params for trial in history if trial.features.student_params]
    rows = [trial.features.n_train for trial in history if trial.features.n_train]
    small = f" ({min(sizes) / 1e6:.0f} to {max(sizes) / 1e6:.0f} million parameters)" if sizes else ""
    data = f" ({min(rows):,} to {max(rows):,} training examples)" if rows else ""
    return f"""## What this is not

- **Small encoders**{small}, cut from one teacher's layers. What holds for them need not hold for large models, other
  teachers or for generation.
- **Small data**{data} and small test splits. The sampling error of a cell's test split is shared by its configurations,
  and is in no interval.
- **Few seeds.** Most configurations have two, so *split* numbers rest on one seed each way.
- **One machine**: {facts.machine if facts else "not known"}. Times are of that machine.
- **Our order of the greedy search, our training values, our tasks.** The paper does not publish its order.
- Intervals are over tasks, as if these were drawn from the tasks you care about. Families have few tasks: their
  intervals are wide, and rough.
- Which configurations a greedy search tried depends on luck on validation; only full grids compare all with all."""
