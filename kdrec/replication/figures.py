"""Figures of the findings, each 800 pixels wide on a page. Colours are Okabe and Ito's; shapes tell apart as well."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kdrec.findings.cells import Cell, grouped
from kdrec.findings.choice import Spread
from kdrec.findings.intervals import Z95
from kdrec.findings.knobs import KnobEffect
from kdrec.findings.labels_only import OverLabels
from kdrec.findings.noise import pooled_sd
from kdrec.findings.path import GainPoint
from kdrec.plots import BLUE, GREY, SKY, STYLE, VERMILLION, save
from kdrec.types import DEFAULT_CONFIG, Floats, KDConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH: Final = 8.3
"""Inches: 800 pixels at the 96 a browser takes for an inch."""
GREEN, ORANGE, PURPLE = "#009E73", "#E69F00", "#CC79A7"
GROUP_STYLES: Final = ((GREEN, "s"), (ORANGE, "D"), (PURPLE, "^"), (SKY, "v"), (GREY, "P"))
MAX_POINTS: Final = 3.0
"""Differences beyond this have the darkest colour of the heat map."""


def draw(path: Path, height: float, paint: Callable[[Figure], None]) -> None:
    """Make a figure of a height in inches, let `paint` fill it, and write it."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        paint(figure)
        save(figure, path)


def draw_effects(overall: Sequence[KnobEffect], by_family: Sequence[KnobEffect], path: Path) -> None:
    """Effect of every knob with its interval: over all cells, and for each family below it."""
    labels = [effect.contrast.label() for effect in overall]
    groups = list(grouped(by_family, lambda effect: effect.group).items())

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        step = 0.8 / (len(groups) + 1)
        _marks(axes, overall, labels, 0.0, "black", "o", "all cells")
        for number, (family, effects) in enumerate(groups, start=1):
            colour, marker = GROUP_STYLES[(number - 1) % len(GROUP_STYLES)]
            _marks(axes, effects, labels, number * step, colour, marker, family)
        for row in range(1, len(labels), 2):
            axes.axhspan(row - 0.2, row + 0.8, color="0.96", zorder=0)
        axes.axvline(0, color="0.45", linewidth=0.9, zorder=1)
        axes.set_yticks([row + step * len(groups) / 2 for row in range(len(labels))], labels)
        axes.set_ylim(len(labels) - 0.2, -0.2)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(
            "points of the test score (mean and 90 % interval over tasks); right of 0: the second value is better"
        )
        figure.legend(loc="outside upper right", ncols=5, frameon=False)

    draw(path, 1.2 + 0.17 * len(labels) * (len(groups) + 1.6), paint)


def _marks(
    axes: Axes, effects: Sequence[KnobEffect], rows: Sequence[str], offset: float, colour: str, marker: str, name: str
) -> None:
    places = [rows.index(effect.contrast.label()) + offset for effect in effects]
    means = [effect.overall for effect in effects]
    known = [(place, mean) for place, mean in zip(places, means, strict=True) if mean.known]
    axes.hlines(
        [p for p, _ in known], [m.lo90 for _, m in known], [m.hi90 for _, m in known], color=colour, linewidth=1.6
    )
    axes.plot([mean.mean for mean in means], places, marker, color=colour, markersize=5, label=name)


def draw_heat(cells: Sequence[Cell], path: Path) -> None:
    """Difference of every configuration to the default in every cell, in points of the test score."""
    configs = sorted({config for cell in cells for config in cell.configs} - {DEFAULT_CONFIG}, key=KDConfig.sort_key)
    ordered = sorted(cells, key=lambda cell: (cell.family, cell.task, cell.student))
    diff_DC = np.array([[_difference(cell, config) for config in configs] for cell in ordered])
    noise_D = np.array([_noise(cell) for cell in ordered])

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        _tiles(axes, diff_DC, noise_D)
        axes.set_xticks(range(len(configs)), [config.label() for config in configs], rotation=90, fontsize=7)
        axes.set_yticks(range(len(ordered)), [f"{cell.task} / {cell.student}" for cell in ordered], fontsize=7)
        axes.tick_params(length=0)
        _families(axes, ordered, len(configs))
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        _heat_legend(figure)

    draw(path, 2.3 + 0.19 * len(ordered), paint)


def _families(axes: Axes, ordered: Sequence[Cell], n_columns: int) -> None:
    """A line between families, and their names at the right."""
    first = 0
    for family, members in grouped(ordered, lambda cell: cell.family).items():
        middle = first + (len(members) - 1) / 2
        axes.text(n_columns - 0.2, middle, family, rotation=270, va="center", fontsize=8, fontweight="bold")
        first += len(members)
        if first < len(ordered):
            axes.axhline(first - 0.5, color="black", linewidth=0.9)


def _tiles(axes: Axes, diff_DC: Floats, noise_D: Floats) -> None:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    colours = LinearSegmentedColormap.from_list("kdrec", [VERMILLION, "#F8E0CF", "#DCEBF5", BLUE])
    for (row, column), value in np.ndenumerate(diff_DC):
        missing = math.isnan(value)
        within = not missing and abs(value) <= noise_D[row]
        face = "white" if missing else "0.87" if within else colours(0.5 + value / (2 * MAX_POINTS))
        edge, hatch = ("0.85", "////") if missing else ("white", None)
        tile = Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=face, linewidth=0.4, edgecolor=edge, hatch=hatch)
        axes.add_patch(tile)
        if not missing:
            ink = "0.5" if within else "white" if abs(value) > 0.75 * MAX_POINTS else "black"
            axes.text(column, row, f"{round(value, 1) + 0.0:+.1f}", ha="center", va="center", fontsize=5.5, color=ink)
    axes.set_xlim(-0.5, diff_DC.shape[1] - 0.5)
    axes.set_ylim(diff_DC.shape[0] - 0.5, -0.5)


def _heat_legend(figure: Figure) -> None:
    from matplotlib.patches import Patch

    shapes: list[tuple[str, dict[str, Any]]] = [
        ("better than the default", {"facecolor": BLUE}),
        ("worse", {"facecolor": VERMILLION}),
        ("within seed noise (90 %)", {"facecolor": "0.87"}),
        ("not tried", {"facecolor": "white", "edgecolor": "0.7", "hatch": "////"}),
    ]
    handles = [Patch(label=label, **shape) for label, shape in shapes]
    figure.legend(handles=handles, loc="outside upper right", ncols=4, frameon=False)


def _difference(cell: Cell, config: KDConfig) -> float:
    """Mean difference to the default over the seeds that both were scored with."""
    seeds = sorted(set(cell.scored(config)) & set(cell.scored(DEFAULT_CONFIG)))
    return cell.mean(config, "test", seeds) - cell.mean(DEFAULT_CONFIG, "test", seeds)


def _noise(cell: Cell) -> float:
    """Half the 90 % interval of a difference of two means over the cell's seeds; 0 where noise is not known."""
    spread, degrees = pooled_sd(cell, "test")
    return Z95 * spread * math.sqrt(2 / len(cell.seeds)) if degrees else 0.0


def draw_gains(curve: Sequence[GainPoint], path: Path) -> None:
    """Test score of the best by validation over the default's, against the number of configurations tried."""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        trials = [point.trials for point in curve]
        low, high = [point.split.lo90 for point in curve], [point.split.hi90 for point in curve]
        axes.fill_between(trials, low, high, color=SKY, alpha=0.6, linewidth=0, label="90 % interval over tasks")
        axes.plot(
            trials, [point.split.mean for point in curve], "o-", color=BLUE, label="judged by a seed that chose nothing"
        )
        axes.plot(
            trials,
            [point.validated.mean for point in curve],
            "x--",
            color=VERMILLION,
            label="judged by the seeds that chose",
        )
        axes.axhline(0, color="0.45", linewidth=0.9)
        axes.set_xlabel("configurations tried beside the default, in the order of the greedy search")
        axes.set_ylabel("points over the default")
        axes.locator_params(axis="x", integer=True)
        figure.legend(loc="outside upper right", ncols=3, frameon=False)

    draw(path, 3.4, paint)


def draw_labels(found: Sequence[OverLabels], path: Path) -> None:
    """What the default and the best by validation add to labels alone, a row a cell."""
    rows = sorted((one for one in found if not math.isnan(one.default_gain)), key=lambda one: one.default_gain)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        places = range(len(rows))
        default, best = [one.default_gain for one in rows], [one.best_gain for one in rows]
        axes.hlines(places, [0.0] * len(rows), default, color="0.75", linewidth=2)
        axes.hlines(places, default, best, color=SKY, linewidth=2)
        axes.plot([0.0] * len(rows), places, "|", color="black", markersize=7, label="labels alone")
        axes.plot(default, places, "o", color=BLUE, markersize=5, label="default")
        axes.plot(best, places, "D", color=VERMILLION, markersize=4.5, label="best by validation (other seeds)")
        axes.set_yticks(places, [f"{one.task} / {one.student}" for one in rows], fontsize=7)
        _rows_style(axes, len(rows))
        axes.set_xlabel("points of the test score over training on labels alone")
        figure.legend(loc="outside upper right", ncols=3, frameon=False)

    draw(path, 1.2 + 0.17 * len(rows), paint)


def draw_spreads(spreads: Sequence[Spread], paper: float, path: Path) -> None:
    """Best less worst in percent of the best, raw and free of luck, a row a cell."""
    rows = sorted((one for one in spreads if not math.isnan(one.raw)), key=lambda one: one.percent(one.raw))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        places = range(len(rows))
        raw, split = [one.percent(one.raw) for one in rows], [one.percent(one.split) for one in rows]
        axes.hlines(places, split, raw, color="0.8", linewidth=2)
        axes.plot(raw, places, "x", color=VERMILLION, markersize=5, label="raw: luck counts as lead")
        axes.plot(split, places, "o", color=BLUE, markersize=5, label="chosen and judged by different seeds")
        axes.axvline(paper, color="black", linewidth=0.9, linestyle=":", label=f"{paper:g} %, the paper's largest")
        axes.axvline(0, color="0.45", linewidth=0.9)
        axes.set_yticks(places, [f"{one.task} / {one.student} ({one.n_configs})" for one in rows], fontsize=7)
        _rows_style(axes, len(rows))
        axes.set_xlabel(
            "best less worst configuration, in percent of the best test score (number of configurations tried)"
        )
        figure.legend(loc="outside upper right", ncols=3, frameon=False)

    draw(path, 1.2 + 0.17 * len(rows), paint)


def _rows_style(axes: Axes, n_rows: int) -> None:
    axes.set_ylim(-0.7, max(n_rows, 1) - 0.3)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.92")
