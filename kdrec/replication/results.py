"""The findings in words and tables: every number in a sentence is computed from the trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median

from kdrec.findings.cells import Cell, grouped
from kdrec.findings.choice import Regret, best_spread, default_regret, spread
from kdrec.findings.grids import GridFinding, grid_finding
from kdrec.findings.intervals import Mean, over_tasks
from kdrec.findings.knobs import KnobEffect, knob_effects
from kdrec.findings.labels_only import over_labels_means
from kdrec.findings.noise import SeedNoise, pool, seed_noise
from kdrec.findings.paper import NEAR, PAPER_WORST, agreement
from kdrec.findings.path import gain_curve
from kdrec.findings.teachers import teachers
from kdrec.history.provenance import Provenance
from kdrec.replication.markdown import DASH, counted, ends, picture, plain, signed, table


def paper_section(cells: Sequence[Cell]) -> str:
    """The paper's claims beside ours."""
    rows = [(claim.claim, claim.ours, claim.rule, f"**{claim.verdict}**") for claim in agreement(cells)]
    return f"""## Does it agree with the paper?

Numbers in brackets are 90 % intervals over tasks. A verdict is said only when the whole interval lies on one side
of the stated boundary; a margin of {NEAR} points counts as near, or as little.
Rules and margins were set before the trials were seen.

{table(("the paper", "here", "rule", "verdict"), rows, words=4)}"""


def knobs_section(cells: Sequence[Cell]) -> str:
    """Every knob turned alone, overall and by family and student."""
    overall = knob_effects(cells)
    largest = max(overall, key=lambda effect: abs(effect.overall.mean), default=None)
    if largest is None:
        return "## What each knob does\n\nNo two configurations that differ in one knob were tried."
    resolved = [effect for effect in overall if effect.overall.known and not _holds_zero(effect.overall)]
    named = "; ".join(f"*{effect.contrast.label()}* ({signed(effect.overall.mean)})" for effect in resolved) or "none"
    return f"""## What each knob does

Two configurations that differ in one knob alone, in the same cell, with the same seeds: the difference of their
test scores, averaged over all such pairs of a cell, then over the cells of a task, then over tasks. The largest
mean effect is that of *{largest.contrast.label()}*, {signed(largest.overall.mean)} points. Effects whose interval
does not hold 0: {named}. A cell wins or loses when its difference is outside the 90 % noise of its own seeds.

{picture("effects.svg", "Mean effect of every knob with its 90 % interval, for all cells and for each family")}

{_effects_table(overall)}

By family:

{_effects_by(cells, "family")}

By student:

{_effects_by(cells, "student")}

Pairs that a greedy search tried late stand beside an incumbent that owed a little to luck, which makes turning
away from it look a little worse than it is."""


def _holds_zero(mean: Mean) -> bool:
    return mean.lo90 <= 0 <= mean.hi90


def _effects_table(effects: Sequence[KnobEffect]) -> str:
    header = ("knob", "mean effect", "90 % interval", "cells won", "lost", "tied", "tasks")
    rows = [
        (e.contrast.label(), signed(e.overall.mean), ends(e.overall), e.wins, e.losses, e.ties, e.overall.n_tasks)
        for e in effects
    ]
    return table(header, rows)


def _effects_by(cells: Sequence[Cell], by: str) -> str:
    """One column a group: the mean, its interval, and won-lost-tied."""
    effects = knob_effects(cells, by)
    groups = sorted({effect.group for effect in effects})
    contrasts = [effect.contrast.label() for effect in knob_effects(cells)]
    found = {(effect.contrast.label(), effect.group): effect for effect in effects}
    rows = [(label, *(_short(found.get((label, group))) for group in groups)) for label in contrasts]
    return table(("knob", *groups), rows)


def _short(effect: KnobEffect | None) -> str:
    if effect is None:
        return DASH
    return f"{signed(effect.overall.mean)} ({ends(effect.overall)}); {effect.wins}-{effect.losses}-{effect.ties}"


def heat_section(cells: Sequence[Cell]) -> str:
    """All cells and configurations at a glance."""
    n_tried = sum(len(cell.configs) for cell in cells)
    return f"""## Every cell, every configuration

{counted(n_tried, "configuration")} were tried in {counted(len(cells), "cell")}. Each tile is the mean test score
less that of the default in the same cell, in points; grey is within the noise of the seeds. Where both teachers are
one checkpoint, what t_hs would score stands under t_ll.

{picture("heat.svg", "Difference of every configuration to the default in every cell, grey within seed noise")}"""


def choice_section(cells: Sequence[Cell]) -> str:
    """Best against worst, and the default against the best."""
    spreads = [one for one in map(spread, cells) if not math.isnan(one.raw)]
    worst = best_spread(spreads)
    if worst is None:
        return "## What a bad choice costs\n\nNo cell has two configurations that were scored with two seeds."
    rows = [
        (
            f"{one.task} / {one.student}", one.n_configs, plain(one.raw), plain(one.validated), plain(one.split),
            f"{plain(one.percent(one.split), 1)} %", plain(one.split_median),
        )
        for one in sorted(spreads, key=lambda one: -one.percent(one.split))
    ]  # fmt: skip
    header = ("cell", "configurations", "raw", "validated", "split", "split, of the best", "best less middle, split")
    means = [fmean(getattr(one, name) for one in spreads) for name in ("raw", "validated", "split")]
    middle = median(one.percent(one.split) for one in spreads if not math.isnan(one.split))
    return f"""## What a bad choice costs

The best less the worst configuration of a cell, in points of the test score, three ways, because **the largest of
several noisy means less the smallest is too large**: *raw* (chosen and judged by the same test scores),
*validated* (chosen by validation, judged by test scores of the same seeds), *split* (chosen by validation with all
seeds but one, judged by the test score of that one, in turn: free of luck, and a little small, because one seed
fewer chooses). The truth should lie between *split* and *raw*. On average over cells they are {plain(means[0])},
{plain(means[1])} and {plain(means[2])} points. By *split*, the middle cell loses {plain(middle, 1)} % of its best
score, and the dearest, {worst.task} / {worst.student}, {plain(worst.percent(worst.split), 1)} %; the paper's
dearest is {PAPER_WORST} %.
The dearest of many cells was picked for being dear, so its number is still a little high.
A greedy search tries fewer configurations, and fewer bad ones, than a full grid, so cells with few
configurations understate the cost.

{picture("spread.svg", "Best less worst configuration of every cell in percent, raw and judged by other seeds")}

{table(header, rows)}

{_regret_part(cells)}"""


def _regret_part(cells: Sequence[Cell]) -> str:
    regrets = [default_regret(cell) for cell in cells]
    stayed = sum(regret.best == cell.configs[0] for regret, cell in zip(regrets, cells, strict=True))
    lost = over_tasks((one.task, one.split) for one in regrets)
    groups = {"all": regrets, **grouped(regrets, lambda r: r.family), **grouped(regrets, lambda r: r.student)}
    rows = [(name, len(members), *_regret_row(members)) for name, members in groups.items()]
    return f"""### What the default loses

The default is (t_ll, ce, tau_s = 1) with alpha = 0.5 and tau_t = 1. It is the best by validation in {stayed} of
{counted(len(cells), "cell")}. Against the best by validation it loses {signed(lost.mean)} points ({ends(lost)})
once luck is taken out; a negative number means that the "best" was lucky.

{table(("cells", "n", "raw", "validated", "split", "90 % interval of split"), rows)}"""


def _regret_row(members: Sequence[Regret]) -> tuple[str, ...]:
    raw, validated, split = (
        over_tasks((one.task, getattr(one, name)) for one in members) for name in ("raw", "validated", "split")
    )
    return signed(raw.mean), signed(validated.mean), signed(split.mean), ends(split)


def gain_section(cells: Sequence[Cell]) -> str:
    """The greedy search step by step."""
    curve = gain_curve(cells)
    last = curve[-1]
    rows = [
        (p.trials, p.n_active, signed(p.split.mean), ends(p.split), signed(p.validated.mean))
        for p in curve
        if p.trials in (0, 1, 2, 3, 4, 6, 8, 10, 12, 16) or p is last
    ]
    header = (
        "configurations tried",
        "cells still searching",
        "gain",
        "90 % interval",
        "judged by the seeds that chose",
    )
    return f"""## What more trials buy

The greedy search walked again on its own trials: after each configuration, the best by validation so far, and its
test score over the default's. Chosen with all seeds but one and judged by that one, the whole search gains
{signed(last.split.mean)} points ({ends(last.split)}); judged by the very seeds that chose, it would seem to gain
{signed(last.validated.mean)}.

{picture("gain.svg", "Gain in test score over the default against the number of configurations tried")}

{table(header, rows)}"""


def labels_section(cells: Sequence[Cell]) -> str:
    """Distillation against labels alone."""
    found = over_labels_means(cells)
    rows = [
        (
            one.group,
            one.default_gain.n_cells,
            signed(one.default_gain.mean),
            ends(one.default_gain),
            signed(one.best_gain.mean),
            ends(one.best_gain),
        )
        for one in found
    ]
    header = ("cells", "n", "default", "90 % interval", "best by validation", "90 % interval")
    overall = found[0].default_gain
    return f"""## Does distillation help?

Against the same student trained on labels alone (alpha = 0), with the same seeds, the default gains
{signed(overall.mean)} points ({ends(overall)}). The best by validation is chosen with all seeds but one and judged
by that one.

{picture("labels.svg", "Gain of the default and of the best by validation over training on labels alone, by cell")}

{table(header, rows)}"""


def teachers_section(cells: Sequence[Cell], facts: Provenance | None) -> str:
    """Whether the two teachers differ, and whose student is better."""
    found = teachers(cells)
    n_tasks = len(found.same) + len(found.different)
    wins, losses, ties = (sum(e.verdict == word for e in found.effects) for word in ("win", "loss", "tie"))
    text = f"""## Two teachers, or one?

In {len(found.same)} of {counted(n_tasks, "task")} the checkpoint of highest validation score (t_hs) is that of
lowest validation loss (t_ll), and the knob does nothing."""
    if found.different:
        text += f""" In the other {len(found.different)}, students of t_hs score {signed(found.overall.mean)} points
({ends(found.overall)}) over those of t_ll; t_hs wins in {wins} cells, loses in {losses}, and {ties} are within
noise."""
    rows = [
        (
            task.task, "one" if "t_hs" in task.aliases else "two",
            plain(task.t_ll.score), plain(task.t_ll.loss, 3), plain(task.t_ll.ece, 3),
            f"{task.t_ll.learning_rate:g}", plain(task.t_hs.score), plain(task.t_hs.loss, 3), plain(task.t_hs.ece, 3),
            f"{task.t_hs.learning_rate:g}",
        )
        for task in (facts.tasks if facts else ())
    ]  # fmt: skip
    header = (
        *("task", "checkpoints", "t_ll: score", "loss", "calibration error", "learning rate"),
        *("t_hs: score", "loss", "calibration error", "learning rate"),
    )
    return f"{text}\n\n{table(header, rows, words=2)}" if rows else text


def noise_section(cells: Sequence[Cell]) -> str:
    """How much seeds matter beside configurations."""
    noises = [seed_noise(cell) for cell in cells]
    known = [noise for noise in noises if noise.degrees]
    test = pool(known, "test")
    between = [noise.between for noise in known if not math.isnan(noise.between)]
    typical = median(between) if between else math.nan
    groups = {"all": known, **grouped(known, lambda n: n.family), **grouped(known, lambda n: n.student)}
    rows = [(name, len(members), *_noise_row(members)) for name, members in groups.items()]
    header = ("cells", "n", "seeds, validation", "seeds, test", "configurations, test (median cell)")
    smaller = sum(noise.between < noise.test for noise in known)
    return f"""## How loud are seeds?

Two runs that differ in the seed alone have a standard deviation of {plain(test)} test points (pooled over cells).
The expected scores of a cell's configurations differ by {plain(typical)} points in the middle cell, seeds taken
off. In {smaller} of {counted(len(known), "cell")} seeds are louder than the configurations. A difference of two
configurations with two seeds each has to exceed about {plain(1.645 * test)} points to stand out.

{table(header, rows)}"""


def _noise_row(members: Sequence[SeedNoise]) -> tuple[str, ...]:
    between = [noise.between for noise in members if not math.isnan(noise.between)]
    middle = plain(median(between)) if between else DASH
    return plain(pool(members, "validation")), plain(pool(members, "test")), middle


def grids_section(cells: Sequence[Cell]) -> str:
    """What greedy misses, where the whole grid is known."""
    found = [grid_finding(cell) for cell in cells if cell.is_full_grid]
    if not found:
        return "## What greedy search misses\n\nNo cell has the full grid yet."
    lost = over_tasks((one.task, one.greedy_loss) for one in found)
    whole, greedy = fmean(one.n_configs for one in found), fmean(one.greedy_trials for one in found)
    header = (
        *("cell", "configurations", "seeds", "greedy tried", "greedy loses", "default loses"),
        *("ranks, seed to seed: validation", "test", "validation to test"),
    )
    return f"""## What greedy search misses

In {counted(len(found), "cell")} every configuration was tried. Searched with all seeds but one and judged by that
one, the full grid's choice is {signed(lost.mean)} points ({ends(lost)}) above greedy's, which tried
{plain(greedy, 1)} configurations instead of {plain(whole, 1)}. Rank correlations (Spearman) say how far two seeds
agree on the order of the configurations, and the last column how far the means of the two splits do.

{table(header, [_grid_row(one) for one in found])}"""


def _grid_row(one: GridFinding) -> tuple[object, ...]:
    ranks = (plain(one.rank_validation), plain(one.rank_test), plain(one.rank_across))
    return (
        f"{one.task} / {one.student}", one.n_configs, one.n_seeds, one.greedy_trials,
        signed(one.greedy_loss), signed(one.default_loss), *ranks,
    )  # fmt: skip
