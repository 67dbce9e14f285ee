from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from rich.text import Text

from kdrec import catalog, report, tasks, upkeep_report
from kdrec.doctor import Line
from kdrec.layout import INDENT, FittingTable

ROWS = (
    ("alpha", "87.50", "± 0.25", "the best of all, and the default of kdrec"),
    ("a long name", "7.00", "", ""),
)


def shown(what: object, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, legacy_windows=False).print(what)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def table() -> FittingTable:
    made = FittingTable()
    made.add_column("name", no_wrap=True)
    made.add_column("test score", justify="right")
    made.add_column("", justify="right")
    made.add_column("remark", overflow="fold")
    for row in ROWS:
        made.add_row(*map(Text, row))
    return made


def test_where_all_fits_it_is_a_plain_table() -> None:
    assert shown(table(), 100).splitlines() == [
        "name          test score            remark",
        "─" * 77,
        "alpha              87.50   ± 0.25   the best of all, and the default of kdrec",
        "a long name         7.00",
    ]


@pytest.mark.parametrize("width", range(30, 100, 3))
def test_no_width_cuts_a_number_breaks_a_word_or_runs_over(width: int) -> None:
    text = shown(table(), width)
    assert max(map(len, text.splitlines())) <= width
    words = text.replace(",", " ").split()
    for row in ROWS:
        for word in " ".join(row).replace(",", " ").split():
            assert word in words, f"{word} at {width}:\n{text}"


def test_a_narrow_screen_gets_a_paragraph_a_row_with_the_heads_beside_the_numbers() -> None:
    assert shown(table(), 34).splitlines() == [
        "alpha",
        "  test score 87.50 ± 0.25,",
        "  the best of all, and the default",
        "  of kdrec",
        "a long name",
        "  test score 7.00",
    ]


@pytest.mark.parametrize("width", [40, 60, 80])
@pytest.mark.parametrize("which", ["models", "tasks", "doctor"])
def test_what_kdrec_prints_breaks_no_word_that_a_line_can_hold(which: str, width: int) -> None:
    lines = [Line(part="tracking store", state="broken", found="nothing answers at x", advice="start the server")]
    made = {
        "models": lambda: report.models_table(catalog.cards().values()),
        "tasks": lambda: report.tasks_table(tasks.known().values()),
        "doctor": lambda: upkeep_report.doctor_text(lines),
    }[which]()
    text = shown(made, width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    whole = re.split(r"[\s,]+", shown(made, 400))
    for piece in set(re.split(r"[\s,─]+", text)) - {*whole, ""}:
        assert any(piece in word and len(word) > width - INDENT for word in whole), f"{piece!r} is broken off"
