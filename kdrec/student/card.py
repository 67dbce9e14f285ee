"""A student's card: what it is, how good it is beside its teacher and without one, what it costs, where it fails.

Markdown in which every foreign word is escaped. The same text is README.md beside the model and the description of its
version in the registry. No text of the data is in it unless asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Final

from kdrec.metrics import Grade
from kdrec.student.examination import Examination
from kdrec.student.facts import Facts
from kdrec.student.passes import LARGE, Speed
from kdrec.tracking import escaped, rows_in_words
from kdrec.types import Split, Training, Trial

MOST_MISSES: Final = 10
MOST_CLASSES: Final = 40
MOST_LETTERS: Final = 160


@dataclass(frozen=True, kw_only=True)
class Body:
    """One model that can be run: its score on the test split, what it weighs, and where it is known how fast it is."""

    name: str
    score: float
    n_params: int | None
    n_bytes: int
    speed: Speed | None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Results:
    """All that a card tells of a student beside its facts.

    `bodies` are the teacher, the student, and its graphs if any; `trials` and `baseline` one a seed.
    """

    facts: Facts
    training: Training
    rows: dict[str, int]
    trials: tuple[Trial, ...]
    baseline: tuple[Trial, ...]
    examination: Examination
    bodies: tuple[Body, ...]
    method: str
    licence: str
    data_licence: str
    notes: tuple[str, ...] = ()
    warning: str = ""
    """What a user has to know before all else."""


def card(results: Results, *, examples: Split | None = None) -> str:
    """Markdown of a student's card; with the test split as `examples`, texts of what it misses are in it."""
    facts = results.facts
    parts = [
        f"# {escaped(facts.name)}\n\n"
        f"{escaped(facts.student)} distilled from {escaped(facts.teacher)} for {escaped(facts.task)} "
        f"({facts.family}, {len(facts.labels)} labels) by kdrec {escaped(facts.kdrec)}.",
        f"**Warning:** {escaped(results.warning)}." if results.warning else "",
        _quality(results),
        _cost(results),
        _classes(results.examination),
        _misses(results.examination, examples),
        _use(facts),
        _origin(results),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _quality(results: Results) -> str:
    facts, exam = results.facts, results.examination
    chosen = [trial for trial in results.trials if trial.seed == facts.seed]
    n_test = results.rows.get("test", 0)
    rows = [
        ("teacher", _with_interval(exam.teacher, n_test), "-", f"{exam.teacher.loss:.4f}", f"{exam.teacher.ece:.4f}"),
        (
            "**this student**",
            _with_interval(exam.student, n_test),
            "-",
            f"{exam.student.loss:.4f}",
            f"{exam.student.ece:.4f}",
        ),
        (f"its configuration, {_seeds(results.trials)}", *_over(results.trials), "-", "-"),
        (f"labels only (alpha = 0), {_seeds(results.baseline)}", *_over(results.baseline), "-", "-"),
    ]
    table = _table(("Test split", f"{facts.metric}, 0-100", "sd over seeds", "NLL", "ECE"), rows, "lrrrr")
    gain = _gain(results)
    kept = f" of {len(results.trials)}, the best on validation" if len(chosen) and len(results.trials) > 1 else ""
    return (
        f"## How good it is\n\n{table}\n\n"
        f"{gain} It agrees with its teacher on {exam.agreement:.1f} % of {exam.unit}, right or wrong. Seed {facts.seed}"
        f"{kept}: validation {facts.val_score:.2f}. The test split took part in no choice; "
        f"in brackets is the 95 % interval of a score over other {n_test:,} rows of its kind. ECE is the calibration "
        "error, 0 to 1: how far confidence is from the share that is right."
    )


def _with_interval(grade: Grade, n_rows: int) -> str:
    """A score and its 95 % interval over other rows; of a score without any spread, by the rule of three."""
    if grade.score_se is None:
        return f"{grade.score:.2f}"
    half = 1.96 * grade.score_se if grade.score_se > 0 else 300 / max(n_rows, 1)
    return f"{grade.score:.2f} ({max(0.0, grade.score - half):.1f} to {min(100.0, grade.score + half):.1f})"


def _gain(results: Results) -> str:
    """What distillation gained over labels alone, seed by seed, and how sure that is."""
    plain = {trial.seed: trial.test_score for trial in results.baseline}
    gains = [
        trial.test_score - other
        for trial in results.trials
        if trial.test_score is not None and (other := plain.get(trial.seed)) is not None
    ]
    if not gains:
        return "No seed ended both with and without the teacher."
    mean = fmean(gains)
    if len(gains) == 1:
        return f"Against labels alone: {mean:+.2f} points with one seed, so how loud seeds are is not known."
    error = 2 * stdev(gains) / len(gains) ** 0.5
    return f"Against labels alone: {mean:+.2f} ± {error:.2f} points (twice the standard error over {len(gains)} seeds)."


def _seeds(trials: Sequence[Trial]) -> str:
    done = sum(trial.test_score is not None for trial in trials)
    lost = f" ({len(trials) - done} diverged)" if done < len(trials) else ""
    return f"mean of {len(trials)} seeds{lost}" if len(trials) > 1 else f"seed {trials[0].seed}{lost}"


def _over(trials: Sequence[Trial]) -> tuple[str, str]:
    """Mean and standard deviation of the test score."""
    scores = [trial.test_score for trial in trials if trial.test_score is not None]
    return (f"{fmean(scores):.2f}" if scores else "-", f"{stdev(scores):.2f}" if len(scores) > 1 else "-")


def _cost(results: Results) -> str:
    teacher = results.bodies[0]
    rows = [
        (
            body.name,
            f"{body.score:.2f}",
            f"{body.n_params / 1e6:.2f} M" if body.n_params else "-",
            f"{body.n_bytes / 1e6:.1f} MB",
            *_speed(body.speed, teacher.speed),
        )
        for body in results.bodies
    ]
    head = ("", "test score", "parameters", "on disk", "one text", f"texts/s, batches of {LARGE}", "times the teacher")
    notes = "".join(f" {body.note}" for body in results.bodies if body.note)
    return f"## What it costs\n\n{_table(head, rows, 'lrrrrrr')}\n\n{results.method}.{notes}"


def _speed(speed: Speed | None, teacher: Speed | None) -> tuple[str, str, str]:
    """One text, texts a second, and how much faster than the teacher."""
    if speed is None or teacher is None:
        return ("not measured", "not measured", "-")
    return (
        f"{speed.milliseconds:.2f} ms (to {speed.milliseconds_q75:.2f})",
        f"{speed.texts_per_second:.0f} (to {speed.texts_per_second_q75:.0f})",
        f"{speed.texts_per_second / teacher.texts_per_second:.1f}",
    )


def _classes(exam: Examination) -> str:
    if not exam.classes:
        return ""
    shown = exam.classes[:MOST_CLASSES]
    rows = [
        (escaped(c.label), str(c.n), *(f"{v:.1f}" for v in (c.precision, c.recall, c.f1, c.teacher_f1))) for c in shown
    ]
    more = f"\n\n... and {len(exam.classes) - len(shown)} more classes." if len(shown) < len(exam.classes) else ""
    head = ("class", f"test {exam.unit}", "precision", "recall", "F1", "teacher's F1")
    return f"## Class by class\n\n{_table(head, rows, 'lrrrrr')}{more}"


def _misses(exam: Examination, examples: Split | None) -> str:
    """Where the teacher is right (of questions: better) and the student is not."""
    total = sum(miss.n for miss in exam.misses)
    if not total:
        return "## Where it fails\n\nNowhere on the test split where its teacher is right."
    shown = exam.misses[:MOST_MISSES]
    rows = [(escaped(miss.label), escaped(miss.taken_for), str(miss.n)) for miss in shown]
    more = f"\n\n... and {len(exam.misses) - len(shown)} more pairs." if len(shown) < len(exam.misses) else ""
    text = (
        f"## Where it fails\n\n{total} {exam.unit} of the test split that its teacher gets right and it does not:\n\n"
        f"{_table(('is', 'taken for', exam.unit), rows, 'llr')}{more}"
    )
    if examples is None:
        return text
    lines = [
        f"- {escaped(miss.label)}, taken for {escaped(miss.taken_for)}: {_quoted(examples.texts[row])}"
        for miss in shown
        for row in miss.rows
    ]
    return "\n".join([text, "", *lines])


def _quoted(texts: Sequence[str]) -> str:
    text = " | ".join(texts) if len(texts) <= 2 else " ".join(texts)
    return escaped(text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 3]}...")


def _use(facts: Facts) -> str:
    pipelines = {
        "sentence": 'pipeline("text-classification", FOLDER)(text, truncation=True)',
        "pair": 'pipeline("text-classification", FOLDER)({"text": a, "text_pair": b}, truncation=True)',
        "tokens": 'pipeline("token-classification", FOLDER)(text)',
    }
    say = f"It reads {facts.max_length} tokens at most, special ones included, as it was trained."
    code = f"kdrec predict FOLDER file.csv --text {'COL --text COL' if facts.family in ('pair', 'qa') else 'COL'}"
    if facts.family == "qa":
        return (
            f"## Use\n\n    {code}\n\n{say} transformers 5 has no pipeline for questions, so the registered version "
            "has no pyfunc: `kdrec predict` and `AutoModelForQuestionAnswering` read it."
        )
    words = " It was trained on single words: the pipeline cuts a text at spaces and punctuation, and tags every piece."
    return (
        f"## Use\n\n    {code}\n    transformers.{pipelines[facts.family]}\n"
        f'    mlflow.pyfunc.load_model("models:/{facts.name}@champion").predict(table)\n\n'
        f"{say}{words if facts.family == 'tokens' else ''}"
    )


def _origin(results: Results) -> str:
    facts, training = results.facts, results.training
    rows = [
        ("configuration", f"{escaped(facts.config.label())}, {escaped(facts.why)}"),
        ("rows", escaped(rows_in_words(results.rows))),
        (
            "training",
            f"{training.epochs} epochs of batch {training.batch_size} at learning rate {training.learning_rate:g}, "
            f"seed {facts.seed}",
        ),
        ("teacher's weights", f"`{facts.teacher_checkpoint}`"),
        ("task's content", f"`{facts.task_fingerprint}`"),
        ("trial", f"`{facts.fingerprint}`"),
        ("licences", f"model {escaped(results.licence)}, data {escaped(results.data_licence)}"),
        *(("note", escaped(note)) for note in results.notes),
    ]
    return f"## Where it is from\n\n{_table(('', ''), rows, 'll')}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    marks = ["--:" if side == "r" else "---" for side in align]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, marks, *rows))
