"""Studies of any number of cells over files of made-up texts, for workers that sleep in place of training."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Final

STUDENTS: Final = ("base", "small", "tiny")
TRIALS: Final = 2
"""Of a cell: labels alone, and one configuration."""
ROWS: Final = 120
WORDS: Final = ("red", "green", "blue", "old", "new")


def write(folder: Path, cells: int, *, name: str = "asleep", first_task: int = 0) -> Path:
    """Write a study file and the data of its tasks; all students of a task but perhaps the last one's are its cells."""
    folder.mkdir(parents=True, exist_ok=True)
    n_students = next(n for n in (3, 2, 1) if cells % n == 0)
    tasks = [f"own-{first_task + at:04}" for at in range(cells // n_students)]
    for task in tasks:
        _write_rows(folder / f"{task}.csv", task)
    lists = {"tasks": tasks, "students": STUDENTS[:n_students]}
    lines = [f'name = "{name}"', 'search = "listed"', "configs = [{ alpha = 0.5 }]"]
    lines += [f"{key} = [{', '.join(f'{chr(34)}{word}{chr(34)}' for word in words)}]" for key, words in lists.items()]
    lines += [f'[data.{task}]\npath = "{task}.csv"\ntext = "text"\nlabel = "label"' for task in tasks]
    path = folder / f"{name}.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _write_rows(path: Path, task: str) -> None:
    dice = random.Random(task)
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(("text", "label"))
        for at in range(ROWS):
            label = dice.choice(("good", "bad"))
            out.writerow((f"{task} row {at} is {' '.join(dice.choice(WORDS) for _ in range(8))} {label}", label))
