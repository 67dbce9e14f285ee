"""What a starter waits for is said: a lock of another process, stopped or not, and a store that refuses for minutes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

from kdrec.errors import StoreError
from kdrec.home import Home
from kdrec.sources import locked, locks
from kdrec.tracking import Store, connect

HOLDER = """
import sys, time
from filelock import FileLock
held = FileLock(sys.argv[1])
held.acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_a_lock_that_a_stopped_process_holds_is_waited_for_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "SAY_AFTER_SECONDS", 0.1)
    file = tmp_path / "a.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(file)], stdout=subprocess.PIPE, text=True)
    said: list[str] = []

    def hear(sentence: str) -> None:
        said.append(sentence)
        if len(said) == 1:
            os.kill(holder.pid, signal.SIGSTOP)
        else:
            holder.kill()

    assert holder.stdout is not None
    with holder, holder.stdout:
        holder.stdout.readline()
        with locked(FileLock(file), "the teacher of trec", hear):
            assert holder.wait(10) == -signal.SIGKILL
    begins = f"the teacher of trec is being made by process {holder.pid}"
    assert said == [
        f"{begins}, and is waited for",
        f"{begins}, which is stopped (kill -CONT {holder.pid} lets it go on), and is waited for",
    ]


def test_a_free_lock_is_held_without_a_word_and_let_go_whatever_happens(tmp_path: Path) -> None:
    lock, said = FileLock(tmp_path / "a.lock"), list[str]()

    def fail() -> None:
        with locked(lock, "it", said.append):
            assert lock.is_locked
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not lock.is_locked
    assert said == []


@pytest.mark.parametrize("code", [429, 500])
def test_a_store_that_refuses_for_long_is_told_while_it_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/health":
                time.sleep(0.3)
            self.send_response(200 if self.path == "/health" else code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            return

    monkeypatch.setattr(connect, "QUIET_SECONDS", 0.2)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    uri = f"http://ada:pw@127.0.0.1:{server.server_port}"
    try:
        with caplog.at_level(logging.WARNING, connect.__name__), pytest.raises(StoreError):
            Store.open(replace(Home.at(tmp_path), tracking_uri=uri))
    finally:
        server.shutdown()
        server.server_close()
    (told,) = [record.getMessage() for record in caplog.records if record.name == connect.__name__]
    assert told.startswith("the tracking store http://***@127.0.0.1:")
    assert "has not answered for 0.2 s while being opened; it is asked again for some minutes" in told
