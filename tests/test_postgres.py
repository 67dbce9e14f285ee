"""Tracking straight on a Postgres: what is recorded is what is read, and whoever comes first makes the tables once."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from postgres import Postgres
from test_tracking import ROOT, TRIAL, bits, log_teacher, record, start

from kdrec import history, retention
from kdrec.doctor import services
from kdrec.errors import StoreError
from kdrec.home import Home
from kdrec.tracking import Store
from kdrec.types import KDConfig

MLFLOW_3_1 = "6953534de441"
"""Revision of the tables of MLflow 3.1, the oldest of our range."""


@pytest.fixture(scope="module")
def home(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(root=tmp_path_factory.mktemp("home"), tracking_uri=postgres.create("direct"))


@pytest.fixture(scope="module")
def store(home: Home) -> Store:
    return Store.open(home)


def test_history_is_the_inverse_of_record(store: Store, home: Home) -> None:
    odd = replace(
        TRIAL, val_score=100 / 3, val_loss=5e-324, test_score=1e-17, seconds=1e300, config=KDConfig(tau_t=1 / 3)
    )
    diverged = replace(TRIAL, status="diverged", val_score=None, val_loss=None)
    recorded = [record(store, trial) for trial in (TRIAL, odd, diverged)]
    half, _ = start(store)
    found = [store.find(trial.fingerprint) for trial in recorded]
    assert [bits(trial) for trial in found if trial] == [bits(trial) for trial in recorded]
    assert store.trials()[0] == recorded
    assert history.sync(home, store.trials) == 3
    assert history.load(home).trials == tuple(recorded)
    last = record(store, replace(TRIAL, seed=9))
    assert history.sync(home, store.trials) == 1
    assert history.load(home).trials == (*recorded, last)
    assert half not in {trial.run_id for trial in history.load(home)}


def test_what_stands_beside_the_trials_is_kept_there_too(store: Store, home: Home) -> None:
    run = log_teacher(store)
    assert [item.path for item in store.ledger.client.list_artifacts(run)] == ["trace.json"]
    recorded = store.recorded()
    assert len(recorded.teacher_runs) == 1
    store.log_metrics(start(store)[0], [("train/loss", 1.0 / (step + 1), step) for step in range(2500)])
    assert retention.look(home).items == ()


def test_the_doctor_finds_it_whole_and_shows_no_password(home: Home) -> None:
    lines = services.store(home)
    assert [line.state for line in lines] == ["ok", "ok"], lines
    assert "its tables" in lines[0].found
    assert "s3cret" not in repr(lines)


def test_a_wrong_password_or_database_is_one_sentence_at_once(postgres: Postgres, tmp_path: Path) -> None:
    wrong = {
        postgres.uri("direct", "wr0ng"): 'password authentication failed for user "kdrec"',
        postgres.uri("nowhere"): 'database "nowhere" does not exist',
    }
    for uri, words in wrong.items():
        started = time.monotonic()
        with pytest.raises(StoreError, match=words) as caught:
            Store.open(Home(root=tmp_path, tracking_uri=uri))
        assert time.monotonic() - started < 5
        assert "wr0ng" not in str(caught.value)
        assert "s3cret" not in str(caught.value)


def test_a_missing_driver_is_one_sentence_that_names_what_brings_it(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)  # as Python says it when a package is not installed
    home = Home(root=tmp_path, tracking_uri=postgres.uri("direct", driver="postgresql+psycopg2"))
    with pytest.raises(StoreError, match=r"needs the Python package psycopg2.*pip install 'kdrec\[server\]'"):
        Store.open(home)
    [line] = services.store(home)
    assert line.state == "broken"
    assert "kdrec[server]" in line.found


def test_processes_of_other_homes_that_meet_on_an_empty_database_make_its_tables_once(
    postgres: Postgres, tmp_path: Path
) -> None:
    code = """
import multiprocessing, sys
sys.path.insert(0, "tests")
import mlflow.store.tracking.sqlalchemy_store  # once, before the processes part
from test_tracking import *

def race(start, racer):
    start.wait()
    store = Store.open(Home(root=Path(sys.argv[1]) / str(racer), tracking_uri=sys.argv[2]))
    record(store, TRIAL, f"f{racer}")

fork = multiprocessing.get_context("fork")
together = fork.Barrier(4)
racing = [fork.Process(target=race, args=(together, racer)) for racer in range(4)]
for process in racing:
    process.start()
for process in racing:
    process.join()
sys.exit(any(process.exitcode for process in racing))
"""
    uri = postgres.create("race")
    command = [sys.executable, "-c", code, str(tmp_path), uri]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    trials, _ = Store.open(Home(root=tmp_path / "last", tracking_uri=uri)).trials()
    assert {trial.fingerprint for trial in trials} == {f"f{racer}" for racer in range(4)}


def test_tables_of_an_older_mlflow_ask_for_the_command_that_then_works(postgres: Postgres, tmp_path: Path) -> None:
    import sqlalchemy
    from alembic import command
    from mlflow.store.db.utils import InitialBase, _get_alembic_config

    home = Home(root=tmp_path, tracking_uri=postgres.create("older"))
    engine = sqlalchemy.create_engine(home.tracking_uri, poolclass=sqlalchemy.NullPool)
    InitialBase.metadata.create_all(engine)
    with engine.begin() as connection:
        config = _get_alembic_config(home.tracking_uri)
        config.attributes["connection"] = connection
        command.upgrade(config, MLFLOW_3_1)
    with pytest.raises(
        StoreError, match=rf"\({MLFLOW_3_1}\) are older than MLflow .*mlflow db upgrade 'URI'$"
    ) as refused:
        Store.open(home)
    assert "s3cret" not in str(refused.value)
    upgrade = [sys.executable, "-m", "mlflow", "db", "upgrade", home.tracking_uri]
    subprocess.run(upgrade, check=True, capture_output=True, timeout=300)
    store = Store.open(home)
    assert store.find(record(store).fingerprint) is not None
