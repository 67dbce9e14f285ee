"""An audited history for a person: a verdict in words, then a table a question. Pure functions to rich renderables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kdrec.layout import FittingTable
from kdrec.recommend.scorecard import Difference, Effects, Estimate, Forecast, Scorecard


def audit_text(card: Scorecard) -> Group:
    """The audit for a person: verdict, regret by strategy, intervals of effects, foretold against realised gains."""
    parts: list[RenderableType] = [Text(card.verdict, style="bold"), Text(_counts(card))]
    if not card.audited:
        return Group(*parts)
    parts += [Text("\nPoints lost to the best measured configuration, and won over the default:"), _regrets(card)]
    if card.effects is not None:
        parts.append(Text(f"\n{_effects(card.effects)}"))
    if card.gains:
        parts += [Text("\nGain of further trials in points, foretold and then realised:"), _gains(card.gains)]
    else:
        parts.append(Text("Realised gains of further trials were not measured (--quick)."))
    parts.append(
        Text(
            "\n± is one standard error over tasks. Part of every loss is noise in the best of several measured scores; "
            "differences between the rows are free of it."
        )
    )
    return Group(*parts)


def _counts(card: Scorecard) -> str:
    task, cell, trial = (_plural(*pair) for pair in _counted(card))
    if card.n_shipped_trials:
        trial = f"{trial} ({card.n_shipped_trials:,} of them come with kdrec)"
    if not card.audited:
        return f"The history holds {trial}; {cell} of {task} could be asked about."
    return f"Each of {task} was left out and foretold from the rest: {cell} of task and student, {trial}."


def _counted(card: Scorecard) -> tuple[tuple[int, str], ...]:
    return (card.n_tasks, "task"), (card.n_cells, "pair"), (card.n_trials, "trial")


def _regrets(card: Scorecard) -> Table:
    table = _table("strategy", ("lost", "", "over default", "90 % interval"))
    for name, lost in sorted(card.regret.items(), key=lambda pair: pair[1].mean):
        over = card.over_default.get(name)
        won = ("", "") if over is None else (f"{over.mean + 0.0:+.2f}", _interval(over))
        style = "bold" if name == "suggested" else None
        table.add_row(name, f"{lost.mean + 0.0:.2f}", _error(lost), *won, style=style)
    return table


def _effects(effects: Effects) -> str:
    return (
        f"Intervals of effects over the default, noise of the measurement included: of {effects.n} measured effects, "
        f"80 % intervals held {_share(effects.coverage80)} (mean width {effects.width80:.2f} points), "
        f"90 % intervals {_share(effects.coverage90)} ({effects.width90:.2f} points)."
    )


def _gains(gains: Sequence[Forecast]) -> Table:
    table = _table("trials", ("foretold", "realised", "too high by", "", "in 80 % interval"))
    for gain in gains:
        means = (f"{gain.forecast + 0.0:+.2f}", f"{gain.realised + 0.0:+.2f}", f"{gain.bias.mean + 0.0:+.2f}")
        table.add_row(str(gain.trials), *means, _error(gain.bias), _share(gain.coverage80))
    return table


def _table(first: str, numbers: Sequence[str]) -> Table:
    table = FittingTable()
    table.add_column(first, no_wrap=True)
    for number in numbers:
        table.add_column(number, justify="right")
    return table


def _error(estimate: Estimate) -> str:
    return f"± {estimate.se:.2f}" if estimate.se == estimate.se else ""


def _share(estimate: Estimate) -> str:
    return f"{100 * estimate.mean:.0f} %" + (f" ± {100 * estimate.se:.0f}" if estimate.se == estimate.se else "")


def _interval(over: Difference) -> str:
    return f"{over.lo90 + 0.0:+.2f} to {over.hi90 + 0.0:+.2f}"


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
