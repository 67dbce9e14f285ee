"""Where kdrec keeps its things: one absolute folder, given by `KDREC_HOME` (default `./.kdrec`).

This room knows paths and environment variables and nothing of what is stored in them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """Absolute folder of one installation, and the URI of the MLflow store its studies write to."""

    root: Path
    tracking_uri: str = field(repr=False)
    """May hold a password: it is in no text of a home."""
    shared: str | None = field(default=None, repr=False)
    """Where teachers and logits are shared with other homes (`kdrec.shelf`); may hold a password too."""

    @classmethod
    def from_env(cls) -> Home:
        """Read `KDREC_HOME`, `KDREC_SHARED`, then `KDREC_TRACKING_URI` or `MLFLOW_TRACKING_URI`.

        The default is a home of its own, with its store, an SQLite file, in it.
        """
        return cls.at(os.environ.get("KDREC_HOME") or ".kdrec")

    @classmethod
    def at(cls, root: str | Path) -> Home:
        """Place the home at `root`; what else it knows follows the environment as in `from_env`."""
        path = Path(root).expanduser().resolve()
        uri = os.environ.get("KDREC_TRACKING_URI") or os.environ.get("MLFLOW_TRACKING_URI")
        shared = os.environ.get("KDREC_SHARED") or None
        return cls(root=path, tracking_uri=uri or f"sqlite:///{path / 'mlflow.db'}", shared=shared)

    def folder(self, *parts: str) -> Path:
        """A folder below the root, created with access for its owner only."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.root
        for part in parts:
            path = path / part
            path.mkdir(exist_ok=True, mode=0o700)  # one by one: parents=True gives those in between the usual mode
        return path

    @property
    def history_db(self) -> Path:
        """SQLite file of the synced history table."""
        return self.root / "history.sqlite"

    @property
    def artifacts(self) -> Path:
        """Root of MLflow artifacts when the store is the local SQLite file."""
        return self.root / "artifacts"

    @property
    def store_file(self) -> Path | None:
        """Database file of a local SQLite tracking store; None when the store is a server."""
        form = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", self.tracking_uri)
        return Path(form[1]).absolute() if form else None
