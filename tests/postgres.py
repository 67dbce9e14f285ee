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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    port: int

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
def running() -> Iterator[Postgres]:
    """A server for as long as the block lasts."""
    where = programs()
    if where is None:
        pytest.skip("no Postgres here: initdb is neither in PATH nor below " + ", ".join(_PLACES))
    folder = Path(tempfile.mkdtemp(prefix="kdrec-pg-"))  # short, for the path of a socket, and open to another user
    other = _other_user()
    port = free_port()
    settings = {**_SETTINGS, "port": str(port), "unix_socket_directories": str(folder)}
    try:
        (folder / "password").write_text(PASSWORD)
        if other:
            shutil.chown(folder, other)
            shutil.chown(folder / "password", other)
        new = [where / "initdb", "-D", folder / "data", "-U", "kdrec", "-A", "scram-sha-256", "-E", "UTF8", "--no-sync"]
        new += [f"--pwfile={folder / 'password'}", "--no-locale"]
        subprocess.run(new, cwd=folder, check=True, stdout=subprocess.DEVNULL, user=other, group=_group(other))
        command = [where / "postgres", "-D", folder / "data", *(f"--{key}={value}" for key, value in settings.items())]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, user=other, group=_group(other))
        try:
            _wait(process, Postgres(port), folder / "log")
            yield Postgres(port)
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait()
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


def _wait(process: subprocess.Popen[bytes], server: Postgres, log: Path) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(server.uri("postgres", driver="postgresql")).close()
            return
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
