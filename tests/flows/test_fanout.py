"""Cells sent to somebody else, with a pool and a clock that the test winds: what is sent, waited for, and told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from running import REPOSITORY

import kdrec
from flows import fanout
from flows.fanout import FanOut, Run, Unreachable, home_of, key_of, one_of_each_task_first, parameters, refusal
from flows.pieces import cut
from flows.reference import Reference
from kdrec.errors import KdrecError, MismatchError
from kdrec.home import Home
from kdrec.studies import Cell, OwnData, Study

STUDY = Study(name="s", tasks=("trec", "sms_spam"), students=("small", "tiny"))
TINY, SMALL = Cell(task="trec", student="tiny"), Cell(task="trec", student="small")
FOUND = Reference(run_id="abc", new=3, found=2, best="t_ll ce", val_score=81.25)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(tmp_path)


class Bench:
    """A pool whose runs walk through the states they are given, one a look; its clock moves when somebody sleeps."""

    name = "cell/local"

    def __init__(self, *ways: Sequence[Any]) -> None:
        self.ways = [list(way) for way in ways]
        self.runs: dict[str, list[Any]] = {}
        self.keys: list[str] = []
        self.before: dict[str, Run] = {}
        self.past = 0
        self.said: list[str] = []
        self.abandoned: list[str] = []
        self.now = 0.0
        self.away = (0.0, 0.0)  # from when until when

    def check(self) -> None:
        if self.away[0] <= self.now < self.away[1]:
            raise Unreachable("ConnectError")

    def living(self, key: str) -> Run | None:
        return self.before.get(key)

    def count(self, key: str) -> int:
        return self.past + sum(known.startswith(key) for known in self.keys)

    def start(self, cell: Cell, key: str, idempotency_key: str) -> Run:
        self.keys.append(idempotency_key)
        name = f"run{len(self.keys)}"
        self.runs[name] = self.ways.pop(0)
        return Run(id=name, name=name, state="waiting")

    def look(self, ids: Sequence[str]) -> list[Run]:
        self.check()
        return [self._next(one) for one in ids]

    def _next(self, name: str) -> Run:
        way = self.runs[name]
        step = way.pop(0) if len(way) > 1 else way[0]
        return step if isinstance(step, Run) else Run(id=name, name=name, state=step, reference=FOUND)

    def bury(self, run_id: str) -> None:
        self.runs[run_id] = ["crashed"]

    def abandon(self, ids: Sequence[str]) -> bool:
        self.abandoned += ids
        return len(self.keys) > 1

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def fan_out(self, home: Home, *cells: Cell) -> fanout.FannedOut:
        out = FanOut(STUDY, home, self, self.said.append, clock=lambda: self.now, sleep=self.sleep)
        return out.run(cells)


def failed(name: str, message: str) -> Run:
    return Run(id=name, name=name, state="failed", message=message)


def test_a_key_is_equal_for_equal_work_in_any_process_and_differs_with_all_that_decides_a_result(
    home: Home, tmp_path: Path
) -> None:
    key = key_of(STUDY, TINY, home, "cell/local")
    assert key.startswith("kdrec-")
    assert key.endswith("-trec/tiny")
    program = (
        "from pathlib import Path; from kdrec.home import Home; from kdrec.studies import Cell, Study; "
        "from flows.fanout import key_of; "
        "s = Study(name='s', tasks=('trec', 'sms_spam'), students=('small', 'tiny')); "
        f"print(key_of(s, Cell(task='trec', student='tiny'), Home.at({str(home.root)!r}), 'cell/local'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == key

    file = tmp_path / "own.csv"
    file.write_text("text,label\na,b\n", encoding="utf-8")
    own = replace(STUDY, tasks=("own",), data={"own": OwnData(path=str(file), text="text", label="label")})
    before = key_of(own, Cell(task="own", student="tiny"), home, "cell/local")
    file.write_text("text,label\na,c\n", encoding="utf-8")
    others = [
        key_of(STUDY, SMALL, home, "cell/local"),
        key_of(STUDY, TINY, home, "cell/docker"),
        key_of(STUDY, TINY, Home.at(tmp_path / "other"), "cell/local"),
        key_of(replace(STUDY, seeds=(1,)), TINY, home, "cell/local"),
        before,
        key_of(own, Cell(task="own", student="tiny"), home, "cell/local"),
    ]
    more = tmp_path / "more.csv"
    for text in ("a", "b"):
        more.write_text(f"text\n{text}\n", encoding="utf-8")
        bare = replace(own, data={"own": replace(own.data["own"], unlabelled=str(more))})
        others.append(key_of(bare, Cell(task="own", student="tiny"), home, "cell/local"))
    assert len({key, *others}) == 9


def test_where_homes_are_apart_the_path_of_the_studys_is_neither_passed_on_nor_part_of_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, shelf = "http://ada:pw@mlflow.example:5000", "s3://bucket/kdrec"
    one, other = (Home(root=tmp_path / name, tracking_uri=server, shared=shelf) for name in ("one", "other"))
    assert key_of(STUDY, TINY, one, "cell/local") == key_of(STUDY, TINY, other, "cell/local")
    assert parameters("glue", TINY, one)["home"] is None
    for shared_home in (replace(one, shared=None), replace(one, tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")):
        assert parameters("glue", TINY, shared_home)["home"] == str(one.root)
        assert key_of(STUDY, TINY, shared_home, "cell/local") != key_of(STUDY, TINY, one, "cell/local")
    monkeypatch.setenv("KDREC_HOME", str(tmp_path / "worker"))
    with pytest.raises(MismatchError, match=r"neither home nor shelf .* set KDREC_SHARED and KDREC_TRACKING_URI here"):
        home_of(None, sent=True)
    assert home_of(None, sent=False).root == tmp_path / "worker"
    assert home_of(str(tmp_path), sent=True).root == tmp_path
    monkeypatch.setenv("KDREC_SHARED", shelf)
    monkeypatch.setenv("KDREC_TRACKING_URI", server)
    assert home_of(None, sent=True) == replace(one, root=tmp_path / "worker")
    elsewhere = replace(one, shared="s3://bucket/another")
    assert key_of(STUDY, TINY, elsewhere, "cell/local") != key_of(STUDY, TINY, one, "cell/local")


def test_cells_go_out_one_of_each_task_first_and_the_heavier_before_the_lighter(home: Home) -> None:
    order = [str(cell) for cell in one_of_each_task_first(cut(STUDY, home))]
    assert {cell.split("/")[0] for cell in order[:2]} == {"trec", "sms_spam"}
    assert [cell.split("/")[1] for cell in order] == ["small", "small", "tiny", "tiny"]


def test_every_cell_is_waited_for_and_told_by_reference_in_the_order_of_the_study(home: Home) -> None:
    pool = Bench(["waiting", "at work", "done"], ["at work", "at work", "at work", "done"])
    done = pool.fan_out(home, TINY, SMALL)
    assert list(done.found.items()) == [(SMALL, FOUND), (TINY, FOUND)]
    assert done.failed == {}
    assert pool.keys == [f"{key_of(STUDY, cell, home, 'cell/local')}-0" for cell in (TINY, SMALL)]
    assert "trec/tiny: done, 3 trials new and 2 found; MLflow run abc." in pool.said
    assert pool.abandoned == []


def test_a_study_run_again_waits_for_what_is_at_work_and_starts_anew_what_ended(home: Home) -> None:
    pool = Bench(["done"])
    pool.past = 2
    pool.before[key_of(STUDY, SMALL, home, "cell/local")] = Run(id="old", name="old", state="at work")
    pool.runs["old"] = ["at work", "done"]
    done = pool.fan_out(home, SMALL, TINY)
    assert set(done.found) == {SMALL, TINY}
    assert pool.keys == [f"{key_of(STUDY, TINY, home, 'cell/local')}-2"], "ended runs have used up the keys 0 and 1"
    assert pool.said[0] == "trec/small: flow run 'old' is at work since before; waiting for it."


def test_a_failing_cell_is_one_sentence_and_keeps_no_other_from_its_end(home: Home) -> None:
    few = failed("run1", "trec/minilm: few.csv has 2 rows")
    pool = Bench([few], ["at work", "done"])
    done = pool.fan_out(home, TINY, SMALL)
    assert set(done.found) == {SMALL}
    assert str(refusal(done.failed, 2)) == (
        "1 of 2 cells failed, the others are done: trec/tiny: trec/minilm: few.csv has 2 rows"
    )


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("cancelled", "flow run 'run1' was cancelled"),
        (Run(id="run1", name="run1", state="done"), "flow run 'run1' ended and did not say what it found; is the"),
        (failed("run1", ""), "failed without a word"),
        (Run(id="other", name="other", state="done"), "its flow run was deleted"),
    ],
)
def test_a_run_that_brings_nothing_says_why(home: Home, state: Any, sentence: str) -> None:
    assert Bench([state]).fan_out(home, TINY).failed[TINY].startswith(sentence)


def test_a_cell_whose_process_was_killed_is_started_anew_and_given_up_after_three_deaths(home: Home) -> None:
    pool = Bench(["crashed"], ["at work", "done"])
    assert set(pool.fan_out(home, TINY).found) == {TINY}
    assert [key[-2:] for key in pool.keys] == ["-0", "-1"]
    pool = Bench(["crashed"], ["crashed"], ["crashed"], ["done"])
    assert "killed 3 times" in pool.fan_out(home, TINY).failed[TINY]


def test_a_run_that_reads_running_without_a_process_is_taken_for_crashed_after_two_minutes(home: Home) -> None:
    pool = Bench(["at work"], ["at work", "done"])
    (home.folder("locks") / "flow-run-run1.lock").touch()  # what a killed holder leaves
    assert set(pool.fan_out(home, TINY).found) == {TINY}
    assert 120 <= pool.now < 150


def test_a_server_that_is_away_is_waited_for_and_given_up_after_ten_minutes(home: Home) -> None:
    pool = Bench(["at work", "done"])
    pool.away = (1, 300)
    assert set(pool.fan_out(home, TINY).found) == {TINY}
    assert sum("does not answer (ConnectError)" in line for line in pool.said) < 12
    pool = Bench(["done"])
    pool.away = (1, 1000)
    with pytest.raises(KdrecError, match=r"has not answered for 10 minutes .* the study run again waits for them"):
        pool.fan_out(home, TINY)
    assert pool.now <= 610


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ((TINY, SMALL), "The study is cancelled, and its cells with it."),
        ((TINY,), "The study ends here; its cells at work go on, and the study run again waits for them."),
    ],
)
def test_a_study_that_is_stopped_leaves_its_cells_to_the_pool_and_says_what_becomes_of_them(
    home: Home, cells: tuple[Cell, ...], sentence: str
) -> None:
    pool = Bench(["at work"], ["at work"])
    pool.sleep = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        pool.fan_out(home, *cells)
    assert pool.abandoned == ["run1", "run2"][: len(cells)]
    assert pool.said[-1] == sentence


def interrupt(_: float) -> None:
    raise KeyboardInterrupt


def test_an_idle_pool_is_explained_once(home: Home) -> None:
    pool = Bench(["waiting"] * 40 + ["done"])
    pool.fan_out(home, TINY)
    assert sum("is a worker running for cell/local" in line for line in pool.said) == 1


def test_what_a_cell_is_told_is_found_from_any_folder(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.root)
    told = {"task": "trec", "student": "tiny", "home": str(home.root), "version": kdrec.__version__}
    assert parameters("glue", TINY, home) == told | {"study": "glue"}
    assert parameters("my.toml", TINY, home) == told | {"study": str(home.root / "my.toml")}
