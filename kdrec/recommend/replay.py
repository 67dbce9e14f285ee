"""How good the recommender would have been on this very history: every task left out in truth, and asked about anew.

For each task all its trials are removed and the rest is fitted from scratch. Every student of the task whose default
and at least one alternative were measured is then asked about, with only what was measured there to choose from, so
that every choice has a measured score. Test scores judge, averaged over seeds; a diverged run counts as the default's
mean less what a crash costs.

The best *measured* configuration owes part of its lead to noise, so every regret has a floor that no strategy can
reach. Differences between strategies do not have it, nor do the biases of effects and gains: each choice was made
without the scores it is judged by.

Shapes: C configurations (of one cell: those measured there, the default first), N contrasts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Final, Literal

import numpy as np

from kdrec.history import told_apart
from kdrec.recommend import DEFAULT_BUDGET, Lesson, believe_cell, generator, learn, one_thread, study
from kdrec.recommend.answer import Answer, answer, opinion
from kdrec.recommend.audit import MIN_TASKS
from kdrec.recommend.baselines import BASELINES
from kdrec.recommend.belief import Belief, effects_variance
from kdrec.recommend.gain import STAGES
from kdrec.recommend.table import Table, tabulate
from kdrec.recommend.views import restricted
from kdrec.types import Configuration, Floats, History, TaskFeatures, Trial

Stage = int | Literal["all"]
REALISED_STAGES: Final[tuple[Stage, ...]] = (1, 4, "all")
"""Numbers of further trials after which forecast and realised gains are compared; each costs a fit a cell."""
STRATEGIES: Final = ("suggested", *BASELINES)


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """One effect over the default: foretold mean and sd, the noise of its measurement, and what was measured."""

    config: Configuration
    mean: float
    sd: float
    noise: float
    measured: float

    def half_width(self, z: float) -> float:
        """Half the width of the interval that the measured effect should lie in."""
        return z * float(np.hypot(self.sd, self.noise))

    def holds(self, z: float) -> bool:
        """Whether it does."""
        return abs(self.measured - self.mean) <= self.half_width(z)


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What tuning with `trials` further trials was foretold to gain, and what handing these trials back gained.

    The 80 % interval is that of the *measured* gain: noise of the judging scores is added wherever the configuration
    changes.
    """

    trials: Stage
    forecast: float
    lo80: float
    hi80: float
    realised: float

    @property
    def held(self) -> bool:
        """Whether the realised gain lies in the interval."""
        return self.lo80 <= self.realised <= self.hi80


@dataclass(frozen=True, kw_only=True)
class CellReplay:
    """One task and student, foretold from the other tasks. `effect` is measured, over the default, in points."""

    task: str
    student: str
    n_configs: int
    chosen: Mapping[str, Configuration]
    """What every strategy chose; "random" has no single choice."""
    effect: Mapping[str, float]
    best: Configuration
    best_effect: float
    foretold: tuple[Foretold, ...] = ()
    tuned: tuple[Tuned, ...] = ()

    @property
    def regret(self) -> dict[str, float]:
        """Points lost to the best measured configuration, by strategy."""
        return {name: self.best_effect - effect for name, effect in self.effect.items()}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one cell's judging scores say: every configuration's runs, the default first, by seed."""

    features: TaskFeatures
    student: str
    runs: Mapping[Configuration, tuple[Trial, ...]]
    by_test: bool
    crash_cost: float

    @property
    def configs(self) -> tuple[Configuration, ...]:
        """What was measured, the default first."""
        return tuple(self.runs)

    def score(self, config: Configuration, *, but_first: bool = False) -> float:
        """Mean judging score in points; `but_first` leaves the first seed out where there is another."""
        return float(np.mean([self._one(trial) for trial in self.judging(config, but_first=but_first)]))

    def judging(self, config: Configuration, *, but_first: bool) -> tuple[Trial, ...]:
        """The runs that a configuration is judged by."""
        runs = self.runs[config]
        return runs[1:] if but_first and len(runs) > 1 else runs

    def _one(self, trial: Trial) -> float:
        if trial.status == "diverged":
            return self._default_mean - self.crash_cost
        return self._scored(trial)

    def _scored(self, trial: Trial) -> float:
        score = trial.test_score if self.by_test else trial.val_score
        assert score is not None  # a completed trial has a validation score; `by_test` says that all have a test score
        return score

    @cached_property
    def _default_mean(self) -> float:
        default = next(iter(self.runs.values()))
        return float(np.mean([self._scored(trial) for trial in default if trial.status == "completed"]))


def judge(history: History) -> Table:
    """The history seen from a task that nobody has, so that all cells speak with their test scores."""
    return tabulate(history, TaskFeatures(task=f"{''.join(history.tasks())}?"), "nobody", None)


def measured_cells(table: Table) -> list[Measured]:
    """Cells in which the default survived and at least one alternative was run, in the order of their names."""
    found = []
    place = {config: index for index, config in enumerate(table.configs)}
    by_cell = sorted(table.trials, key=lambda trial: (trial.task, trial.student))
    for (_, student), members in groupby(by_cell, key=lambda trial: (trial.task, trial.student)):
        trials = sorted((t for t in members if t.config in place), key=lambda trial: trial.seed)
        complete = [trial for trial in trials if trial.status == "completed"]
        ordered = sorted({trial.config for trial in trials}, key=place.__getitem__)
        runs = {config: tuple(trial for trial in trials if trial.config == config) for config in ordered}
        if len(runs) > 1 and any(trial.config == table.configs[0] for trial in complete):
            by_test = all(trial.test_score is not None for trial in complete)
            features = trials[0].features
            cost = table.crashes.loss
            found.append(Measured(features=features, student=student, runs=runs, by_test=by_test, crash_cost=cost))
    return found


def replay(history: History, *, stages: Sequence[Stage] = REALISED_STAGES, seed: int = 0) -> Iterator[CellReplay]:
    """Leave every task out in turn and ask about each of its students, one by one, in the order of their names.

    Parameters
    ----------
    history : History
        Past trials, in any order.
    stages : sequence of int or "all"
        Numbers of further trials (of 1, 2, 4, 8 and "all") after which realised gains are measured; each costs one fit
        a cell. Empty: none.
    seed : int
        Seed of the draws.

    Yields
    ------
    CellReplay
        Nothing when fewer than three tasks can be left out.
    """
    history = told_apart(history, unite=True).history
    whole = judge(history)
    cells = measured_cells(whole)
    if len({cell.features.task for cell in cells}) < MIN_TASKS:
        return
    for task, group in groupby(cells, key=lambda cell: cell.features.task):
        rest = History(tuple(trial for trial in history if trial.task != task))
        yield from _replay_task(rest, list(group), whole, stages, seed)


def _replay_task(
    rest: History, cells: Sequence[Measured], whole: Table, stages: Sequence[Stage], seed: int
) -> Iterator[CellReplay]:
    """Ask about every student of one task. One fit serves all that ask with the same features of the task."""
    lessons: dict[TaskFeatures, tuple[Lesson, np.random.Generator]] = {}
    for cell in cells:
        with one_thread():
            replayed = _replay_cell(_Seen(rest, cell, whole), lessons, stages, seed)
        yield replayed


def _replay_cell(
    seen: _Seen, lessons: dict[TaskFeatures, tuple[Lesson, np.random.Generator]], stages: Sequence[Stage], seed: int
) -> CellReplay:
    """Ask about one cell, with the lesson of a student before it where there is one."""
    table = seen.table(())
    about = replace(seen.cell.features, student_params=None)
    if about not in lessons:
        rng = generator(seed)
        lessons[about] = study(table, rng), rng
    lesson, rng = lessons[about]
    belief = believe_cell(table, lesson)
    found = answer(table, belief, DEFAULT_BUDGET, deepcopy(rng))
    return _replayed(seen.cell, table, belief, found, seen.whole, _tuned(seen, table, found, stages, seed))


@dataclass(frozen=True)
class _Seen:
    """What may be known when a cell is asked about: all other tasks, then its own trials as they are handed back."""

    rest: History
    cell: Measured
    whole: Table

    def table(self, own: Sequence[Trial]) -> Table:
        """The past with `own` trials of the cell, and what was measured in the cell to choose from."""
        table = tabulate(History((*self.rest, *own)), self.cell.features, self.cell.student, self.whole.configs)
        return restricted(table, [table.configs.index(config) for config in self.cell.configs])

    def noise(self) -> float:
        """Standard deviation over seeds of one judging score of the cell."""
        return float(self.whole.noise_D[_place(self.cell, self.whole)])


def _place(cell: Measured, table: Table) -> int:
    """Number of a cell in a table."""
    task = [features.task for features in table.tasks].index(cell.features.task)
    student = table.students.index(cell.student)
    return int(np.flatnonzero((table.task_D == task) & (table.student_D == student))[0])


def _replayed(
    cell: Measured, table: Table, belief: Belief, found: Answer, whole: Table, tuned: tuple[Tuned, ...]
) -> CellReplay:
    score_C = np.array([cell.score(config) for config in cell.configs])
    effect_C = score_C - score_C[0]
    rng = np.random.default_rng(0)  # no baseline but "random" draws, and its mean is known exactly
    chosen = {"suggested": found.chosen}
    chosen |= {name: choose(table, rng) for name, choose in BASELINES.items() if name != "random"}
    effect = {name: float(effect_C[index]) for name, index in chosen.items()} | {"random": float(effect_C.mean())}
    best = int(np.argmax(effect_C))
    return CellReplay(
        task=cell.features.task,
        student=cell.student,
        n_configs=len(cell.configs),
        chosen={name: cell.configs[index] for name, index in chosen.items()},
        effect={name: effect[name] for name in STRATEGIES},
        best=cell.configs[best],
        best_effect=float(effect_C[best]),
        foretold=_foretold(cell, belief, whole),
        tuned=tuned,
    )


def _foretold(cell: Measured, belief: Belief, whole: Table) -> tuple[Foretold, ...]:
    """Effects as the belief has them beside effects as measured; crashed runs are in neither."""
    place = _place(cell, whole)
    rows = {whole.configs[whole.config_R[row]]: row for row in np.flatnonzero(whole.cell_R == place)}
    if cell.configs[0] not in rows:
        return ()
    base = rows[cell.configs[0]]
    mean_C, cov_CC = belief.moments()
    sd_C = np.sqrt(effects_variance(cov_CC))
    return tuple(
        Foretold(
            config=config,
            mean=float(mean_C[index] - mean_C[0]),
            sd=float(sd_C[index]),
            noise=float(whole.noise_D[place] * np.sqrt(1 / whole.count_R[row] + 1 / whole.count_R[base])),
            measured=float(whole.mean_R[row] - whole.mean_R[base]),
        )
        for index, config in enumerate(cell.configs)
        if index and (row := rows.get(config)) is not None
    )


def _tuned(seen: _Seen, table: Table, found: Answer, stages: Sequence[Stage], seed: int) -> tuple[Tuned, ...]:
    """Hand the first seed's trials of the suggestion and its first k proposals back, and see what that gained."""
    cell, n_others = seen.cell, len(found.order) - 1
    run = [table.configs[index] for index in (found.chosen, *found.order[:-1])]
    n_judging = np.mean([len(cell.judging(config, but_first=True)) for config in cell.configs])
    noise = seen.noise() * float(np.sqrt(2 / n_judging))
    made = []
    for stage in stages:
        n_trials = n_others if stage == "all" else stage
        if stage != "all" and n_trials >= n_others:  # "all" says it
            continue
        own = [cell.runs[config][0] for config in run[: n_trials + 1]]
        after = seen.table(own)
        now = after.configs[opinion(after, learn(after, generator(seed))[0]).chosen]
        gain = cell.score(now, but_first=True) - cell.score(run[0], but_first=True)
        drawn_N = found.gains_NS[:, len(STAGES) if stage == "all" else STAGES.index(stage)]
        lo80, hi80 = _measured_interval(drawn_N, noise, generator(seed))
        made.append(Tuned(trials=stage, forecast=float(drawn_N.mean()), lo80=lo80, hi80=hi80, realised=gain))
    return tuple(made)


def _measured_interval(drawn_N: Floats, noise: float, rng: np.random.Generator) -> tuple[float, float]:
    """Central 80 % of gains as they would be measured: a choice that does not change gains 0, without noise."""
    measured_N = drawn_N + np.where(drawn_N != 0, noise * rng.standard_normal(len(drawn_N)), 0.0)
    low, high = np.quantile(measured_N, (0.1, 0.9))
    return float(low), float(high)


def suggested(table: Table, rng: np.random.Generator) -> int:
    """The recommender itself as one of the ways to choose."""
    return opinion(table, learn(table, rng)[0]).chosen
