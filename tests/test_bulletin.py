"""Laws of a table of recommendations: what two of them differ in is told once, in words, with its reason."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from kdrec.bulletin import Bulletin, Line, changes
from kdrec.tracking import bulletin_note

LINE = Line(
    task="trec",
    student="tiny",
    config="t_ll ce alpha=0.5 tau=1/1",
    knobs={"alpha": 0.5},
    is_default=True,
    stop=False,
    reason="go on: it is worth it",
    gain=0.55,
    lo80=0.0,
    hi80=1.0,
    n_trials=4,
)
OTHER = replace(LINE, task="sick", student="small", n_trials=7)
BEFORE = Bulletin(history="a", version="1", lines=(OTHER, LINE))
HOSTILE = "x|y\n<script>alert(1)</script> [a](javascript:alert(1))"


def after(line: Line, *others: Line, version: str = "1") -> Bulletin:
    return Bulletin(history="b", version=version, lines=(*(others or (OTHER,)), line))


def test_a_table_returns_from_json_as_it_was() -> None:
    assert Bulletin.from_dict(json.loads(json.dumps(BEFORE.to_dict()))) == BEFORE


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (after(LINE), ()),
        (after(replace(LINE, gain=0.64)), ()),
        (
            after(replace(LINE, gain=0.45)),
            ("trec/tiny: 8 further trials would gain +0.45 points instead of +0.55 (other trials stand behind it)",),
        ),
        (
            after(replace(LINE, n_trials=5)),
            (
                "trec/tiny: the same after 1 new trial of its own, 5 in all, start with t_ll ce alpha=0.5 tau=1/1, "
                "go on",
            ),
        ),
        (
            after(replace(LINE, config="t_hs mse alpha=1", stop=True, gain=-0.0, n_trials=16)),
            (
                "trec/tiny: start with t_hs mse alpha=1 instead of t_ll ce alpha=0.5 tau=1/1; stop instead of go on; "
                "8 further trials would gain +0.00 points instead of +0.55 (12 new trials of its own, 16 in all)",
            ),
        ),
        (
            after(replace(LINE, stop=True), replace(OTHER, n_trials=5)),
            (
                "sick/small: the same after 2 lost trials of its own, 5 in all, start with t_ll ce alpha=0.5 tau=1/1, "
                "go on",
                "trec/tiny: stop instead of go on (2 lost trials of other cells)",
            ),
        ),
        (
            after(replace(LINE, stop=True), version="2"),
            ("trec/tiny: stop instead of go on (answered by kdrec 2 instead of 1)",),
        ),
        (
            Bulletin(history="b", version="1", lines=(OTHER, replace(LINE, student="base"))),
            (
                "trec/base is new, with 4 trials: start with t_ll ce alpha=0.5 tau=1/1, go on",
                "trec/tiny is gone: the history holds no trial of it",
            ),
        ),
    ],
)
def test_what_changed_is_one_sentence_a_cell_with_its_reason(now: Bulletin, told: tuple[str, ...]) -> None:
    assert changes(BEFORE, now) == told


def test_the_first_table_is_news_as_a_whole() -> None:
    assert changes(None, BEFORE) == ("published for the first time, 2 cells",)


def test_small_moves_are_told_once_they_add_up_against_what_was_published() -> None:
    steps = [after(replace(LINE, gain=0.55 - 0.04 * n)) for n in (1, 2, 3)]
    assert [len(changes(BEFORE, step)) for step in steps] == [0, 0, 1]


def test_a_hostile_name_is_shown_as_text_on_one_line() -> None:
    bulletin = Bulletin(history="", version="", lines=(replace(LINE, task=HOSTILE),))
    note = bulletin_note(bulletin, changes(BEFORE, bulletin))
    assert "<script" not in note
    assert "](" not in note.replace("\\](", "")
    assert len(note.splitlines()) == 9, "a title, three changes, two lines of a head, one cell, and two between"
    assert f"| {HOSTILE.splitlines()[0].replace('|', chr(92) + '|')} &lt;script" in note


def test_a_note_that_would_be_cut_says_how_many_cells_it_leaves_out() -> None:
    many = Bulletin(history="", version="", lines=tuple(replace(LINE, task=f"task{n}") for n in range(300)))
    note = bulletin_note(many, changes(BEFORE, many), limit=7500)
    assert len(note) <= 7500
    shown = note.count("\n| task")
    assert note.endswith(f"... and {300 - shown} more cells, in the artifact `recommendations.md`.")
    assert "more changes, in the artifact" in note
    assert bulletin_note(many, ()).count("\n| task") == 300
