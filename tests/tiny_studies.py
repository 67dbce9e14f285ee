"""Cells of the four families small enough to be taught in seconds: own data, and cards of a random encoder."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_tasks import rows_of, speaker_card, write_speaker

from kdrec import catalog
from kdrec.studies import Study
from kdrec.types import Family

STUDENT, TEACHER = "speaker-1", "speaker"
COLUMNS = {
    "sentence": (("text",), "label"),
    "pair": (("first", "second"), "label"),
    "tokens": (("words",), "tags"),
    "qa": (("question", "context"), "answers"),
}
"""Columns of the texts, and of the label, of the file of each family."""


def speak(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Let the catalogue hold the speaker and its student of one layer, and nothing else."""
    source = f"file:{write_speaker(folder / 'speaker')}"
    teacher = replace(speaker_card(), source=source)
    student = replace(teacher, name=STUDENT, role="student", teacher=TEACHER, layers=(1,), n_layers=1)
    patch.setattr(catalog, "_shipped", lambda: {TEACHER: teacher, STUDENT: student})


def write_rows(folder: Path, family: Family, n: int = 110) -> Path:
    """The user's own file of a family."""
    rows, (texts, label) = rows_of(family, n), COLUMNS[family]
    if family in ("sentence", "pair"):
        path = folder / f"{family}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([(*texts, label), *((*row.texts, row.label) for row in rows)])
        return path
    path = folder / f"{family}.jsonl"
    cells: list[dict[str, Any]]
    if family == "tokens":
        cells = [{"words": list(row.texts), "tags": list(row.tags)} for row in rows]
    else:
        cells = [
            {
                "question": row.texts[0],
                "context": row.texts[1],
                "answers": {
                    "text": [row.texts[1][start:end] for start, end in row.spans],
                    "answer_start": [start for start, _ in row.spans],
                },
            }
            for row in rows
        ]
    path.write_text("".join(f"{json.dumps(cell)}\n" for cell in cells), encoding="utf-8")
    return path


def study_of(family: Family, path: Path, **changes: Any) -> Study:
    """A study of one cell that trains for seconds."""
    (texts, label), length = COLUMNS[family], {"max_length": 32}
    table = {
        "name": "tiny",
        "tasks": [family],
        "students": [STUDENT],
        "data": {family: {"path": str(path), "text": list(texts) if len(texts) > 1 else texts[0], "label": label}},
        "teacher": {"learning_rates": [5e-3], "epochs": 6, "batch_size": 16, "evaluations_per_epoch": 1, **length},
        "training": {"learning_rate": 5e-3, "epochs": 10, "batch_size": 16, **length},
    }
    return Study.from_dict({**table, **changes})
