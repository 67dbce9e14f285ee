"""The figures of a report: one function a figure, from what was answered to inline SVG with its text alternative."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from markupsafe import Markup

from kdrec.outcome import TeacherOutcome
from kdrec.page.answered import AHEAD, CellAnswer
from kdrec.page.sheet import Difference
from kdrec.page.svg import CALM, CARD, DARK, INK, LIGHT, LINE, MUTED, draw
from kdrec.page.words import beside_noise, count, cut, interval, signed
from kdrec.plots import BLUE, VERMILLION, audit_size, paint_audit
from kdrec.recommend.scorecard import Scorecard
from kdrec.space import told
from kdrec.types import Gain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL_SIZE: Final = (360.0, 250.0)
MAX_POINTS: Final = 3.0
"""Differences beyond this have the darkest colour of the heat map."""
MAX_NAMED: Final = 8
"""More cells than this carry no names among points: they would overlap."""
LEGEND: Final[dict[str, Any]] = {"frameon": False, "fontsize": 9.5}
RUN_STYLES: Final = ("-", "--", "-.", ":")
CHOSEN: Final[dict[str, dict[str, Any]]] = {
    "t_ll": {"color": BLUE, "marker": "o", "markersize": 11, "markerfacecolor": "none", "markeredgewidth": 1.8},
    "t_hs": {"color": VERMILLION, "marker": "D", "markersize": 5.5},
    "t_llg": {"color": DARK, "marker": "+", "markersize": 15, "markeredgewidth": 1.4},
}
"""A ring around a diamond, under a cross, where one checkpoint is all."""
WORSE, BETTER = ("#FAD3B8", VERMILLION), ("#BFDDF0", BLUE)
"""Of a small difference and of a large one; even the smallest that is no noise shows which it is."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Differences to the default, cells by configurations or turned; None where there is nothing to compare."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[Difference | None, ...], ...]

    @property
    def turned(self) -> Grid:
        """Rows as columns."""
        return Grid(rows=self.columns, columns=self.rows, values=tuple(zip(*self.values, strict=True)))


def heat(grid: Grid) -> Markup:
    """Every configuration in every cell against the default: colour is the difference, grey is seed noise."""
    known = [value for row in grid.values for value in row if value is not None]
    n_noise = sum(value.is_noise for value in known)
    width = 70.0 + 6.6 * _longest(grid.rows) + 39 * len(grid.columns)
    size = (width, 60.0 + 5.4 * _longest(grid.columns) + 25 * len(grid.rows))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for row, values in enumerate(grid.values):
            for column, value in enumerate(values):
                _tile(axes, row, column, value)
        n_rows, n_columns = len(grid.rows), len(grid.columns)
        axes.set_xticks(range(n_columns), [cut(name) for name in grid.columns], rotation=60, ha="left", fontsize=11.5)
        axes.set_yticks(range(n_rows), [cut(name) for name in grid.rows], fontsize=11.5)
        axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False, labelcolor=INK)
        axes.tick_params(axis="x", rotation=60)
        for label in axes.get_xticklabels():
            label.set_rotation_mode("anchor")
        axes.set_xlim(-0.5, n_columns - 0.5)
        axes.set_ylim(n_rows - 0.5, -0.5)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)

    text = (
        f"{len(grid.rows)} rows by {len(grid.columns)} columns. Of {len(known)} differences to the default, "
        f"{n_noise} are within seed noise, {sum(v.points > 0 and not v.is_noise for v in known)} are better beyond it "
        f"and {sum(v.points < 0 and not v.is_noise for v in known)} worse. The table below holds every number."
    )
    return draw("heat", size, paint, title="Differences to the default in points", text=text, wide=True)


def _longest(names: Sequence[str]) -> int:
    return max((len(cut(name)) for name in names), default=0)


def _tile(axes: Axes, row: int, column: int, value: Difference | None) -> None:
    from matplotlib.patches import Rectangle

    place = (column - 0.5, row - 0.5)
    if value is None:
        axes.add_patch(Rectangle(place, 1, 1, facecolor="none", edgecolor=CARD, linewidth=1.2))
        axes.text(column, row, "·", ha="center", va="center", fontsize=12, color=MUTED)
        return
    face, ink = (CALM, MUTED) if value.is_noise else _colours(value.points)
    axes.add_patch(Rectangle(place, 1, 1, facecolor=face, edgecolor=CARD, linewidth=1.2))
    text = f"{round(value.points, 1) + 0.0:+.1f}"
    axes.text(column, row, text, ha="center", va="center", fontsize=11, color=ink)


def _colours(points: float) -> tuple[str, str]:
    """Face of a tile by its difference, and the ink that is read better on it.

    The face stops short of the plot colours: those are the page's to change, and the ink is chosen for this very one.
    """
    from matplotlib.colors import to_hex, to_rgb

    small, large = (np.array(to_rgb(end)) for end in (BETTER if points > 0 else WORSE))
    face = small + 0.97 * min(1.0, abs(points) / MAX_POINTS) * (large - small)
    linear = np.where(face <= 0.03928, face / 12.92, ((face + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return to_hex(face), DARK if luminance > 0.179 else LIGHT


def gains(answer: CellAnswer, name: str) -> Markup:
    """What was foretold before the first trial, what was realised, and what is expected from here on."""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axhline(0, color=LINE, linewidth=0.9, zorder=0)
        here = answer.sheet.difference(answer.now.config, answer.base, answer.noise)
        start = (len(answer.realised) - 1, here.points if here else 0.0)
        _fan(axes, (0, 0.0), answer.before.gain, BLUE, "--", "foretold, 80 %")
        _fan(axes, start, answer.now.gain, VERMILLION, ":", "from here on, 80 %")
        _realised(axes, answer)
        axes.set_xlabel("configurations tried beside the first")
        axes.set_ylabel("points gained")
        axes.set_xlim(-0.3, start[0] + AHEAD + 0.6)
        axes.locator_params(axis="x", integer=True, nbins=9)
        axes.locator_params(axis="y", nbins=6)
        figure.legend(loc="outside upper left", ncols=3, handlelength=1.6, columnspacing=1, **LEGEND)

    title = f"Gain of tuning {answer.name}, foretold and realised"
    return draw(name, CELL_SIZE, paint, title=title, text=_gains_text(answer))


def _fan(axes: Axes, start: tuple[int, float], gains_: Sequence[Gain], colour: str, style: str, label: str) -> None:
    """What further trials are expected to add to where one stands, up to the last number that is a number."""
    counted = [gain for gain in gains_ if isinstance(gain.trials, int)]
    trials = [start[0], *(start[0] + int(gain.trials) for gain in counted)]
    low, mean, high = (
        [start[1], *(start[1] + getattr(gain, part) for gain in counted)] for part in ("lo80", "mean", "hi80")
    )
    axes.fill_between(trials, low, high, color=colour, alpha=0.24, linewidth=0)
    axes.plot(trials, mean, style, color=colour, linewidth=1.7, label=label)


def _realised(axes: Axes, answer: CellAnswer) -> None:
    """The best on validation so far, over a band of what seed noise alone makes; the band does not set the scale."""
    known = [(place, value) for place, value in enumerate(answer.realised) if value is not None]
    places, points = [place for place, _ in known], [value.points for _, value in known]
    axes.step(places, points, where="post", color=INK, linewidth=1.6)
    axes.plot(places, points, "o", color=INK, markersize=3.5, label="realised")
    limit = 1.25 * max(0.4, *map(abs, axes.dataLim.intervaly))
    noise = min(limit, max((value.half_width for _, value in known), default=0.0))
    axes.axhspan(-noise, noise, color=CALM, zorder=-2, linewidth=0)
    axes.set_ylim(-limit, limit)


def _gains_text(answer: CellAnswer) -> str:
    foretold = next(gain for gain in answer.before.gain if gain.trials == AHEAD)
    last, n_tried = answer.realised[-1], len(answer.realised) - 1
    realised = f" Realised after {n_tried}: {beside_noise(last)}." if last is not None else ""
    return (
        f"Foretold after {AHEAD} trials: {signed(foretold.mean)} points ({interval(foretold)}).{realised} "
        f"Expected of {AHEAD} more: {signed(answer.ahead.mean)} ({interval(answer.ahead)})."
    )


@dataclass(frozen=True)
class _Bought:
    """Compute, and the points it bought or would buy, with an interval."""

    seconds: float
    points: float
    low: float
    high: float


def costs(answers: Sequence[CellAnswer]) -> Markup:
    """Compute spent on tuning against what it gained; beside it what the next trials would cost and are worth."""
    spent = {
        a.name: _Bought(a.beyond, g.points, g.points - g.half_width, g.points + g.half_width)
        for a in answers
        if (g := a.gained)
    }
    ahead = [
        _Bought(cost["next_trials_seconds"], a.ahead.mean, a.ahead.lo80, a.ahead.hi80)
        for a in answers
        if a.now.next and (cost := a.now.evidence.get("cost"))
    ]
    longest = max([bought.seconds for bought in (*spent.values(), *ahead)], default=0.0)
    unit, size = ("hours", 3600.0) if longest > 7200 else ("minutes", 60.0)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axhline(0, color=LINE, linewidth=0.9, zorder=0)
        _bars(axes, ahead, size, VERMILLION, "D", "next trials, 80 %")
        _bars(axes, list(spent.values()), size, BLUE, "o", "this study, ± noise")
        for name, bought in spent.items() if len(spent) <= MAX_NAMED else ():
            place = (bought.seconds / size, bought.points)
            axes.annotate(cut(name), place, xytext=(6, 5), textcoords="offset points", fontsize=9)
        axes.set_xlabel(f"compute beyond the default, in {unit}")
        axes.set_ylabel("points gained")
        axes.margins(0.06, 0.1)
        axes.set_xlim(left=0)
        figure.legend(loc="outside upper left", ncols=2, **LEGEND)

    total, points = sum(b.seconds for b in spent.values()), [b.points for b in spent.values()]
    gained = f"gains from {signed(min(points))} to {signed(max(points))} points. " if points else ""
    text = (
        f"{count(len(spent), 'cell')}: {total / size:.1f} {unit} of compute beyond the default; {gained}"
        "The table below holds every number."
    )
    return draw("costs", (430.0, 280.0), paint, title="Cost of tuning against what it gained", text=text)


def _bars(axes: Axes, bought: Sequence[_Bought], size: float, colour: str, marker: str, label: str) -> None:
    x = [one.seconds / size for one in bought]
    axes.vlines(x, [one.low for one in bought], [one.high for one in bought], color=colour, linewidth=1, alpha=0.6)
    face = colour if marker == "o" else "none"
    axes.plot(
        x, [one.points for one in bought], marker, color=colour, markersize=5.5, markerfacecolor=face, label=label
    )


def trace(teacher: TeacherOutcome, name: str) -> Markup:
    """Score and loss of every evaluated checkpoint over the steps of its run, with those that were chosen."""
    runs = sorted({(c.learning_rate, c.seed) for c in teacher.candidates})

    def paint(figure: Figure) -> None:
        score, loss = figure.subplots(2, 1, sharex=True)
        _curves(score, teacher, "score", runs)
        _curves(loss, teacher, "loss", runs)
        loss.set_xlabel("step")
        figure.legend(*score.get_legend_handles_labels(), loc="outside upper left", ncols=3, columnspacing=1, **LEGEND)

    guarded = teacher.t_llg
    rest = f" t_llg, guarded: {guarded.loss:.3f} at step {guarded.step}, score {guarded.score:.2f}." if guarded else ""
    text = (
        f"{len(teacher.candidates)} checkpoints of {count(len(runs), 'fine-tuning run')}. t_hs, the highest score: "
        f"{teacher.t_hs.score:.2f} at step {teacher.t_hs.step}, loss {teacher.t_hs.loss:.3f}. t_ll, the lowest loss: "
        f"{teacher.t_ll.loss:.3f} at step {teacher.t_ll.step}, score {teacher.t_ll.score:.2f}.{rest} "
        f"{told(teacher.aliases, teacher.chosen)}."
    )
    if teacher.still_improving:
        text += " It was still improving when its training ended: more steps would make it better."
    return draw(name, (360.0, 320.0), paint, title=f"Teacher of {teacher.task}: score and loss over steps", text=text)


def _curves(axes: Axes, teacher: TeacherOutcome, measure: str, runs: Sequence[tuple[float, int]]) -> None:
    """One measure of all runs; a loss that is no number leaves a gap."""
    for number, (rate, seed) in enumerate(runs):
        mine = sorted(
            (c.step, getattr(c, measure)) for c in teacher.candidates if (c.learning_rate, c.seed) == (rate, seed)
        )
        steps, values = [step for step, _ in mine], [value if math.isfinite(value) else np.nan for _, value in mine]
        label = f"rate {rate:g}, seed {seed}" if len(runs) > 1 else None
        style = RUN_STYLES[number % len(RUN_STYLES)]
        axes.plot(steps, values, style, color=MUTED, linewidth=1.3, marker=".", markersize=4, label=label)
    for choice, chosen in teacher.chosen.items():
        axes.plot([chosen.step], [getattr(chosen, measure)], linestyle="none", label=choice, **CHOSEN[choice])
    axes.set_ylabel(f"validation {measure}")
    axes.margins(0.07, 0.18)
    axes.locator_params(axis="y", nbins=5)


def audit(card: Scorecard) -> Markup:
    """How good suggestions would have been on the whole history, against simple strategies."""
    width, height = audit_size(card)
    best = min(card.regret, key=lambda name: card.regret[name].mean)
    text = f"{card.verdict} The least was lost by {best!r}. The table below holds every number."
    size = (72 * width, 72 * height)
    return draw("audit", size, lambda figure: paint_audit(figure, card), title="Audit", text=text, wide=True)
