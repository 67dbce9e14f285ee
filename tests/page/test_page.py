"""Laws of the page: the decision first, names escaped, nothing from elsewhere, the same bytes for the same study."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from recorded_study import BEST, HOSTILE, MSE, history, study

from kdrec import page
from kdrec.outcome import Outcome
from kdrec.page import CellAnswer, figures, tables
from kdrec.recommend.replay import STRATEGIES, CellReplay
from kdrec.recommend.scorecard import audit_history, score
from kdrec.types import DEFAULT_CONFIG, Decision, History


class Seen(HTMLParser):
    """Tags and attributes as a browser finds them, and the text between."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_cell_is_answered_now_foretold_without_its_trials_and_shown_as_it_went(
    answered: tuple[CellAnswer, ...],
) -> None:
    young, whole = answered
    assert whole.name == f"{HOSTILE}/small"
    assert whole.kept == BEST
    assert whole.gained is not None
    assert whole.gained.points == pytest.approx(3.0)
    assert not whole.gained.is_noise
    assert whole.base == DEFAULT_CONFIG
    realised = [round(one.points, 6) for one in whole.realised if one is not None]
    assert len(realised) == 24
    assert realised[0] == 0.0
    assert realised[-1] == 3.0
    assert whole.before.evidence["n_own_trials"] == 0
    assert whole.now.evidence["n_own_trials"] == 48
    assert young.kept == DEFAULT_CONFIG
    assert young.path == ()
    assert [one.points if one else None for one in young.realised] == [0.0, 0.0]  # what diverged is not chosen


def test_the_decision_comes_before_all_else(html: str, answered: tuple[CellAnswer, ...]) -> None:
    text = Seen(html).text
    order = [text.index(head) for head in ("Eight more trials", "Decision by cell", "Every configuration against")]
    assert order == sorted(order)
    for answer in answered:
        assert f"{answer.ahead.mean:+.2f}" in text
        assert answer.now.config.label() in text
    assert "The search of this cell has not come to its end." in text
    assert "1 diverged" in text


def test_a_hostile_name_is_shown_as_typed_and_never_a_tag(html: str) -> None:
    seen = Seen(html)
    assert html.count("<script>") == 1  # ours
    assert sum(tag == "script" for tag, _ in seen.tags) == 1
    assert HOSTILE in seen.text
    assert "&lt;script&gt;alert(1)&lt;/<wbr>script&gt;" in html
    assert not [name for _, attrs in seen.tags for name in attrs if name.startswith("on")]


def test_the_page_asks_for_nothing_from_elsewhere_and_its_policy_allows_its_own_script_alone(html: str) -> None:
    seen = Seen(html)
    links = [attrs.get(name) for _, attrs in seen.tags for name in ("src", "href", "action") if attrs.get(name)]
    assert [link for link in links if not link.startswith("#")] == ["data:,"]
    assert not re.findall(r"https?://|@import|url\((?!#)", html)
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    policy = next(attrs["content"] for _, attrs in seen.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
    assert f"'sha256-{digest}'" in policy


def test_every_figure_has_words_and_every_id_is_one(html: str) -> None:
    seen = Seen(html)
    ids = [attrs["id"] for _, attrs in seen.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    figures = [attrs for tag, attrs in seen.tags if tag == "svg"]
    assert len(figures) == 2 + 2 + 2  # heat map and costs, gains of two cells, two teachers
    assert all(attrs["role"] == "img" and set(str(attrs["aria-labelledby"]).split()) <= set(ids) for attrs in figures)


def test_the_same_study_is_the_same_bytes() -> None:
    outcome = replace(study(), cells=study().cells[:1], teachers=study().teachers[:1])
    once, again = (page.render(outcome, tuple(page.answers(outcome, history(study()), None))) for _ in range(2))
    assert once == again


def test_what_the_recommender_said_inside_a_search_stands_in_the_place_of_a_walk(
    answered: tuple[CellAnswer, ...],
) -> None:
    told = replace(answered[1].before, config=MSE)
    steps = (
        Decision(step=0, n_trials=0, proposed=(DEFAULT_CONFIG, BEST), stop=False, reason="go on: do", answer=told),
        Decision(step=1, n_trials=4, proposed=(), stop=True, reason="stop: enough", answer=told),
    )
    steps = tuple(replace(one, answer=replace(told, evidence={**told.evidence, "price": 0.05})) for one in steps)
    outcome = replace(study(), cells=(replace(study().cells[1], decisions=steps),), teachers=())
    (answer,) = page.answers(outcome, history(outcome), None)
    assert answer.advised
    assert answer.before == steps[0].answer
    assert answer.kept == MSE
    rows = [[value.text for value in row] for row in tables.advice(answer).rows]
    assert rows[0][:4] == ["0", f"{DEFAULT_CONFIG.label()}\n{BEST.label()}", "go on: do", "0"]
    assert rows[1][:4] == ["1", "nothing more", "stop: enough", "4"]
    text = Seen(page.render(outcome, [answer])).text
    assert "Advice inside the search" in text
    assert "foretold before the first trial" in text


def test_a_page_is_small(html: str) -> None:
    assert len(html.encode()) < 200_000


def test_a_study_that_has_hardly_begun_has_a_page_and_an_audit_that_was_asked_for_is_on_it(html: str) -> None:
    assert "kdrec report mine --audit" in html
    card = audit_history(history(study()), stages=())
    assert not card.audited  # two tasks are too few
    begun = Outcome(study="mine", cells=(replace(study().cells[0], trials=()),), teachers=())
    answers = tuple(page.answers(begun, history(study()), None))
    text = Seen(page.render(begun, answers, card)).text
    assert "cannot be audited" in text
    assert "Nothing was tried yet" in text
    assert "No teacher of this study was recorded" in text


def test_an_audit_is_drawn_for_a_dark_page_as_well_and_stands_in_a_table() -> None:
    cells = [
        CellReplay(
            task=f"task{n}",
            student="small",
            n_configs=3,
            chosen={},
            effect={name: 0.1 * place * (1 + n / 9) for place, name in enumerate(STRATEGIES)},
            best=DEFAULT_CONFIG,
            best_effect=1.0,
        )
        for n in range(4)
    ]
    card = score(History(), cells)
    svg = figures.audit(card)
    assert card.verdict.split(";")[0] in svg
    assert all(f">{name}</text>" in svg for name in STRATEGIES)
    assert not re.search("#000000|#e6e6e6", svg)
    assert {row[0].text for row in tables.audit(card).rows} == set(STRATEGIES)


def test_a_teacher_worse_than_its_student_is_said_at_the_top_and_in_its_cell(
    html: str, answered: tuple[CellAnswer, ...]
) -> None:
    young = study().cells[0]
    weak = replace(young, features=replace(young.features, teacher_score=40.0))
    changed = replace(study(), cells=(weak,))
    (first,) = page.answers(changed, history(changed), None)
    assert first.weak is not None
    assert [answer.weak for answer in answered] == [None, None]
    text = Seen(page.render(changed, (first,))).text
    assert f"The teacher of {first.name} is worse than its student without it" in text
    assert text.count("The teacher (40.0 on validation) is worse than this student trained on labels alone (70.0)") == 1
    assert "is worse than" not in Seen(html).text


def test_a_guarded_teacher_is_marked_and_what_coincides_is_said(answered: tuple[CellAnswer, ...]) -> None:
    told = study()
    one, other = told.teachers
    changed = replace(told, teachers=(replace(one, t_llg=one.t_hs), replace(other, t_hs=other.t_ll, t_llg=other.t_hs)))
    text = Seen(page.render(changed, answered)).text
    assert "t_hs and t_llg are one checkpoint; t_ll differs." in text
    assert "t_ll and t_hs are one checkpoint; t_llg differs." in text
    assert "t_hs and t_llg" in [value.text for row in tables.trace(changed.teachers[0]).rows for value in row]
