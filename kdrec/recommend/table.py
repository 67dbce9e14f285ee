"""A history reduced to what the model needs: means and counts, seed noise by cell, crashes by distance.

Every later step costs by the number of measured (cell, configuration) pairs, not by the number of trials. Rows are put
into one order first, so the order of a history changes nothing.

Shapes: R measured (cell, configuration) pairs, D cells, T tasks, C configurations.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import numpy as np

from kdrec.errors import DataError
from kdrec.history import told_apart
from kdrec.noise import shrunk
from kdrec.recommend.candidates import candidates, named
from kdrec.recommend.design import crash_group
from kdrec.space import Space, canonical, check_one_space
from kdrec.types import Configuration, Floats, History, Ints, KDConfig, TaskFeatures, Trial

CRASH_POINTS: Final = 5.0
"""A run this far under its cell's median (and three robust standard deviations) counts as a crash."""
CRASH_PRIOR: Final = (0.5, 24.0)
"""Beta prior of a crash: as if half a crash had been seen in 24.5 runs."""
CRASH_LOSS_PRIOR: Final = (8.0, 4.0)
"""Points a crash costs, and the number of crashes this belief counts for."""
NOISE_PRIOR: Final = (0.5, 4.0)
"""Standard deviation over seeds in points, and the degrees of freedom this belief counts for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Crashes:
    """Runs that crashed and runs that did not, by `crash_group` (distance), and what a crash costs in points."""

    crashed: Mapping[str, int]
    runs: Mapping[str, int]
    loss: float

    def beta(self, group: str) -> tuple[float, float]:
        """Both parameters of the posterior of the crash probability."""
        bad, total = self.crashed.get(group, 0), self.runs.get(group, 0)
        return CRASH_PRIOR[0] + bad, CRASH_PRIOR[1] + total - bad

    def probability(self, group: str) -> float:
        """Posterior mean of the crash probability."""
        bad, good = self.beta(group)
        return bad / (bad + good)


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Sufficient statistics of a history, seen from the task and student asked about.

    `configs[:n_candidates]` may be suggested; `configs[0]` is the default. Cell `asked` is the one asked about, with or
    without rows. `noise_D` is the standard deviation over seeds of one run; `asked_noise` that of one validation score
    of the asked cell. `noise_df` says from how many degrees of freedom the pool comes.
    """

    tasks: tuple[TaskFeatures, ...]
    students: tuple[str, ...]
    log_params: tuple[float | None, ...]
    configs: tuple[Configuration, ...]
    n_candidates: int
    task_D: Ints
    student_D: Ints
    asked: int
    cell_R: Ints
    config_R: Ints
    mean_R: Floats
    count_R: Floats
    noise_D: Floats
    noise_df: float
    crashes: Crashes
    trials: tuple[Trial, ...]
    baseline_gains: tuple[float, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def asked_task(self) -> int:
        """Index of the task asked about."""
        return int(self.task_D[self.asked])


def tabulate(
    history: History, features: TaskFeatures, student: str, space: Space | Sequence[Configuration] | None
) -> Table:
    """Reduce `history` as seen from the task of `features` and `student`.

    Other tasks speak with their test scores (validation where a cell has no complete test scores); the task asked about
    speaks with its validation scores only, so a suggestion is never chosen on its own test split.
    """
    apart = told_apart(history, features)
    notes = list(apart.notes)
    trials = _usable(apart.history, notes)
    wanted = None if space is None else named(space)
    check_one_space(trials, {} if wanted is None else {"the space asked about": wanted})
    _refuse_fractions(trials)
    features = _completed(features, trials)
    runs = [trial for trial in trials if not trial.config.is_baseline]
    configs, n_candidates, n_left_out = candidates(runs, wanted, features.task)
    if n_left_out:
        notes.append(
            f"{n_left_out} configurations, those measured least, were left out: at most {len(configs)} are weighed"
        )
    cells = sorted({(trial.task, trial.student) for trial in runs} | {(features.task, student)})
    if features.student_params is None and student not in {trial.student for trial in runs} and runs:
        notes.append(f"no past trial used the student {student!r}, and its size is not known")
    elif student not in {trial.student for trial in runs} and runs:
        notes.append(f"no past trial used the student {student!r}; it is judged by its size alone")
    known = {trial.task: trial.features for trial in trials} | {features.task: features}
    tasks = sorted({task for task, _ in cells})
    students = sorted({name for _, name in cells})
    rows = _rows(runs, features.task)
    measured = _measured(rows, cells, configs)
    return Table(
        tasks=tuple(known[task] for task in tasks),
        students=tuple(students),
        log_params=tuple(_log_params(name, student, features, runs) for name in students),
        configs=configs,
        n_candidates=n_candidates,
        task_D=np.array([tasks.index(task) for task, _ in cells]),
        student_D=np.array([students.index(name) for _, name in cells]),
        asked=cells.index((features.task, student)),
        **measured,
        trials=tuple(trials),
        baseline_gains=_baseline_gains(trials, configs[0]),
        notes=tuple(notes),
    )


def _usable(history: History, notes: list[str]) -> list[Trial]:
    """Completed and diverged trials in canonical spelling and order, each once."""
    spelled = (trial for trial in history if trial.status != "failed")
    kept: dict[tuple[object, ...], Trial] = {}
    n_seen = 0
    for trial in spelled:
        n_seen += 1
        config = canonical(trial.config) if isinstance(trial.config, KDConfig) else trial.config
        trial = trial if config == trial.config else replace(trial, config=config)
        key = _identity(trial)
        if key not in kept or (trial.run_id, trial.seconds) < (kept[key].run_id, kept[key].seconds):
            kept[key] = trial
    n_failed = len(history) - n_seen
    if n_failed:
        notes.append(f"{n_failed} failed trials are no evidence and were left out")
    if n_seen > len(kept):
        notes.append(f"{n_seen - len(kept)} repeated rows were counted once")
    return [kept[key] for key in sorted(kept)]


def _identity(trial: Trial) -> tuple[object, ...]:
    scores = (trial.val_score, trial.test_score, trial.val_loss)
    return (
        *(trial.task, trial.student, trial.config.sort_key(), trial.seed, trial.status, trial.fingerprint),
        *(-1.0 if score is None else score for score in scores),
    )


def _refuse_fractions(trials: Sequence[Trial]) -> None:
    """Scores are on a 0-100 scale; a task whose best score of a kind is at most 1 was recorded as a fraction."""
    top: dict[tuple[str, str], float] = defaultdict(float)
    for trial in trials:
        for kind, score in (("validation", trial.val_score), ("test", trial.test_score)):
            top[trial.task, kind] = max(top[trial.task, kind], score or 0.0)
    wrong = sorted(key for key, score in top.items() if 0 < score <= 1)
    if wrong:
        task, kind = wrong[0]
        raise DataError(
            f"scores are on a 0-100 scale, but the {kind} scores of task {task!r} are at most 1: "
            "multiply fractions by 100"
        )


def _completed(features: TaskFeatures, trials: Sequence[Trial]) -> TaskFeatures:
    """Fill what is not known of the asked task from its own past trials."""
    for trial in trials:
        if trial.task != features.task:
            continue
        own = {f.name: getattr(trial.features, f.name) for f in fields(features) if f.name != "student_params"}
        missing = {name: value for name, value in own.items() if getattr(features, name) is None and value is not None}
        features = replace(features, **missing)
    return features


def _log_params(name: str, student: str, features: TaskFeatures, runs: Iterable[Trial]) -> float | None:
    seen = sorted(t.features.student_params for t in runs if t.student == name and t.features.student_params)
    if seen:
        return math.log(seen[len(seen) // 2])
    return math.log(features.student_params) if name == student and features.student_params else None


def _rows(runs: Iterable[Trial], asked_task: str) -> dict[tuple[str, str], list[tuple[Configuration, float | None]]]:
    """Per cell its runs as (configuration, score); None is a diverged run."""
    cells: dict[tuple[str, str], list[Trial]] = defaultdict(list)
    for trial in runs:
        cells[trial.task, trial.student].append(trial)
    made = {}
    for (task, student), members in cells.items():
        tested = task != asked_task and all(t.test_score is not None for t in members if t.status == "completed")
        made[task, student] = [
            (t.config, (t.test_score if tested else t.val_score) if t.status == "completed" else None) for t in members
        ]
    return made


def _measured(
    rows: Mapping[tuple[str, str], Sequence[tuple[Configuration, float | None]]],
    cells: Sequence[tuple[str, str]],
    configs: Sequence[Configuration],
) -> dict[str, Any]:
    """Means, counts, noise and crashes of all cells: the statistical half of a `Table`."""
    place = {config: index for index, config in enumerate(configs)}
    groups = [crash_group(config) for config in configs]
    cell_R: list[int] = []
    config_R: list[int] = []
    mean_R: list[float] = []
    count_R: list[float] = []
    ss_D, df_D = np.zeros(len(cells)), np.zeros(len(cells))
    crashed: dict[str, int] = defaultdict(int)
    runs: dict[str, int] = defaultdict(int)
    depths: list[float] = []
    for number, cell in enumerate(cells):
        scores: dict[int, list[float | None]] = defaultdict(list)
        for config, score in rows.get(cell, ()):
            if config in place:
                scores[place[config]].append(score)
        floor, median = _floor(scores)
        for index in sorted(scores):
            whole = [s for s in scores[index] if s is not None]
            spared = bool(whole) and max(whole) < floor and (index == 0 or _agree(whole))
            good = whole if spared else [s for s in whole if s >= floor]
            runs[groups[index]] += len(scores[index])
            crashed[groups[index]] += len(scores[index]) - len(good)
            depths.extend(median - s for s in whole if s not in good)
            if good:
                cell_R.append(number)
                config_R.append(index)
                mean_R.append(sum(good) / len(good))
                count_R.append(float(len(good)))
                ss_D[number] += sum((s - mean_R[-1]) ** 2 for s in good)
                df_D[number] += len(good) - 1
    noise_D = _noise(ss_D, df_D)
    loss, weight = CRASH_LOSS_PRIOR
    return {
        "cell_R": np.array(cell_R, dtype=np.int64),
        "config_R": np.array(config_R, dtype=np.int64),
        "mean_R": np.array(mean_R),
        "count_R": np.array(count_R),
        "noise_D": noise_D,
        "noise_df": float(df_D.sum()),
        "crashes": Crashes(
            crashed=dict(crashed), runs=dict(runs), loss=(loss * weight + sum(depths)) / (weight + len(depths))
        ),
    }


def _agree(scores: Sequence[float]) -> bool:
    """Whether several low runs are alike: a bad configuration is bad in every run, bad luck is not that faithful."""
    return len(scores) > 1 and max(scores) - min(scores) <= CRASH_POINTS / 2


def _floor(scores: Mapping[int, Sequence[float | None]]) -> tuple[float, float]:
    """Score under which a run of this cell counts as crashed, and the cell's median over configurations."""
    means = [
        np.mean([s for s in runs if s is not None]) for runs in scores.values() if any(s is not None for s in runs)
    ]
    if not means:
        return -math.inf, 0.0
    median = float(np.median(means))
    spread = 1.4826 * float(np.median(np.abs(np.array(means) - median)))
    return median - max(CRASH_POINTS, 3 * spread), median


def _noise(ss_D: Floats, df_D: Floats) -> Floats:
    """Standard deviation over seeds of every cell, shrunk to the pool: sqrt((SS + d0 s0^2) / (df + d0))."""
    prior, weight = NOISE_PRIOR
    pooled = (ss_D.sum() + weight * prior**2) / (df_D.sum() + weight)
    return shrunk(ss_D, df_D, pooled)


def _baseline_gains(trials: Iterable[Trial], default: Configuration) -> tuple[float, ...]:
    """Per cell: the default's mean test (else validation) score less that of labels alone, where both were run."""
    scores: dict[tuple[str, str, bool], list[float]] = defaultdict(list)
    for trial in trials:
        score = trial.test_score if trial.test_score is not None else trial.val_score
        if trial.status == "completed" and score is not None and (trial.config == default or trial.config.is_baseline):
            scores[trial.task, trial.student, trial.config.is_baseline].append(score)
    gains = []
    for task, student, plain in sorted(scores):
        if plain and (task, student, False) in scores:
            taught, bare = scores[task, student, False], scores[task, student, True]
            gains.append(sum(taught) / len(taught) - sum(bare) / len(bare))
    return tuple(gains)
