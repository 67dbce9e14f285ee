"""Reaching a tracking store: is it there, is it prepared, and one sentence for the user when it is not.

A server is asked for its health with a short limit before MLflow's patient retries are trusted with it, so an address
where nothing answers is known within seconds, while a server that restarts during a study is waited for.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit, urlunsplit

from kdrec.errors import StoreError, StoreUnreachable, redacted
from kdrec.home import Home, sqlite_uri
from kdrec.loopback import ask_directly, open_url
from kdrec.sources import atomic_path
from kdrec.tracking.tables import refuse_other_tables, revision_of

T = TypeVar("T")

PATIENCE_SECONDS: Final = 8.0
"""How long an address may stay silent before it counts as unreachable."""

QUIET_SECONDS: Final = 20.0
"""After this long without an answer one is told what is waited for: MLflow tries for minutes (429, 500) in silence."""

PAUSES: Final = (1.0, 4.0, 15.0, 40.0)
"""Seconds to wait before a store is asked again: a minute for one that restarts, on top of MLflow's own patience."""

_PORTS: Final = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_DRIVERS: Final = ("psycopg", "psycopg2", "MySQLdb", "pymysql", "mysql", "pyodbc", "pymssql", "oracledb", "asyncpg")
_PREPARING: Final = int.from_bytes(b"kdrec", "big")
"""Name of the lock that whoever makes the tables of a Postgres holds: processes there may share no folder."""


@contextmanager
def asking(uri: str, doing: str) -> Iterator[None]:
    """Turn whatever MLflow, HTTP or the database raises into one `StoreError` sentence without credentials."""
    import requests
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException

    slow = threading.Timer(QUIET_SECONDS, _told_slow, (redacted(uri), doing))
    slow.daemon = True
    slow.start()
    try:
        yield
    except (MlflowException, requests.RequestException, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        if getattr(error, "error_code", None) == "UNAUTHENTICATED":
            raise StoreError(
                f"the tracking store {redacted(uri)} does not let this user in: set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD to what its server knows"
            ) from None
        raise StoreError(f"the tracking store {redacted(uri)} failed while {doing}: {_first_line(error)}") from None
    except ModuleNotFoundError as error:
        if error.name not in _DRIVERS:
            raise
        raise StoreError(
            f"the tracking store {redacted(uri)} needs the Python package {error.name}, which is not installed: "
            "pip install 'kdrec[server]' brings psycopg, the driver of postgresql+psycopg://USER@HOST/NAME"
        ) from None
    finally:
        slow.cancel()


def _told_slow(where: str, doing: str) -> None:
    logging.getLogger(__name__).warning(
        "the tracking store %s has not answered for %g s while %s; it is asked again for some minutes",
        where,
        QUIET_SECONDS,
        doing,
    )


def connect(home: Home) -> Any:
    """An `MlflowClient` on the home's store, which exists, answers and has its tables when this returns."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # a server's client prints a link per run
    uri = home.tracking_uri
    ask_directly(uri)
    if uri.startswith(("http://", "https://")):
        ask_health(uri)
    elif home.store_file is None:
        knock(uri)
    from mlflow import MlflowClient

    logging.getLogger("mlflow.store.db.utils").addFilter(_is_not_told_anyway)
    with asking(uri, "being opened"):
        if not uri.startswith(("http://", "https://")):
            _prepare(home)
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    return client


def _is_not_told_anyway(record: logging.LogRecord) -> bool:
    """Keep the traceback that MLflow prints of a database's error off the screen: `asking` says it in a sentence."""
    return not record.exc_info


def patiently(ask: Callable[[], T], say: Callable[[str], object]) -> T:
    """Do what opens a store, and again after each of `PAUSES` while nothing answers; for work that has begun."""
    for pause in PAUSES:
        try:
            return ask()
        except StoreUnreachable:
            say("the tracking store is away, and is waited for")
        time.sleep(pause)
    return ask()


def ask_health(uri: str) -> None:
    """Refuse a server that does not answer; any answer below 500 is an answer (a gateway may hide the health page)."""
    parts = urlsplit(uri)
    bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/") + "/health", "", ""))
    try:
        open_url(bare, PATIENCE_SECONDS).close()
    except urllib.error.HTTPError as answer:
        answer.close()
        if answer.code >= 500:
            raise _unreachable(uri, f"it answered {answer.code}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if "certificate" not in str(reason).lower():  # MLflow's own settings decide which certificates are trusted
            raise _unreachable(uri, str(reason)) from None


def knock(uri: str) -> None:
    """Refuse a database server at whose address nothing listens."""
    parts = urlsplit(uri)
    known = _PORTS.get(parts.scheme.partition("+")[0])
    if known is None:
        near = "sqlite:///PATH, postgresql://USER@HOST/NAME or http://HOST:PORT"
        raise StoreError(f"the tracking URI must be like {near}, got {redacted(uri)!r}")
    if not parts.hostname:
        return
    try:
        socket.create_connection((parts.hostname, parts.port or known), timeout=PATIENCE_SECONDS).close()
    except (OSError, ValueError) as error:
        raise _unreachable(uri, str(error)) from None


def _prepare(home: Home) -> None:
    """Create the tables once; processes that come meanwhile wait for the one that does it."""
    import sqlalchemy
    from filelock import FileLock
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    file = home.store_file
    home.folder()
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file or home.root / 'store'}.lock"), _quiet():
        if file is not None and not (file.exists() and file.stat().st_size):
            if file.exists():
                _refuse_emptied(file, home)
            _make_file(file, home.artifacts)
        engine = sqlalchemy.create_engine(
            home.tracking_uri, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:  # MLflow would retry a wrong password or a damaged file for 100 seconds
            if engine.dialect.name == "postgresql":  # until the connection ends, in whatever way
                connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_lock(_PREPARING)))
            refuse_other_tables(connection, redacted(home.tracking_uri))
            if file is not None and revision_of(connection)[0] == "none":
                _refuse_emptied(file, home)
            SqlAlchemyStore(home.tracking_uri, home.artifacts.as_uri())


def _refuse_emptied(file: Path, home: Home) -> None:
    """Refuse a store's file that holds nothing where a history, or artifacts, were made from its runs.

    kdrec never leaves such a file, so it was emptied; with a new store in its place every trial would be made again.
    """
    known = [path.name for path in (home.history_db, home.artifacts) if path.exists()]
    if known:
        raise StoreError(
            f"the tracking store {file} is empty, and {' and '.join(known)} beside it in {home.root} tell of its runs: "
            "put a copy of it in its place, or delete it to begin anew"
        )


def _make_file(file: Path, artifacts: Path) -> None:
    """Make a SQLite store beside its place and move it there when it is whole.

    MLflow's migrations take seconds and do not go on where they were killed: a half-made file could never be opened.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for left in file.parent.glob(f".{file.name}.*.tmp*"):  # by one that was killed; who makes a store holds its lock
        left.unlink()
    with atomic_path(file) as new:
        SqlAlchemyStore(sqlite_uri(new), artifacts.as_uri())._dispose_engine()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the migration log of a new database from the user's screen; warnings pass."""
    loggers = [logging.getLogger(name) for name in ("mlflow.store.db.utils", "alembic", "alembic.runtime.migration")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _unreachable(uri: str, reason: str) -> StoreUnreachable:
    return StoreUnreachable(
        f"no tracking store answers at {redacted(uri)} ({redacted(reason)}); start it, or unset MLFLOW_TRACKING_URI "
        "and KDREC_TRACKING_URI to use the file in KDREC_HOME"
    )


def _first_line(error: BaseException) -> str:
    lines = redacted(str(error)).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
