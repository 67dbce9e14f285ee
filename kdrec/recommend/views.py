"""Other looks at the same table: fewer configurations to choose from, or a cell whose task has not been seen yet.

Both keep the arrays of a `Table` in step with each other, so that whoever chooses from a table need not know that it
is part of an audit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from kdrec.recommend.table import Table


def restricted(table: Table, kept: Sequence[int]) -> Table:
    """The same past with `configs[kept]` alone to choose from; the default, configuration 0, must stay first.

    The other configurations stay behind them: they may not be suggested, but what was measured of them still counts.
    """
    if not kept or kept[0] != 0 or len(set(kept)) != len(kept):
        raise ValueError(f"kept must name the default (0) first and every configuration once, got {list(kept)}")
    behind = sorted(set(range(len(table.configs))) - set(kept))
    order = np.array([*kept, *behind])
    return replace(
        table,
        configs=tuple(table.configs[index] for index in order),
        n_candidates=len(kept),
        config_R=np.argsort(order)[table.config_R],
    )


def without_task(table: Table, cell: int) -> Table:
    """The table as seen from `cell` with no row of its task.

    Seed noise and crash counts stay those of the whole table: good enough for the audit that every suggestion carries,
    not for the exact one, which tabulates anew.
    """
    task = table.task_D[cell]
    keep_R = table.task_D[table.cell_R] != task
    return replace(
        table,
        asked=cell,
        cell_R=table.cell_R[keep_R],
        config_R=table.config_R[keep_R],
        mean_R=table.mean_R[keep_R],
        count_R=table.count_R[keep_R],
        trials=tuple(trial for trial in table.trials if trial.task != table.tasks[task].task),
    )
