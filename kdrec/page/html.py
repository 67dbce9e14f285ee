"""The page itself: what is shown in which order, filled into a template that escapes all it is given."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

import kdrec
from kdrec.outcome import Outcome
from kdrec.page import figures, tables
from kdrec.page.answered import CellAnswer
from kdrec.page.words import beside_noise, count, listed, printable, signed
from kdrec.recommend.scorecard import Scorecard
from kdrec.report import duration
from kdrec.space import told
from kdrec.types import KDConfig

TEMPLATES: Final = Path(__file__).parent / "templates"
OPEN_CELLS: Final = 6
"""A study of more cells shows them closed, to be opened one by one."""


def render(outcome: Outcome, answers: Sequence[CellAnswer], card: Scorecard | None = None) -> str:
    """The page of a study.

    Parameters
    ----------
    outcome : Outcome
        What its store holds.
    answers : sequence of CellAnswer
        One for every cell, from `kdrec.page.answered`.
    card : Scorecard, optional
        The audited history; without one, the page says how to have it.

    Returns
    -------
    str
        HTML that asks for nothing from elsewhere.
    """
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8").strip()
    grid = _grid(answers)
    return (
        _environment()
        .get_template("page.html")
        .render(
            study=outcome.study,
            version=kdrec.__version__,
            style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8").strip()),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            facts=_facts(outcome, answers),
            summary=_summary(answers),
            decisions=tables.decisions(answers),
            noise=_noise(answers),
            heat=figures.heat(grid) if grid.columns else None,
            heat_table=tables.heat(grid),
            cost=figures.costs(answers),
            cost_table=tables.costs(answers),
            cells=[_cell(answer, place) for place, answer in enumerate(answers)],
            cells_open=len(answers) <= OPEN_CELLS,
            teachers=[
                {
                    "task": teacher.task,
                    "card": teacher.card,
                    "told": told(teacher.aliases, teacher.chosen),
                    "figure": figures.trace(teacher, f"teacher-{place}"),
                    "table": tables.trace(teacher),
                }
                for place, teacher in enumerate(outcome.teachers)
            ],
            audit=_audit(card),
        )
    )


def _training(training: Mapping[str, float]) -> str:
    """What was not a knob, in words; a length in steps stands in the place of one in epochs."""
    told = {name: value for name, value in training.items() if name != "epochs" or "n_steps" not in training}
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in told.items())


def _environment() -> Environment:
    """Autoescape is on for all, whatever a file is called; a name that the template lacks is an error."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(text: str) -> Markup:
    """A name that may go on in a new line after its slash or stroke, and is copied without a sign more."""
    return Markup(re.sub("([/_])", r"\1<wbr>", str(escape(printable(text)))))


def _facts(outcome: Outcome, answers: Sequence[CellAnswer]) -> list[tuple[str, str]]:
    """How much there is, for the head of the page."""
    trials = [trial for cell in outcome.cells for trial in cell.trials]
    found = sum(cell.n_found for cell in outcome.cells)
    unfinished = sum(not cell.done for cell in outcome.cells)
    facts = [
        ("Cells", f"{len(answers)}" + (f", {unfinished} unfinished" if unfinished else "")),
        ("Trials", f"{len(trials):,}" + (f", {found:,} of them made by other studies" if found else "")),
        ("Compute", duration(sum(trial.seconds for trial in trials)) if trials else "none"),
    ]
    diverged = sum(answer.sheet.n_diverged() for answer in answers)
    return [*facts, ("Diverged", str(diverged))] if diverged else facts


def _summary(answers: Sequence[CellAnswer]) -> list[str]:
    """The decision in a few sentences, before any table."""
    going = [answer for answer in answers if not answer.now.stop]
    left = [answer for answer in answers if not answer.now.is_default]
    n = len(answers)
    stay = f"Stop tuning in {'every cell' if not going else f'{n - len(going)} of {n} cells'}"
    go = f"Go on tuning {listed([answer.name for answer in going])}"
    verdict = f"{stay}." if not going else f"{go}." if len(going) == n else f"{go}; {stay[0].lower()}{stay[1:]}."
    ahead = [answer.ahead.mean for answer in answers]
    sentences = [
        verdict,
        f"Eight more trials are expected to gain {_range(ahead)} points a cell.",
        f"Start with the default everywhere ({answers[0].now.config.label()})."
        if not left
        else f"Leave the default in {listed([f'{a.name} for {a.now.config.label()}' for a in left], 3)}.",
    ]
    weak = [answer.name for answer in answers if answer.weak]
    if weak:
        one = "it is" if len(weak) == 1 else "they are"
        sentences.insert(
            0, f"The teacher of {listed(weak)} is worse than its student without it: see there before {one} tuned."
        )
    return [*sentences, *_realised(answers)]


def _realised(answers: Sequence[CellAnswer]) -> list[str]:
    """What the study itself has gained; nothing where it could not be measured."""
    gained = [answer.gained for answer in answers if answer.gained is not None]
    if not gained:
        return []
    beyond = sum(not one.is_noise and one.points > 0 for one in gained)
    mean = fmean(one.points for one in gained)
    return [
        f"What the searches kept scores {abs(mean):.2f} points {'under' if mean < 0 else 'over'} the default on the "
        f"test split, mean of {count(len(gained), 'cell')}; the gain stands out of seed noise in "
        f"{beyond or 'none'} of them."
    ]


def _range(values: Sequence[float]) -> str:
    low, high = signed(min(values)), signed(max(values))
    return low if low == high else f"{low} to {high}"


def _noise(answers: Sequence[CellAnswer]) -> str:
    """How noise is known, in one sentence."""
    own = sum(answer.noise.degrees > 0 for answer in answers)
    guessed = len(answers) - own
    parts = [f"its own seeds in {count(own, 'cell')}"] * (own > 0)
    parts += [f"the recommender's estimate in {count(guessed, 'cell')} with too few repeated seeds"] * (guessed > 0)
    sds = [answer.noise.points for answer in answers]
    low, high = f"{min(sds):.2f}", f"{max(sds):.2f}"
    spread = low if low == high else f"{low} to {high}"
    return f"A score differs between seeds by {spread} points (standard deviation), by {' and '.join(parts)}."


def _grid(answers: Sequence[CellAnswer]) -> figures.Grid:
    """All configurations in the order of their knobs against each cell's default; the longer side goes down."""
    configs = sorted({c for a in answers for c in a.sheet.tried if c != a.sheet.default}, key=KDConfig.sort_key)
    grid = figures.Grid(
        rows=tuple(answer.name for answer in answers),
        columns=tuple(config.label() for config in configs),
        values=tuple(tuple(a.sheet.difference(c, a.sheet.default, a.noise) for c in configs) for a in answers),
    )
    return grid if len(grid.rows) >= len(grid.columns) else grid.turned


def _cell(answer: CellAnswer, place: int) -> dict[str, Any]:
    """What a cell's part of the page shows."""
    outcome = answer.sheet.outcome
    warning = str(answer.weak or "")
    return {
        "warning": f"{warning[:1].upper()}{warning[1:]}." if warning else "",
        "name": answer.name,
        "stop": answer.now.stop,
        "done": outcome.done,
        "start": answer.now.config.label(),
        "kept": answer.kept.label(),
        "base": answer.base.label(),
        "noise": f"{answer.noise.half_width(max(1, answer.n_seeds)):.2f}",
        "gained": beside_noise(answer.gained),
        "advised": answer.advised,
        "rows": ", ".join(f"{rows:,} {split}" for split, rows in outcome.rows.items()),
        "training": _training(outcome.training),
        "figure": figures.gains(answer, f"gain-{place}"),
        "gains": tables.gains(answer),
        "configurations": tables.configurations(answer),
        "path": tables.path(answer) if answer.path else None,
        "advice": tables.advice(answer) if outcome.decisions else None,
        "notes": [note for note in answer.now.evidence["notes"] if note != warning],
    }


def _audit(card: Scorecard | None) -> dict[str, Any] | None:
    if card is None:
        return None
    figure = figures.audit(card) if card.audited else None
    return {"verdict": card.verdict, "figure": figure, "table": tables.audit(card) if card.audited else None}
