"""An embedded Prefect server: started with a study, kept below the kdrec home, gone when the study's process is gone.

Prefect can start one of its own, which outlives a killed parent; this one cannot, and it starts while its parent still
imports.
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
import urllib.error
import urllib.request
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from flows.children import LeanContext, LeanProcess, die_with_parent
from kdrec.errors import KdrecError

PATIENCE_SECONDS: Final = 120.0


class EmbeddedServer:
    """A server of this process; it takes calls once `wait_until_ready` returns."""

    def __init__(self, log: Path) -> None:
        mine, its = LeanContext().Pipe(duplex=False)
        self.log = log
        self.process = LeanProcess(target=_serve, args=(its, log), daemon=True, name="prefect-server")
        self.process.start()
        its.close()
        atexit.register(self.stop)  # before Prefect's own, so it runs after Prefect has sent its last logs
        try:
            self.url = f"http://127.0.0.1:{mine.recv()}/api"
        except EOFError:
            raise self._failed() from None

    def wait_until_ready(self) -> None:
        """Return when the server answers.

        Raises
        ------
        KdrecError
            It ended, or did not answer for two minutes.
        """
        try:
            urllib.request.urlopen(f"{self.url}/health", timeout=PATIENCE_SECONDS).close()
        except (OSError, urllib.error.URLError):
            raise self._failed() from None

    def stop(self) -> None:
        """End the server; what it was told is in its database."""
        self.process.terminate()
        self.process.join(timeout=3)
        self.process.kill()
        self.process.join()

    def _failed(self) -> KdrecError:
        return KdrecError(f"the embedded Prefect server did not start; its log {self.log} says why")


def _serve(port: Connection, log: Path) -> None:
    die_with_parent()
    os.setsid()  # a Ctrl-C on the terminal is for the parent, which still has things to report
    with log.open("ab", buffering=0) as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    listening = socket.create_server(("127.0.0.1", 0))
    port.send(listening.getsockname()[1])
    port.close()
    os.environ |= {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1", "PREFECT_UI_ENABLED": "false"}
    import uvicorn

    config = uvicorn.Config("prefect.server.api.server:create_app", factory=True, log_level="error", lifespan="on")
    uvicorn.Server(config).run(sockets=[listening])
    sys.exit(0)
