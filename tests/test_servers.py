"""The MLflow server of `compose.yaml`, behind a password and on Postgres: what works there, and who does not get in."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import postgres
import psycopg
import pytest
from team import SECRETS, Team
from test_tracking import bits, log_teacher, record, start

from kdrec import history
from kdrec.cli import main
from kdrec.errors import StoreError
from kdrec.home import Home
from kdrec.tracking import Store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with postgres.running() as server:
        team = Team(tmp_path_factory.mktemp("team"), server)
        try:
            team.start("mlflow")
            yield team
        finally:
            team.end()


@pytest.fixture
def home(team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home on the server, with the right password in the environment."""
    uri = f"http://127.0.0.1:{team.mlflow_port}"
    monkeypatch.setenv("KDREC_HOME", str(tmp_path))
    monkeypatch.setenv("KDREC_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", SECRETS["MLFLOW_ADMIN_USERNAME"])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRETS["MLFLOW_ADMIN_PASSWORD"])
    return Home(root=tmp_path, tracking_uri=uri)


def test_with_the_password_trials_and_artifacts_are_kept_and_read(
    home: Home, team: Team, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store.open(home)
    recorded = record(store)
    start(store)
    assert bits(store.find(recorded.fingerprint)) == bits(recorded)  # type: ignore[arg-type]
    run = log_teacher(store)
    assert [item.path for item in store.ledger.client.list_artifacts(run)] == ["trace.json"]
    assert [path.name for path in (team.folder / "artifacts").rglob("*.json")] == ["trace.json"]
    assert history.sync(home, store.trials) == 1
    assert history.load(home).trials == (recorded,)
    capsys.readouterr()
    for command in (["history", "sync", "--full"], ["gc"], ["gc", "--delete"]):
        assert main(command) == 0, capsys.readouterr()
    said = capsys.readouterr()
    assert "1 trial" in said.out
    assert "s3cret" not in said.out + said.err
    with psycopg.connect(team.postgres.uri("mlflow", driver="postgresql")) as connection:
        kept = connection.execute("SELECT count(*) FROM runs").fetchone()
    assert kept == (4,)  # a cell, two trials, a teacher: nothing went elsewhere


@pytest.mark.parametrize(("user", "password"), [("ada", "wr0ng"), ("admin", "password1234"), (None, None)])
def test_without_the_password_every_command_is_one_sentence_at_once(
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    user: str | None,
    password: str | None,
) -> None:
    for name, value in (("USERNAME", user), ("PASSWORD", password)):
        if value:
            monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
        else:
            monkeypatch.delenv(f"MLFLOW_TRACKING_{name}")
    started = time.monotonic()
    for command in (["history", "sync"], ["gc"]):
        assert main(command) == 2
        said = capsys.readouterr()
        assert said.err.count("\n") == 1
        assert "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in said.err
        assert not {"wr0ng", "password1234", "s3cret"} & set(said.err.split())
    assert time.monotonic() - started < 20
    with pytest.raises(StoreError, match="does not let this user in"):
        Store.open(home)


def test_the_doctor_lets_itself_be_told_who_asks(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from kdrec.doctor import services

    Store.open(home).experiment("study")
    lines = services.store(home)
    assert [line.state for line in lines] == ["ok", "ok"], lines
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wr0ng")
    [line] = services.store(home)
    assert line.state == "broken"
    assert "MLFLOW_TRACKING_PASSWORD" in line.found
    assert "wr0ng" not in repr(line)


def test_the_server_answers_under_its_own_names_alone(team: Team) -> None:
    answers = {}
    for host in ("mlflow", "localhost", "evil.example"):
        page = f"http://127.0.0.1:{team.mlflow_port}/api/2.0/mlflow/experiments/search?max_results=1"
        request = urllib.request.Request(page, headers={"Host": f"{host}:{team.mlflow_port}"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=30)
        refused.value.close()
        answers[host] = refused.value.code
    assert answers == {"mlflow": 401, "localhost": 401, "evil.example": 403}


def test_the_server_says_no_password_and_starts_with_none_but_ours(team: Team) -> None:
    log = team.log("mlflow").read_text(encoding="utf-8")
    assert not [word for word in SECRETS.values() if "s3cret" in word and word in log]
