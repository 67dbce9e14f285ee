"""A Postgres of the tests' own, on a free port of the loopback: real, with a password, gone when they end.

`postgres` is a fixture of the session (`conftest.py`). It looks for the programs of a Postgres 13 or newer in PATH and
where Debian and Homebrew put them; a machine without them skips what needs it, and says so.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import psycopg
import pytest
from psycopg import sql

PASSWORD: Final = "pg-s3cret"
"""Of the only user, `kdrec`."""

_PLACES: Final = ("/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt")
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",  # what a crash of the machine would lose is no concern of a test
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
}


@dataclass
class Postgres:
    """A server, which can be killed and started again on its port and data."""

    port: int
    folder: Path
    command: list[str]
    user: str | None
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = self.folder / "log"
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, stdout=out, stderr=out, user=self.user, group=_group(self.user)
            )
        end = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.uri("postgres", driver="postgresql")).close()
                return
            except psycopg.OperationalError:
                assert self.process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.1)

    def kill(self) -> None:
        """End the server and all that serve its connections, without a word to any."""
        assert self.process is not None, "it is not running"
        for one in [*psutil.Process(self.process.pid).children(), self.process]:
            with suppress(psutil.NoSuchProcess):  # a connection was closed meanwhile
                one.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()

    def uri(self, database: str, password: str = PASSWORD, driver: str = "postgresql+psycopg") -> str:
        """Where a database is, for SQLAlchemy."""
        return f"{driver}://kdrec:{password}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """A new database; its URI."""
        with psycopg.connect(self.uri("postgres", driver="postgresql"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        return self.uri(database)


def free_port() -> int:
    """A port of the loopback where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`; the newest of several, None where there is none."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    known = [path for place in _PLACES for path in Path(place).glob("**/bin/initdb")]
    return max(known).parent if known else None


@contextmanager
def running(**changes: str) -> Iterator[Postgres]:
    """A server for as long as the block lasts; `changes` are settings of its own."""
    where = programs()
    if where is None:
        pytest.skip("no Postgres here: initdb is neither in PATH nor below " + ", ".join(_PLACES))
    folder = Path(tempfile.mkdtemp(prefix="kdrec-pg-"))  # short, for the path of a socket, and open to another user
    other = _other_user()
    port = free_port()
    settings = {**_SETTINGS, "port": str(port), "unix_socket_directories": str(folder), **changes}
    try:
        (folder / "password").write_text(PASSWORD)
        if other:
            shutil.chown(folder, other)
            shutil.chown(folder / "password", other)
        new = [where / "initdb", "-D", folder / "data", "-U", "kdrec", "-A", "scram-sha-256", "-E", "UTF8", "--no-sync"]
        new += [f"--pwfile={folder / 'password'}", "--no-locale"]
        subprocess.run(new, cwd=folder, check=True, stdout=subprocess.DEVNULL, user=other, group=_group(other))
        command = [str(where / "postgres"), "-D", str(folder / "data")]
        command += [f"--{key}={value}" for key, value in settings.items()]
        server = Postgres(port, folder, command, other)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _other_user() -> str | None:
    """Postgres refuses to run as root: whom to be instead."""
    if os.getuid():
        return None
    known = {user.pw_name for user in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)


def _group(user: str | None) -> int | None:
    return pwd.getpwnam(user).pw_gid if user else None
