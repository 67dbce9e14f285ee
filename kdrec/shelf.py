"""What machines share: one shelf of files, a folder or an object store, that `KDREC_SHARED` names by an fsspec URL.

A home stays the working copy. The shelf is asked for what the home lacks, and offered what was made there. A file is
named by a hash of what it was made from, so nothing on it is ever out of date, and nothing is deleted.

Whoever can write to the shelf may be somebody else, so what comes from it is believed as little as a stranger's file:
it is copied to a temporary name, no larger than its reader expects, and takes its place in the home only when the
reader has checked it. What is refused is made anew. A shelf that is away stops nothing: it is told once and left alone.

Credentials come from the URL or from the environment (`AWS_ACCESS_KEY_ID` and its like; `AWS_ENDPOINT_URL` names a
server of one's own); they are in no text of this room.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from kdrec.errors import BadArgument, CorruptFile, KdrecError, MismatchError, did_you_mean, redacted
from kdrec.home import Home
from kdrec.sources import atomic_path

T = TypeVar("T")

_NAME: Final = re.compile(r"[a-z]+(?:/[0-9a-f]{64})?/[0-9a-z]+\.[a-z]+")
"""Letters and digits alone: no name leads out of the shelf."""
_BLOCK: Final = 8 << 20
_OBJECTS: Final = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "r2"})
"""Stores where one PUT makes an object, wholly or not at all; elsewhere a file is renamed into its folder."""
_PATIENCE: Final = {"config_kwargs": {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 2}}}
_OPTIONS: Final[dict[str, dict[str, Any]]] = {"s3": _PATIENCE, "s3a": _PATIENCE}
_EXTRAS: Final = {"s3": "kdrec[s3]", "s3a": "kdrec[s3]"}


class _Nothing(KdrecError):
    """There is no such file, or no shelf to ask."""


class Shelf:
    """The shelf of a home, or none; `say` is told in one sentence when it cannot be used or a file is refused."""

    def __init__(self, url: str | None, say: Callable[[str], object]) -> None:
        self.name = "none" if url is None else _hidden(url, url)
        self._url, self._say = url, say
        self._connected: tuple[Any, str] | None = None
        self._refused: set[str] = set()

    @classmethod
    def of(cls, home: Home, say: Callable[[str], object] = lambda sentence: None) -> Shelf:
        """The shelf that a home shares; it is not asked for anything yet.

        Raises
        ------
        BadArgument
            When `KDREC_SHARED` is no URL of a place that this Python can speak to.
        """
        if home.shared is not None:
            _check(home.shared)
        return cls(home.shared, say)

    @classmethod
    def none(cls) -> Shelf:
        """Without a shelf: nothing is found, and what is offered is not taken."""
        return cls(None, lambda sentence: None)

    @property
    def is_away(self) -> bool:
        """Whether there is none, or it was given up."""
        return self._url is None

    def fetch(self, name: str, path: Path, *, most_bytes: int, check: Callable[[Path], T]) -> T | None:
        """Bring a file to `path` if it is there and `check` does not refuse it.

        Parameters
        ----------
        name : str
            On the shelf.
        path : pathlib.Path
            Its place in the home, in an existing folder.
        most_bytes : int
            A larger file is refused before it has filled the disk.
        check : callable
            Reads the copy and raises `CorruptFile` or `MismatchError`.

        Returns
        -------
        object or None
            What `check` made of it; None where there is no such file, it was refused, or the shelf is away.

        Raises
        ------
        KdrecError
            When it cannot be written to `path`.
        """
        try:
            with atomic_path(path) as temporary:
                with temporary.open("xb") as copy:
                    for block in self._blocks(name, most_bytes):
                        copy.write(block)
                return check(temporary)
        except _Nothing:
            return None
        except (CorruptFile, MismatchError) as error:
            self.refuse(name, str(error))
            return None

    def read(self, name: str, *, most_bytes: int) -> bytes | None:
        """Content of a small file; None where there is none, it is larger, or the shelf is away."""
        try:
            return b"".join(self._blocks(name, most_bytes))
        except _Nothing:
            return None
        except CorruptFile as error:
            self.refuse(name, str(error))
            return None

    def refuse(self, name: str, reason: str) -> None:
        """Say that a file is not believed; the next one offered under its name replaces it."""
        self._refused.add(name)
        self._say(f"{name} on the shared shelf {self.name} is refused, and made anew: {_hidden(reason, self._url)}")

    def offer(self, name: str, path: Path) -> None:
        """Put a file of the home on the shelf, wholly or not at all, unless one of this name is there already."""
        if self.holds(name):
            return
        with suppress(_Nothing), self._asked("written to"):
            self._put(name, path)
            self._refused.discard(name)

    def holds(self, name: str) -> bool:
        """Whether a file is there that this home has not refused; False where the shelf is away."""
        assert _NAME.fullmatch(name), f"{name!r} is no name of a file on a shelf"
        if name in self._refused:
            return False
        with suppress(_Nothing), self._asked("read"):
            fs, place = self._place(name)
            fs.info(place)
            return True
        return False

    def probe(self) -> str | None:
        """Write a few bytes, read them back and remove them: None where that works, or else what went wrong."""
        content, troubles = secrets.token_bytes(8), list[str]()
        probed = Shelf(self._url, troubles.append)
        with suppress(_Nothing), probed._asked("written to and read"):
            fs, root = probed._connection()
            place = f"{root}/probe-{secrets.token_hex(8)}"
            fs.pipe_file(place, content)
            back = fs.cat_file(place)
            with suppress(Exception):  # a store may keep what it was given
                fs.rm_file(place)
            if back != content:
                raise OSError("what was written came back changed")
        return troubles[0] if troubles else None

    def _blocks(self, name: str, most_bytes: int) -> Iterator[bytes]:
        """Content of a file, block by block; what happens to a block outside is not the shelf's trouble."""
        assert _NAME.fullmatch(name), f"{name!r} is no name of a file on a shelf"
        n_bytes = 0
        with self._asked("read"):
            fs, place = self._place(name)
            if fs.info(place)["type"] != "file":  # to open a pipe would wait for ever
                raise CorruptFile("it is no file")
            with fs.open(place, "rb") as source:
                while block := source.read(_BLOCK):
                    n_bytes += len(block)
                    if n_bytes > most_bytes:
                        raise CorruptFile(f"it is larger than {most_bytes} bytes, which is more than it may have")
                    yield block

    def _put(self, name: str, path: Path) -> None:
        fs, place = self._place(name)
        if _scheme(self._url) in _OBJECTS:
            fs.put_file(str(path), place)
            return
        folder, _, file = place.rpartition("/")
        temporary = f"{folder}/.{file}.{secrets.token_hex(8)}.tmp"
        fs.makedirs(folder, exist_ok=True)
        try:
            fs.put_file(str(path), temporary)
            fs.mv(temporary, place)
        except BaseException:
            with suppress(Exception):
                fs.rm_file(temporary)
            raise

    def _place(self, name: str) -> tuple[Any, str]:
        fs, root = self._connection()
        return fs, f"{root}/{name}"

    def _connection(self) -> tuple[Any, str]:
        """The file system and the path of the shelf in it; a folder has to be there, for it may be a missing mount."""
        import fsspec

        if self._url is None:
            raise _Nothing
        if self._connected is None:
            options = _OPTIONS.get(_scheme(self._url), {})
            fs, root = fsspec.url_to_fs(self._url, skip_instance_cache=True, use_listings_cache=False, **options)
            if _scheme(self._url) not in _OBJECTS and not fs.isdir(root):
                raise NotADirectoryError("there is no such folder; make it, or mount it")
            self._connected = fs, root.rstrip("/")
        return self._connected

    @contextmanager
    def _asked(self, doing: str) -> Iterator[None]:
        """Give the shelf up, with one sentence, when it does not do what it is asked."""
        try:
            yield
        except FileNotFoundError as error:
            if doing == "read":
                raise _Nothing from None
            self._give_up(doing, error)
        except KdrecError:
            raise
        except Exception as error:  # every store has a library, and every library errors of its own
            self._give_up(doing, error)

    def _give_up(self, doing: str, error: Exception) -> None:
        reason = " ".join(str(error).split()) or type(error).__name__
        self._say(
            f"the shared shelf {self.name} cannot be {doing} ({_hidden(reason, self._url)[:300]}); "
            "going on with this home alone"
        )
        self._url = None
        raise _Nothing from None


def _check(url: str) -> None:
    """Refuse what is no place that files can be put."""
    import fsspec

    scheme, form = _scheme(url), "file:///FOLDER or s3://BUCKET/FOLDER"
    if "::" in url or not (url.startswith("/") or "://" in url):
        raise BadArgument(f"KDREC_SHARED must be a URL such as {form}, or an absolute path; got {_hidden(url, url)!r}")
    try:
        kind = fsspec.get_filesystem_class(scheme)
    except ValueError:
        near = did_you_mean(scheme, ("file", "s3", "gs", "abfs", "sftp"))
        raise BadArgument(f"KDREC_SHARED begins with {scheme}://, which nothing here speaks{near}") from None
    except ImportError as error:
        needed = f"pip install '{_EXTRAS[scheme]}'" if scheme in _EXTRAS else str(error)
        raise BadArgument(f"KDREC_SHARED begins with {scheme}://, for which a package is missing: {needed}") from None
    relative = scheme == "file" and not re.match(r"(?:file://)?/", url)
    if relative or not kind._strip_protocol(url).strip("/"):
        raise BadArgument(f"KDREC_SHARED must name a folder, as in {form}; got {_hidden(url, url)!r}")


def _scheme(url: str | None) -> str:
    scheme, colon, _ = (url or "").partition("://")
    return scheme.lower() if colon else "file"


def _hidden(text: str, url: str | None) -> str:
    """A text without the credentials of the shelf's URL, wherever they stand in it."""
    text = redacted(text)
    user = urlsplit(url or "").netloc.rpartition("@")[0]
    password = user.partition(":")[2]
    for part in filter(None, (user, unquote(user), password, unquote(password))):
        text = text.replace(part, "***")
    return text
