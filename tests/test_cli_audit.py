from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdrec import history
from kdrec.cli import main
from kdrec.home import Home
from kdrec.types import DEFAULT_CONFIG, History, KDConfig, TaskFeatures, Trial

Captured = pytest.CaptureFixture[str]
CONFIGS = (DEFAULT_CONFIG, KDConfig(alpha=1.0), KDConfig(distance="mse"))


def table(path: Path, n_tasks: int) -> Path:
    """An exported history in which the second configuration is everywhere better by a point."""
    rows = [
        Trial(
            features=TaskFeatures(task=f"task{n}", family="sentence", n_train=1000 + n, student_params=15_000_000),
            student="small",
            config=config,
            seed=seed,
            status="completed",
            val_score=80.0 + n + (place == 1) + seed / 50,
            val_loss=None,
            test_score=80.0 + n + (place == 1) + seed / 50,
            seconds=1.0,
            run_id=f"{n}-{place}-{seed}",
        )
        for n in range(n_tasks)
        for place, config in enumerate(CONFIGS)
        for seed in range(2)
    ]
    history.write_table(History(tuple(rows)), path)
    return path


@pytest.fixture
def past(tmp_path: Path) -> Path:
    return table(tmp_path / "past.csv", 4)


def run(home: Home, *words: object) -> int:
    return main(["--home", str(home.root), "audit", *map(str, words)])


def test_it_says_the_verdict_on_top(past: Path, home: Home, capsys: Captured) -> None:
    assert run(home, "--history", past, "--quick") == 0
    said = capsys.readouterr()
    assert said.out.startswith("On this history suggestions lost 0.00 points")
    assert "--quick" in said.out
    assert said.err == ""


def test_json_is_all_there_is_and_the_same_each_time(past: Path, tmp_path: Path, home: Home, capsys: Captured) -> None:
    plot = tmp_path / "audit.png"
    answers = []
    for _ in range(2):
        assert run(home, "--history", past, "--json", "--plot", plot) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]
    answer = json.loads(answers[0])
    assert list(answer) == [
        *("audited", "n_tasks", "n_cells", "n_trials", "n_shipped_trials", "verdict"),
        *("regret", "over_default", "effects", "gains", "cells"),
    ]
    assert [gain["trials"] for gain in answer["gains"]] == [1, "all"]
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("n_tasks", [0, 2])
def test_too_few_tasks_is_an_answer_and_no_mistake(n_tasks: int, tmp_path: Path, home: Home, capsys: Captured) -> None:
    source = table(tmp_path / "two.csv", n_tasks) if n_tasks else "none"
    plot = tmp_path / "audit.svg"
    assert run(home, "--history", source, "--plot", plot) == 0
    assert "cannot be audited" in capsys.readouterr().out
    assert not plot.exists()
    assert run(home, "--history", source, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["audited"], answer["n_tasks"], answer["n_trials"]) == (False, n_tasks, 6 * n_tasks)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("a.gif", "a plot is written as .png or .svg, got 'a.gif'"), ("no/a.png", "to write the plot to")],
)
def test_a_plot_that_cannot_be_written_is_refused_before_the_work(
    name: str, sentence: str, past: Path, tmp_path: Path, home: Home, capsys: Captured
) -> None:
    assert run(home, "--history", past, "--plot", tmp_path / name) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert sentence in said.err
    assert said.err.count("\n") == 1


def test_quiet_shows_nothing_on_the_way(past: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("kdrec.cli._watched", lambda cells: asked.append("watched") or cells)
    assert run(home, "--history", past, "--quick", "--quiet") == 0
    assert asked == []
    assert run(home, "--history", past, "--quick") == 0
    assert asked == ["watched"]
