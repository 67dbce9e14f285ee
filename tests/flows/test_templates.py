from __future__ import annotations

from pathlib import Path

import yaml
from running import REPOSITORY

from flows.fanout import is_apart
from kdrec.home import Home


def test_the_templates_for_containers_are_deployments_of_the_flow_cell() -> None:
    text = (REPOSITORY / "prefect.yaml").read_text(encoding="utf-8")
    names = [one["name"] for one in yaml.safe_load(text)["deployments"]]
    assert set(names) == {"local"}, "a template stays out of `prefect deploy --all`, whose pools must exist"
    lines, inside = [], False
    for line in text.splitlines():
        starts, ends = line.startswith("  # template:"), line.startswith("  # end of template")
        inside = (inside or starts) and not ends
        lines.append(line.replace("  # ", "  ", 1) if inside and not starts else line)
    made = yaml.safe_load("\n".join(lines))["deployments"][len(names) :]
    assert [one["name"] for one in made] == ["docker", "kubernetes"]
    for one in made:
        assert one["entrypoint"] == "flows.cell.cell"
        assert set(one["parameters"]) == {"study", "task", "student"}
        assert one["work_pool"]["name"] == one["name"]
        assert {"image", "env"} <= set(one["work_pool"]["job_variables"])
        assert "volumes" not in one["work_pool"]["job_variables"], "homes are apart"
        place = one["work_pool"]["job_variables"]["env"]
        assert is_apart(
            Home(root=Path("/data"), tracking_uri=place["KDREC_TRACKING_URI"], shared=place["KDREC_SHARED"])
        )
        assert f"WORKDIR {one['pull'][0]['prefect.deployments.steps.set_working_directory']['directory']}" in (
            REPOSITORY / "Dockerfile"
        ).read_text(encoding="utf-8")
