from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
ROOMS = sorted(
    path.stem
    for path in (REPOSITORY / "kdrec").iterdir()
    if (path.suffix == ".py" and not path.stem.startswith("__")) or (path / "__init__.py").is_file()
)
LEAN_ROOMS = [
    "cli",
    "report",
    "page",
    "publish",
    "question",
    "recommend",
    "history",
    "tracking",
    "catalog",
    "studies",
    "space",
    "types",
]


def python(*words: str) -> str:
    done = subprocess.run([sys.executable, *words], cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_room_looks_down_only() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([tool, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("room", LEAN_ROOMS)
def test_a_room_that_answers_a_user_loads_no_training_library(room: str) -> None:
    heavy = {"torch", "transformers", "accelerate", "datasets", "mlflow", "prefect", "pandas"}
    loaded = python("-c", f"import sys, kdrec.{room}; print(*sorted(sys.modules))").split()
    assert f"kdrec.{room}" in loaded
    assert not heavy & set(loaded)


def test_the_map_names_every_room() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    missing = [room for room in ROOMS if not re.search(rf"\b{room}(\.py|/|`)", page)]
    assert not missing, f"docs/architecture.md does not name {missing}"


def test_the_map_names_no_room_that_is_gone() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = {*re.findall(r"\bkdrec/([a-z_]+)(?:\.py|/)", page)}
    assert named <= {*ROOMS, "models"}, f"docs/architecture.md names {sorted(named - {*ROOMS, 'models'})}"


def test_no_room_is_called_utils_or_helpers() -> None:
    tracked = [path for folder in ("kdrec", "flows", "benchmarks") for path in (REPOSITORY / folder).rglob("*.py")]
    assert tracked
    assert not [path for path in tracked if re.fullmatch(r"_?(utils?|helpers?|common|misc)", path.stem)]


def test_every_module_opens_with_its_charter() -> None:
    bare = [
        path.relative_to(REPOSITORY)
        for folder in ("kdrec", "flows", "benchmarks")
        for path in (REPOSITORY / folder).rglob("*.py")
        if path.read_text(encoding="utf-8").strip() and not path.read_text(encoding="utf-8").startswith('"""')
    ]
    assert not bare


def test_every_requirement_is_locked_at_a_version_its_range_allows() -> None:
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    locked = {canonicalize_name(pin.name): next(iter(pin.specifier)) for pin in pins}
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]
    for text in [*project["dependencies"], *extras]:
        wanted = Requirement(text)
        if wanted.name == project["name"]:  # an extra that asks for others of its own
            continue
        pin = locked[canonicalize_name(wanted.name)]
        assert pin.operator == "=="
        assert "+" not in pin.version, "a local version ties the lock to one machine's build"
        assert pin.version in wanted.specifier, f"{text} is locked at {pin.version}"


def test_continuous_integration_runs_what_a_developer_runs() -> None:
    script = REPOSITORY / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text(encoding="utf-8")
    recipe = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for tool in ("ruff check", "ruff format --check", "/mypy", "lint-imports", "pytest"):
        assert tool in recipe
