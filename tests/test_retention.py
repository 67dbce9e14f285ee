"""What is needed stays, in a home whose trials a real store knows; what is not goes, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_tracking import FEATURES, TRIAL, record, start
from test_tracking import server as tracking_server  # noqa: F401 - a fixture

from kdrec import retention, trial
from kdrec.cli import main
from kdrec.errors import StoreError
from kdrec.home import Home
from kdrec.retention import Fate
from kdrec.signals import TeacherSignal
from kdrec.sources import mark_used
from kdrec.studies import Cell, Study
from kdrec.trace import Trace, write_trace
from kdrec.tracking import Store
from kdrec.trial.bench import lock
from kdrec.types import Candidate

DAY = 86_400
FINISHED, BEGUN, FAILED, UNKNOWN = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
KNOWN_TEACHER, LEARNED_FROM, AWAITED, STRANGER = ("1" * 64, "2" * 64, "3" * 64, "4" * 64)
OLD = 40 * DAY


def put(path: Path, data: bytes = b"data", *, idle: float = OLD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_bytes(data)
    os.utime(path, (time.time() - idle,) * 2)
    return path


def put_teacher(home: Home, key: str, measures: tuple[float, float, float], *, idle: float = OLD) -> str:
    """A teacher's folder as `fine_tune` leaves it, and the hash of its selected weights (made up)."""
    score, loss, ece = measures
    weights = (key[:1] * 63) + "f"
    one = Candidate(learning_rate=1e-4, seed=0, step=1, epoch=1.0, score=score, loss=loss, ece=ece, checkpoint=weights)
    folder = home.folder("teachers", key)
    write_trace(folder, Trace(candidates=[one]))
    for path in (folder / "trace.json", put(folder / f"{weights}.safetensors")):
        os.utime(path, (time.time() - idle,) * 2)
    return weights


def put_logits(home: Home, name: str, checkpoint: str, *, idle: float = OLD) -> Path:
    path = home.folder("logits") / f"{name * 64}.safetensors"
    signal = TeacherSignal(key="k", ids_N=np.arange(3), logits_RC=np.zeros((3, 2), dtype=np.float32))
    signal.save(path, checkpoint=checkpoint)
    os.utime(path, (time.time() - idle,) * 2)
    return path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with trials in every state, made once."""
    home = Home.at(tmp_path_factory.mktemp("known"))
    store = Store.open(home)
    learned = replace(FEATURES, teacher_score=90.0, teacher_nll=0.1 + 0.2, teacher_ece=0.05)
    record(store, replace(TRIAL, features=learned), FINISHED)
    record(store, TRIAL, "e" * 64)
    experiment = store.experiment("study")
    cell = store.open_cell(experiment, "trec/small", learned, "note")
    store.close_cell(cell, {}, "note")
    store.open_cell(experiment, "trec/tiny", replace(learned, teacher_score=70.0), "note")
    start(store, replace(TRIAL, features=replace(FEATURES, task="other")), BEGUN)
    run_id, _ = start(store, replace(TRIAL, features=replace(FEATURES, task="other")), FAILED)
    failed = replace(TRIAL, features=replace(FEATURES, task="other"), status="failed", val_score=None, val_loss=None)
    store.finish_trial(run_id, replace(failed, fingerprint=FAILED))
    one = Candidate(learning_rate=1e-4, seed=0, step=1, epoch=1.0, score=80.0, loss=0.5, ece=0.1, checkpoint="x")
    store.log_teacher(experiment, "trec", [one], {"t_hs": one, "t_ll": one}, {"task": "trec"}, key=KNOWN_TEACHER)
    return home.root / "mlflow.db"


@pytest.fixture
def home(prepared: Path, tmp_path: Path) -> Home:
    home = Home.at(tmp_path / "home")
    for name in ("mlflow.db", "mlflow.db.lock"):
        shutil.copy(prepared.parent / name, home.folder() / name)
    return home


def fates(found: retention.Found) -> dict[str, tuple[Fate, str]]:
    return {str(item.path.relative_to(found.home.root)): (item.fate, item.reason) for item in found.items}


def fate_of(home: Home, path: Path, **how: Any) -> tuple[Fate, str]:
    return fates(retention.look(home, **how))[str(path.relative_to(home.root))]


def everything(home: Home) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in home.root.rglob("*")}


# ------------------------------------------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize(
    ("trial_of", "idle", "expected"),
    [
        (FINISHED, 0, ("goes", "its trial is finished")),
        (BEGUN, 1000 * DAY, ("stays", "its trial is not finished and goes on from it")),
        (FAILED, 1000 * DAY, ("stays", "its trial is not finished and goes on from it")),
        (UNKNOWN, 2 * DAY, ("stays", "used within the last 30 days")),
        (UNKNOWN, OLD, ("goes", "no run of the store knows its trial, and it was not used for 30 days")),
    ],
)
def test_a_checkpoint_is_needed_until_its_trial_is_finished(
    home: Home, trial_of: str, idle: float, expected: tuple[str, str]
) -> None:
    path = put(home.root / "checkpoints" / f"{trial_of}.safetensors", idle=idle)
    assert fate_of(home, path) == expected


@pytest.fixture
def holder(home: Home) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the locks of a finished trial and of an unknown teacher."""
    code = f"""
import sys, time
from kdrec.home import Home
from kdrec.trial.bench import lock
home = Home.at(sys.argv[1])
locks = [lock(home, "{FINISHED}"), lock(home, "teacher-{STRANGER}")]
[one.acquire() for one in locks]
print("held", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code, str(home.root)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_what_a_live_process_holds_is_not_touched_and_goes_once_it_has_died(
    home: Home, holder: subprocess.Popen[bytes]
) -> None:
    checkpoint = put(home.root / "checkpoints" / f"{FINISHED}.safetensors")
    put_teacher(home, STRANGER, (1.0, 2.0, 3.0))
    held = retention.delete(retention.look(home))
    assert {item.reason for item in held.items} == {"a live process holds its lock"}
    assert {item.fate for item in held.items} == {"stays"}
    holder.kill()
    holder.wait()
    gone = retention.delete(retention.look(home))
    assert {item.fate for item in gone.items} == {"gone"}
    assert not checkpoint.exists()
    assert list((home.root / "teachers").iterdir()) == []


def test_a_lock_taken_between_judging_and_deleting_keeps_the_file(home: Home) -> None:
    path = put(home.root / "checkpoints" / f"{FINISHED}.safetensors")
    found = retention.look(home)
    with lock(home, FINISHED):
        assert retention.delete(found).total("gone").files == 0
    assert path.exists()


# ---------------------------------------------------------------------------------------------------------- teachers


def test_a_teacher_that_any_run_names_or_learned_from_stays_whatever_its_age(home: Home) -> None:
    put_teacher(home, KNOWN_TEACHER, (1.0, 2.0, 3.0), idle=1000 * DAY)
    put_teacher(home, LEARNED_FROM, (90.0, 0.1 + 0.2, 0.05), idle=1000 * DAY)
    put_teacher(home, STRANGER, (90.0, 0.3, 0.05), idle=1000 * DAY)
    found = fates(retention.look(home, keep_days=0))
    assert {name[9:10]: fate for name, (fate, _) in found.items()} == {"1": "stays", "2": "stays", "4": "goes"}


def test_a_teacher_half_made_stays_until_it_is_idle(home: Home) -> None:
    put_teacher(home, STRANGER, (1.0, 2.0, 3.0), idle=OLD)
    put(home.root / "teachers" / STRANGER / f"{'9' * 64}.safetensors", idle=2 * DAY)
    found = fates(retention.look(home))
    assert found.pop(f"teachers/{STRANGER}/{'9' * 64}.safetensors") == ("goes", "its trace does not select it")
    assert set(found.values()) == {("stays", "used within the last 30 days")}


def test_weights_that_a_trace_does_not_select_go_and_the_others_stay(home: Home) -> None:
    selected = put_teacher(home, KNOWN_TEACHER, (1.0, 2.0, 3.0))
    put(home.root / "teachers" / KNOWN_TEACHER / f"{'9' * 64}.safetensors", idle=2 * DAY)
    retention.delete(retention.look(home))
    left = sorted(path.name for path in (home.root / "teachers" / KNOWN_TEACHER).iterdir())
    assert left == [f"{selected}.safetensors", "trace.json"]


def test_weights_that_may_yet_be_selected_stay(home: Home) -> None:
    """Of a stage that goes on with its next run: between t_ll and t_hs, and not where another is better in both."""
    folder = home.folder("teachers", KNOWN_TEACHER)
    trace = [
        Candidate(
            learning_rate=1e-4,
            seed=0,
            step=step,
            epoch=1.0,
            score=score,
            loss=loss,
            ece=0.1,
            checkpoint=str(step) * 64,
            score_se=1.0,
        )
        for step, (score, loss) in enumerate(((60.0, 0.2), (70.0, 0.3), (69.0, 0.4), (80.0, 0.5)))
    ]
    write_trace(folder, Trace(candidates=trace))
    for one in trace:
        put(folder / f"{one.checkpoint}.safetensors", idle=OLD)
    retention.delete(retention.look(home))
    assert sorted(path.stem[0] for path in folder.glob("*.safetensors")) == ["0", "1", "3"]


def test_a_known_teacher_whose_trace_is_damaged_is_left_whole(home: Home) -> None:
    put_teacher(home, KNOWN_TEACHER, (1.0, 2.0, 3.0))
    put(home.root / "teachers" / KNOWN_TEACHER / "trace.json", b"{")
    assert {fate for fate, _ in fates(retention.look(home, keep_days=0)).values()} == {"stays"}


def test_a_teacher_that_is_used_meanwhile_is_kept_whole(home: Home) -> None:
    put_teacher(home, STRANGER, (1.0, 2.0, 3.0))
    found = retention.look(home)
    mark_used(home.root / "teachers" / STRANGER / "trace.json")
    assert {item.fate for item in retention.delete(found).items} == {"stays"}
    assert len(list((home.root / "teachers" / STRANGER).iterdir())) == 2


def test_a_foreign_file_in_the_folder_of_a_teacher_keeps_the_folder(home: Home) -> None:
    put_teacher(home, STRANGER, (1.0, 2.0, 3.0))
    mine = put(home.root / "teachers" / STRANGER / "notes.txt")
    retention.delete(retention.look(home))
    assert list(mine.parent.iterdir()) == [mine]


# ------------------------------------------------------------------------------------------------------------ caches


def test_logits_stay_for_unfinished_cells_or_if_used_of_late_and_go_without_a_teacher(home: Home) -> None:
    awaited = put_teacher(home, AWAITED, (70.0, 0.1 + 0.2, 0.05))
    done = put_teacher(home, LEARNED_FROM, (90.0, 0.1 + 0.2, 0.05))
    expected = {
        put_logits(home, "5", awaited, idle=1000 * DAY): ("stays", "a cell of its teacher is not finished"),
        put_logits(home, "6", done, idle=3 * DAY): ("stays", "used within the last 30 days"),
        put_logits(home, "7", done): (
            "goes",
            "one pass of its teacher makes it again, and it was not used for 30 days",
        ),
        put_logits(home, "8", "9" * 64, idle=3 * DAY): ("goes", "its teacher is no longer here"),
        put_logits(home, "9", "9" * 64, idle=60): ("stays", "used within the last hour"),
        put(home.root / "logits" / f"{'a' * 64}.safetensors", b"damaged", idle=3 * DAY): (
            "stays",
            "used within the last 30 days",
        ),
    }
    found = fates(retention.look(home))
    assert {path: found[str(path.relative_to(home.root))] for path in expected} == expected


@pytest.mark.parametrize(("folder", "suffix"), [("tokens", "tokens"), ("students", "safetensors")])
def test_what_can_be_made_again_goes_once_idle_and_looking_at_it_is_no_use(
    home: Home, folder: str, suffix: str
) -> None:
    path = put(home.root / folder / f"{'a' * 64}.{suffix}", idle=31 * DAY)
    path.read_bytes()
    assert fate_of(home, path)[0] == "goes"
    assert fate_of(home, path, keep_days=32)[0] == "stays"
    mark_used(path)
    assert fate_of(home, path) == ("stays", "used within the last hour")
    assert fate_of(home, path, keep_days=0) == ("stays", "used within the last hour")


def test_a_use_is_marked_once_a_day(tmp_path: Path) -> None:
    path = put(tmp_path / "file", idle=DAY / 2)
    before = path.stat().st_mtime_ns
    mark_used(path)
    assert path.stat().st_mtime_ns == before
    mark_used(tmp_path / "nowhere")


def test_temporary_files_of_dead_writers_go_after_a_day(home: Home) -> None:
    name = f".{'a' * 64}.tokens.123-0a1b2c3d.tmp"
    old = put(home.root / "tokens" / name, idle=1.5 * DAY)
    new = put(home.root / "logits" / name, idle=0.5 * DAY)
    mine = put(home.root / "tokens" / ".mine.tmp", idle=OLD)
    retention.delete(retention.look(home))
    assert not old.exists()
    assert new.exists()
    assert mine.exists()


# ------------------------------------------------------------------------------------------------ what is not touched


def test_links_are_reported_and_what_they_lead_to_stays(home: Home, tmp_path: Path) -> None:
    outside = put(tmp_path / "elsewhere" / f"{'a' * 64}.tokens")
    linked_file = home.folder("tokens") / f"{'a' * 64}.tokens"
    linked_file.symlink_to(outside)
    linked_folder = home.root / "logits"
    linked_folder.symlink_to(put(tmp_path / "disk" / f"{'b' * 64}.safetensors").parent)
    linked_teacher = home.folder("teachers") / STRANGER
    linked_teacher.symlink_to(tmp_path / "disk")
    found = retention.delete(retention.look(home, keep_days=0))
    assert {item.path for item in found.items} == {linked_file, linked_folder, linked_teacher}
    assert {(item.fate, item.reason) for item in found.items} == {("left", "it is a link, and links are not followed")}
    assert outside.exists()
    assert (tmp_path / "disk" / f"{'b' * 64}.safetensors").exists()
    assert linked_file.is_symlink()


def test_a_folder_that_becomes_a_link_meanwhile_is_not_followed(home: Home, tmp_path: Path) -> None:
    path = put(home.root / "tokens" / f"{'a' * 64}.tokens")
    found = retention.look(home)
    (home.root / "tokens").rename(tmp_path / "moved")
    (home.root / "tokens").symlink_to(tmp_path / "moved")
    assert retention.delete(found).items[0].fate == "left"
    assert path.exists()


def test_without_delete_nothing_changes_and_with_it_nothing_else_does(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    goes = {
        put(home.root / "checkpoints" / f"{FINISHED}.safetensors"),
        put(home.root / "tokens" / f"{'a' * 64}.tokens"),
    }
    for name in ("sources/x/file", "artifacts/1/y", "prefect/z", "locks/free.lock", "tokens/mine.txt", "mine"):
        put(home.root / name)
    put(home.root / "history.sqlite")
    before = everything(home)
    assert main(["--home", str(home.root), "gc"]) == 0
    assert everything(home) == before
    assert "2 files, 8 B, of" in capsys.readouterr().out
    assert main(["--home", str(home.root), "gc", "--delete", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["totals"]["gone"] == {"files": 2, "bytes": 8}
    assert {Path(file["path"]) for file in told["files"] if file["fate"] == "gone"} == goes
    after = everything(home)
    guard = home.root / "locks" / f"{FINISHED}.lock"
    assert {path: data for path, data in before.items() if path not in goes} == {
        path: data for path, data in after.items() if path != guard
    }


def test_a_refusal_of_the_system_stops_no_other_deletion(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stuck = put(home.root / "tokens" / f"{'a' * 64}.tokens")
    other = put(home.root / "tokens" / f"{'b' * 64}.tokens")
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path == stuck:
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert main(["--home", str(home.root), "gc", "--delete"]) == 2
    assert capsys.readouterr().err == f"1 files could not be deleted, such as {stuck}: permission denied\n"
    assert not other.exists()


def test_a_lock_that_cannot_be_had_keeps_its_file_and_no_other(home: Home) -> None:
    guarded = put(home.root / "checkpoints" / f"{FINISHED}.safetensors")
    free = put(home.root / "tokens" / f"{'a' * 64}.tokens")
    found = retention.look(home)
    put(home.root / "locks")
    done = retention.delete(found)
    assert {item.path: item.fate for item in done.items} == {guarded: "failed", free: "gone"}
    assert guarded.exists()


# --------------------------------------------------------------------------------------------------- without a store


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("", "there is no tracking store at "),
        ("http://ada:s3cret@127.0.0.1:9", "no tracking store answers at http://***@127.0.0.1:9"),
        ("EMPTY", "holds no run of kdrec's, so it cannot say what is needed"),
    ],
)
def test_without_a_store_that_knows_nothing_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], uri: str, sentence: str
) -> None:
    home = Home.at(tmp_path / "home")
    path = put(home.root / "tokens" / f"{'a' * 64}.tokens")
    if uri == "EMPTY":
        Store.open(home)
    elif uri:
        monkeypatch.setenv("KDREC_TRACKING_URI", uri)
    assert main(["--home", str(home.root), "gc", "--delete"]) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert path.exists()
    assert (home.root / "mlflow.db").exists() == (uri == "EMPTY")


def test_a_store_of_another_schema_judges_nothing(home: Home) -> None:
    store = Store.open(home)
    store.ledger.client.set_experiment_tag(store.experiment("study"), "kdrec.schema", "99")
    with pytest.raises(StoreError, match="schema 99"):
        retention.look(home)


@pytest.mark.slow
def test_a_tracking_server_says_what_is_needed_as_a_file_does(tracking_server: Home) -> None:  # noqa: F811
    home = tracking_server
    put(home.root / "checkpoints" / f"{FINISHED}.safetensors")
    put(home.root / "checkpoints" / f"{BEGUN}.safetensors")
    put_teacher(home, LEARNED_FROM, (90.0, 0.1 + 0.2, 0.05))
    done = retention.delete(retention.look(home))
    assert {item.path.stem[0]: item.fate for item in done.items if item.kind == "checkpoints"} == {
        "a": "gone",
        "b": "stays",
    }
    assert {item.fate for item in done.items if item.kind == "teachers"} == {"stays"}


# ------------------------------------------------------------------------------------------------------- a real study


@pytest.mark.slow
@pytest.mark.network
def test_a_finished_study_trains_nothing_when_it_is_run_again_after_all_that_can_go_has_gone(
    module_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {
        "name": "small",
        "tasks": ["vader_tweets"],
        "students": ["tiny"],
        "rows": {"train": 60, "validation": 30, "test": 30},
        "space": {"alphas": [0.5], "distances": ["mse"], "teachers": ["t_ll"]},
        "teacher": {"learning_rates": [2e-4], "epochs": 1, "evaluations_per_epoch": 1, "max_length": 32},
        "training": {"epochs": 1, "max_length": 32},
    }
    study, cell = Study.from_dict(table), Cell(task="vader_tweets", student="tiny")
    result = trial.run_cell(study, cell, module_home)
    home = module_home
    put(home.root / "checkpoints" / f"{result.trials[0].fingerprint}.safetensors")
    for path in home.root.rglob("*"):
        if path.is_file() and "sources" not in path.relative_to(home.root).parts and path.parent != home.root:
            os.utime(path, (time.time() - 1000 * DAY,) * 2)
    done = retention.delete(retention.look(home, keep_days=0))
    gone = {item.kind for item in done.items if item.fate == "gone"}
    assert gone == {"checkpoints", "logits", "tokens"}
    assert {item.kind for item in done.items if item.fate == "stays"} == {"teachers"}

    def no_training(*words: Any, **more: Any) -> Any:
        raise AssertionError("something is trained")

    monkeypatch.setattr("kdrec.engine.fit", no_training)
    trial.prepare_teacher(study, cell.task, "minilm", home)
    assert trial.run_cell(study, cell, home) == result
    assert asdict(retention.look(home).total("goes")) == {"files": 0, "bytes": 0}
