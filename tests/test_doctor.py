"""What is broken is said, with what to do about it; nothing hangs, nothing is changed, no secret is told."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from test_tracking import server as tracking_server  # noqa: F401 - a fixture

from kdrec import doctor
from kdrec.cli import main
from kdrec.doctor import machine, services
from kdrec.home import Home
from kdrec.tracking import Store

REPOSITORY = Path(__file__).parent.parent
FIRST_REVISION = "451aebb31d03"
"""Of MLflow's tables; every later one comes after it."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "HF_HUB_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for probe in doctor.LIMITS:  # a suite keeps all cores busy; limits have tests of their own
        monkeypatch.setitem(doctor.LIMITS, probe, 120.0)
    return Home.at(tmp_path / "home")


def said(lines: list[doctor.Line]) -> list[tuple[str, str]]:
    return [(line.part, line.state) for line in lines]


# ------------------------------------------------------------------------------------------------------------ probes


def test_a_new_installation_is_whole_and_stays_as_it_was(home: Home) -> None:
    probes = [name for name in doctor.LIMITS if name != "gpu"]
    lines = doctor.examine(home, probes)
    assert {line.state for line in lines} == {"ok"}, lines
    assert list(dict.fromkeys(line.part for line in lines)) == probes
    assert not home.root.exists()


BROKEN_TORCH = {
    "raise ImportError('libcudart.so.12: cannot open shared object file')": "torch cannot be loaded: libcudart.so.12",
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": "looking at it ended with signal 11",
    "import os; os._exit(3)": "looking at it ended with exit code 3",
    "import time; time.sleep(600)": "no answer within 3 s",
}


@pytest.mark.parametrize("code", BROKEN_TORCH)
def test_a_broken_library_costs_its_own_line_alone(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "torch.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'broken'}")
    if "sleep" in code:
        monkeypatch.setitem(doctor.LIMITS, "gpu", 3.0)
    started = time.monotonic()
    torch, own = doctor.examine(home, ["gpu", "home"])
    assert time.monotonic() - started < 60
    assert (torch.state, own.state) == ("broken", "ok")
    assert torch.found.startswith(BROKEN_TORCH[code])
    assert torch.advice


def test_an_interrupted_look_leaves_no_probe_behind(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[subprocess.Popen[bytes]] = []
    start = doctor._start
    monkeypatch.setattr(doctor, "_start", lambda *words: children.append(start(*words)) or children[-1])

    def interrupted(*words: object) -> list[doctor.Line]:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "_heard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        doctor.examine(home, ["store", "home"])
    assert all(child.poll() is not None for child in children)
    assert len(children) == 2


def test_a_package_outside_its_range_is_broken(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    version = machine._version
    assert said(machine.packages(home)) == [("packages", "ok")]
    wrong = {"fastapi": "0.165.0", "torch": None}
    monkeypatch.setattr(machine, "_version", lambda name: wrong.get(name, version(name)))
    monkeypatch.setattr(machine.metadata, "requires", lambda name: ["fastapi<0.151", "torch>=2.6", "x; extra == 'dev'"])
    lines = machine.packages(home)
    assert "torch missing" in lines[0].found
    assert [(line.state, line.found, line.advice) for line in lines[1:]] == [
        ("broken", "fastapi 0.165.0 does not fit fastapi<0.151", "pip install 'fastapi<0.151'"),
        ("broken", "torch is not installed", "pip install 'torch>=2.6'"),
    ]


def test_a_home_that_others_can_read_is_to_be_looked_at(home: Home) -> None:
    home.folder()
    assert said(machine.home(home)) == [("home", "ok")]
    home.root.chmod(0o755)
    [line] = machine.home(home)
    assert (line.state, line.advice) == ("look", f"chmod 700 {home.root}")
    assert "mode 0755" in line.found


def test_a_home_that_is_a_file_is_broken(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    assert said(machine.home(Home.at(tmp_path / "home"))) == [("home", "broken")]


def test_little_room_is_said_before_it_is_none(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    states = []
    for free in (20e9, 2e9, 1e8):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: shutil._ntuple_diskusage(1e12, 0, free))
        states.append({line.state for line in machine.disk(home)})
    assert states == [{"ok"}, {"look"}, {"broken"}]


def test_switches_of_the_hub_are_shown_without_their_secrets(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(machine.hub(home)) == [("hub", "ok")]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_ENDPOINT", "https://ada:s3cret@mirror.example")
    offline, endpoint = machine.hub(home)
    assert offline.found.startswith("HF_HUB_OFFLINE set")
    assert endpoint.found == "HF_ENDPOINT is https://***@mirror.example"
    assert {offline.state, endpoint.state} == {"look"}


# ------------------------------------------------------------------------------------------------------------- store


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Home.at(tmp_path_factory.mktemp("prepared"))
    Store.open(made).experiment("study")
    return made.root / "mlflow.db"


@pytest.fixture
def stored(home: Home, prepared: Path) -> Path:
    """Database file of the home's own store."""
    shutil.copy(prepared, home.folder())
    return home.root / "mlflow.db"


def change(file: Path, words: str) -> None:
    with sqlite3.connect(file) as database:
        database.execute(words)
    database.close()


def test_a_store_of_this_installation_is_ok_and_not_changed(home: Home, stored: Path) -> None:
    before = stored.read_bytes()
    tables, studies = services.store(home)
    assert (tables.state, studies.state) == ("ok", "ok")
    assert "answers, its tables (" in tables.found
    assert studies.found == "studies: 1 of kdrec schema 2"
    assert stored.read_bytes() == before
    assert [path.name for path in home.root.iterdir()] == ["mlflow.db"]


@pytest.mark.parametrize(
    ("words", "found", "advice"),
    [
        (f"UPDATE alembic_version SET version_num = '{FIRST_REVISION}'", "are older than MLflow", "mlflow db upgrade"),
        ("UPDATE alembic_version SET version_num = 'f00f00f00f00'", "are of a newer MLflow than", "update mlflow"),
        ("UPDATE experiment_tags SET value = '99' WHERE key = 'kdrec.schema'", "knows schemas up to 2", "update kdrec"),
        (
            "UPDATE experiment_tags SET value = '0' WHERE key = 'kdrec.schema'",
            "knows schemas up to 2",
            "keep those of an older",
        ),
    ],
)
def test_a_store_that_does_not_fit_is_broken(home: Home, stored: Path, words: str, found: str, advice: str) -> None:
    change(stored, words)
    [line] = [line for line in services.store(home) if line.state == "broken"]
    assert found in line.found
    assert advice in line.advice


def test_a_damaged_store_is_broken(home: Home) -> None:
    (home.folder() / "mlflow.db").write_bytes(b"no database" * 100)
    [line] = services.store(home)
    assert line.state == "broken"
    assert "is not a database" in line.found


def test_credentials_of_a_store_are_in_no_line(home: Home) -> None:
    dead = Home(root=home.root, tracking_uri="http://ada:s3cret@127.0.0.1:9")
    lines = doctor.examine(dead, ["store", "clock"])
    assert ("store", "broken") in said(lines)
    assert "s3cret" not in json.dumps([vars(line) for line in lines])
    assert "http://***@127.0.0.1:9" in lines[0].found


@pytest.mark.slow
def test_a_tracking_server_is_asked_over_http(tracking_server: Home) -> None:  # noqa: F811
    lines = doctor.examine(tracking_server, ["store", "clock"])
    assert said(lines) == [("store", "ok"), ("store", "ok"), ("clock", "ok")]
    assert lines[1].found == "studies: 1 of kdrec schema 2"
    assert lines[2].found == "the tracking server keeps our time"
    assert lines[0].found.startswith("http://***@127.0.0.1:")


# ----------------------------------------------------------------------------------------------- servers and clocks


class Loopback:
    """A server whose answers, and whose clock, a test chooses; `heard` are the headers it was sent."""

    def __init__(self, answers: dict[str, tuple[int, Any]], ahead: float = 0.0) -> None:
        self.heard: list[dict[str, str]] = []
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                heard.append(dict(self.headers))
                status, body = answers.get(self.path, (404, "none"))
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET

            def date_time_string(self, timestamp: float | None = None) -> str:
                return formatdate(time.time() + ahead, usegmt=True)

            def log_message(self, *words: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def loopback() -> Iterator[Callable[..., Loopback]]:
    running: list[Loopback] = []

    def run(*words: Any, **more: Any) -> Loopback:
        running.append(Loopback(*words, **more))
        return running[-1]

    yield run
    for one in running:
        one.server.shutdown()
        one.server.server_close()


@pytest.mark.parametrize(("ahead", "state"), [(0, "ok"), (-600, "look"), (7200, "broken")])
def test_a_clock_that_is_wrong_is_told_by_a_servers_answer(
    home: Home, loopback: Callable[..., Loopback], ahead: float, state: str
) -> None:
    server = loopback({"/health": (200, "OK")}, ahead=ahead)
    [line] = services.clock(Home(root=home.root, tracking_uri=server.url))
    assert line.state == state
    assert f"{abs(ahead)} s" in line.found or ahead == 0 or f"{abs(ahead) - 1} s" in line.found


def test_the_disk_of_a_home_is_a_clock_too(home: Home) -> None:
    home.folder()
    assert [line.found for line in services.clock(home)] == ["the disk of the home keeps our time"]
    assert list(home.root.iterdir()) == []


def test_prefects_credentials_are_for_prefect_alone(
    home: Home, loopback: Callable[..., Loopback], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "pnu_s3cret")
    server = loopback(
        {"/health": (200, "OK"), "/api/admin/version": (200, "3.8.8"), "/api/work_pools/filter": (200, [])}
    )
    services.clock(Home(root=home.root, tracking_uri=server.url.replace("//", "//ada:s3cret@")))
    assert all("Authorization" not in headers for headers in server.heard)
    monkeypatch.setenv("PREFECT_API_URL", f"{server.url}/api")
    assert said(services.prefect(home)) == [("prefect", "ok"), ("prefect", "look")]
    assert server.heard[-1]["Authorization"] == "Bearer pnu_s3cret"


@pytest.mark.parametrize(
    ("answer", "found", "advice"),
    [
        ((401, "who?"), "answered 401", "PREFECT_API_KEY"),
        ((404, "none"), "answered 404", "ends in /api"),
        ((302, "elsewhere"), "answered 302", "ends in /api"),
        ((200, b"<html>"), "is not the API of a Prefect server", "ends in /api"),
    ],
)
def test_what_is_no_prefect_server_is_said_to_be_none(
    home: Home,
    loopback: Callable[..., Loopback],
    monkeypatch: pytest.MonkeyPatch,
    answer: tuple[int, Any],
    found: str,
    advice: str,
) -> None:
    server = loopback({"/admin/version": answer})
    monkeypatch.setenv("PREFECT_API_URL", server.url)
    [line] = services.prefect(home)
    assert line.state == "broken"
    assert found in line.found
    assert advice in line.advice


def test_a_silent_server_is_not_waited_for(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("PREFECT_API_URL", f"{url}/api")
        started = time.monotonic()
        lines = doctor.examine(Home(root=home.root, tracking_uri=url), ["store", "prefect", "clock"])
        assert time.monotonic() - started < 60
    assert said(lines) == [("store", "broken"), ("prefect", "broken"), ("clock", "look"), ("clock", "look")]


@pytest.mark.slow
def test_a_real_server_is_asked_for_its_pools_and_their_workers(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_URL": url}
    monkeypatch.setenv("PREFECT_API_URL", url)

    def prefect(*words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "prefect", "--no-prompt", *words]
        with (tmp_path / words[0]).open("wb") as log:
            return subprocess.Popen(
                command, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def awaited(state: str, words: str) -> None:
        end = time.monotonic() + 120
        while not [line for line in services.prefect(home) if line.state == state and words in line.found]:
            assert time.monotonic() < end, services.prefect(home)
            time.sleep(0.5)

    running = [prefect("server", "start", "--port", str(port))]
    try:
        awaited("ok", "answers: Prefect 3.")
        awaited("look", "there is no work pool")
        pool = json.dumps({"name": "a pool", "type": "process"}).encode()
        question = urllib.request.Request(f"{url}/work_pools/", pool, {"Content-Type": "application/json"})
        urllib.request.urlopen(question, timeout=20).close()
        awaited("look", "work pool 'a pool' has no worker online")
        running.append(prefect("worker", "start", "--pool", "a pool", "--type", "process"))
        awaited("ok", "work pool 'a pool' has 1 worker online")
        assert said(services.clock(home)) == [("clock", "ok")]
    finally:
        for process in reversed(running):
            os.killpg(process.pid, 9)
            process.wait()


# ------------------------------------------------------------------------------------------------------ command line


def test_the_command_exits_with_2_if_anything_is_broken_and_0_if_nothing_is(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = doctor.look("home", "strange [bold]", "look at it")
    monkeypatch.setattr(doctor, "examine", lambda home: [line])
    assert main(["--home", str(home.root), "doctor"]) == 0
    shown = capsys.readouterr().out
    assert "strange [bold]" in shown
    assert "→ look at it" in shown
    assert "nothing broken, 1 to look at" in shown
    monkeypatch.setattr(doctor, "examine", lambda home: [line, doctor.broken("gpu", "no", "yes")])
    assert main(["--home", str(home.root), "doctor", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)[1] == {"part": "gpu", "state": "broken", "found": "no", "advice": "yes"}


def test_the_command_itself_loads_no_library_that_may_be_broken(home: Home) -> None:
    script = (
        "import sys; from kdrec import doctor; from kdrec.cli import main; doctor.examine = lambda home: []; "
        "assert main(['doctor']) == 0; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not {"torch", "mlflow", "transformers", "sqlalchemy", "prefect"} & set(done.stdout.split())
