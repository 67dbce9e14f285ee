from __future__ import annotations

from uuid import UUID

import pytest
from prefect.client.schemas.actions import ArtifactCreate
from prefect.exceptions import ObjectNotFound
from test_bulletin import HOSTILE

from flows import artifacts
from flows.artifacts import key_of
from flows.reference import Reference, best_of
from kdrec.studies import Cell


@pytest.mark.parametrize("name", ["mini", "Mein_Test.2", "日本", "-", HOSTILE])
def test_every_name_makes_a_key_that_prefect_takes(name: str) -> None:
    key = key_of("study", name, "progress")
    assert ArtifactCreate(key=key).key == key
    assert key.startswith("study-")
    assert key.endswith("-progress")


def test_a_page_that_prefect_does_not_take_is_told_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise ObjectNotFound(http_exc=RuntimeError(), help_message="Flow run not found\nat http://ada:pw@host")

    for name in ("create_markdown_artifact", "create_progress_artifact"):
        monkeypatch.setattr(artifacts, name, gone)
    said: list[str] = []
    artifacts.show_text("text", "key", "description", said.append)
    assert said == [
        "Prefect's page of this run could not be written (Flow run not found); the results are in the store."
    ]
    monkeypatch.setattr(artifacts, "BEAT_SECONDS", 0.01)
    with artifacts.Bar("key", "description", lambda: 1.0) as bar:
        made = UUID(int=1)
        monkeypatch.setattr(artifacts, "create_progress_artifact", lambda **_: made)
    assert bar._id == made


def test_a_hostile_name_is_text_in_the_table_of_the_best() -> None:
    one = Reference(run_id="r", new=1, found=0, best="t_ll ce", val_score=80.0)
    shown = best_of({Cell(task=HOSTILE, student="tiny"): one})
    assert len(shown.splitlines()) == 3
    assert "<script" not in shown
