from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
DEPLOYMENTS = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["entrypoint"])
def test_a_deployment_gives_its_flow_parameters_that_it_takes(deployment: dict[str, Any]) -> None:
    module, _, name = deployment["entrypoint"].rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    given = dict(deployment["parameters"])
    assert given.items() <= flow.validate_parameters(given).items()
    with pytest.raises(Exception, match="alfa"):
        flow.validate_parameters({**given, "alfa": 1})


def test_every_flow_is_deployed() -> None:
    assert {entry["entrypoint"] for entry in DEPLOYMENTS} == {
        "flows.study.study",
        "flows.cell.cell",
        "flows.distill.distill",
        "flows.refresh.refresh",
    }
