from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kdrec import plots
from kdrec.errors import BadArgument
from kdrec.recommend.replay import STRATEGIES, CellReplay, Tuned
from kdrec.recommend.scorecard import Scorecard, score
from kdrec.types import DEFAULT_CONFIG, History


def card(n_tasks: int = 4, students: tuple[str, ...] = ("small", "tiny")) -> Scorecard:
    effects = {name: 0.1 * place for place, name in enumerate(STRATEGIES)}
    cells = [
        CellReplay(
            task=f"task{n} $odd$ <name>",
            student=student,
            n_configs=3,
            chosen={},
            effect={name: effect * (1 + n / 9) for name, effect in effects.items()},
            best=DEFAULT_CONFIG,
            best_effect=1.0,
            tuned=(
                Tuned(trials=1, forecast=0.1, lo80=-0.1, hi80=0.3 + n / 9, realised=0.2),
                Tuned(trials="all", forecast=0.2, lo80=-0.2, hi80=0.4 + n / 9, realised=-0.9),
            ),
        )
        for n in range(n_tasks)
        for student in students
    ]
    made = score(History(), cells)
    return replace(made, n_tasks=n_tasks, n_cells=len(cells))


@pytest.mark.parametrize(("name", "head"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("A.PNG", b"\x89PNG")])
def test_a_figure_is_drawn_in_the_format_its_name_asks_for(name: str, head: bytes, tmp_path: Path) -> None:
    plots.draw_audit(card(), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(head)


@pytest.mark.parametrize("name", ["a.png", "a.svg"])
def test_the_same_card_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    drawn = []
    for _ in range(2):
        plots.draw_audit(card(), tmp_path / name)
        drawn.append((tmp_path / name).read_bytes())
    assert drawn[0] == drawn[1]


def test_every_strategy_row_and_stage_is_named(tmp_path: Path) -> None:
    plots.draw_audit(card(), tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert all(f">{name}</text>" in text for name in STRATEGIES)
    assert "task3 $odd$ &lt;name&gt; / tiny" in text
    assert "Gain after 1 trial" in text
    assert "Gain after all trials" in text
    assert "realised, outside" in text


def test_nothing_is_drawn_of_gains_that_were_not_measured(tmp_path: Path) -> None:
    whole = card()
    bare = replace(whole, gains=(), cells=tuple(replace(cell, tuned=()) for cell in whole.cells))
    plots.draw_audit(bare, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert "Gain after" not in text
    assert "Won over always taking the default" in text


@pytest.mark.parametrize("n_tasks", [1, 40])
def test_one_task_and_many_are_drawn(n_tasks: int, tmp_path: Path) -> None:
    plots.draw_audit(card(n_tasks), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_a_place_that_cannot_be_written_is_refused_and_a_good_one_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "old.png").write_bytes(b"old")
    for name, said in (("a.gif", r"\.png or \.svg"), ("no/a.png", "no folder"), ("folder.png", "is a folder")):
        with pytest.raises(BadArgument, match=said):
            plots.check_place(tmp_path / name)
    plots.check_place(tmp_path / "old.png")
    plots.check_place(tmp_path / "new.svg")
    assert (tmp_path / "old.png").read_bytes() == b"old"
    assert not (tmp_path / "new.svg").exists()


def test_matplotlib_is_loaded_only_to_draw() -> None:
    script = "import sys, kdrec.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0
