"""One cell trained by two gloo ranks under torchrun, killed and gone on with, beside the same cell by one process."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
import ranks_cell
from tiny_tasks import rows_of

from flows import pieces, ranks
from kdrec import trial
from kdrec.errors import BadArgument, KdrecError
from kdrec.home import Home
from kdrec.studies import Cell, Study
from kdrec.tracking import Store
from kdrec.trial.__main__ import _lead
from kdrec.trial.ranks import Ranks
from kdrec.types import KDConfig, Trial

CELL = Cell(task="words", student="student")
STUDY = """
name = "ranked"
tasks = ["words"]
students = ["student"]
search = "full"

[data.words]
path = "words.csv"
text = "text"
label = "label"
unlabelled = "more.csv"

[space]
alphas = [0.5]
teachers = ["t_ll"]
teacher_temperatures = [1.0]

[teacher]
learning_rates = [2e-3, 1e30]
epochs = 2
evaluations_per_epoch = 1
max_length = 32

[training]
learning_rate = 5e-3
epochs = 6
batch_size = 14
gradient_accumulation_steps = 2
evaluations_per_epoch = 1
max_length = 32
"""
"""A batch of 14 is 7 for each of two; one of the teacher's two runs diverges; some rows have no label."""
N_MORE = 20
SCRIPT = str(Path(ranks_cell.__file__))


@dataclass(frozen=True, kw_only=True)
class Told:
    """What was made by one process, and by two: the latter killed at the second trial, then run to its end."""

    alone: trial.CellResult
    home: Home
    killed: tuple[str, ...]
    """Fingerprints of the trials that were finished when a rank was killed."""
    exit_code: int
    orphans: list[psutil.Process]
    by_one: Trial
    """Made by one process meanwhile, in the home of the two."""
    progress: list[pieces.Told]
    result: pieces.Outcome


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    ranks_cell.write_cards(folder)
    with (folder / "words.csv").open("w", newline="", encoding="utf-8") as file:
        rows = ((row.texts[0], row.label) for row in rows_of("sentence", 160))
        csv.writer(file).writerows([("text", "label"), *rows])
    known = {row.texts for row in rows_of("sentence", 160)}
    more = [row.texts[0] for row in rows_of("sentence", 60, seed=7) if row.texts not in known]
    (folder / "more.csv").write_text("\n".join(["text", *more[:N_MORE]]), encoding="utf-8")
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def told(folder: Path) -> Told:
    study, home = Study.load(folder / "study.toml"), Home.at(folder / "two")
    with pytest.MonkeyPatch.context() as patch:
        cards = ranks_cell.cards_in(folder)
        patch.setattr("kdrec.catalog._shipped", lambda: cards)
        patch.setattr(ranks, "ENTRY", (SCRIPT,))
        patch.setenv("CARDS", str(folder))
        patch.setenv("PYTHONPATH", os.pathsep.join(part for part in sys.path if part))
        alone = trial.run_cell(study, CELL, Home.at(folder / "one"))
        exit_code, orphans = kill_a_rank_at_the_second_trial(folder, home)
        killed = tuple(made.fingerprint for made in Store.open(home).trials()[0])
        [*_, by_one] = trial.run_cell(only_mse(study), CELL, home).trials
        progress: list[pieces.Told] = []
        _, piece = pieces.cut(study, home, ranks=2)
        result = pieces.do(piece, progress.append)
    assert result is not None
    return Told(
        alone=alone,
        home=home,
        killed=killed,
        exit_code=exit_code,
        orphans=orphans,
        by_one=by_one,
        progress=progress,
        result=result,
    )


def only_mse(study: Study) -> Study:
    return replace(study, name="one", search="listed", space=type(study.space)(), configs=(KDConfig(distance="mse"),))


def kill_a_rank_at_the_second_trial(folder: Path, home: Home) -> tuple[int, list[psutil.Process]]:
    """Exit code of torchrun, and the processes that it left; the trial has a checkpoint by then."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = [SCRIPT, str(folder / "study.toml"), *(CELL.task, CELL.student), "--home", str(home.root)]
    log = folder / "log"
    with log.open("w") as file:
        process = subprocess.Popen([*command, *words], stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
    checkpoints = home.root / "checkpoints"
    deadline = time.monotonic() + 120
    while "words/student 1/3" not in log.read_text() or not list(checkpoints.glob("*.safetensors")):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.005)
    family = psutil.Process(process.pid).children(recursive=True)
    (follower,) = [child for child in family if child.environ().get("RANK") == "1"]
    follower.send_signal(signal.SIGKILL)
    return process.wait(60), psutil.wait_procs(family, timeout=10)[1]


def finished(home: Home) -> list[Trial]:
    return Store.open(home).trials()[0]


def curve(home: Home, run_id: str, name: str) -> list[int]:
    return [point.step for point in Store.open(home).ledger.client.get_metric_history(run_id, name)]


@pytest.mark.slow
class TestTwoRanks:
    def test_they_score_as_one_process_does(self, told: Told) -> None:
        assert [made.config for made in told.result.trials] == [made.config for made in told.alone.trials]
        for ours, alone in zip(told.result.trials, told.alone.trials, strict=True):
            assert ours.status == "completed"
            assert ours.val_loss == pytest.approx(alone.val_loss, rel=1e-2, abs=1e-4)
            assert (ours.val_score, ours.test_score) == (alone.val_score, alone.test_score)
            assert ours.features.n_transfer == alone.features.n_transfer == N_MORE
            assert ours.features.transfer_entropy == pytest.approx(alone.features.transfer_entropy, rel=1e-4)
        assert max(made.val_score or 0 for made in told.result.trials) > 80, "what is compared has learnt something"

    def test_a_killed_rank_takes_the_others_with_it_and_no_finished_trial(self, told: Told) -> None:
        assert told.exit_code != 0
        assert told.orphans == []
        assert len(told.killed) == 1
        assert told.killed[0] == told.result.trials[0].fingerprint

    def test_the_trial_it_was_at_goes_on_from_its_checkpoint(self, told: Told) -> None:
        steps = [curve(told.home, made.run_id, "validation/loss") for made in told.result.trials]
        assert len(steps[0]) == len(steps[2]) == 6
        assert steps[2][-1] > steps[0][-1], "a taught student learns from rows without labels as well"
        assert 0 < len(steps[1]) < 6, "the evaluations before the kill are in no run"
        assert steps[1] == steps[2][-len(steps[1]) :]
        assert list((told.home.root / "checkpoints").iterdir()) == []

    def test_a_trial_that_one_process_made_is_found(self, told: Told) -> None:
        assert told.by_one.config == KDConfig(distance="mse")
        assert told.by_one.run_id in {made.run_id for made in told.result.trials}

    def test_every_trial_has_one_run_and_every_cache_one_file(self, told: Told) -> None:
        store = Store.open(told.home)
        experiment = [store.experiment("ranked")]
        runs = store.ledger.runs(store.ledger.experiments(), "trial")
        statuses = Counter(run.data.tags["kdrec.status"] for run in runs)
        assert statuses == {"completed": 3, "replaced": 1} or statuses == {"completed": 3, "failed": 1}
        assert len(store.ledger.runs(experiment, "cell")) == len(store.ledger.runs(experiment, "teacher")) == 1
        weights = list((told.home.root / "teachers").glob("*/*.safetensors"))
        assert len(list((told.home.root / "teachers").iterdir())) == 1
        assert len(weights) in (1, 2)
        assert len(list((told.home.root / "logits").iterdir())) == 2 * len(weights), "with labels and without"
        assert len(list((told.home.root / "tokens").iterdir())) == 4
        assert list((told.home.root / "outbox").iterdir()) == []

    def test_progress_comes_back_as_from_one_process(self, told: Told) -> None:
        assert [one.done for one in told.progress if one.message == "searched"] == [3]
        assert {one.piece for one in told.progress} == {"words/student"}
        assert not [one for one in told.progress if "t_hs and t_ll" in one.message], (
            "the teacher has a piece of its own"
        )


@pytest.mark.parametrize(
    ("task", "model", "sentence"),
    [
        ("word", "student", "study 'ranked' has no task 'word'; did you mean 'words'?"),
        ("words", "studnt", "study 'ranked' has no student or teacher 'studnt'; did you mean 'student'?"),
    ],
)
def test_a_cell_that_the_study_lacks_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, task: str, model: str, sentence: str
) -> None:
    cards = ranks_cell.cards_in(folder)
    monkeypatch.setattr("kdrec.catalog._shipped", lambda: cards)
    with pytest.raises(BadArgument) as refused:
        _lead(Study.load(folder / "study.toml"), task, model, Home.at(folder / "none"), Ranks(), lambda told: None)
    assert str(refused.value) == sentence
    assert not (folder / "none").exists()


SAYS = """
print("a library has something to say")
print('{"part": "trec teacher", "done": 3, "expected": 3, "message": "ready", "notice": false}')
print('{"part": "trec/tiny", "done": 1, "expected": 2, "message": "half", "notice": false}')
"""


@pytest.mark.parametrize(
    ("ends", "error", "text"),
    [
        ("", None, ""),
        ("""print('{"error": "the disk is full"}'); raise SystemExit(2)""", KdrecError, "the disk is full"),
        ("raise SystemExit(1)", RuntimeError, "torchrun ended with 1:\na library has something to say\n"),
    ],
)
def test_progress_refusals_and_last_words_are_told_apart(ends: str, error: type[Exception] | None, text: str) -> None:
    heard: list[tuple[int, int, str, bool]] = []
    process = subprocess.Popen([sys.executable, "-c", SAYS + ends], stdout=subprocess.PIPE, text=True)
    with process, pytest.raises(error) if error else nullcontext() as raised:
        ranks._listen(process, "trec/tiny", lambda *words: heard.append(words))
    assert heard == [(1, 2, "half", False)]
    assert raised is None or str(raised.value) == text
