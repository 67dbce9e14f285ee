"""The synced table: one SQLite file that is replaced as a whole, with a digest of its rows inside.

A file is written in memory and renamed into place, so a reader sees the old table or the new one, never a part, and
needs no lock. A damaged file is never used: `load` refuses it, `sync` puts it aside and reads the store again.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kdrec.errors import BadArgument, CorruptFile, DataError, StoreError
from kdrec.history.columns import COLUMNS, FINISHED, Row, digest_with, hashed, identities, row_of, trials_of
from kdrec.home import Home
from kdrec.sources import atomic_write, put_aside
from kdrec.space import check_one_space
from kdrec.types import HISTORY_COLUMNS, SCHEMA_2_COLUMNS, History, Trial

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

Fetch = Callable[[str | None], tuple[list[Trial], str]]
"""Given a watermark (None for all), finished trials that may have come since, and the next watermark."""

IMPORTED: Final = "imported"
"""Origin of a row that came from a file; other rows name the store they were synced from."""

FORM: Final = 3
"""Version of the file's tables, in `PRAGMA user_version`; an older one is brought here step by step (`_STEPS`)."""

_SQL_TYPES: Final = {"text": "TEXT", "whole": "INTEGER", "number": "REAL"}
_COLUMNS_BEFORE_3: Final = tuple(name for name in HISTORY_COLUMNS if name not in SCHEMA_2_COLUMNS)
_ABOUT: Final = frozenset({"digest", "store", "watermark", "marker"})


@dataclass
class _Table:
    """What the file holds: rows by origin, and what is known of the store they came from.

    Of a file of today's form, `data` are its bytes, `digest` is that of all it holds, `hashed` the hash so far of its
    `n_stored` rows and origins: what is there already is neither written nor hashed again.
    """

    origins: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    store: str = ""
    watermark: str = ""
    marker: str = ""
    data: bytes = b""
    digest: str = ""
    n_stored: int = 0
    hashed: Hash | None = None


def load(home: Home) -> History:
    """Trials of the home's store as of the last `sync`, and trials that were imported.

    Returns
    -------
    History
        Empty when nothing was synced yet.

    Raises
    ------
    CorruptFile
        When the file is damaged: its rows do not have the digest they were written with.
    StoreError
        When a newer kdrec wrote it in a form that is not known here.
    """
    if not home.history_db.exists():
        return History()
    table = _read(home.history_db)
    wanted = {IMPORTED, _store_word(home)}
    return History(
        tuple(trials_of(row for origin, row in zip(table.origins, table.rows, strict=True) if origin in wanted))
    )


def sync(home: Home, fetch: Fetch, *, full: bool = False) -> int:
    """Bring what is new in the store into the table.

    Parameters
    ----------
    home : Home
        Whose table, and whose store.
    fetch : callable
        Such as the `trials` door of a tracking store: watermark to (finished trials, next watermark).
    full : bool
        Read the whole store again, and forget rows that are no longer in it.

    Returns
    -------
    int
        Number of rows that were not there before.
    """
    with _locked(home):
        table = _read_or_put_aside(home.history_db)
        store, marker = _store_word(home), store_marker(home)  # the marker first: what comes meanwhile is new next time
        fresh = full or table.store != store
        before = {word for row in table.rows for word in identities(row)} if fresh else set()
        if fresh:
            kept = [at for at, origin in enumerate(table.origins) if origin == IMPORTED]
            table = _Table([IMPORTED] * len(kept), [table.rows[at] for at in kept])
        fetched, watermark = fetch(None if fresh else table.watermark or None)
        added = _append(table, store, fetched)
        table.store, table.watermark, table.marker = store, watermark, marker
        _write(home, table)
        return sum(before.isdisjoint(identities(row)) for row in added)


def add(home: Home, history: History) -> int:
    """Keep trials that came from elsewhere beside the synced ones; returns how many were not there before.

    Raises
    ------
    DataError
        When tasks would then disagree on the knobs that were turned: such a history answers no question.
    """
    with _locked(home):
        table = _read(home.history_db) if home.history_db.exists() else _Table()
        added = _append(table, IMPORTED, history.trials)
        _refuse_mixture(table)
        if added:
            _write(home, table)
        return len(added)


def changed(home: Home, marker: str | None = None) -> bool:
    """Whether the home's store may hold what the table does not; looks at file sizes and times alone.

    Parameters
    ----------
    home : Home
        Whose store.
    marker : str, optional
        What `store_marker` said earlier; by default, what it said at the last `sync`.

    Returns
    -------
    bool
        Always true of a store that is no local file, and of a table that is damaged.
    """
    now = store_marker(home)
    if not now:
        return True
    if marker is not None:
        return marker != now
    if not home.history_db.exists():
        return now != _NO_STORE
    try:
        with _opened(home.history_db) as database:
            about = dict(database.execute("SELECT name, value FROM about"))
    except CorruptFile:
        return True
    never_synced = not about.get("store")
    if never_synced:
        return now != _NO_STORE
    return (about["store"], about.get("marker")) != (_store_word(home), now)


_NO_STORE: Final = "none"


def store_marker(home: Home) -> str:
    """What can be seen of a local store without opening it; changes with every write. Empty for a server."""
    file = home.store_file
    if file is None:
        return ""
    seen = []
    for path in (file, file.with_name(f"{file.name}-wal")):
        try:
            status = path.stat()
            with path.open("rb") as stream:
                counter = os.pread(stream.fileno(), 4, 24).hex()  # SQLite counts the transactions of a database here
            seen.append(f"{status.st_ino}.{status.st_size}.{status.st_mtime_ns}.{counter}")
        except FileNotFoundError:
            seen.append("-")
        except OSError as error:
            raise StoreError(f"the tracking store {path} cannot be read: {error.strerror}") from None
    return _NO_STORE if seen[0] == "-" else "/".join(seen)


def _locked(home: Home) -> AbstractContextManager[object]:
    """Let one process at a time change the table."""
    from filelock import FileLock

    return FileLock(home.folder() / "history.lock")


def _store_word(home: Home) -> str:
    """Which store rows came from; a hash, because a URI may hold a password."""
    return hashlib.sha256(str(home.store_file or home.tracking_uri).encode()).hexdigest()[:16]


def _refuse_mixture(table: _Table) -> None:
    try:
        check_one_space(trials_of(table.rows))
    except DataError as error:
        raise DataError(
            f"the imported trials cannot stand beside those of this history, because {error}; "
            "answer from their file alone (--history FILE), or import it with another --home"
        ) from None


def _append(table: _Table, origin: str, trials: Sequence[Trial]) -> list[Row]:
    """Add the finished trials that the table does not hold yet; the first of equal identity stays."""
    known = {word for row in table.rows for word in identities(row)}
    added = []
    for trial in trials:
        row = row_of(trial)
        words = identities(row)
        if trial.status in FINISHED and known.isdisjoint(words):
            known.update(words)
            added.append(row)
    table.origins.extend([origin] * len(added))
    table.rows.extend(added)
    return added


def _write(home: Home, table: _Table) -> None:
    about = {"store": table.store, "watermark": table.watermark, "marker": table.marker}
    same = table.hashed if len(table.rows) == table.n_stored else None
    about["digest"] = digest_with(same or hashed(table.rows, table.origins), sorted(about.items()))
    if about["digest"] == table.digest:
        return
    try:
        data = _with_new_rows(table, about)
    except (sqlite3.Error, UnicodeDecodeError):
        if not table.data:
            raise
        # Its rows are those of their digest, but pages that only writing touches are damaged: all is written anew.
        data = _with_new_rows(_Table(table.origins, table.rows), about)
    atomic_write(home.history_db, data)


def _with_new_rows(table: _Table, about: Mapping[str, str]) -> bytes:
    """The file's bytes with the rows that are not stored in them yet; of all rows where there is no file."""
    columns = ", ".join([*(f'"{column.name}" {_SQL_TYPES[column.kind]}' for column in COLUMNS), "knobs TEXT"])
    names = ", ".join(["origin", *(f'"{column.name}"' for column in COLUMNS), "knobs"])
    places = ", ".join("?" * (len(COLUMNS) + 2))
    try:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
            if table.data:
                database.deserialize(table.data)
                database.execute("BEGIN")
                database.execute("DELETE FROM about")
            else:
                database.execute(f"PRAGMA user_version = {FORM}")
                database.execute("BEGIN")
                database.execute("CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
                database.execute(f"CREATE TABLE trials (origin TEXT NOT NULL, {columns})")
            database.executemany("INSERT INTO about VALUES (?, ?)", about.items())
            new = zip(table.origins[table.n_stored :], table.rows[table.n_stored :], strict=True)
            rows = ((origin, *(row if len(row) > len(COLUMNS) else (*row, None))) for origin, row in new)
            database.executemany(f"INSERT INTO trials ({names}) VALUES ({places})", rows)
            database.execute("COMMIT")
            return database.serialize()
    except OverflowError:
        raise BadArgument("a whole number of a history must be below 2**63") from None


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The database in a file, as it was when read and in today's form; refused when it is none, or of a newer form."""
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise _damaged(path) from None
    except OSError as error:
        raise StoreError(f"the history file {path} cannot be read: {error.strerror}") from None
    if not data.startswith(b"SQLite format 3\0"):
        raise _damaged(path)
    try:
        with closing(sqlite3.connect(":memory:")) as database:
            database.deserialize(data)
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version > FORM:
                raise StoreError(
                    f"the history file {path} is of form {version}, and this kdrec knows forms up to {FORM}; update "
                    "kdrec to read it"
                )
            if version < min(_STEPS):
                raise _damaged(path)
            for step in range(version, FORM):
                _STEPS[step](database)
            yield database
    except (sqlite3.Error, UnicodeDecodeError):
        raise _damaged(path) from None


def _name_foreign_knobs(database: sqlite3.Connection) -> None:
    """Form 1 to 2: a column for the knobs of histories made elsewhere, which some files of form 1 have already."""
    if not any(name == "knobs" for _, name, *_ in database.execute("PRAGMA table_info(trials)")):
        database.execute("ALTER TABLE trials ADD COLUMN knobs TEXT")


def _widen(database: sqlite3.Connection) -> None:
    """Form 2 to 3: the columns of schema 2, which say nothing of the trials of before."""
    types = {column.name: _SQL_TYPES[column.kind] for column in COLUMNS}
    for name in SCHEMA_2_COLUMNS:
        database.execute(f'ALTER TABLE trials ADD COLUMN "{name}" {types[name]}')


_STEPS: Final[dict[int, Callable[[sqlite3.Connection], None]]] = {1: _name_foreign_knobs, 2: _widen}
"""What brings a file of a form to the next one, in memory: the file itself is written anew by the next sync."""


def _read(path: Path) -> _Table:
    """The table in a file, checked: its form, its schema, and its rows, as they were written, against their digest."""
    with _opened(path) as database:
        about = dict(database.execute("SELECT name, value FROM about"))
        origins = [origin for (origin,) in database.execute("SELECT origin FROM trials ORDER BY rowid")]
        form = database.execute("PRAGMA user_version").fetchone()[0]  # of the file: steps leave it
        todays = form == FORM
        written = _rows(database, HISTORY_COLUMNS if todays else _COLUMNS_BEFORE_3)
        rows = written if todays else _rows(database, HISTORY_COLUMNS)
        data = database.serialize() if todays else b""
    same = hashed(written, origins)
    if about.keys() != _ABOUT or (told := about.pop("digest")) != digest_with(same, sorted(about.items())):
        raise _damaged(path)
    if not todays:
        return _Table(origins, rows, **about)
    return _Table(origins, rows, **about, data=data, digest=told, n_stored=len(rows), hashed=same)


def _rows(database: sqlite3.Connection, columns: Sequence[str]) -> list[Row]:
    names = ", ".join(f'"{name}"' for name in columns)
    padded = database.execute(f"SELECT {names}, knobs FROM trials ORDER BY rowid").fetchall()
    return [row[:-1] if row[-1] is None else row for row in padded]


def _read_or_put_aside(path: Path) -> _Table:
    """The table in a file; an empty one when there is none, or when it is damaged and has been put aside."""
    if not path.exists():
        return _Table()
    try:
        return _read(path)
    except CorruptFile:
        put_aside(path, path.with_suffix(".damaged").name)
        return _Table()


def _damaged(path: Path) -> CorruptFile:
    return CorruptFile(
        f"the history file {path} is damaged and was not used; `kdrec history sync` makes it anew from the store"
    )
