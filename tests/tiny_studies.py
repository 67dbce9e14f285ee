"""Cells of the four families small enough to be taught in seconds: own data, and cards of a random encoder."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_tasks import rows_of, speaker_card, write_speaker

from kdrec import catalog
from kdrec.studies import Study
from kdrec.tasks.rows import Row
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


def write_rows(folder: Path, family: Family, n: int = 110, *, bare: Sequence[Row] = (), name: str = "") -> Path:
    """The user's own file of a family; `bare` rows, after the others, have an empty label cell."""
    texts, label = COLUMNS[family]
    cells = [{**_texts(family, row), label: _label(family, row)} for row in rows_of(family, n)]
    empty = "" if family in ("sentence", "pair") else None
    cells += [{**_texts(family, row), label: empty} for row in bare]
    return _write(folder / (name or family), family, (*texts, label), cells)


def write_bare(folder: Path, family: Family, rows: Sequence[Row], name: str = "more") -> Path:
    """A file of these rows without the column of the label."""
    return _write(folder / name, family, COLUMNS[family][0], [_texts(family, row) for row in rows])


def _texts(family: Family, row: Row) -> dict[str, Any]:
    return {"words": list(row.texts)} if family == "tokens" else dict(zip(COLUMNS[family][0], row.texts, strict=True))


def _label(family: Family, row: Row) -> Any:
    if family == "tokens":
        return list(row.tags)
    if family != "qa":
        return row.label
    starts = [start for start, _ in row.spans]
    return {"text": [row.texts[1][start:end] for start, end in row.spans], "answer_start": starts}


def _write(path: Path, family: Family, columns: Sequence[str], cells: Sequence[dict[str, Any]]) -> Path:
    if family in ("sentence", "pair"):
        path = path.with_suffix(".csv")
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *([cell[column] for column in columns] for cell in cells)])
        return path
    path = path.with_suffix(".jsonl")
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
