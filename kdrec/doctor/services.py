"""Probes of what kdrec talks to: tracking store, shelf and Prefect's server, and the clocks of servers and disk."""

from __future__ import annotations

import base64
import json
import os
import shlex
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from importlib import metadata
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from kdrec.doctor.line import Line, broken, look, ok
from kdrec.errors import StoreError
from kdrec.home import Home
from kdrec.loopback import open_url
from kdrec.shelf import Shelf
from kdrec.tracking import redacted
from kdrec.tracking.standing import Standing, standing
from kdrec.tracking.tables import upgrade_command
from kdrec.types import SCHEMA_VERSION

PATIENCE_SECONDS: Final = 4.0
_NO_POOL: Final = "make one: prefect work-pool create local --type process; then prefect deploy --all"
_START: Final = "start it (prefect server start), or unset PREFECT_API_URL to do without"
_API: Final = "PREFECT_API_URL ends in /api, such as http://127.0.0.1:4200/api"
SKEW_SECONDS: Final = 60.0
"""A difference of clocks that confuses whoever reads times; a Date header is exact to a second."""
WRONG_SECONDS: Final = 3600.0
"""One that hides finished trials from a sync, which reads an hour back (`kdrec.tracking.store`)."""


def store(home: Home) -> list[Line]:
    """Whether the tracking store answers, its tables fit the installed MLflow, and its studies fit this kdrec."""
    try:
        found = standing(home)
    except StoreError as error:
        return [broken("store", str(error), "until it answers there are no studies, no gc and no sync of the history")]
    return [_tables(found), *([_schemas(found)] if found.schemas else [])]


def _tables(found: Standing) -> Line:
    mlflow = f"MLflow {metadata.version('mlflow')}"
    if found.revision == "none":
        return ok("store", f"{found.where} has no tables yet; the first study makes them")
    if found.revision == "old":
        advice = f"make a copy of the database, then: {upgrade_command(found.where)}"
        return broken("store", f"the tables of {found.where} ({found.named}) are older than {mlflow} wants", advice)
    if found.revision == "newer":
        return broken(
            "store",
            f"the tables of {found.where} ({found.named}) are of a newer MLflow than {mlflow}",
            "update mlflow here to the version that wrote them",
        )
    tables = "" if found.revision == "hidden" else f", its tables ({found.named}) are those of {mlflow}"
    return ok("store", f"{found.where} answers{tables}")


def _schemas(found: Standing) -> Line:
    other = sorted(set(found.schemas) - {str(version) for version in range(1, SCHEMA_VERSION + 1)})
    counted = ", ".join(f"{count} of kdrec schema {schema}" for schema, count in sorted(found.schemas.items()))
    if not other:
        return ok("store", f"studies: {counted}")
    newer = any(schema.isdecimal() and int(schema) > SCHEMA_VERSION for schema in other)
    advice = "update kdrec" if newer else "keep those of an older kdrec in a store of their own"
    return broken("store", f"studies: {counted}; this kdrec knows schemas up to {SCHEMA_VERSION}", advice)


def shared(home: Home) -> list[Line]:
    """Whether the shelf can be written to and read; what the probe writes is gone at once."""
    if home.shared is None:
        return [ok("shared", "KDREC_SHARED is not set: nothing is shared with other homes")]
    shelf = Shelf.of(home)
    trouble = shelf.probe()
    if trouble is not None:
        return [broken("shared", trouble, "put it right, or unset KDREC_SHARED to do without; studies go on meanwhile")]
    return [ok("shared", f"{shelf.name} can be written to and read")]


def prefect(home: Home) -> list[Line]:
    """Whether the Prefect server of `PREFECT_API_URL` answers, and someone takes its work."""
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return [ok("prefect", "PREFECT_API_URL is not set: a study starts a server of its own")]
    try:
        server, pools = str(_ask_prefect("admin/version")), _ask_prefect("work_pools/filter", {})
        lines = [_pool(pool) for pool in pools if pool.get("type") != "prefect-agent"]
    except urllib.error.HTTPError as error:
        error.close()
        keys = "check PREFECT_API_KEY or PREFECT_API_AUTH_STRING"
        return [broken("prefect", f"{redacted(url)} answered {error.code}", keys if error.code in (401, 403) else _API)]
    except (OSError, HTTPException) as error:
        reason = redacted(str(getattr(error, "reason", error)))
        return [broken("prefect", f"no server answers at {redacted(url)} ({reason})", _START)]
    except (ValueError, TypeError, KeyError, AttributeError):
        return [broken("prefect", f"{redacted(url)} is not the API of a Prefect server", _API)]
    none = look("prefect", "there is no work pool", _NO_POOL)
    return [_server(url, server), *(lines or [none])]


def _server(url: str, version: str) -> Line:
    own = metadata.version("prefect")
    found = f"{redacted(url)} answers: Prefect {version}"
    if version.split(".")[0] != own.split(".")[0]:
        return look("prefect", f"{found}, and {own} is installed here", "install the same major version on both sides")
    return ok("prefect", found)


def _pool(pool: Mapping[str, Any]) -> Line:
    name = str(pool["name"])
    if pool.get("is_paused"):
        return look("prefect", f"work pool {name!r} is paused", f"prefect work-pool resume {shlex.quote(name)}")
    if ":" in str(pool.get("type")):  # such as ecs:push
        return ok("prefect", f"work pool {name!r} needs no worker")
    workers = _ask_prefect(f"work_pools/{quote(name, safe='')}/workers/filter", {})
    online = sum(worker.get("status") == "ONLINE" for worker in workers)
    if not online:
        return look(
            "prefect", f"work pool {name!r} has no worker online", f"prefect worker start --pool {shlex.quote(name)}"
        )
    return ok("prefect", f"work pool {name!r} has {online} worker{'' if online == 1 else 's'} online")


def clock(home: Home) -> list[Line]:
    """How far the clocks of the store's server, of Prefect's, and of the home's disk are from this machine's."""
    servers = {"the tracking server": home.tracking_uri, "the Prefect server": os.environ.get("PREFECT_API_URL") or ""}
    lines = [
        _clock_of(name, f"{url.rstrip('/')}/health")
        for name, url in servers.items()
        if url.startswith(("http://", "https://"))
    ]
    if home.root.is_dir() and os.access(home.root, os.W_OK):
        lines.append(_judged("the disk of the home", _disk_ahead(home.root)))
    return lines or [ok("clock", "there is no other clock to compare with")]


def _clock_of(name: str, url: str) -> Line:
    try:
        ahead = _ask(url).ahead
    except urllib.error.HTTPError as error:
        error.close()
        ahead = _ahead(error.headers.get("Date"), time.time())
    except (OSError, ValueError, HTTPException):
        return look("clock", f"{name} did not tell the time", "see the line of that server")
    if ahead is None:
        return ok("clock", f"{name} does not tell the time")
    return _judged(name, ahead)


def _judged(name: str, ahead: float) -> Line:
    size = abs(ahead)
    found = f"{name} is {size:.0f} s {'ahead' if ahead > 0 else 'behind'}" if size >= 2 else f"{name} keeps our time"
    advice = "synchronise the clocks of both machines (NTP)"
    if size >= WRONG_SECONDS:
        return broken("clock", found, advice)
    return look("clock", found, advice) if size >= SKEW_SECONDS else ok("clock", found)


def _disk_ahead(folder: Path) -> float:
    """Seconds that the file system's clock is ahead, by a file that is gone at once."""
    before = time.time()
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"1")
        file.flush()
        written = os.fstat(file.fileno()).st_mtime
    return written - (before + time.time()) / 2


@dataclass(frozen=True)
class _Answer:
    body: bytes
    ahead: float | None
    """Seconds that the server's clock is ahead, by its Date header."""


def _ask(url: str, question: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None) -> _Answer:
    """GET a page, or POST a question; the credentials of a URL are not sent, and redirections are not followed."""
    parts = urlsplit(url)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    data = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(bare, data, {"Content-Type": "application/json", **(headers or {})})
    before = time.time()
    with open_url(request, PATIENCE_SECONDS, _NoRedirection) as answer:
        body, date = answer.read(10_000_000), answer.headers.get("Date")
    return _Answer(body, _ahead(date, (before + time.time()) / 2))


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *details: Any) -> None:
        """Let the answer count as it is: headers would go along to whatever it names."""


def _ask_prefect(page: str, question: Mapping[str, Any] | None = None) -> Any:
    """What the API answers, with the credentials that Prefect itself would send."""
    url = os.environ["PREFECT_API_URL"].rstrip("/")
    user = unquote(urlsplit(url).netloc.rpartition("@")[0])
    key, pair = os.environ.get("PREFECT_API_KEY"), user or os.environ.get("PREFECT_API_AUTH_STRING")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if pair:
        headers = {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return json.loads(_ask(f"{url}/{page}", question, headers).body)


def _ahead(date: str | None, now: float) -> float | None:
    """Seconds from now to a Date header, which leaves out parts of a second."""
    try:
        return parsedate_to_datetime(date).timestamp() + 0.5 - now if date else None
    except ValueError:
        return None
