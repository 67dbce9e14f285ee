"""Suggest from runs that other tools recorded: `python examples/table_from_elsewhere.py [TABLE.csv MAPPING.toml]`."""

import sys
from pathlib import Path

from rich import print

from kdrec import history, recommend, report
from kdrec.types import TaskFeatures

tables = Path(__file__).parent / "tables"
examples = [(tables / f"{tool}.csv", tables / f"{tool}.toml") for tool in ("optuna", "wandb", "plain")]
for table, mapping in [tuple(sys.argv[1:])] if len(sys.argv) == 3 else examples:
    past = history.read_table(table, history.TableMap.load(mapping))
    new = TaskFeatures(task="new-task")  # and its rows, labels, teacher score: all that the table knows of the others
    answer = recommend.suggest(past, new, past.students()[0], budget=3)
    print(f"\n[bold]{table}[/bold]: {report.history_line(past)}")
    print(report.suggestion_text(answer))
