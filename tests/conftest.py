"""What all tests share: a quiet, offline process with one thread, and homes that keep fetched packages between runs."""

from __future__ import annotations

import os
import secrets
import signal
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from homes import new_home
from postgres import Postgres, running

from kdrec.home import Home

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "GIT_PYTHON_REFRESH": "quiet",
}
for name in ("KDREC_HOME", "KDREC_TRACKING_URI", "MLFLOW_TRACKING_URI", "KDREC_SHARED", "KDREC_DATA"):
    os.environ.pop(name, None)

# A time limit an example would measure what else the machine does.
hypothesis.settings.register_profile("kdrec", deadline=None)
hypothesis.settings.load_profile("kdrec")

# A suite started in the background of a shell inherits an ignored Ctrl-C, and so would the programs it interrupts.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session", autouse=True)
def _nothing_shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests bring the histories they speak of; what comes with kdrec has tests of its own.

    Programs that a test starts are asked with `--history own` instead.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kdrec.history.replication.FOLDER", tmp_path_factory.mktemp("shipped"))
        yield


@pytest.fixture(scope="session")
def sources_folder() -> Path:
    """Fetched packages, downloaded once a machine and verified by hash at every use."""
    folder = Path(os.environ.get("KDREC_TEST_SOURCES") or REPOSITORY / ".kdrec-test").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def loopback_s3() -> Iterator[str]:
    """Address of an S3 server of this session's own; its buckets are in memory."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(loopback_s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty bucket that the environment leads to."""
    keys = {"AWS_ACCESS_KEY_ID": "ada", "AWS_SECRET_ACCESS_KEY": "s3cret", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**keys, "AWS_ENDPOINT_URL": loopback_s3}.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{secrets.token_hex(8)}"
    urllib.request.urlopen(urllib.request.Request(f"{loopback_s3}/{name}", method="PUT"), timeout=30).close()
    return f"s3://{name}"


@pytest.fixture
def home(tmp_path: Path, sources_folder: Path) -> Home:
    """An empty home for one test."""
    return new_home(tmp_path / "home", sources_folder)


@pytest.fixture(scope="module")
def module_home(tmp_path_factory: pytest.TempPathFactory, sources_folder: Path) -> Home:
    """A home for the tests of one file, which may write to its store."""
    return new_home(tmp_path_factory.mktemp("module") / "home", sources_folder)


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory, sources_folder: Path) -> Home:
    """A home for a whole session (of one worker): for what is costly to make and only read afterwards."""
    return new_home(tmp_path_factory.mktemp("shared") / "home", sources_folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real Postgres for a session (of one worker); skips where there is none to start."""
    with running() as server:
        yield server
