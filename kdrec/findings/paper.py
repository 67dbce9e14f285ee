"""What arXiv 2401.06356 claims beside what is found here; every verdict is computed from an interval by a stated rule.

`agrees` and `disagrees` are said only where the 90 % interval over tasks lies wholly on one side of the claim's
boundary; everything else is `not resolved`. The margins below were chosen before any trial of the replication was seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from kdrec.findings.cells import Cell, grouped
from kdrec.findings.choice import best_spread, default_regret, safe_regret, spread
from kdrec.findings.intervals import Z95, Mean, over_tasks
from kdrec.findings.knobs import Contrast, KnobEffect, knob_effects
from kdrec.findings.labels_only import over_labels
from kdrec.findings.noise import pooled_sd
from kdrec.findings.path import gain_after, visited

Verdict = Literal["agrees", "disagrees", "not resolved"]
NEAR: Final = 0.5
"""Points of the test score that still count as near, or as little."""
PAPER_WORST: Final = 4.3
"""Percent that the paper's worst choice costs."""
SHARP: Final = 1.0
"""Percent: a wider interval around a cost holds too much to agree with one number."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim, the number that bears on it here, and what follows."""

    claim: str
    ours: str
    rule: str
    verdict: Verdict


def agreement(cells: Sequence[Cell]) -> tuple[Claim, ...]:
    """The paper's claims in the order in which a user needs them."""
    return (
        _default_is_near(cells),
        _near_across_the_board(cells),
        _advice_is_near(cells),
        _tuning_buys_little(cells),
        _bad_choices_cost(cells),
        *_better_values(cells),
        _teaching_helps(cells),
    )


def below(mean: Mean, limit: float) -> Verdict:
    """Whether a mean is said to be below a limit: its whole interval is, or none of it, or neither.

    >>> below(Mean(mean=0.1, lo90=-0.1, hi90=0.3, n_tasks=5, n_cells=5), 0.5)
    'agrees'
    """
    if not mean.known:
        return "not resolved"
    return "agrees" if mean.hi90 < limit else "disagrees" if mean.lo90 > limit else "not resolved"


def interval(mean: Mean) -> str:
    """A mean with its interval as text."""
    if math.isnan(mean.mean):
        return "not measured"
    if not mean.known:
        return f"{mean.mean + 0.0:+.2f} (one task)"
    return f"{mean.mean + 0.0:+.2f} ({mean.lo90 + 0.0:+.2f} to {mean.hi90 + 0.0:+.2f})"


def _default_is_near(cells: Sequence[Cell]) -> Claim:
    lost = over_tasks((cell.task, default_regret(cell).split) for cell in cells)
    return Claim(
        claim="(t_ll, CE, tau_s = 1) is close to the best found",
        ours=f"the default loses {interval(lost)} points to the best by validation",
        rule=f"interval of the mean loss below {NEAR} points",
        verdict=below(lost, NEAR),
    )


def _near_across_the_board(cells: Sequence[Cell]) -> Claim:
    families = grouped(cells, lambda cell: cell.family)
    lost = {
        family: over_tasks((cell.task, default_regret(cell).split) for cell in members)
        for family, members in families.items()
    }
    verdicts = {below(mean, NEAR) for mean in lost.values()}
    worst = max(lost, key=lambda family: -math.inf if math.isnan(lost[family].mean) else lost[family].mean)
    return Claim(
        claim="... across the board",
        ours=f"the largest mean loss is that of the family {worst}: {interval(lost[worst])} points",
        rule=f"as above in every family; disagrees where one family's interval is above {NEAR}",
        verdict="disagrees" if "disagrees" in verdicts else "agrees" if verdicts == {"agrees"} else "not resolved",
    )


def _advice_is_near(cells: Sequence[Cell]) -> Claim:
    """The paper fixes three knobs; here the other two are tuned, as its reader would."""
    lost = over_tasks((cell.task, safe_regret(cell).split) for cell in cells)
    return Claim(
        claim="... with alpha and tau_t tuned",
        ours=f"the best of (t_ll, CE, tau_s = 1) by validation loses {interval(lost)} points to the best of all",
        rule=f"as above; a row added when the first trials had been seen, with the margin of {NEAR} left as it was",
        verdict=below(lost, NEAR),
    )


def _tuning_buys_little(cells: Sequence[Cell]) -> Claim:
    gains = over_tasks(
        (cell.task, gain_after(cell, order, len(order))[1]) for cell in cells if (order := visited(cell))
    )
    return Claim(
        claim="Extensive tuning buys little",
        ours=f"a whole greedy search gains {interval(gains)} points over the default",
        rule=f"interval of the mean gain below {NEAR} points",
        verdict=below(gains, NEAR),
    )


def _bad_choices_cost(cells: Sequence[Cell]) -> Claim:
    """The dearest cell against the paper's dearest: neither says anything of a typical one."""
    worst = best_spread([spread(cell) for cell in cells])
    rule = f"the dearest cell's cost is within its seed noise of {PAPER_WORST} %, and that is at most ± {SHARP:g}"
    claim = f"A bad choice costs up to {PAPER_WORST} %"
    if worst is None:
        return Claim(claim=claim, ours="not measured", rule=rule, verdict="not resolved")
    cell = next(cell for cell in cells if (cell.task, cell.student) == (worst.task, worst.student))
    cost, raw = worst.percent(worst.split), worst.percent(worst.raw)
    noise = worst.percent(Z95 * pooled_sd(cell, "test")[0] * math.sqrt(2 / len(cell.seeds)))
    ours = f"up to {cost:.1f} % ± {noise:.1f} ({worst.task}, {worst.student}); without correction {raw:.1f} %"
    return Claim(claim=claim, ours=ours, rule=rule, verdict=equal(cost, noise, PAPER_WORST))


def equal(value: float, noise: float, stated: float) -> Verdict:
    """Whether a value is said to be the one that was stated: within its noise, if that is small enough to tell.

    >>> equal(4.0, 0.5, 4.3), equal(2.0, 0.5, 4.3), equal(4.0, 3.0, 4.3)
    ('agrees', 'disagrees', 'not resolved')
    """
    if abs(value - stated) > noise:
        return "disagrees"
    return "agrees" if noise <= SHARP else "not resolved"


def _better_values(cells: Sequence[Cell]) -> list[Claim]:
    effects = {effect.contrast: effect for effect in knob_effects(cells)}
    asked = (
        ("t_ll teaches better than t_hs", Contrast("teacher", "t_ll", "t_hs")),
        ("CE is better than MSE", Contrast("distance", "ce", "mse")),
        ("tau_s = 1 is better than tau_s = tau_t", Contrast("tau_s", "1", "tau_t")),
    )
    return [_better(claim, effects.get(contrast)) for claim, contrast in asked]


def _better(claim: str, effect: KnobEffect | None) -> Claim:
    rule = "interval of the mean effect of leaving it below 0"
    if effect is None:
        return Claim(claim=claim, ours="not measured", rule=rule, verdict="not resolved")
    alike = f"; the two are alike within {NEAR}" if effect.overall.within(NEAR) else ""
    counts = f"{effect.losses} cells lose, {effect.wins} win, {effect.ties} tie"
    ours = f"{effect.contrast.label()}: {interval(effect.overall)} points; {counts}{alike}"
    return Claim(claim=claim, ours=ours, rule=rule, verdict=below(effect.overall, 0.0))


def _teaching_helps(cells: Sequence[Cell]) -> Claim:
    gains = [(cell.task, over_labels(cell).default_gain) for cell in cells]
    gain = over_tasks(gains)
    minus = over_tasks((task, -value) for task, value in gains)
    return Claim(
        claim="Distillation beats training on labels alone",
        ours=f"the default gains {interval(gain)} points over labels alone",
        rule="interval of the mean gain above 0",
        verdict=below(minus, 0.0),
    )
