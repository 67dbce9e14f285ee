"""One page for all tests of this room: its answers are what costs."""

from __future__ import annotations

import pytest
from recorded_study import history, study

from kdrec import page
from kdrec.page import CellAnswer


@pytest.fixture(scope="session")
def answered() -> tuple[CellAnswer, ...]:
    return tuple(page.answers(study(), history(study()), None))


@pytest.fixture(scope="session")
def html(answered: tuple[CellAnswer, ...]) -> str:
    return page.render(study(), answered)
