"""Homes for tests."""

from __future__ import annotations

from pathlib import Path

from kdrec.home import Home


def new_home(root: Path, sources_folder: Path) -> Home:
    """An empty home with a store of its own that shares the fetched packages."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "sources").symlink_to(sources_folder, target_is_directory=True)
    return Home.at(root)
