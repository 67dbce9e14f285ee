from __future__ import annotations

import pytest
from prefect.client.schemas.actions import ArtifactCreate
from test_bulletin import HOSTILE

from flows.artifacts import key_of
from flows.reference import Reference, best_of
from kdrec.studies import Cell


@pytest.mark.parametrize("name", ["mini", "Mein_Test.2", "日本", "-", HOSTILE])
def test_every_name_makes_a_key_that_prefect_takes(name: str) -> None:
    key = key_of("study", name, "progress")
    assert ArtifactCreate(key=key).key == key
    assert key.startswith("study-")
    assert key.endswith("-progress")


def test_a_hostile_name_is_text_in_the_table_of_the_best() -> None:
    one = Reference(run_id="r", new=1, found=0, best="t_ll ce", val_score=80.0)
    shown = best_of({Cell(task=HOSTILE, student="tiny"): one})
    assert len(shown.splitlines()) == 3
    assert "<script" not in shown
