"""Laws of tracking, on real MLflow stores: what is recorded is what is read, and half a run is nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow_server import Server
from test_history import finished_trials

from kdrec import history
from kdrec.cli import main
from kdrec.errors import BadArgument, MismatchError, StoreError
from kdrec.home import Home
from kdrec.space import DEFAULT_SPACE
from kdrec.tracking import Store, cell_note, closing_note, redacted, warned
from kdrec.tracking.notes import NOTE_LIMIT, escaped
from kdrec.types import BASELINE_CONFIG, Candidate, KDConfig, Settings, TaskFeatures, TeacherChoice, Training, Trial

ROOT = Path(__file__).parents[1]
FEATURES = TaskFeatures(
    task="trec", family="sentence", n_train=3000, n_classes=6, label_entropy=0.1 + 0.2, mean_tokens=11.5
)
TRIAL = Trial(
    features=FEATURES,
    student="small",
    config=KDConfig(tau_t=4.0),
    seed=3,
    status="completed",
    val_score=86.1,
    val_loss=0.1 + 0.2,
    test_score=None,
    seconds=31.25,
)


def at(root: Path) -> Home:
    return Home(root=root, tracking_uri=f"sqlite:///{root / 'mlflow.db'}")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh database, made once: creating one takes seconds."""
    home = at(tmp_path_factory.mktemp("prepared"))
    Store.open(home)
    return home.root / "mlflow.db"


@pytest.fixture
def home(prepared: Path, tmp_path: Path) -> Home:
    shutil.copy(prepared, at(tmp_path / "home").folder() / "mlflow.db")
    return at(tmp_path / "home")


@pytest.fixture
def store(home: Home) -> Store:
    return Store.open(home)


@pytest.fixture(scope="module")
def server(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose store is a real MLflow server."""
    made = Server(tmp_path_factory.mktemp("server"))
    shutil.copy(prepared, made.folder / "served.db")
    made.start()
    try:
        made.wait()
        yield Home(root=made.folder / "home", tracking_uri=made.uri.replace("//", "//ada:s3cret@"))
    finally:
        made.kill()


def start(store: Store, trial: Trial = TRIAL, fingerprint: str = "", study: str = "study") -> tuple[str, str]:
    """Begin a trial; its run id and fingerprint."""
    experiment = store.experiment(study)
    parent = store.open_cell(experiment, f"{trial.task}/{trial.student}", trial.features, "note")
    fingerprint = fingerprint or uuid.uuid4().hex
    run_id = store.start_trial(
        experiment,
        parent,
        config=trial.config,
        student=trial.student,
        features=trial.features,
        seed=trial.seed,
        fingerprint=fingerprint,
        training=Training(seed=0),
    )
    return run_id, fingerprint


def record(store: Store, trial: Trial = TRIAL, fingerprint: str = "", study: str = "study") -> Trial:
    run_id, fingerprint = start(store, trial, fingerprint, study)
    store.log_metrics(run_id, [("validation/score", 80.0, 10), ("validation/score", 85.0, 20), ("train/loss", 0.5, 20)])
    return store.finish_trial(run_id, replace(trial, run_id="", fingerprint=fingerprint))


def bits(trial: Trial) -> list[str | None]:
    return [value.hex() if isinstance(value, float) else repr(value) for value in trial.to_row().values()]


# ------------------------------------------------------------------------------------------------------- round trip


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trial=finished_trials())
def test_history_is_the_inverse_of_record(store: Store, trial: Trial) -> None:
    recorded = record(store, trial)
    assert recorded == replace(trial, run_id=recorded.run_id, fingerprint=recorded.fingerprint)
    read = store.find(recorded.fingerprint)
    assert read == recorded
    assert bits(read) == bits(recorded)
    assert recorded in store.trials()[0]


@pytest.mark.slow
def test_history_is_the_inverse_of_record_over_http(server: Home) -> None:
    store = Store.open(server)
    odd = replace(
        TRIAL, val_score=100 / 3, val_loss=5e-324, test_score=1e-17, seconds=1e308, config=KDConfig(tau_t=1 / 3)
    )
    diverged = replace(TRIAL, status="diverged", val_score=None, val_loss=None)
    recorded = [record(store, trial) for trial in (TRIAL, odd, diverged)]
    found = [store.find(trial.fingerprint) for trial in recorded]
    assert [bits(trial) for trial in found if trial] == [bits(trial) for trial in recorded]
    assert store.trials()[0] == recorded
    log_teacher(store)


@pytest.mark.slow
def test_nothing_is_printed_over_http(server: Home, capfd: pytest.CaptureFixture[str]) -> None:
    record(Store.open(server))
    assert capfd.readouterr().out == ""


def test_params_of_a_trial_are_its_knobs_and_its_seed(store: Store) -> None:
    run = store.ledger.client.get_run(record(store).run_id)
    assert run.data.params == {
        **{"alpha": "0.5", "distance": "ce", "teacher": "t_ll", "tau_t": "4", "tau_s": "1", "seed": "3"},
    }
    assert run.data.metrics["val_score"] == 86.1
    assert "test_score" not in run.data.metrics
    assert json.loads(run.data.tags["kdrec.training"])["learning_rate"] == Training().learning_rate
    assert run.info.status == "FINISHED"
    parent = store.ledger.client.get_run(run.data.tags["mlflow.parentRunId"])
    assert (parent.info.run_name, parent.data.params) == ("trec/small", {})


# ------------------------------------------------------------------------------------------------------------ status


def test_a_half_written_run_never_reaches_history(store: Store) -> None:
    run_id, fingerprint = start(store)
    store.log_metrics(run_id, [("validation/score", 80.0, 1)])
    assert store.find(fingerprint) is None
    assert store.trials()[0] == []
    store.ledger.end(run_id, "FINISHED")  # even one that MLflow itself calls finished
    assert store.find(fingerprint) is None
    assert store.trials()[0] == []


def test_a_killed_writer_leaves_nothing_in_history_and_its_run_is_replaced(home: Home, store: Store) -> None:
    code = """
import sys, time
sys.path.insert(0, "tests")
from test_tracking import *
store = Store.open(at(Path(sys.argv[1])))
run_id, fingerprint = start(store, fingerprint="f1")
store.log_metrics(run_id, [("validation/score", 80.0, 1)])
print(run_id, flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code, str(home.root)], cwd=ROOT, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        dead = writer.stdout.readline().decode().strip()
        writer.kill()
    assert store.trials()[0] == []
    again = record(store, fingerprint="f1")
    run = store.ledger.client.get_run(dead)
    assert (run.data.tags["kdrec.status"], run.info.status) == ("replaced", "KILLED")
    assert store.trials()[0] == [again]


def test_a_failed_trial_is_kept_in_mlflow_and_is_no_evidence(store: Store) -> None:
    failed = record(store, replace(TRIAL, status="failed", val_score=None, val_loss=None), "f1")
    run = store.ledger.client.get_run(failed.run_id)
    assert (run.info.status, run.data.tags["kdrec.status"]) == ("FAILED", "failed")
    assert store.find("f1") is None
    again = record(store, fingerprint="f1")
    assert store.find("f1") == again
    assert store.trials()[0] == [again]


def test_a_diverged_trial_is_evidence(store: Store) -> None:
    diverged = record(store, replace(TRIAL, status="diverged", val_score=None, val_loss=None))
    assert store.find(diverged.fingerprint) == diverged


def test_of_a_duplicated_fingerprint_the_earliest_finished_counts(store: Store) -> None:
    first = record(store, fingerprint="f1", study="one")
    time.sleep(0.01)
    record(store, replace(TRIAL, val_score=1.0), "f1", "two")
    assert store.find("f1") == first
    assert store.trials()[0] == [first]


def test_a_run_is_finished_only_by_the_trial_it_was_started_for(store: Store) -> None:
    run_id, fingerprint = start(store)
    foreign = replace(TRIAL, config=Settings.of(lr=1e-3))
    for other in (
        replace(TRIAL, seed=4),
        replace(TRIAL, student="tiny"),
        replace(TRIAL, config=BASELINE_CONFIG),
        foreign,
    ):
        with pytest.raises(MismatchError, match="another trial came to end it"):
            store.finish_trial(run_id, other)
    assert store.find(fingerprint) is None


def test_curves_are_finite_and_have_names_of_their_own(store: Store) -> None:
    run_id, _ = start(store)
    with pytest.raises(BadArgument, match="'loss' must be finite to be logged, got nan"):
        store.log_metrics(run_id, [("loss", float("nan"), 1)])
    with pytest.raises(BadArgument, match="'val_score' is the result of a trial"):
        store.log_metrics(run_id, [("val_score", 1.0, 1)])
    store.log_metrics(run_id, [("train/loss", 1.0 / (step + 1), step) for step in range(2500)])
    assert len(store.ledger.client.get_metric_history(run_id, "train/loss")) == 2500


# ------------------------------------------------------------------------------------------------------------- cells


def test_a_cell_has_one_parent_run_however_often_it_is_opened(store: Store) -> None:
    experiment = store.experiment("study")
    first = store.open_cell(experiment, "trec/small", FEATURES, "one", training=Training(), rows={"train": 9})
    store.close_cell(first, {"val_score": 86.0}, "closed")
    assert store.open_cell(experiment, "trec/small", FEATURES, "two", rows={"train": 7}) == first
    run = store.ledger.client.get_run(first)
    assert (run.info.status, run.data.tags["mlflow.note.content"]) == ("RUNNING", "two"), "it is of other rows now"
    assert run.data.metrics == {"val_score": 86.0}
    assert store.open_cell(experiment, "trec/tiny", FEATURES, "") != first


def test_a_finished_cell_keeps_its_end_until_a_trial_of_it_begins(store: Store) -> None:
    experiment, known = store.experiment("study"), {"training": Training(), "rows": {"train": 9}}

    def told() -> tuple[str, int | None, str]:
        run = store.ledger.client.get_run(cell)
        return run.info.status, run.info.end_time, run.data.tags["kdrec.status"]

    cell = store.open_cell(experiment, "trec/small", FEATURES, "one", **known)
    store.close_cell(cell, {"val_score": 86.0}, "closed")
    first = told()
    assert first[::2] == ("FINISHED", "completed")
    for _ in range(2):
        assert store.open_cell(experiment, "trec/small", FEATURES, "being calibrated") == cell
        assert store.open_cell(experiment, "trec/small", FEATURES, "two", **known) == cell
        store.close_cell(cell, {"val_score": 86.0}, "closed again")
        assert told() == first
    assert store.ledger.client.get_run(cell).data.tags["mlflow.note.content"] == "closed again"
    store.open_cell(experiment, "trec/small", FEATURES, "three", **known)
    store.start_trial(
        experiment, cell, config=KDConfig(), student="small", features=FEATURES, seed=5, fingerprint="c" * 32,
        training=Training(seed=5),
    )  # fmt: skip
    assert told()[::2] == ("RUNNING", "started")
    store.close_cell(cell, {"val_score": 87.0}, "longer")
    status, end, _ = told()
    assert status == "FINISHED"
    assert end is not None
    assert first[1] is not None
    assert end > first[1]


def test_text_in_a_name_cannot_change_a_query(store: Store) -> None:
    experiment = store.experiment("study")
    plain = store.open_cell(experiment, "x", FEATURES, "")
    odd = [store.open_cell(experiment, name, FEATURES, "") for name in ("x' or 1=1", "x' or '1'='1", 'x" or "')]
    assert len({plain, *odd}) == 4
    assert store.open_cell(experiment, "x' or 1=1", FEATURES, "") == odd[0]
    with pytest.raises(BadArgument, match="a fingerprint is a word of letters and digits"):
        store.find("x' or '1'='1")
    recorded = record(store, replace(TRIAL, features=replace(FEATURES, task="x' or 1=1")))
    assert store.find(recorded.fingerprint) == recorded


def test_an_experiment_is_one_per_study_below_the_home(store: Store, home: Home) -> None:
    experiment = store.experiment("study")
    assert store.experiment("study") == experiment
    assert store.ledger.client.get_experiment(experiment).artifact_location == (home.artifacts / "study").as_uri()
    with pytest.raises(BadArgument, match="study must be a name"):
        store.experiment("../study")


def test_an_experiment_of_others_is_refused_unless_empty(store: Store) -> None:
    theirs = store.ledger.client.create_experiment("theirs")
    assert store.experiment("theirs") == theirs
    busy = store.ledger.client.create_experiment("busy")
    store.ledger.client.create_run(busy)
    with pytest.raises(StoreError, match="'busy' holds runs that are not kdrec's; rename the study"):
        store.experiment("busy")
    store.ledger.client.delete_experiment(busy)
    with pytest.raises(StoreError, match="'busy' is in MLflow's trash"):
        store.experiment("busy")


def test_nothing_depends_on_or_changes_mlflows_active_run(store: Store) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    record(store)
    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == before


# ----------------------------------------------------------------------------------------------------------- teacher


def candidate(step: int, score: float, loss: float) -> Candidate:
    return Candidate(
        learning_rate=1e-4, seed=0, step=step, epoch=step / 10, score=score, loss=loss, ece=0.05, checkpoint="ab"
    )


def log_teacher(store: Store, key: str | None = None, score: float = 91.0) -> str:
    candidates = [candidate(10, 80.0, 0.6), candidate(20, 90.0, 0.3), candidate(30, score, 0.4)]
    chosen = {"t_hs": candidates[2], "t_ll": candidates[1]}
    return store.log_teacher(store.experiment("study"), "trec", candidates, chosen, {"model": "minilm"}, key=key)  # type: ignore[arg-type]


def test_a_teachers_trace_is_written_once_and_whole(store: Store, home: Home) -> None:
    run_id = log_teacher(store)
    assert log_teacher(store) == run_id
    assert log_teacher(store, score=92.0) != run_id
    by_key = log_teacher(store, key="k")
    assert log_teacher(store, key="k", score=92.0) == by_key
    curve = store.ledger.client.get_metric_history(run_id, "teacher_score/lr 0.0001 seed 0")
    assert [(point.step, point.value) for point in curve] == [(10, 80.0), (20, 90.0), (30, 91.0)]
    run = store.ledger.client.get_run(run_id)
    assert (run.data.metrics["t_hs_score"], run.data.metrics["t_ll_loss"]) == (91.0, 0.3)
    trace = json.loads((home.artifacts / "study" / run_id / "artifacts" / "trace.json").read_text())
    assert [entry["step"] for entry in trace["candidates"]] == [10, 20, 30]
    assert store.trials()[0] == []


def test_a_store_without_a_guarded_teacher_is_read_and_one_with_it_is_read_whole(store: Store) -> None:
    experiment = store.experiment("study")
    store.open_cell(experiment, "trec/small", FEATURES, "", training=Training(), rows={"train": 3})
    params = {"task": "trec", "teacher": "minilm"}
    old = [candidate(10, 80.0, 0.3), candidate(20, 90.0, 0.4)]
    store.log_teacher(experiment, "trec", old, {"t_hs": old[1], "t_ll": old[0]}, params, key="old")
    assert store.outcome("study").teachers[0].t_llg is None
    assert store.made().teachers["trec"].t_llg is None
    low, mid, high = candidate(10, 80.0, 0.3), candidate(20, 90.0, 0.4), candidate(30, 91.0, 0.5)
    mid = replace(mid, score_se=1.5)
    chosen: dict[TeacherChoice, Candidate] = {"t_ll": low, "t_hs": high, "t_llg": mid}
    store.log_teacher(experiment, "trec", [low, mid, high], chosen, params, key="new")
    (found,) = store.outcome("study").teachers
    assert (found.t_ll, found.t_hs, found.t_llg) == (low, high, mid)
    made = store.made().teachers["trec"].t_llg
    assert made is not None
    assert (made["score"], made["score_se"]) == (90.0, 1.5)


def test_a_warning_is_in_the_note_of_a_cell_while_it_is_searched_and_after(store: Store) -> None:
    run_id = store.open_cell(store.experiment("study"), "trec/small", FEATURES, "opening")
    note = warned("opening", "the teacher_is worse")
    store.describe_cell(run_id, note)

    def shown() -> str:
        return str(store.ledger.client.get_run(run_id).data.tags["mlflow.note.content"])

    assert shown() == "**Warning:** the teacher_is worse.\n\nopening"
    store.close_cell(run_id, {}, closing_note(note, [TRIAL], path=[], best=TRIAL.config))  # type: ignore[arg-type]
    assert "**Warning:** the teacher_is worse." in shown()


# -------------------------------------------------------------------------------------------------------------- sync


def test_a_sync_reads_each_trial_once_and_again_only_what_is_new(store: Store, home: Home) -> None:
    first = [record(store, replace(TRIAL, seed=seed)) for seed in range(3)]
    assert history.changed(home)
    assert history.sync(home, store.trials) == 3
    assert not history.changed(home)
    assert len(Store.open(home).ledger.experiments()) == 1
    assert not history.changed(home)  # reading is no change
    second = record(store, replace(TRIAL, seed=3))
    assert history.changed(home)
    assert history.sync(home, store.trials) == 1
    assert history.load(home).trials == (*first, second)


def test_a_history_of_many_pages_is_read_whole_and_a_kind_is_never_mistaken(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdrec.tracking.ledger.PAGE", 2)
    experiment = store.experiment("study")
    cell = store.open_cell(experiment, "trec/small", FEATURES, "note")
    recorded = [record(store, replace(TRIAL, seed=seed)) for seed in range(3)]
    of_cell = store.ledger.client.get_run(cell).data.tags["kdrec.fingerprint"]
    trials, watermark = store.trials()
    assert trials == recorded
    assert store.trials(watermark)[0] == recorded
    assert store.find(of_cell) is None, "a cell is no trial, though the query asks for the fingerprint alone"
    assert [run.info.run_id for run in store.ledger.runs([experiment], "cell")] == [cell]


def test_a_trial_that_ends_on_a_slow_clock_is_read_by_the_next_sync(store: Store) -> None:
    record(store)
    _, watermark = store.trials()
    late = record(store, replace(TRIAL, seed=9))
    slow = int(watermark) - 600_000
    store.ledger.client.set_terminated(late.run_id, "FINISHED", end_time=slow)
    assert late in store.trials(watermark)[0]


def test_a_clock_that_is_ahead_hides_no_later_trial(store: Store) -> None:
    ahead = record(store)
    day = 86_400_000
    store.ledger.client.set_terminated(ahead.run_id, "FINISHED", end_time=int(time.time() * 1000) + day)
    _, watermark = store.trials()
    later = record(store, replace(TRIAL, seed=9))
    assert later in store.trials(watermark)[0]


def test_old_trials_are_not_read_again(store: Store) -> None:
    old = record(store)
    store.ledger.client.set_terminated(old.run_id, "FINISHED", end_time=1_000_000)
    new = record(store, replace(TRIAL, seed=9))
    _, watermark = store.trials()
    assert store.trials(watermark)[0] == [new]
    assert store.trials(watermark)[1] == watermark


# ------------------------------------------------------------------------------------------------------------ schema


def test_a_run_of_a_newer_schema_is_refused_naming_both(store: Store) -> None:
    recorded = record(store)
    store.ledger.write(recorded.run_id, tags={"kdrec.schema": "7"})
    for door in (store.trials, lambda: store.find(recorded.fingerprint)):
        with pytest.raises(StoreError, match="has kdrec schema 7, and this kdrec knows schemas up to 2; update kdrec"):
            door()


@pytest.mark.parametrize(
    ("version", "words"), [("7", "schema 7, and this kdrec knows schemas up to 2; update"), ("x", "schema x")]
)
def test_a_store_of_another_schema_is_refused_when_opened(store: Store, home: Home, version: str, words: str) -> None:
    store.ledger.client.set_experiment_tag(store.experiment("study"), "kdrec.schema", version)
    with pytest.raises(StoreError, match=words):
        Store.open(home)


def test_a_run_whose_record_is_damaged_is_named(store: Store) -> None:
    recorded = record(store)
    store.ledger.write(recorded.run_id, tags={"kdrec.result": "{"})
    with pytest.raises(StoreError, match=f"run {recorded.run_id} cannot be read as a trial"):
        store.trials()


# ---------------------------------------------------------------------------------------------------------- reaching


@pytest.mark.parametrize(
    "uri",
    [
        "http://ada:s3cret@127.0.0.1:{port}",
        "postgresql://ada:s3cret@127.0.0.1:{port}/db?password=s3cret",
        "gopher://ada:s3cret@127.0.0.1:{port}",
    ],
)
def test_an_unreachable_store_is_refused_within_seconds_and_shows_no_password(tmp_path: Path, uri: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(StoreError) as caught:
        Store.open(Home(root=tmp_path, tracking_uri=uri.format(port=port)))
    assert time.monotonic() - started < 10
    assert "s3cret" not in str(caught.value)
    assert "***@127.0.0.1" in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_server_that_accepts_and_stays_silent_is_refused_within_seconds(tmp_path: Path) -> None:
    started = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        home = Home(root=tmp_path, tracking_uri=f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(StoreError, match="no tracking store answers at http://127"):
            Store.open(home)
    assert time.monotonic() - started < 12


def test_a_file_that_is_no_database_is_refused_in_words(tmp_path: Path) -> None:
    home = at(tmp_path)
    (tmp_path / "mlflow.db").write_text("not a database, but a long enough text to be read as the header of one" * 9)
    started = time.monotonic()
    with pytest.raises(StoreError, match=r"failed while being opened.*not a database"):
        Store.open(home)
    assert time.monotonic() - started < 10


def test_passwords_and_tokens_are_hidden_wherever_they_stand() -> None:
    assert redacted("http://ada:pw@host:80/x") == "http://***@host:80/x"
    assert redacted("see https://t0ken@host and x") == "see https://***@host and x"
    assert redacted("postgresql://u:p@ss/w@h/db?sslpassword=pw&a=1") == "postgresql://***@h/db?sslpassword=***&a=***"
    assert redacted("sqlite:////home/x/mlflow.db") == "sqlite:////home/x/mlflow.db"


@pytest.mark.slow
def test_eight_processes_racing_on_a_fresh_home_lose_nothing_and_print_nothing(tmp_path: Path) -> None:
    code = """
import multiprocessing, sys
sys.path.insert(0, "tests")
import mlflow  # once, before the processes part
from test_tracking import *

def race(start, racer):
    start.wait()
    store = Store.open(at(Path(sys.argv[1])))
    for seed in range(4):
        record(store, replace(TRIAL, seed=seed), f"f-{racer}-{seed}")

fork = multiprocessing.get_context("fork")
together = fork.Barrier(8)
racing = [fork.Process(target=race, args=(together, racer)) for racer in range(8)]
for process in racing:
    process.start()
for process in racing:
    process.join()
sys.exit(any(process.exitcode for process in racing))
"""
    command = [sys.executable, "-c", code, str(tmp_path / "home")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    store = Store.open(at(tmp_path / "home"))
    assert {t.fingerprint for t in store.trials()[0]} == {f"f-{n}-{seed}" for n in range(8) for seed in range(4)}
    assert len(store.ledger.experiments()) == 1
    assert len(store.ledger.runs(store.ledger.experiments(), "cell")) == 1
    assert not (ROOT / "mlruns").exists()


def test_importing_tracking_and_history_loads_no_mlflow() -> None:
    heavy = {"mlflow", "pandas", "torch", "sqlalchemy"}
    code = f"import sys, kdrec.tracking, kdrec.history; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# ------------------------------------------------------------------------------------------------------------- notes


def test_foreign_text_in_a_note_is_shown_and_never_rendered() -> None:
    assert escaped("<img src=x onerror=alert(1)>") == "&lt;img src=x onerror=alert(1)&gt;"
    assert escaped("my_own_reviews über_ß a__b _c d_ _") == r"my_own_reviews über_ß a\_\_b \_c d\_ \_"
    assert escaped("a|b\n# [c](d) *e* `f` _g_") == r"a\|b \# \[c\](d) \*e\* \`f\` \_g\_"
    evil = replace(FEATURES, task="<script>|x")
    note = cell_note("small", evil, training=Training(), rows={"train": 3000}, searched="greedy")
    assert "<script>" not in note
    assert "| Task | &lt;script&gt;\\|x (sentence task, 6 classes) |" in note.splitlines()


def test_a_closing_note_begins_with_the_answer_and_ranks_every_configuration() -> None:
    configs = (BASELINE_CONFIG, *DEFAULT_SPACE.configs())
    trials = [
        replace(TRIAL, config=config, seed=seed, val_score=60.0 + n + seed, test_score=70.0)
        for n, config in enumerate(configs)
        for seed in (0, 1)
    ]
    note = closing_note("opening", trials, path=["distance: ce kept"], best=configs[-1])
    assert note.startswith(f"**Best on validation: {escaped(configs[-1].label())}**, validation 84.50, test 70.00")
    rows = [line for line in note.splitlines() if line.endswith("| 2 |")]
    assert len(rows) == len(configs)
    assert rows[0].startswith(f"| **{escaped(configs[-1].label())}** | 84.50 |")


def test_a_note_that_mlflow_would_cut_is_shortened_in_words() -> None:
    configs = [KDConfig(tau_t=1 + n / 7) for n in range(500)]
    trials = [replace(TRIAL, config=config) for config in configs]
    note = closing_note("opening", trials, path=["step " * 50] * 60, best=configs[0])
    assert len(note) <= NOTE_LIMIT + 100
    assert note.endswith("more configurations, in the child runs.")


def test_a_store_whose_making_was_killed_is_made_by_the_next(tmp_path: Path) -> None:
    """MLflow's migrations do not go on where they were killed: a half-made file must never stand in its place."""
    home = at(tmp_path / "home")
    open_it = f"from kdrec.home import Home; from kdrec.tracking import Store; Store.open(Home.at({str(home.root)!r}))"
    environment = {name: value for name, value in os.environ.items() if not name.endswith("TRACKING_URI")}
    maker = subprocess.Popen([sys.executable, "-c", open_it], env=environment)
    try:
        while not any(file.stat().st_size for file in home.root.glob(".mlflow.db.*.tmp")):
            assert maker.poll() is None, "made before it could be killed"
            time.sleep(0.02)
    finally:
        maker.kill()
        maker.wait()
    assert not (home.root / "mlflow.db").exists()
    record(Store.open(home))
    assert len(Store.open(home).trials()[0]) == 1
    assert not list(home.root.glob(".mlflow.db.*.tmp*"))


# ------------------------------------------------------------------------------------- runs that other code has made


def runs_of_another_script(store: MlflowClient) -> None:
    """What the guide says that a script had logged: it weighs labels, softens both sides, and measures fractions."""
    experiment = store.create_experiment("distillation", artifact_location="file:///nowhere")
    for labels, temperature, loss, best_by, seed, score, status in [
        (0.5, 1, "kl", "loss", 0, 0.80, "FINISHED"),
        (0.5, 4, "kl", "loss", 1, 0.81, "FINISHED"),
        (0.5, 4, "mse", "accuracy", 0, 0.82, "FINISHED"),
        (1.0, 4, "kl", "loss", 0, 0.79, "FINISHED"),
        (0.0, 2, "kl", "loss", 0, None, "FINISHED"),
        (0.0, 1, "kl", "loss", 0, 0.5, "FAILED"),
    ]:
        run_id = store.create_run(experiment).info.run_id
        params = {"dataset": "reviews", "n_train": 800, "student": "distil", "alpha": labels, "seed": seed}
        params |= {"temperature": temperature, "loss": loss, "best_by": best_by}
        metrics = {"val_accuracy": score, "val_loss": 0.4, "test_accuracy": score} if score else {"val_accuracy": 0.1}
        store.log_batch(
            run_id,
            metrics=[Metric(name, value, 0, 0) for name, value in metrics.items()],
            params=[Param(name, str(value)) for name, value in params.items()],
        )
        store.set_terminated(run_id, status)


def test_the_example_of_the_guide_makes_a_history_of_runs_of_other_code(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "guides" / "mlflow.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", home.tracking_uri)
    runs_of_another_script(MlflowClient(home.tracking_uri))
    exec(compile(code, "mlflow.md", "exec"), {})
    assert main(["--home", str(home.root), "history", "import", "history.csv"]) == 0
    trials = {trial.config.label(): trial for trial in history.load(home)}
    assert sorted(trials) == [
        "labels only",
        "t_hs mse alpha=0.5",
        "t_ll ce alpha=0.5 tau=1/1",
        "t_ll ce alpha=0.5 tau=4/4 scaled",
        "t_ll ce alpha=1 tau=2/2 scaled",
    ]
    softened = trials["t_ll ce alpha=0.5 tau=4/4 scaled"]
    assert (softened.task, softened.student, softened.seed) == ("reviews", "distil", 1)
    assert (softened.val_score, softened.val_loss, softened.test_score) == (81.0, 0.4, 81.0)
    assert trials["t_ll ce alpha=1 tau=2/2 scaled"].status == "diverged"
    assert history.add(home, history.read_table("history.csv")) == 0, "an import made twice adds nothing"
    assert main(["--home", str(home.root), "suggest", "reviews", "--student", "distil", "--history", "own"]) == 0
