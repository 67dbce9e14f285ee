"""The page in a real browser: its script runs under its own policy, asks for nothing, sorts, and fits a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recorded_study import HOSTILE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
QUIET += ("--disable-component-update", "--disable-sync")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium on the path")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield started
        started.close()


@pytest.fixture(scope="module")
def file(html: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "mine.html"
    path.write_text(html, encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_sorts_fits_a_phone_and_asks_for_nothing(browser: Any, file: Path, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    tab, said, asked = context.new_page(), [], []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("dialog", lambda dialog: said.append(dialog.message))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(file.as_uri())
    assert tab.locator("h3", has_text=HOSTILE).count() >= 1
    _sorts_by_keyboard(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") == 360
    tab.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    assert tab.evaluate("document.documentElement.scrollWidth") == 360
    for part in ("main p", "svg text[style*='currentColor']", "svg text[style*='--muted']"):
        assert _contrast(tab, part) >= 4.5, part
    assert asked == [file.as_uri()]
    assert said == []
    context.close()


@pytest.mark.slow
def test_a_printed_page_shows_what_was_folded_away_and_folds_it_again(browser: Any, file: Path) -> None:
    tab = browser.new_page()
    tab.goto(file.as_uri())
    tab.evaluate(
        "addEventListener('beforeprint', () => (window.open_ = document.querySelectorAll('details:not([open])')))"
    )
    folded = tab.locator("details:not([open])").count()
    assert folded > 0
    assert tab.pdf().startswith(b"%PDF")
    assert tab.evaluate("window.open_.length") == 0
    tab.wait_for_function(f"document.querySelectorAll('details:not([open])').length === {folded}")
    tab.close()


def _sorts_by_keyboard(tab: Any) -> None:
    """Down and up again by a number, and then by a word."""
    table = tab.locator("#decisions-table")
    head = table.get_by_role("columnheader", name="This study gained")
    head.get_by_role("button").focus()
    for state, order in (("ascending", [0.0, 3.0]), ("descending", [3.0, 0.0])):
        tab.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == state
        cells = table.locator("tbody tr").evaluate_all("rows => rows.map(row => Number(row.cells[5].dataset.number))")
        assert cells == pytest.approx(order)
    table.get_by_role("button", name="Cell").press("Space")
    assert head.get_attribute("aria-sort") is None
    assert table.locator("tbody th").all_text_contents() == ["trec/tiny", f"{HOSTILE}/small"]


def _contrast(tab: Any, selector: str) -> float:
    """Of a text with the background that shines through behind it, as WCAG counts it."""
    inks = tab.locator(selector).first.evaluate(
        """node => {
          const style = getComputedStyle(node), ink = node instanceof SVGElement ? style.fill : style.color;
          let behind = node;
          while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
          return [ink, getComputedStyle(behind).backgroundColor].map(c => c.match(/[0-9.]+/g).slice(0, 3).map(Number));
        }"""
    )
    light, dark = sorted((_luminance(ink) for ink in inks), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: list[float]) -> float:
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
