"""The tables of a report as plain values: what stands in a cell, and what it is sorted by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from kdrec.outcome import TeacherOutcome
from kdrec.page.answered import CellAnswer
from kdrec.page.figures import Grid
from kdrec.page.sheet import Difference
from kdrec.page.words import MISSING, interval, number, signed
from kdrec.recommend.scorecard import Scorecard
from kdrec.report import duration, why
from kdrec.types import BASELINE_CONFIG, Decision, Gain, KDConfig


@dataclass(frozen=True)
class Value:
    """One cell of a table. `key` is what a column is sorted by; an empty one goes last, whichever the direction."""

    text: str
    key: str | float = ""
    mark: str = ""
    """A class of the style sheet."""
    detail: str = ""
    """A second, smaller line."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under heads; heads in `numeric` stand over numbers. The first of a row names it."""

    caption: str
    heads: tuple[str, ...]
    numeric: frozenset[str]
    rows: tuple[tuple[Value, ...], ...]


def _table(caption: str, words: Sequence[str], numbers: Sequence[str], rows: Iterable[Sequence[Value]]) -> Table:
    """Words first, then numbers."""
    heads = (*words, *numbers)
    return Table(caption=caption, heads=heads, numeric=frozenset(numbers), rows=tuple(tuple(row) for row in rows))


def decisions(answers: Sequence[CellAnswer]) -> Table:
    """The answer of every cell: go on or stop, with what, what for, and why."""
    rows = [
        (
            _word(a.name),
            Value("Stop" if a.now.stop else "Go on", mark="stop" if a.now.stop else "go"),
            _word(a.now.config.label(), "default" if a.now.is_default else "strong"),
            _gain(a.ahead),
            _effect(a),
            _over_noise(a.gained),
            _word(why(a.now), "prose"),
        )
        for a in answers
    ]
    heads = ("8 more trials would gain", "Expected over the default", "This study gained")
    table = _table("Decision by cell", ("Cell", "Tuning", "Start with"), heads, rows)
    return replace(table, heads=(*table.heads, "Why"))


def _effect(answer: CellAnswer) -> Value:
    if answer.now.is_default:
        return Value("is the default", 0.0, "quiet")
    effect = answer.now.evidence["expected_effect"]
    ends = f"80 %: {signed(effect['lo80'])} to {signed(effect['hi80'])}"
    return Value(signed(effect["mean"]), effect["mean"], detail=ends)


def heat(grid: Grid) -> Table:
    """The numbers of the heat map."""
    rows = ([_word(name), *map(_over_noise, values)] for name, values in zip(grid.rows, grid.values, strict=True))
    return _table("Differences to the default, in points, ± seed noise", ("",), grid.columns, rows)


def gains(answer: CellAnswer) -> Table:
    """Gains foretold before the first trial, realised, and expected from here on."""
    rows = []
    for before, ahead in zip(answer.before.gain, answer.now.gain, strict=True):
        done = answer.after(before.trials) if isinstance(before.trials, int) else answer.realised[-1]
        key = float(before.trials) if isinstance(before.trials, int) else math.inf
        rows.append((Value(str(before.trials), key), _gain(before), _over_noise(done), _gain(ahead)))
    heads = ("Trials", "Foretold", "Realised", "From here on")
    return _table("Gains in points by number of further trials", (), heads, rows)


def configurations(answer: CellAnswer) -> Table:
    """Every configuration of a cell, in the order tried; labels alone come first."""
    sheet = answer.sheet
    order = (*(config for config in sheet.runs if config.is_baseline), *sheet.tried)
    rows = [
        (
            _word(config.label(), "strong" if config == answer.kept else ""),
            _word(", ".join(_roles(answer, config))),
            _number(sheet.mean(config, "val_score")),
            _number(sheet.mean(config, "val_loss"), 4),
            _number(sheet.mean(config, "test_score")),
            _over_noise(sheet.difference(config, sheet.default, answer.noise)),
            _seconds(sheet.seconds([config])),
            _whole(len(sheet.runs[config])),
        )
        for config in order
    ]
    numbers = ("Validation", "Loss", "Test", "Test over default", "Compute", "Seeds")
    return _table(f"Configurations of {answer.name}", ("Configuration", "What it is"), numbers, rows)


def _roles(answer: CellAnswer, config: KDConfig) -> list[str]:
    bad = answer.sheet.n_diverged(config)
    roles = {
        "labels alone": config == BASELINE_CONFIG,
        "default": config == answer.sheet.default,
        "kept": config == answer.kept,
        "suggested": config == answer.now.config,
        f"{bad} diverged": bad > 0,
        "still improving": any(one.still_improving for one in answer.sheet.runs[config].values()),
    }
    return [role for role, is_so in roles.items() if is_so]


def costs(answers: Sequence[CellAnswer]) -> Table:
    """What a cell has cost, what that gained, and what the next trials would cost."""
    rows = []
    for a in answers:
        cost = a.now.evidence.get("cost") or {}
        coming = cost.get("next_trials_seconds")
        rows.append(
            (
                _word(a.name),
                _whole(len(a.sheet.outcome.trials)),
                _seconds(a.sheet.seconds(a.sheet.runs)),
                _seconds(a.beyond),
                _over_noise(a.gained),
                _seconds(cost.get("seconds_per_trial")),
                _seconds(coming if a.now.next else None),
                _gain(a.ahead),
            )
        )
    numbers = ("Trials", "Compute", "Beyond the default", "Gained", "A trial takes", "Next trials take", "Worth")
    return _table("Cost and gain by cell", ("Cell",), numbers, rows)


def path(answer: CellAnswer) -> Table:
    """The greedy walk, a step a row."""
    rows = [
        (
            Value(str(place), float(place)),
            _word(step.knob),
            _word("\n".join(_scored(answer, config) for config in step.tried), "lines"),
            _word(_scored(answer, step.kept), "strong" if step.reason.startswith("moved") else ""),
            _word(step.reason, "prose"),
        )
        for place, step in enumerate(answer.path, start=1)
    ]
    heads = ("Step", "Knob", "Tried: validation score", "Kept", "Why")
    return _table(f"Greedy path of {answer.name}", heads, (), rows)


def _scored(answer: CellAnswer, config: KDConfig) -> str:
    return f"{config.label()}: {number(answer.sheet.mean(config, 'val_score'))}"


def advice(answer: CellAnswer) -> Table:
    """What the recommender said inside a search, a question a row."""
    rows = [_advised(decision) for decision in answer.sheet.outcome.decisions]
    numbers = ("Trials before", "Worth", "Price")
    return _table(f"Advice inside the search of {answer.name}", ("Step", "Tried next", "Why"), numbers, rows)


def _advised(decision: Decision) -> tuple[Value, ...]:
    proposed = "\n".join(config.label() for config in decision.proposed) or "nothing more"
    return (
        Value(str(decision.step), float(decision.step)),
        _word(proposed, "lines"),
        _word(decision.reason, "prose"),
        _whole(decision.n_trials),
        _number(decision.worth, 3),
        _number(decision.price, 3),
    )


def trace(teacher: TeacherOutcome) -> Table:
    """Every evaluated checkpoint of a teacher."""
    rows = [
        (
            Value(f"{c.learning_rate:g}", c.learning_rate),
            _word(" and ".join(name for name, chosen in teacher.chosen.items() if chosen == c), "strong"),
            _whole(c.seed),
            _whole(c.step),
            _number(c.epoch),
            _number(c.score),
            _number(c.loss, 4),
            _number(c.ece, 4),
        )
        for c in teacher.candidates
    ]
    numbers = ("Seed", "Step", "Epoch", "Score", "Loss", "Calibration error")
    return _table(f"Checkpoints of the teacher of {teacher.task}", ("Learning rate", "Chosen as"), numbers, rows)


def audit(card: Scorecard) -> Table:
    """What every strategy lost to the best measured configuration, and won over the default."""
    rows = []
    for name, lost in sorted(card.regret.items(), key=lambda pair: pair[1].mean):
        over = card.over_default.get(name)
        won = Value("is the default", 0.0, "quiet")
        if over is not None:
            won = Value(signed(over.mean), over.mean, detail=f"90 %: {signed(over.lo90)} to {signed(over.hi90)}")
        error = Value(f"± {lost.se:.2f}" if math.isfinite(lost.se) else MISSING, lost.se)
        rows.append((_word(name, "strong" if name == "suggested" else ""), _number(lost.mean), error, won))
    numbers = ("Lost, points", "Standard error", "Won over the default")
    return _table("Strategies on this history, each task left out in turn", ("Strategy",), numbers, rows)


def _word(text: str, mark: str = "") -> Value:
    return Value(text, text.casefold(), mark)


def _number(value: float, digits: int = 2) -> Value:
    return Value(number(value, digits), value if math.isfinite(value) else "")


def _whole(value: int) -> Value:
    return Value(f"{value:,}", float(value))


def _seconds(value: float | None) -> Value:
    return Value(MISSING) if value is None else Value(duration(value) if value else "0 s", value)


def _gain(gain: Gain) -> Value:
    return Value(signed(gain.mean), gain.mean, detail=interval(gain))


def _over_noise(difference: Difference | None) -> Value:
    if difference is None:
        return Value(MISSING)
    mark = "quiet" if difference.is_noise else "better" if difference.points > 0 else "worse"
    return Value(signed(difference.points), difference.points, mark, f"± {difference.half_width:.2f}")
