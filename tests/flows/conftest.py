"""A study small enough for a test: 240 real questions, a real teacher and student, five trials."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from kdrec import tasks
from kdrec.home import Home
from kdrec.studies import RowLimits

MINI = """
name = "mini"
tasks = ["questions"]
students = ["tiny"]
search = "full"

[data.questions]
path = "questions.csv"
text = "text"
label = "label"

[space]
distances = ["ce"]
teachers = ["t_ll"]
teacher_temperatures = [1.0, 4.0]
student_temperatures = ["1"]

[teacher]
learning_rates = [2e-4]
epochs = 1
evaluations_per_epoch = 1

[training]
learning_rate = 1e-3
epochs = 1
"""


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory, shared_home: Home) -> Path:
    """The study file, beside questions cut from TREC."""
    folder = tmp_path_factory.mktemp("mini")
    trec = tasks.load("trec", shared_home, RowLimits(train=160, validation=40, test=60))
    rows = [
        (texts[0], trec.labels[label])
        for split in (trec.train, trec.validation, trec.test)
        for texts, label in zip(split.texts, split.labels_U, strict=True)
        if trec.labels[label] != "ABBR"
    ]
    with (folder / "questions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    path = folder / "mini.toml"
    path.write_text(MINI, encoding="utf-8")
    return path
