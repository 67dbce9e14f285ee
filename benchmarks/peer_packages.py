"""Packages of others that are measured beside kdrec, in folders of their own: none is a dependency of kdrec.

    python benchmarks/peer_packages.py            # installs them from the package index, some 180 MB

Versions are pinned and nothing that they ask for is installed unless it is named here: left to itself, pip would bring
another torch of several gigabytes (through sentence-transformers, TextBrewer, torchdistill) and xgboost with CUDA's
libraries (through syne-tune and FLAML, for which `xgboost-cpu` has the same module).
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import recipes

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".kdrec" / "peers"
DISTILLATION = (
    *("torchdistill==1.1.5", "textbrewer==0.2.1.post1", "sentence-transformers==6.2.0", "keras==3.15.1"),
    *("tensorboard==2.21.0", "absl-py==2.5.1", "h5py==3.16.0", "optree==0.20.0", "namex==0.1.0"),
)
RECOMMENDERS = (
    *("flaml==2.7.0", "syne-tune==0.16.0", "xgboost-cpu==3.2.0", "lightgbm==4.7.0", "statsmodels==0.15.0"),
    *("patsy==1.0.3", "sortedcontainers==2.4.0", "psutil==7.2.2"),
)
PURPOSES = {"distillation": DISTILLATION, "recommenders": RECOMMENDERS}


def install(purpose: str) -> None:
    """Bring what one benchmark needs, each package alone."""
    folder = FOLDER / purpose
    words = ("-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(folder))
    subprocess.run([sys.executable, *words, *PURPOSES[purpose]], check=True)


def use(purpose: str) -> None:
    """Let this process import them; what kdrec itself needs still comes from its own environment."""
    folder = FOLDER / purpose
    if not folder.is_dir():
        sys.exit(f"{folder} is missing: run python benchmarks/peer_packages.py")
    sys.path.append(str(folder))


def about() -> dict:
    """When, on what, how busy it was, and of which kdrec: the last commit that changed it."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    words = ("git", "log", "-1", "--format=%h", "--", "kdrec")
    commit = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    return {"date": now, "load_before": os.getloadavg()[0], **recipes.machine(), "commit": commit}


def versions(*names: str) -> dict[str, str]:
    """Of packages by their names on the index."""
    return {name: version(name) for name in names}


if __name__ == "__main__":
    for name in PURPOSES:
        install(name)
