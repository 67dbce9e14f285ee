"""Where kdrec keeps its things: one absolute folder, given by `KDREC_HOME` (default `./.kdrec`).

This room knows paths and environment variables and nothing of what is stored in them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from kdrec.errors import BadArgument, KdrecError
from kdrec.loopback import ask_directly

_ODD: Final = re.compile(r"[%?#\x00-\x1f\x7f]")
"""Signs of a path that mean something else in a URI."""


def sqlite_uri(path: Path, driver: str = "pysqlite") -> str:
    """The URI by which SQLAlchemy finds a SQLite file, whatever signs are in its path.

    Its form for an odd path names the driver: of `sqlite:///`, MLflow takes the rest as a path and makes that folder.

    >>> sqlite_uri(Path("/srv/a/m.db")), sqlite_uri(Path("/srv/a?b/m.db"))
    ('sqlite:////srv/a/m.db', 'sqlite+pysqlite:////srv/a%3Fb/m.db')
    """
    text = str(path)
    if not _ODD.search(text):
        return f"sqlite{'' if driver == 'pysqlite' else f'+{driver}'}:///{text}"
    if _decodes():
        return f"sqlite+{driver}:///{_ODD.sub(lambda sign: quote(sign[0]), text)}"
    if "?" in text:
        raise BadArgument(f"a path with '?' needs SQLAlchemy 2.1 or newer, got {text!r}")
    return f"sqlite+{driver}:///{text}"


def _decodes() -> bool:
    """Whether the SQLAlchemy that is installed reads the path of a URI as encoded."""
    return [int(part) for part in version("sqlalchemy").split(".")[:2]] >= [2, 1]


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
        path = _placed(root)
        uri = os.environ.get("KDREC_TRACKING_URI") or os.environ.get("MLFLOW_TRACKING_URI")
        shared = os.environ.get("KDREC_SHARED") or None
        _see_to_a_home_of_the_user(path)
        ask_directly(uri, shared, os.environ.get("PREFECT_API_URL"), os.environ.get("AWS_ENDPOINT_URL"))
        return cls(root=path, tracking_uri=uri or sqlite_uri(path / "mlflow.db"), shared=shared)

    def folder(self, *parts: str) -> Path:
        """A folder below the root, created with access for its owner only; refused where a file is in its place."""
        path = self.root
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            for part in parts:
                path = path / part
                path.mkdir(exist_ok=True, mode=0o700)  # one by one: parents=True gives those in between the usual mode
        except (FileExistsError, NotADirectoryError):
            there = next((one for one in (path, *path.parents) if one.exists() and not one.is_dir()), path)
            raise KdrecError(f"{there} must be a folder of the kdrec home, and a file is there; move it away") from None
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
        if form is None:
            return None
        return Path(unquote(form[1]) if _decodes() else form[1]).absolute()


def _see_to_a_home_of_the_user(path: Path) -> None:
    """Name one to libraries that ask for it when they are imported, where a container's user has none."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(path)


def _placed(root: str | Path) -> Path:
    """The absolute path of a home; what no URI can hold is refused before anything is made there."""
    try:
        path = Path(root).expanduser().resolve()
        str(path).encode()
    except UnicodeEncodeError:
        raise BadArgument(f"the home must be a path of UTF-8 text, got {str(root)!a}") from None
    except (RuntimeError, ValueError) as error:  # ~ of an unknown user, a NUL
        raise BadArgument(f"the home {str(root)!r} is no path: {str(error).rstrip('.').lower()}") from None
    except OSError as error:  # a link that leads to itself
        raise BadArgument(f"the home {str(root)!r} is no path: {error.strerror}") from None
    return path
