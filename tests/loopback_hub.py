"""A small Hub on this machine: repositories with commits, refusals, ranges and connections that break."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Hub:
    """Repositories by path (`models/o/m`), each with files by commit, the head first; refusals; what was asked.

    `breaks` are the bodies to break off: for an ending of a path, after how many bytes, one number an answer.
    """

    repositories: dict[str, dict[str, dict[str, bytes]]]
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    address: str = ""
    breaks: dict[str, list[int]] = field(default_factory=dict)
    ranges: list[tuple[str, int]] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)

    def sent(self, path: str, data: bytes) -> bytes:
        """What of a body is sent before the connection breaks."""
        self.bodies.append(path)
        left = next((left for ending, left in self.breaks.items() if path.endswith(ending)), [])
        return data[: left.pop(0)] if left else data

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(path)
        for name, (status, code) in self.refusals.items():
            if f"/{name}/" in f"{path}/":
                return status, {"X-Error-Code": code}, b""
        kind = "datasets" if "datasets/" in path else "models"
        owner, name, verb, commit, *rest = path.removeprefix("/api").removeprefix(f"/{kind}").strip("/").split("/")
        commits = self.repositories.get(f"{kind}/{owner}/{name}")
        if commits is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        commit = next(iter(commits)) if commit == "main" else commit
        if commit not in commits:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        files = commits[commit]
        if verb == "resolve":
            data = files["/".join(rest)]
            return 200, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit}, data
        if verb == "tree":
            entries = [{"type": "file", "path": n, "size": len(d), "oid": "0" * 40} for n, d in files.items()]
            return 200, {}, json.dumps(entries).encode()
        siblings = [{"rfilename": n} for n in files]
        return 200, {}, json.dumps({"id": f"{owner}/{name}", "sha": commit, "siblings": siblings}).encode()

    def environment(self, root: Path) -> dict[str, str]:
        """This process's environment, with this Hub as the only one and its cache below `root`."""
        ours = {name: value for name, value in os.environ.items() if not _is_other(name)}
        return ours | {"HF_ENDPOINT": self.address, "HF_HOME": str(root / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}


def _is_other(name: str) -> bool:
    return name.startswith("HF_") or "proxy" in name.lower()


@contextmanager
def serving(here: Hub) -> Iterator[Hub]:
    """Serve a Hub until the block ends."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            status, headers, data = here.answer(path)
            begin = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if begin and status == 200:
                here.ranges.append((path, int(begin[1])))
                headers["Content-Range"] = f"bytes {begin[1]}-{len(data) - 1}/{len(data)}"
                status, data = 206, data[int(begin[1]) :]
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(here.sent(path, data))

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here.address = f"http://127.0.0.1:{server.server_port}"
    yield here
    server.shutdown()
    server.server_close()
