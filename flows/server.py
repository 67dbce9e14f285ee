"""An embedded Prefect server: started with a study, kept below the kdrec home, gone when the study's process is gone.

Prefect can start one of its own, which outlives a killed parent; this one cannot, and it starts while its parent still
imports. If it is killed, another takes its place on the same port and database: Prefect's clients try again for a
while, and a study would hang and fail by the loss of what only shows it.

Prefect's servers make or change the tables of a database all at once, and end when another is at it: so on a folder
where this version of Prefect has not been ready yet, they start one after the other.
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
import threading
from contextlib import suppress
from http.client import HTTPException
from importlib.metadata import version
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from flows.children import LeanContext, LeanProcess, die_with_parent
from kdrec.errors import KdrecError, redacted
from kdrec.loopback import ask_directly, open_url
from kdrec.sources import atomic_write

PATIENCE_SECONDS: Final = 120.0
STARTS: Final = 3
"""How often a server may end before it has answered."""
REVIVAL_SECONDS: Final = 1.0
"""Between two starts of a server that keeps ending."""
LAST_LETTERS: Final = 400
"""Of a server's log, in the sentence that it did not start."""
PREPARED: Final = "prepared"
"""File that says for which version of Prefect the database is ready."""


class EmbeddedServer:
    """A server of this process; it takes calls once `wait_until_ready` returns.

    Parameters
    ----------
    folder : pathlib.Path
        Of its log, and of what Prefect keeps.
    """

    def __init__(self, folder: Path) -> None:
        self.log, self._mark = folder / "server.log", folder / PREPARED
        self._stopped, self._logged = threading.Event(), _size(self.log)
        ask_directly()
        self._alone = FileLock(folder / "server.lock")  # released by the system, too, when its process dies
        with suppress(Timeout):  # then somebody holds it who will not be ready any more
            self._alone.acquire(timeout=PATIENCE_SECONDS)
        if self._is_prepared():
            self._alone.release()
        try:
            self.process, self.port = self._start(0)
        except EOFError:
            raise self._failed() from None
        atexit.register(self.stop)  # before Prefect's own, so it runs after Prefect has sent its last logs
        self.url = f"http://127.0.0.1:{self.port}/api"

    def wait_until_ready(self) -> None:
        """Return when the server answers; one that ends before is started again, at the same address.

        Raises
        ------
        KdrecError
            It ended again and again, or did not answer for two minutes.
        """
        for _ in range(STARTS):
            try:
                open_url(f"{self.url}/health", PATIENCE_SECONDS).close()
                break
            except (OSError, HTTPException):
                self.process.join(timeout=5)
                if self.process.is_alive():
                    raise self._failed() from None
            with suppress(EOFError):
                self.process, _ = self._start(self.port)
        else:
            raise self._failed()
        if not self._is_prepared():
            atomic_write(self._mark, version("prefect").encode())
        self._alone.release()
        threading.Thread(target=self._revive, name="revive-prefect-server", daemon=True).start()

    def stop(self) -> None:
        """End the server; what it was told is in its database."""
        self._stopped.set()
        self.process.terminate()
        self.process.join(timeout=3)
        self.process.kill()
        self.process.join()

    def _start(self, port: int) -> tuple[LeanProcess, int]:
        """A server's process and its port; 0 takes a free one. An `EOFError` says that it ended at once."""
        mine, its = LeanContext().Pipe(duplex=False)
        process = LeanProcess(target=_serve, args=(its, self.log, port), daemon=True, name="prefect-server")
        process.start()
        its.close()
        with mine:
            return process, int(mine.recv())

    def _revive(self) -> None:
        """Wait for the end of the server, and start another, until `stop`; a child lives as long as this thread."""
        while True:
            wait([self.process.sentinel])
            if self._stopped.is_set():
                return
            with suppress(EOFError, OSError):
                self.process, _ = self._start(self.port)
            self._stopped.wait(REVIVAL_SECONDS)

    def _is_prepared(self) -> bool:
        try:
            return self._mark.read_text(encoding="utf-8") == version("prefect")
        except (OSError, ValueError):
            return False

    def _failed(self) -> KdrecError:
        self._alone.release()
        said = _last_words(self.log, self._logged)
        ends = f"ends with: {said}" if said else "says nothing"
        return KdrecError(f"the embedded Prefect server did not start; its log {self.log} {ends}")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _last_words(log: Path, start: int) -> str:
    """The end of what a log says from a place on: the line that tells most of an error stands last."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(start, _size(log) - 4 * LAST_LETTERS))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    line = " ".join(redacted(text).split())
    return line if len(line) <= LAST_LETTERS else f"... {line[-LAST_LETTERS:]}"


def _serve(told: Connection, log: Path, port: int) -> None:
    die_with_parent()
    os.setsid()  # a Ctrl-C on the terminal is for the parent, which still has things to report
    with log.open("ab", buffering=0) as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    listening = socket.create_server(("127.0.0.1", port))
    told.send(listening.getsockname()[1])
    told.close()
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "ERROR"  # of its own log, whatever the study shows
    os.environ |= {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1", "PREFECT_UI_ENABLED": "false"}
    import uvicorn

    config = uvicorn.Config("prefect.server.api.server:create_app", factory=True, log_level="error", lifespan="on")
    uvicorn.Server(config).run(sockets=[listening])
    sys.exit(0)
