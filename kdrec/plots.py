"""Figures in files. Matplotlib is loaded when the first one is drawn, and never asks for a screen.

Colours are Okabe and Ito's, told apart by the colour-blind; what matters is told apart by shape as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kdrec.errors import BadArgument
from kdrec.recommend.replay import CellReplay, Stage, Tuned
from kdrec.recommend.scorecard import Scorecard

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS: Final = (".png", ".svg")
BLUE, SKY, VERMILLION, GREY = "#0072B2", "#A6D4EE", "#D55E00", "#9A9A9A"
MAX_LABELLED: Final = 60
"""More rows than this carry no names: they would overlap."""
MAX_NAME: Final = 32
"""Longer names of rows are cut."""
STYLE: Final[dict[str, Any]] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "svg.hashsalt": "kdrec",  # without it, every file differs
    "svg.fonttype": "none",
    "text.parse_math": False,  # a dollar in a task's name is a dollar
}


def check_place(path: Path) -> None:
    """Refuse a file that no figure can be written to, before the work is done.

    Raises
    ------
    BadArgument
        When the ending is none of PNG and SVG, the folder is missing, or the path is a folder.
    OSError
        When the system refuses.
    """
    if path.suffix.lower() not in FORMATS:
        raise BadArgument(f"a plot is written as .png or .svg, got {path.name!r}")
    if path.is_dir():
        raise BadArgument(f"{path} is a folder; a plot is a file")
    if not path.parent.is_dir():
        raise BadArgument(f"no folder {path.parent} to write the plot to")
    new = not path.exists()
    with path.open("ab"):
        pass
    if new:
        path.unlink()


def draw_audit(card: Scorecard, path: Path) -> None:
    """Draw an audited history: regret by strategy and, where it was measured, every foretold gain and what came of it.

    Parameters
    ----------
    card : Scorecard
        One with `audited` true.
    path : Path
        A .png or .svg file, replaced if it exists.
    """
    import matplotlib
    from matplotlib.figure import Figure

    check_place(path)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=audit_size(card), layout="constrained")
        paint_audit(figure, card)
        figure.suptitle(_title(card), fontsize=11, fontweight="bold", x=0.01, ha="left")
        save(figure, path)


def paint_audit(figure: Figure, card: Scorecard) -> None:
    """Fill an empty figure of `audit_size` with what `draw_audit` draws, without its title."""
    stages = [gain.trials for gain in card.gains]
    if stages:
        grid = figure.add_gridspec(2, 1 + len(stages), width_ratios=[3.0, *[2.4] * len(stages)])
        lost, won = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
        _gains([figure.add_subplot(grid[:, 1 + place]) for place in range(len(stages))], card, stages)
    else:
        lost, won = figure.subplots(1, 2)
    _regrets(lost, card)
    _differences(won, card)


def audit_size(card: Scorecard) -> tuple[float, float]:
    """Width and height in inches: room for a name a row, and for two panels at the left."""
    if not card.gains:
        return 10.0, 3.2
    return 4.6 + 2.9 * len(card.gains), min(max(5.6, 1.9 + 0.17 * len(card.cells)), 40.0)


def save(figure: Figure, path: Path) -> None:
    """Write the same bytes for the same figure."""
    kind = path.suffix.lower().removeprefix(".")
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(path, format=kind, dpi=150, metadata=metadata)


def _title(card: Scorecard) -> str:
    return f"Every task foretold from the others: {card.n_tasks} tasks, {card.n_cells} pairs of task and student"


def _regrets(axes: Axes, card: Scorecard) -> None:
    """Horizontal bars, the best strategy on top."""
    names = _ranked(card)
    means, errors = [card.regret[name].mean for name in names], [card.regret[name].se for name in names]
    colours = [BLUE if name == "suggested" else GREY for name in names]
    axes.barh(names, means, xerr=errors, color=colours, height=0.62, error_kw={"elinewidth": 1.2, "capsize": 3})
    for place, (mean, error) in enumerate(zip(means, errors, strict=True)):
        axes.annotate(f"{mean:.2f}", (mean + error, place), xytext=(6, 0), textcoords="offset points", va="center")
    axes.set_xlim(0, 1.25 * max(0.05, *(mean + error for mean, error in zip(means, errors, strict=True))))
    _name_strategies(axes, names)
    axes.set_xlabel("points (mean ± standard error over tasks)")
    axes.set_title("Lost to the best measured configuration\n(less is better)", loc="left")


def _differences(axes: Axes, card: Scorecard) -> None:
    """What every strategy won over the default, with its interval, in the order of the bars."""
    names = [name for name in _ranked(card) if name in card.over_default]
    for place, name in enumerate(names):
        over, colour = card.over_default[name], BLUE if name == "suggested" else GREY
        axes.hlines(place, over.lo90, over.hi90, color=colour, linewidth=2)
        axes.plot(over.mean, place, "o", color=colour, markersize=6)
    axes.axvline(0, color="0.55", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    _name_strategies(axes, names)
    axes.set_xlabel("points (mean and 90 % interval, bootstrap over tasks)")
    axes.set_title("Won over always taking the default\n(more is better)", loc="left")


def _ranked(card: Scorecard) -> list[str]:
    """Strategies from the worst to the best: rows are counted from below."""
    return sorted(card.regret, key=lambda name: -card.regret[name].mean)


def _name_strategies(axes: Axes, names: Sequence[str]) -> None:
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_fontweight("bold" if name == "suggested" else "normal")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.9")


def _gains(panels: Sequence[Axes], card: Scorecard, stages: Sequence[Stage]) -> None:
    """One panel a stage, one row a cell: foretold mean and interval, and what was realised."""
    cells = sorted((cell for cell in card.cells if cell.tuned), key=_promise)
    limit = _limit(cells)
    for number, (axes, stage) in enumerate(zip(panels, stages, strict=True)):
        _forecasts(axes, cells, stage)
        gain = card.gains[number]
        after = "all trials" if stage == "all" else f"{stage} trial{'' if stage == 1 else 's'}"
        means = f"mean foretold {gain.forecast + 0.0:+.2f}, realised {gain.realised + 0.0:+.2f}"
        axes.set_title(f"Gain after {after}\n{means}", loc="left")
        axes.set_xlim(-limit, limit)
        axes.set_ylim(-0.7, len(cells) - 0.3)
        axes.set_xlabel("points over the suggestion")
        axes.grid(axis="x", color="0.9")
        axes.axvline(0, color="0.55", linewidth=0.8, zorder=0)
        named = number == 0 and len(cells) <= MAX_LABELLED
        axes.set_yticks(range(len(cells)) if named else [], [_name(cell) for cell in cells] if named else None)
        axes.tick_params(axis="y", length=0, labelsize=7)
    _legend(panels[-1])


def _forecasts(axes: Axes, cells: Sequence[CellReplay], stage: Stage) -> None:
    found = [(place, tuned) for place, cell in enumerate(cells) for tuned in cell.tuned if tuned.trials == stage]
    places = [place for place, _ in found]
    axes.hlines(places, [t.lo80 for _, t in found], [t.hi80 for _, t in found], color=SKY, linewidth=5)
    axes.plot([t.forecast for _, t in found], places, "|", color=BLUE, markersize=7, markeredgewidth=1.8)
    for held, marker, colour, size in ((True, "o", "black", 4.5), (False, "X", VERMILLION, 6)):
        rows = [(tuned.realised, place) for place, tuned in found if tuned.held is held]
        axes.plot([x for x, _ in rows], [y for _, y in rows], marker, color=colour, markersize=size)


def _legend(axes: Axes) -> None:
    from matplotlib.lines import Line2D

    shapes: list[tuple[str, dict[str, Any]]] = [
        ("foretold: 80 % interval of what is measured", {"color": SKY, "linewidth": 5}),
        ("foretold: mean", {"color": BLUE, "marker": "|", "markeredgewidth": 1.8, "linestyle": "none"}),
        ("realised, inside", {"color": "black", "marker": "o", "markersize": 4.5, "linestyle": "none"}),
        ("realised, outside", {"color": VERMILLION, "marker": "X", "markersize": 6, "linestyle": "none"}),
    ]
    handles = [Line2D([], [], label=label, **shape) for label, shape in shapes]
    figure = axes.get_figure(root=True)
    assert figure is not None  # an axes that was made by a figure
    figure.legend(handles=handles, loc="outside lower right", ncols=4, frameon=False)


def _promise(cell: CellReplay) -> float:
    """What the cell was promised after all trials: the order of the rows."""
    return cell.tuned[-1].forecast


def _limit(cells: Sequence[CellReplay]) -> float:
    """One symmetrical scale for all panels, in points."""
    every: list[Tuned] = [tuned for cell in cells for tuned in cell.tuned]
    return 1.08 * max(0.1, *(abs(value) for t in every for value in (t.lo80, t.hi80, t.realised, t.forecast)))


def _name(cell: CellReplay) -> str:
    name = f"{cell.task} / {cell.student}"
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
