"""A disk small enough to fill."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Disk:
    """A file system of its own, and a file that takes what is left of it."""

    folder: Path

    @classmethod
    @contextmanager
    def mounted(cls, folder: Path, megabytes: int = 400) -> Iterator[Disk]:
        """A new one at `folder`, gone when the block ends.

        Raises
        ------
        PermissionError
            Only root may make a file system.
        """
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "kdrec-test", str(folder)]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            raise PermissionError("only root may make a file system")
        try:
            yield cls(folder)
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)

    def fill(self) -> None:
        with suppress(OSError), (self.folder / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))

    def free(self) -> None:
        (self.folder / "ballast").unlink(missing_ok=True)
