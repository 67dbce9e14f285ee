"""Trials, suggestions, tasks and models as tables and sentences for a person; pure functions to rich renderables.

Nothing here prints, computes a statistic that decides something, or loads a training library: what a cell's result is
like is said by a protocol, so that `trial` need not be imported.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final, Protocol

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from kdrec.layout import FittingTable
from kdrec.resolution import tied
from kdrec.types import (
    BASELINE_CONFIG,
    DEFAULT_CONFIG,
    Configuration,
    Gain,
    History,
    KDConfig,
    ModelCard,
    Suggestion,
    Trial,
)
from kdrec.weak_teacher import weak_teacher

if TYPE_CHECKING:
    from kdrec.tasks import KnownTask, ReadReport

MISSING: Final = "-"


class Step(Protocol):
    """One knob of a greedy walk (`search.SearchStep`)."""

    @property
    def knob(self) -> str: ...  # noqa: D102
    @property
    def tried(self) -> tuple[KDConfig, ...]: ...  # noqa: D102
    @property
    def kept(self) -> KDConfig: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102


class Result(Protocol):
    """What became of one task x student (`trial.CellResult`)."""

    @property
    def cell(self) -> object: ...  # noqa: D102
    @property
    def trials(self) -> tuple[Trial, ...]: ...  # noqa: D102
    @property
    def path(self) -> Sequence[Step]: ...  # noqa: D102
    @property
    def best(self) -> KDConfig: ...  # noqa: D102


def cells_table(results: Iterable[Result]) -> Group:
    """One table a cell: every configuration tried, means over its seeds, the walk that was kept and the best.

    Parameters
    ----------
    results : iterable of Result
        Finished cells, shown in the order given.

    Returns
    -------
    rich.console.Group
        Scores 0-100, losses in nats, seconds summed over seeds. Searching saw the validation columns alone.
    """
    parts: list[RenderableType] = []
    for result in results:
        parts += [_cell_table(result), _path_text(result), *_warning(result)]
    return Group(*parts)


def path_lines(result: Result) -> list[str]:
    """The greedy walk in words, one line a knob."""
    lines = []
    for number, step in enumerate(result.path, start=1):
        tried = _labels(step.tried)
        reason = f" ({step.reason})" if step.reason else ""
        lines.append(f"{number}. {step.knob}: tried {tried}; kept {step.kept.label()}{reason}")
    return lines


def suggestion_text(suggestion: Suggestion) -> Group:
    """The answer for a person: what to start from and whether to go on, what that costs and gains, the trials, why."""
    parts: list[RenderableType] = [_headline(suggestion), _verdict(suggestion)]
    parts += [Text(line) for line in _cost_lines(suggestion)]
    if suggestion.gain:
        metric = suggestion.evidence.get("metric")
        scale = f" ({metric}, 0-100)" if metric else ""
        parts += [
            Text(f"\nFurther trials are expected to gain, in points of the task's score{scale}:"),
            _gain_table(suggestion),
        ]
    if suggestion.next:
        title = "If you tune all the same, try:" if suggestion.stop else "Try next:"
        parts += [Text(f"\n{title}"), _next_table(suggestion)]
    parts.append(Text(f"\n{_evidence_line(suggestion.evidence)}"))
    parts += [Text(f"- {note}") for note in suggestion.evidence.get("notes", ())]
    parts += [Text(f"- {suggestion.audit['note']}")] if "note" in suggestion.audit else []
    return Group(*parts)


def read_text(read: ReadReport) -> Group:
    """What a file of one's own was read as, before anything is made of it."""
    notes = [Text(f"- {note}") for note in read.notes]
    return Group(*(Text(line) for line in read.lines()), *notes, Text(""))


def why(suggestion: Suggestion) -> str:
    """The reason to stop or to go on as a sentence of its own; empty where none was given."""
    reason = suggestion.reason.strip().removeprefix("stop:").removeprefix("go on:").strip()
    return f"{reason[:1].upper()}{reason[1:]}{'' if reason.endswith(('.', '!', '?')) else '.'}" if reason else ""


def history_table(history: History, *, limit: int | None = None) -> Group:
    """Finished trials, newest last; with `limit`, the last ones and a line that says so."""
    trials = history.trials if limit is None else history.trials[-limit:]
    table = _table("task", "student", "configuration", numbers=("seed", "val", "test", "s"))
    for trial in trials:
        score = _number(trial.val_score, 2) if trial.status == "completed" else trial.status
        row = (trial.task, trial.student, trial.config.label(), str(trial.seed))
        table.add_row(*map(Text, (*row, score, _number(trial.test_score, 2), f"{trial.seconds:.0f}")))
    hidden = len(history) - len(trials)
    more = f"; the last {len(trials)} are shown, --limit 0 shows all" if hidden else ""
    return Group(table, Text(f"{history_line(history)}{more}"))


def history_line(history: History) -> str:
    """How much a history holds, in one line.

    >>> history_line(History())
    'no trials yet'
    """
    if not len(history):
        return "no trials yet"
    diverged = sum(trial.status == "diverged" for trial in history)
    aside = f" ({diverged} diverged)" if diverged else ""
    return (
        f"{_count(len(history), 'trial')}{aside} of {_count(len(history.tasks()), 'task')} "
        f"and {_count(len(history.students()), 'student')}"
    )


def duration(seconds: float) -> str:
    """Seconds as one reads them.

    >>> [duration(seconds) for seconds in (0.84, 75, 1000, 20_000, 400_000)]
    ['0.84 s', '75 s', '17 min', '5.6 h', '111 h']
    """
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.95 * size:
            number = seconds / size
            return f"{number:.1f} {unit}" if number < 9.95 else f"{number:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.2g} s"


def models_table(cards: Iterable[ModelCard]) -> Table:
    """Teachers and, below each, the students that can be made from it."""
    cards = list(cards)
    table = _table("model", numbers=("layers", "hidden", "params"), rest=("from",))
    for card in sorted(cards, key=lambda card: (card.teacher or card.name, card.role != "teacher", -card.n_params)):
        name = f"  {card.name}" if card.teacher else card.name
        figures = (str(card.n_layers), str(card.hidden_size), f"{card.n_params / 1e6:.1f} M")
        table.add_row(*map(Text, (name, *figures, _origin(card))))
    return table


def tasks_table(tasks: Iterable[KnownTask]) -> Table:
    """The catalogue of tasks: what each is, and where it comes from."""
    table = _table("task", "family", numbers=("labels",), rest=("metric", "from", "about"))
    for task in tasks:
        about = f"{task.note or task.name} (licence: {task.licence})"
        labels = "spans" if task.family == "qa" else str(task.n_labels)
        table.add_row(*map(Text, (task.name, task.family, labels, task.metric, task.source_kind, about)))
    return table


def to_text(renderable: RenderableType, *, width: int = 100) -> str:
    """Plain text of a table, for a log, a note or a test."""
    out = StringIO()
    Console(file=out, width=width, color_system=None, legacy_windows=False).print(renderable)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


@dataclass(frozen=True)
class _Row:
    """One configuration of a cell over its seeds."""

    config: Configuration
    trials: tuple[Trial, ...]

    def mean(self, name: str) -> float | None:
        values = [getattr(trial, name) for trial in self.trials if trial.status == "completed"]
        known = [value for value in values if value is not None]
        return fmean(known) if known and len(known) == len(self.trials) else None

    def state(self) -> str:
        bad = [trial.status for trial in self.trials if trial.status != "completed"]
        return f"{bad[0]} ({len(bad)} of {len(self.trials)})" if bad and len(self.trials) > 1 else "".join(bad[:1])

    def seconds(self) -> float:
        return sum(trial.seconds for trial in self.trials)


def _cell_table(result: Result) -> Table:
    seeds = sorted({trial.seed for trial in result.trials})
    title = f"{result.cell}" + (f", means of {len(seeds)} seeds" if len(seeds) > 1 else "")
    teacher = _teacher_score(result)
    table = _table("configuration", numbers=("val score", "val loss", "test score", "seconds"), rest=("",))
    table.title, table.title_justify, table.title_style = title, "left", "bold"
    if teacher is not None:
        table.add_row(Text("teacher"), Text(_number(teacher, 2)), *([Text("")] * 4))
    kept, equal = {step.kept for step in result.path}, tied(result.trials, result.best)
    for row in _rows(result.trials):
        best = row.config == result.best and row.mean("val_score") is not None  # where all diverged none is best
        rising = any(trial.still_improving for trial in row.trials)
        marks = ", ".join(
            (
                *(_standing(row.config, result.best, equal) if best or row.config in equal else ()),
                *("kept",) * (row.config in kept and not best),
                *_role(row.config),
                *("still improving",) * rising,
            )
        )
        score = row.state() or _number(row.mean("val_score"), 2)
        cells = (row.config.label(), score, _number(row.mean("val_loss"), 4), _number(row.mean("test_score"), 2))
        table.add_row(*map(Text, (*cells, f"{row.seconds():.0f}", marks)), style="bold" if best else None)
    return table


def _standing(config: Configuration, best: Configuration, equal: Sequence[Configuration]) -> tuple[str, ...]:
    """How a configuration stands on validation: of several with the best score none is best, and none is crowned."""
    if config == best and equal:
        names: dict[Configuration, str] = {DEFAULT_CONFIG: "= default", BASELINE_CONFIG: "= labels only"}
        return (names.get(equal[0], "tied"),)
    return ("best",) if config == best else ("tied",) if config in equal else ()


def _teacher_score(result: Result) -> float | None:
    """Of the teacher that taught: labels-only trials that were found may have been made beside another one."""
    ranked = sorted(result.trials, key=lambda trial: trial.config.is_baseline)
    return next((score for trial in ranked if (score := trial.features.teacher_score) is not None), None)


def _warning(result: Result) -> list[Text]:
    weak = weak_teacher(result.trials, _teacher_score(result))
    return [Text(f"{str(weak)[:1].upper()}{str(weak)[1:]}.\n", style="bold")] if weak else []


def _rows(trials: Iterable[Trial]) -> list[_Row]:
    groups: dict[Configuration, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.config, []).append(trial)
    rows = [_Row(config, tuple(group)) for config, group in groups.items()]
    return sorted(rows, key=lambda row: row.config != BASELINE_CONFIG)  # stable: the baseline, then as they were tried


def _role(config: Configuration) -> tuple[str, ...]:
    names: dict[Configuration, tuple[str, ...]] = {BASELINE_CONFIG: ("baseline",), DEFAULT_CONFIG: ("default",)}
    return names.get(config, ())


def _path_text(result: Result) -> Text:
    return Text("".join(f"{line}\n" for line in path_lines(result)), style="dim")


def _labels(configs: Sequence[KDConfig]) -> str:
    if len(configs) > 4:
        return f"{len(configs)} configurations"
    return ", ".join(config.label() for config in configs) or "nothing new"


def _headline(suggestion: Suggestion) -> Text:
    text = Text.assemble(f"{suggestion.task}, student {suggestion.student}: start with ")
    text.append(suggestion.config.label(), style="bold")
    start = "the safe default" if suggestion.config == DEFAULT_CONFIG else "the start of this space"
    return text.append(f" ({start})." if suggestion.is_default else ".")


def _verdict(suggestion: Suggestion) -> Text:
    reason = why(suggestion)
    sentence = f" {reason}" if reason else ""
    return Text().append("Stop here." if suggestion.stop else "Go on tuning.", style="bold").append(sentence)


def _cost_lines(suggestion: Suggestion) -> list[str]:
    """What the trials take, where the history tells."""
    cost = suggestion.evidence.get("cost")
    if not cost:
        return []
    one = f"A trial is expected to take {_span(cost, 'seconds_per_trial', '')}, judged by {_judges(cost)}"
    n_next = len(suggestion.next)
    beside = "That is of trials alone: a teacher, a calibration and a baseline that are not there yet come on top."
    if n_next < 2:
        return [f"{one}.", beside]
    return [f"{one}; the {n_next} below take {_span(cost, 'next_trials_seconds', 'next_trials_')} together.", beside]


def _judges(cost: Mapping[str, Any]) -> str:
    """How many trials a cost rests on."""
    n_trials, n_own = cost["n_trials"], cost["n_own_trials"]
    own = ", all its own" if n_own == n_trials else f", {n_own:,} of them its own" if n_own else ""
    return f"{_count(n_trials, 'past trial')}{own}"


def _span(cost: Mapping[str, Any], name: str, ends: str) -> str:
    """A time with its 80 % interval, in the unit a person would choose."""
    low, high = duration(cost[f"{ends}lo80"]), duration(cost[f"{ends}hi80"])
    return f"{duration(cost[name])} (80 %: {low} to {high})"


def _gain_table(suggestion: Suggestion) -> Table:
    table = _table(numbers=("trials", "gain", "80 % interval"))
    for gain in suggestion.gain:
        table.add_row(str(gain.trials), _signed(gain.mean), _interval(gain))
    return table


def _next_table(suggestion: Suggestion) -> Table:
    table = _table("", "configuration", numbers=("worth",))
    for number, trial in enumerate(suggestion.next, start=1):
        table.add_row(str(number), Text(trial.config.label()), _signed(trial.worth))
    return table


def _evidence_line(evidence: Mapping[str, Any]) -> str:
    n_tasks, n_trials = evidence.get("n_tasks", 0), evidence.get("n_trials", 0)
    if not n_trials:
        return "Behind this: no trials, the prior alone."
    similar = ", ".join(
        f"{task} ({nearness:.2f})" for task, nearness in itertools.islice(evidence.get("similarity", {}).items(), 3)
    )
    behind = f"Behind this: {_count(n_trials, 'trial')} of {_count(n_tasks, 'task')}{_origins(evidence)}"
    own = evidence.get("n_own_trials", 0)
    if own:
        behind += f", {own:,} of them of this very task"
    return f"{behind}; nearest: {similar}." if similar else f"{behind}."


def _origins(evidence: Mapping[str, Any]) -> str:
    """Whose trials they are, where some came with kdrec."""
    n_trials, n_shipped = evidence["n_trials"], evidence.get("n_shipped_trials", 0)
    if not n_shipped:
        return ""
    return f" ({n_trials - n_shipped:,} of yours, {n_shipped:,} that come with kdrec)"


def _table(*words: str, numbers: Sequence[str] = (), rest: Sequence[str] = ()) -> Table:
    table = FittingTable()
    for word in words:
        table.add_column(word, overflow="fold", no_wrap=True)
    for number in numbers:
        table.add_column(number, justify="right")
    for word in rest:
        table.add_column(word, overflow="fold")
    return table


def _number(value: float | None, digits: int) -> str:
    return MISSING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _signed(value: float) -> str:
    return f"{value + 0.0:+.2f}" if math.isfinite(value) else MISSING


def _interval(gain: Gain) -> str:
    return f"{gain.lo80 + 0.0:.2f} to {gain.hi80:.2f}"


def _origin(card: ModelCard) -> str:
    if card.layers is not None:
        return f"layers {', '.join(map(str, card.layers))} of {card.teacher}"
    return re.split("[#@]", card.source, maxsplit=1)[0]  # its revision and hash are in the card


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
