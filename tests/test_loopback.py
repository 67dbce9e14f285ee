"""A proxy in the environment is for other machines: whichever library asks, loopback is asked directly."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import requests

from kdrec.doctor import services
from kdrec.errors import KdrecError, StoreError
from kdrec.home import Home
from kdrec.loopback import ask_directly, is_loopback, open_url
from kdrec.tracking.connect import ask_health

USERS = "intranet.example,10.0.0.0/8"


class _Page(BaseHTTPRequestHandler):
    """Answers 200, or with the code of its server, and counts."""

    def do_GET(self) -> None:
        self.server.asked += 1  # type: ignore[attr-defined]
        self.send_response(self.server.code)  # type: ignore[attr-defined]
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Nothing of it belongs on the screen."""


@pytest.fixture
def serving() -> Iterator[object]:
    """Start servers of a code on loopback; they have a port and a count of questions."""
    made: list[ThreadingHTTPServer] = []

    def start(code: int) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("0.0.0.0", 0), _Page)
        server.code, server.asked = code, 0  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        made.append(server)
        return server

    yield start
    for server in made:
        server.shutdown()
        server.server_close()


@pytest.fixture
def proxy(serving, monkeypatch: pytest.MonkeyPatch):
    """A proxy that answers 503 to everything, as a company's does for addresses it does not know."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    server = serving(503)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NO_PROXY", USERS)
    monkeypatch.setenv("no_proxy", USERS)
    return server


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.1.1", "0.0.0.0"])
def test_every_library_asks_loopback_directly_and_the_users_exceptions_stay(serving, proxy, host: str) -> None:
    page = serving(200)
    url = f"http://{host}:{page.server_port}/api"
    ask_directly(url)
    assert requests.get(url, timeout=5).status_code == 200
    assert httpx.get(url, timeout=5).status_code == 200
    open_url(url, 5).close()
    assert (page.asked, proxy.asked) == (3, 0)
    assert os.environ["NO_PROXY"].startswith(USERS)
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"]


def test_another_machine_is_still_asked_through_the_proxy(proxy) -> None:
    ask_directly()
    assert requests.get("http://elsewhere.example/", timeout=5).status_code == 503
    assert proxy.asked == 1


@pytest.mark.parametrize("unset", [("no_proxy", "NO_PROXY"), ("no_proxy",), ("NO_PROXY",)])
def test_what_is_told_twice_is_told_once(proxy, monkeypatch: pytest.MonkeyPatch, unset: tuple[str, ...]) -> None:
    for name in unset:
        monkeypatch.delenv(name)
    ask_directly("http://127.0.0.1:1")
    once = os.environ["NO_PROXY"]
    ask_directly("http://127.0.0.1:1")
    assert os.environ["NO_PROXY"] == once
    assert once.split(",")[-3:] == ["127.0.0.1", "localhost", "::1"]


def test_a_user_who_needs_no_proxy_or_excepts_all_is_left_alone(proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    ask_directly()
    assert os.environ["no_proxy"] == "*"
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name)
    ask_directly()
    assert "no_proxy" not in os.environ


def test_brackets_of_the_user_do_not_stop_httpx(proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "[::1],intranet.example")
    ask_directly()
    httpx.Client().close()
    assert os.environ["no_proxy"].startswith("::1,intranet.example")


def test_a_dead_server_on_loopback_is_dead_whatever_a_proxy_answers(
    proxy, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.command import _check_answers

    with pytest.raises(KdrecError, match=r"no Prefect server answers at http://127\.0\.0\.1:9/api"):
        _check_answers("http://127.0.0.1:9/api")
    with pytest.raises(StoreError, match=r"no tracking store answers at http://localhost:9 \(.*refused"):
        ask_health("http://localhost:9")
    monkeypatch.setenv("PREFECT_API_URL", "http://[::1]:9/api")
    (line,) = services.prefect(Home(root=tmp_path, tracking_uri="sqlite:///x.db"))
    assert "no server answers" in line.found
    assert proxy.asked == 0


def test_a_gateway_that_answers_for_a_server_elsewhere_is_no_server(proxy) -> None:
    from flows.command import _check_answers

    with pytest.raises(
        KdrecError, match=r"no Prefect server answers at http://prefect.example/api \(it answered 503\)"
    ):
        _check_answers("http://prefect.example/api")


def test_a_home_tells_it_to_the_whole_process(proxy, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDREC_TRACKING_URI", "http://127.0.1.1:5000")
    Home.at(tmp_path)
    assert os.environ["NO_PROXY"] == f"{USERS},127.0.0.1,localhost,::1,127.0.1.1"


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1", True),
        ("http://127.9.9.9:1/x", True),
        ("http://LOCALHOST:1", True),
        ("http://a.localhost", True),
        ("http://[::1]:4200/api", True),
        ("http://user:pw@[::]:1", True),
        ("http://128.0.0.1", False),
        ("http://127.0.0.1.example", False),
        ("sqlite:///x.db", False),
        ("http://[::1", False),
    ],
)
def test_loopback_is_told_by_the_host_alone(url: str, here: bool) -> None:
    assert is_loopback(url) is here
