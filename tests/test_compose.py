"""The file of a team's servers, as Docker Compose reads it: nothing open, no secret, nothing that is not written up."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from team import REPOSITORY, SECRETS, VARIABLE, interpolated

TEXT = (REPOSITORY / "compose.yaml").read_text(encoding="utf-8")
DOCS = (REPOSITORY / "docs" / "servers.md").read_text(encoding="utf-8")
PAGE: dict[str, Any] = yaml.safe_load(interpolated(TEXT, SECRETS))
SERVICES: dict[str, dict[str, Any]] = PAGE["services"]


@pytest.mark.parametrize("name", SECRETS)
def test_without_any_one_of_its_secrets_nothing_starts(name: str) -> None:
    for value in (None, ""):
        known = {key: word for key, word in SECRETS.items() if key != name} | ({} if value is None else {name: value})
        with pytest.raises(KeyError, match=f"{name}: see docs/servers.md"):
            interpolated(TEXT, known)


def test_every_variable_is_a_secret_or_a_port_and_is_written_up() -> None:
    variables = {name: sign for name, sign, _ in VARIABLE.findall(TEXT)}
    assert TEXT.count("$") == len(VARIABLE.findall(TEXT)), "a variable of another form"
    assert {name for name, sign in variables.items() if sign == "?"} == set(SECRETS)
    assert {name for name, sign in variables.items() if sign == "-"} == {"MLFLOW_PORT", "PREFECT_PORT"}
    assert set(variables) <= set(re.findall(r"^ *\| `(\w+)` \|", DOCS, re.MULTILINE))


def test_ports_are_published_on_loopback_alone() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert sorted(published) == ["127.0.0.1:4200:4200", "127.0.0.1:5000:5000"]
    assert not [name for name, service in SERVICES.items() if service.get("network_mode") or service.get("privileged")]


def test_every_service_is_watched_or_ends_by_itself() -> None:
    for name, service in SERVICES.items():
        assert "restart" in service, name
        if service.get("ports"):
            assert "healthcheck" in service, name
    asked = [(name, needs) for service in SERVICES.values() for name, needs in service.get("depends_on", {}).items()]
    for name, needs in asked:
        condition = needs["condition"]
        assert condition != "service_healthy" or "healthcheck" in SERVICES[name]
        assert condition != "service_completed_successfully" or SERVICES[name]["restart"] == "no"
    assert {name for name, _ in asked} == {"postgres", "mlflow", "prefect", "deploy", "worker"}


def test_one_image_of_ours_and_a_pinned_one_of_postgres() -> None:
    images = {name: service["image"] for name, service in SERVICES.items()}
    assert re.fullmatch(r"postgres:\d+\.\d+-\w+", images.pop("postgres"))
    assert set(images.values()) == {"kdrec:latest"}
    assert all(SERVICES[name]["build"] == "." for name in images)
    dockerfile = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    assert '".[server,s3]"' in dockerfile
    folders = {volume.partition(":")[2] for name in images for volume in SERVICES[name].get("volumes", ())}
    made = re.findall(r"install --directory --owner=kdrec --group=kdrec (.*)", dockerfile)
    assert folders == set(made[0].split()), "a volume is the user's only where the image made its folder"


def test_every_volume_and_config_is_named_and_used() -> None:
    mounts = [volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())]
    assert set(mounts) == set(PAGE["volumes"])
    configs = [config["source"] for service in SERVICES.values() for config in service.get("configs", ())]
    assert sorted(configs) == sorted(PAGE["configs"])


def test_a_password_stands_in_no_command_which_every_process_of_a_machine_can_read() -> None:
    for service in SERVICES.values():
        said = " ".join([*service.get("command", ()), *service.get("healthcheck", {}).get("test", ())])
        assert not [word for word in SECRETS.values() if word in said]
