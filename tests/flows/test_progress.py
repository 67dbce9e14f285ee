from __future__ import annotations

import io
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from flows.pieces import Piece, Told, cut
from flows.progress import MOST_ROWS, Board, Log, Quiet, Terminal, duration, roughly
from kdrec.home import Home
from kdrec.studies import RowLimits, Study
from kdrec.types import TeacherTraining


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def plan(tmp_path: Path, tasks: tuple[str, ...] = ("trec", "sms_spam"), student: str = "tiny") -> tuple[Piece, ...]:
    """Teachers with two evaluations and students with twelve trials, each of the same cost."""
    study = Study(
        name="s",
        tasks=tasks,
        students=(student,),
        rows=RowLimits(train=100),
        teacher=TeacherTraining(learning_rates=(1e-4,), epochs=2, evaluations_per_epoch=1),
    )
    return tuple(replace(piece, cost=600.0) for piece in cut(study, Home.at(tmp_path)))


def tell(board: Board, piece: str, done: int, expected: int, message: str = "") -> bool:
    return board.hear(Told(piece=piece, done=done, expected=expected, message=message))


def test_the_share_is_the_work_done_of_all_and_reaches_one_whatever_failed(tmp_path: Path) -> None:
    board = Board(plan(tmp_path, ("trec",)), workers=1)
    assert board.share() == 0
    tell(board, "trec/minilm", 1, 2)
    tell(board, "trec/tiny", 3, 12)
    assert board.share() == pytest.approx((1 + 3) / (2 + 12))
    board.finish("trec/minilm", "done")
    board.finish("trec/tiny", "failed: no memory", failed=True)
    assert board.share() == 1


def test_the_eta_is_the_measured_speed_times_the_work_left_over_the_workers(tmp_path: Path, clock: Clock) -> None:
    board = Board(plan(tmp_path), workers=2, clock=clock)
    assert board.eta() is None, "nothing was measured yet"
    for task in ("trec", "sms_spam"):
        tell(board, f"{task}/minilm", 0, 2)
    clock.now = 10
    for task in ("trec", "sms_spam"):
        tell(board, f"{task}/minilm", 1, 2)
    # One unit took 10 s of a worker. Left: one evaluation of each teacher, twelve trials of each student.
    assert board.eta() == pytest.approx(2 * (10 + 12 * 10) / 2)
    clock.now = 14
    assert board.eta() == pytest.approx(2 * (6 + 12 * 10) / 2), "what has been spent on a unit counts"


def test_the_eta_is_no_less_than_the_longest_way_through_one_cell(tmp_path: Path, clock: Clock) -> None:
    board = Board(plan(tmp_path), workers=100, clock=clock)
    tell(board, "trec/minilm", 0, 2)
    clock.now = 10
    tell(board, "trec/minilm", 1, 2)
    assert board.eta() == pytest.approx(2 * 10 + 12 * 10), "the teacher not yet begun, then its cell"


def test_trials_found_in_the_store_do_not_speed_up_the_eta(tmp_path: Path, clock: Clock) -> None:
    board = Board(plan(tmp_path, tasks=("trec",)), workers=1, clock=clock)
    tell(board, "trec/minilm", 0, 2)
    clock.now = 4
    tell(board, "trec/minilm", 2, 2, "ready")
    board.finish("trec/minilm", "done")
    tell(board, "trec/tiny", 0, 1)
    for done in (1, 2, 3):
        clock.now += 0.05
        tell(board, "trec/tiny", done, 12)
    assert board.eta() is None
    clock.now += 8
    tell(board, "trec/tiny", 4, 12)
    assert board.eta() == pytest.approx(8 * 8)


def test_a_line_of_a_study_of_two_thousand_pieces_costs_little(tmp_path: Path) -> None:
    board = Board(plan(tmp_path, tasks=tuple(f"task{n}" for n in range(1000))), workers=2)
    started = time.process_time()
    for n in range(5):
        tell(board, f"task{n}/tiny", 0, 2)
        board.line(f"task{n}/tiny")
    assert time.process_time() - started < 0.5, "every piece was compared with every other: 0.2 s a line"


def test_last_words_after_the_end_change_nothing(tmp_path: Path, clock: Clock) -> None:
    board = Board(plan(tmp_path, tasks=("trec",)), workers=1, clock=clock)
    assert tell(board, "trec/tiny", 5, 12)
    board.finish("trec/tiny", "done")
    assert not tell(board, "trec/tiny", 5, 5, "searched")
    board.finish("trec/minilm", "failed: no such file", failed=True)
    assert board.eta() == 0
    assert " 5/5 " in board.line("trec/tiny")
    assert "failed: no such file" in board.line("trec/minilm")


def test_a_pipe_gets_plain_lines_and_a_screen_a_table(tmp_path: Path, clock: Clock) -> None:
    board = Board(plan(tmp_path, tasks=("trec",)), workers=1, clock=clock)
    pipe, screen, log = io.StringIO(), io.StringIO(), []
    with Terminal(Console(file=pipe)).screen(board) as moved:
        tell(board, "trec/minilm", 0, 2, "reading [rows]")
        moved("trec/minilm")
    with Terminal(Console(file=screen, force_terminal=True, width=100)).screen(board) as moved:
        moved("trec/minilm")
    with Log(log.append).screen(board) as moved:
        moved("trec/minilm")
    assert pipe.getvalue().endswith("trec/minilm   0/2   reading [rows]\n")
    assert "\x1b[" not in pipe.getvalue()
    assert log == [board.line("trec/minilm")]
    for words in ("trec/minilm", "0/2", "reading [rows]", "trec/tiny", "0/12", "waiting"):
        assert words in screen.getvalue()


def test_a_long_table_shows_what_is_at_work_and_counts_the_rest(tmp_path: Path, clock: Clock) -> None:
    from kdrec.report import to_text

    pieces = plan(tmp_path, tasks=tuple(f"task{n}" for n in range(MOST_ROWS)))
    board = Board(pieces, workers=2, clock=clock)
    tell(board, "task3/minilm", 1, 2, "validation 80.0")
    board.finish("task4/minilm", "done")
    shown = to_text(board.table())
    assert "task3/minilm" in shown
    assert "task5/minilm" not in shown
    assert f"{2 * MOST_ROWS - 2} waiting, 1 done" in shown


def test_the_time_left_is_told_when_something_was_measured_and_until_the_end(tmp_path: Path, clock: Clock) -> None:
    board = Board(plan(tmp_path, tasks=("trec",)), workers=1, clock=clock)
    tell(board, "trec/minilm", 0, 2, "reading rows")
    assert board.line("trec/minilm").endswith("reading rows")
    clock.now = 10
    tell(board, "trec/minilm", 1, 2, "validation 80.0")
    assert board.line("trec/minilm").endswith("validation 80.0  [about 3 min left]"), "13 more of 10 s"
    for piece in ("trec/minilm", "trec/tiny"):
        board.finish(piece, "done")
    assert board.line("trec/tiny").endswith("  done")


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 140])
def test_a_live_table_fits_the_screen_and_says_how_far_each_piece_is(tmp_path: Path, clock: Clock, width: int) -> None:
    board = Board(plan(tmp_path), workers=2, clock=clock)
    tell(board, "sms_spam/tiny", 1, 12, "t_ll ce alpha=0.5 tau=1/1: validation 81.0 (20 s)")
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(board.table(width))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    for piece, count in {"trec/minilm": "0/2", "trec/tiny": "0/12", "sms_spam/tiny": "1/12"}.items():
        assert [count in line.split() for line in lines if line.startswith(piece)] == [True]
    assert ("validation 81.0 (20 s)" in out.getvalue()) == (width >= 60)


def test_a_low_screen_shows_what_is_at_work_and_counts_the_rest(tmp_path: Path, clock: Clock) -> None:
    from kdrec.report import to_text

    board = Board(plan(tmp_path), workers=2, clock=clock)
    tell(board, "trec/minilm", 1, 2)
    assert "sms_spam/tiny" in to_text(board.table(80, 24))
    shown = to_text(board.table(80, 8))
    assert "trec/minilm" in shown
    assert "sms_spam/tiny" not in shown
    assert "3 waiting, 0 done" in shown


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    board, out = Board(plan(tmp_path), workers=1, clock=clock), io.StringIO()
    with Terminal(Console(file=out, force_terminal=True)).screen(board) as moved:
        moved("trec/minilm")
    assert "\x1b" not in out.getvalue()
    assert "trec/minilm" in out.getvalue()


def test_no_color_means_none(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def colours() -> set[str]:
        board, out = Board(plan(tmp_path), workers=1, clock=clock), io.StringIO()
        board.finish("trec/minilm", "failed", failed=True)
        Console(file=out, force_terminal=True, color_system="standard", width=100).print(board.table())
        return set(re.findall(r"\x1b\[(?:\d+;)*(?:3|9)\dm", out.getvalue()))

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert colours()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colours()


def test_a_quiet_outlet_shows_results_alone(tmp_path: Path, clock: Clock) -> None:
    board, out = Board(plan(tmp_path), workers=1, clock=clock), io.StringIO()
    outlet = Quiet(Terminal(Console(file=out)))
    with outlet.screen(board) as moved:
        moved("trec/minilm")
    outlet.say("sms_spam/tiny: at work.")
    outlet.show("Study s: 5 trials")
    assert out.getvalue() == "Study s: 5 trials\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "10 s"), (50, "50 s"), (51, "1 min"), (130, "3 min"), (3541, "1 h 00 min"), (7500, "2 h 10 min")],
)
def test_time_to_come_is_told_no_more_exactly_than_it_is_known(seconds: float, text: str) -> None:
    assert roughly(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.6, "1 min 00 s"), (130, "2 min 10 s"), (7500, "2 h 05 min")]
)
def test_durations_are_written_for_a_person(seconds: float, text: str) -> None:
    assert duration(seconds) == text
