"""The scripts of `examples/`, each run as a user runs it, in one home and one process: imports are paid once."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow_server import Server

from kdrec.home import Home

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def run(module_home: Home, monkeypatch: pytest.MonkeyPatch, capsys: Captured):
    """Runs an example in the home of this file and returns what it printed, with single spaces."""
    monkeypatch.setenv("KDREC_HOME", str(module_home.root))
    monkeypatch.setenv("COLUMNS", "100")

    def go(name: str) -> str:
        monkeypatch.setattr(sys, "argv", [name])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return " ".join(capsys.readouterr().out.split())

    return go


@pytest.fixture
def server(module_home: Home, tmp_path: Path) -> Iterator[Server]:
    """An MLflow server on the database of the home, which spares making one."""
    started = Server(tmp_path, module_home.tracking_uri)
    started.start()
    try:
        started.wait()
        yield started
    finally:
        started.kill()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_an_example_is_short_says_what_it_shows_and_is_listed(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 30
    assert re.match(rf'"""[A-Z][^\n]+: `[^`\n]*python examples/{script.name}[^`\n]*`\."""\n', text)
    assert f"({script.name})" in (EXAMPLES / "README.md").read_text(encoding="utf-8")


def test_tables_of_other_tools_are_answered_from_without_a_training_library() -> None:
    heavy = "{'torch', 'mlflow', 'pandas'}"
    script = f"import runpy, sys; runpy.run_path(sys.argv[1]); sys.exit(len({heavy} & {{*sys.modules}}))"
    words = [sys.executable, "-c", script, str(EXAMPLES / "table_from_elsewhere.py")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    counts = re.findall(r"(\w+)\.csv: (\d+) trials of 3 tasks and 1 student", said)
    assert counts == [("optuna", "26"), ("wandb", "26"), ("plain", "27")], "a run that failed is no evidence"
    assert said.count("start with loss=kl lr=0.001 temperature=4.") == 3


@pytest.mark.slow
@pytest.mark.network
def test_a_study_of_ones_own_csv_is_run_compared_continued_and_served(
    run, module_home: Home, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    said = run("own_csv.py")
    assert "tickets/tiny: searched" in said
    assert "configuration val score" in said

    said = run("compare_two_students.py")
    assert re.search(r"small \(15\.6 M parameters, [\d.]+ s\): t_ll ce alpha=0\.5 tau=[14]/1", said)
    assert re.search(r"small minus tiny: [+-]\d+\.\d points;", said)

    said = run("continue_study.py")
    assert re.match(r"Of 6 trials the recommender says: (go on|stop): ", said)
    assert "1. listed: tried " in said

    monkeypatch.setenv("KDREC_TRACKING_URI", request.getfixturevalue("server").uri)
    said = run("own_mlflow_server.py")
    assert said.count("run ") == 4
    assert f"3 of 3 trials are on {Home.at(module_home.root).tracking_uri}, below run" in said
