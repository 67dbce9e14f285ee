"""First suggestions of kdrec beside those of FLAML and syne-tune, on the trials that come with kdrec.

    python benchmarks/peer_packages.py            # once: the others, in a folder of their own
    python benchmarks/recommenders.py             # minutes: benchmarks/results/recommenders.json

Every task is left out in turn and each of its students asked about, as `kdrec audit` does: whoever chooses gets the
table of all other tasks, what is known of the asked task and student, and may choose among what was measured there.
Regret is the distance to the best measured configuration of the cell, in points of the test score; standard errors are
over tasks.

FLAML and syne-tune want every configuration measured in every cell, and few are. So both get the same table with its
holes filled by the mean effect of the configuration over the cells that have it. What each does with the table as it is
stands beside it.

Shapes: D cells, C configurations (0 is the default), J properties of a cell.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median, stdev

import numpy as np
import pandas as pd
import peer_packages

from kdrec.history.replication import shipped
from kdrec.recommend import learn
from kdrec.recommend.answer import opinion
from kdrec.recommend.baselines import BASELINES, Choose, effects
from kdrec.recommend.design import standardised
from kdrec.recommend.gain import leave_z
from kdrec.recommend.replay import Measured, judge, measured_cells, suggested
from kdrec.recommend.table import Table, tabulate
from kdrec.recommend.views import restricted
from kdrec.types import Floats, History

RESULTS = Path(__file__).parent / "results" / "recommenders.json"
FLAML_BOUND = 0.01
"""FLAML's own bound of a portfolio's regret, for scores from 0 to 1."""


def less_trustful(table: Table, rng: np.random.Generator) -> int:
    """As `--trust-default low` asks kdrec: the default is left for what is better with probability one half."""
    return opinion(table, learn(table, rng)[0], leave_z("low")).chosen


def others(table: Table) -> list[int]:
    """Cells of other tasks in which something was measured beside the default."""
    effect_DC = effects(table)
    told_D = np.isfinite(effect_DC[:, 1:]).any(axis=1)
    return [int(cell) for cell in np.flatnonzero(told_D & (table.task_D != table.asked_task))]


def filled(table: Table) -> Floats:
    """Effects of the candidates in other cells; holes have the configuration's mean effect (0 where it has none)."""
    effect_DC = effects(table)[others(table), : table.n_candidates]
    seen_DC = np.isfinite(effect_DC)
    mean_C = np.where(seen_DC, effect_DC, 0.0).sum(axis=0) / np.maximum(seen_DC.sum(axis=0), 1)
    return np.where(seen_DC, effect_DC, mean_C)


def properties(table: Table) -> Floats:
    """What every cell is like (D x J): meta-features and family of its task, size of its student."""
    families = sorted({task.family for task in table.tasks if task.family is not None})
    family_TJ = np.array([[task.family == family for family in families] for task in table.tasks], dtype=float)
    size_S = np.array([0.0 if size is None else size for size in table.log_params])
    task_TJ = np.concatenate([standardised(table.tasks), family_TJ], axis=1)
    return np.concatenate([task_TJ[table.task_D], size_S[table.student_D][:, None]], axis=1)


def _regrets(table: Table, effect_DC: Floats, *, padded: bool = True) -> pd.DataFrame:
    """FLAML's regret matrix: a configuration a row, a cell a column, scores from 0 to 1.

    Its greedy algorithm fails where the portfolio comes to hold all but one configuration; a row that is worse than all
    others by 100 points lets it end as it means to.
    """
    from flaml.default.regret import build_regret

    names = ["default", *(f"c{index}" for index in range(1, table.n_candidates))]
    scores = pd.DataFrame(effect_DC.T / 100, index=names, columns=[str(cell) for cell in others(table)])
    regret = build_regret(scores, scores.max())
    if padded:
        regret.loc["never"] = 1.0
    return regret


def flaml_first(*, padded: bool = True) -> Choose:
    """The head of FLAML's greedy portfolio: what helps most if one configuration has to serve all."""

    def choose(table: Table, rng: np.random.Generator) -> int:
        from flaml.default.greedy import construct_portfolio

        with contextlib.redirect_stdout(io.StringIO()):
            head = construct_portfolio(_regrets(table, filled(table), padded=padded), None, FLAML_BOUND)[0]
        return 0 if head == "default" else int(head[1:])

    return choose


def flaml_zero_shot(strategy: str = "greedy", fill: Callable[[Table], Floats] = filled) -> Choose:
    """FLAML's zero-shot choice: from its portfolio, what was best in the cell nearest by meta-features."""

    def choose(table: Table, rng: np.random.Generator) -> int:
        from flaml.default import suggest_config
        from flaml.default.portfolio import build_portfolio, serialize

        regret = _regrets(table, fill(table))
        like_DJ = pd.DataFrame(properties(table)).rename(columns=str)
        asked_J = like_DJ.iloc[table.asked].to_numpy()
        like_DJ.index = like_DJ.index.map(str)
        known = like_DJ.loc[regret.columns]
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            for index, name in enumerate(regret.index):
                told = {"class": "kdrec", "hyperparameters": {"index": index}}
                (Path(folder) / f"{name}.json").write_text(json.dumps(told))
            portfolio = build_portfolio(known, regret, strategy)
            predictor = serialize(portfolio, regret, known, f"{folder}/predictor", Path(folder))
        asked = {"X": None, "y": None, "meta_feature_fn": lambda *_, **__: asked_J}
        (config,) = suggest_config("kdrec", estimator_or_predictor=predictor, k=1, **asked)
        return int(config["hyperparameters"]["index"])

    return choose


def as_measured(table: Table) -> Floats:
    """Effects of the candidates in other cells, holes and all."""
    return effects(table)[others(table), : table.n_candidates]


def syne_tune(table: Table, rng: np.random.Generator) -> int:
    """The first suggestion of syne-tune's ZeroShotTransfer: the best mean rank over all cells."""
    from syne_tune.config_space import choice
    from syne_tune.optimizer.schedulers.transfer_learning.zero_shot import (
        TransferLearningTaskEvaluations,
        ZeroShotTransfer,
    )

    space = {"index": choice(list(range(table.n_candidates)))}
    told = {
        str(cell): TransferLearningTaskEvaluations(
            configuration_space=space,
            hyperparameters=pd.DataFrame({"index": range(table.n_candidates)}),
            objectives_names=["score"],
            objectives_evaluations=effect_C[:, None, None, None],
        )
        for cell, effect_C in zip(others(table), filled(table), strict=True)
    }
    method = ZeroShotTransfer(space, "score", told, do_minimize=False, random_seed=0)
    return int(method.get_config()["index"])


def syne_tune_surrogates(table: Table, rng: np.random.Generator) -> int:
    """The same with what syne-tune has for tables with holes: a surrogate a cell, and candidates drawn at random."""
    from syne_tune.config_space import choice
    from syne_tune.optimizer.schedulers.transfer_learning.zero_shot import (
        TransferLearningTaskEvaluations,
        ZeroShotTransfer,
    )

    knobs = [config.to_params() for config in table.configs[: table.n_candidates]]
    space = {name: choice(sorted({str(params[name]) for params in knobs})) for name in knobs[0]}
    told = {}
    for cell, effect_C in zip(others(table), as_measured(table), strict=True):
        seen = np.flatnonzero(np.isfinite(effect_C))
        told[str(cell)] = TransferLearningTaskEvaluations(
            configuration_space=space,
            hyperparameters=pd.DataFrame([{k: str(v) for k, v in knobs[index].items()} for index in seen]),
            objectives_names=["score"],
            objectives_evaluations=effect_C[seen][:, None, None, None],
        )
    method = ZeroShotTransfer(space, "score", told, do_minimize=False, use_surrogates=True, random_seed=0)
    found = method.get_config()
    return [{k: str(v) for k, v in params.items()} for params in knobs].index(found)


METHODS: Mapping[str, Choose] = {
    "kdrec": suggested,
    "kdrec, trust in the default low": less_trustful,
    **{name: BASELINES[name] for name in ("always default", "best on average", "nearest task", "ridge")},
    "FLAML, head of the portfolio": flaml_first(),
    "FLAML, head of the portfolio, not padded": flaml_first(padded=False),
    "FLAML, zero-shot": flaml_zero_shot(),
    "FLAML, zero-shot with feedback": flaml_zero_shot("greedy-feedback"),
    "FLAML, zero-shot, holes left": flaml_zero_shot(fill=as_measured),
    "syne-tune, zero-shot": syne_tune,
    "syne-tune, zero-shot, own surrogates": syne_tune_surrogates,
}


def asked(history: History) -> list[tuple[Measured, Table]]:
    """Every cell with the table of all other tasks, what was measured in it to choose from."""
    whole = judge(history)
    made = []
    for cell in measured_cells(whole):
        rest = History(tuple(trial for trial in history if trial.task != cell.features.task))
        table = tabulate(rest, cell.features, cell.student, whole.configs)
        made.append((cell, restricted(table, [table.configs.index(config) for config in cell.configs])))
    return made


def examine(name: str, choose: Choose, cells: Sequence[tuple[Measured, Table]]) -> dict:
    """What a method chose in every cell, and what that lost; what it said where it chose nothing."""
    started, rows = time.process_time(), []
    refusals: dict[str, int] = {}
    for cell, table in cells:
        try:
            index = choose(table, np.random.default_rng(0))
        except Exception as error:  # another library's, whatever it is
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
            refusals[said] = refusals.get(said, 0) + 1
            continue
        scores = [cell.score(config) for config in cell.configs]
        rows.append(
            {
                "task": cell.features.task,
                "student": cell.student,
                "chosen": cell.configs[index].label(),
                "regret": max(scores) - scores[index],
                "default_regret": max(scores) - scores[0],
            }
        )
    seconds = time.process_time() - started
    return {"method": name, "cells": rows, "refusals": refusals, "seconds": seconds} | summary(rows)


def summary(rows: Sequence[Mapping]) -> dict:
    """Mean over tasks (of the mean over their students) and its standard error; the same over always-default."""
    if not rows:
        return {"n_cells": 0}
    tasks = sorted({row["task"] for row in rows})
    regret_T = [fmean(row["regret"] for row in rows if row["task"] == task) for task in tasks]
    over_T = [fmean(row["default_regret"] - row["regret"] for row in rows if row["task"] == task) for task in tasks]
    return {
        "n_cells": len(rows),
        "n_tasks": len(tasks),
        "n_default": sum(row["regret"] == row["default_regret"] for row in rows),
        "regret": fmean(regret_T),
        "regret_se": _error(regret_T),
        "over_default": fmean(over_T),
        "over_default_se": _error(over_T),
        "over_default_median": median(over_T),
        "better": sum(over > 1e-9 for over in over_T),
        "worse": sum(over < -1e-9 for over in over_T),
    }


def _error(values: Sequence[float]) -> float:
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def main() -> None:
    """Examine all methods and write what was found."""
    if os.environ.get("PYTHONHASHSEED") is None:  # FLAML breaks ties in the order of a set
        fixed = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **fixed})
    peer_packages.use("recommenders")
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    about, history = peer_packages.about(), shipped()
    cells = asked(history)
    results = []
    for name, choose in METHODS.items():
        results.append(examine(name, choose, cells))
        print(name, {k: v for k, v in results[-1].items() if k not in ("method", "cells")}, flush=True)
    held = [np.isfinite(as_measured(table)).mean() for _, table in cells]
    found = {
        **about,
        "versions": peer_packages.versions("flaml", "syne-tune", "xgboost-cpu", "numpy", "pandas", "scikit-learn"),
        "hash_seed": os.environ["PYTHONHASHSEED"],
        "n_trials": len(history),
        "measured_share": float(np.mean(held)),
        "results": results,
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
