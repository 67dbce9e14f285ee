"""Probes of this machine: packages, accelerators, the home and its disk, the switches of the Hub."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from shlex import quote
from typing import Any, Final

import kdrec
from kdrec.doctor.line import Line, broken, look, ok
from kdrec.home import Home
from kdrec.tracking import redacted

SHOWN: Final = ("torch", "transformers", "accelerate", "mlflow", "prefect")
_GB: Final = 1e9
LITTLE_GB: Final = 5.0
"""Free space of which a study of several tasks may run out: a teacher's weights and a checkpoint are 0.3 GB a task."""
NONE_GB: Final = 0.3
_YES: Final = ("1", "on", "yes", "true")


def packages(home: Home) -> list[Line]:
    """Versions, without loading anything, against the ranges that this kdrec asks for."""
    versions = " ".join(f"{name} {_version(name) or 'missing'}" for name in SHOWN)
    first = f"kdrec {kdrec.__version__} on Python {platform.python_version()}: {versions}"
    wrong = [*_outside()]
    missing = [
        broken("packages", f"{name} is not installed", f"pip install {name}") for name in SHOWN if not _version(name)
    ]
    return [ok("packages", first), *(wrong or missing)]


def _outside() -> Iterator[Line]:
    """Requirements that are not met; nothing where kdrec itself is not installed as a package."""
    from packaging.requirements import Requirement

    try:
        texts = metadata.requires("kdrec") or []
    except metadata.PackageNotFoundError:
        return
    for wanted in map(Requirement, texts):
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        version, plain = _version(wanted.name), f"{wanted.name}{wanted.specifier}"
        if version is None:
            yield broken("packages", f"{wanted.name} is not installed", f"pip install '{plain}'")
        elif not wanted.specifier.contains(version, prereleases=True):
            yield broken("packages", f"{wanted.name} {version} does not fit {plain}", f"pip install '{plain}'")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def gpu(home: Home) -> list[Line]:
    """What torch can train on; this loads it."""
    try:
        import torch
    except Exception as error:  # a broken build raises what it likes
        return [broken("gpu", f"torch cannot be loaded: {str(error)[:200]}", "reinstall torch")]
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return [ok("gpu", f"{len(names)} by CUDA: {', '.join(names)}; torch {torch.__version__}")]
    if torch.backends.mps.is_available():
        return [ok("gpu", f"one by MPS; torch {torch.__version__}")]
    if Path("/proc/driver/nvidia/version").exists():
        found = f"an NVIDIA driver is here, and torch {torch.__version__} cannot use it"
        return [look("gpu", found, "install a CUDA build of torch that this driver supports (README, GPU)")]
    return [ok("gpu", f"none: studies train on {_cores()} CPU cores; torch {torch.__version__}")]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def home(home: Home) -> list[Line]:
    """Whether the home is its owner's alone, and can be written to."""
    root = home.root
    if not root.exists():
        return [ok("home", f"{root} is not there yet; the first study makes it")]
    if not root.is_dir() or not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        return [broken("home", f"{root} is no folder that you may write to", "name another: KDREC_HOME or --home")]
    if root.stat().st_uid != os.getuid():
        return [look("home", f"{root} belongs to another user", "every user needs a home: KDREC_HOME or --home")]
    mode = stat.S_IMODE(root.stat().st_mode)
    if mode & 0o077:
        return [look("home", f"{root} has mode {mode:04o}: others may look into it", f"chmod 700 {quote(str(root))}")]
    return [ok("home", f"{root} is its owner's alone")]


def disk(home: Home) -> list[Line]:
    """Free space where the home is, or will be, and in the temporary folder."""
    root = next(path for path in (home.root, *home.root.parents) if path.exists())
    places = {"the home": root, "the temporary folder": Path(tempfile.gettempdir())}
    return [_space(name, path) for name, path in places.items()]


def _space(name: str, path: Path) -> Line:
    free = shutil.disk_usage(path).free / _GB
    found = f"{free:.1f} GB free for {name} ({path})"
    if free < NONE_GB:
        return broken("disk", found, "free some space, or move it: KDREC_HOME, TMPDIR; kdrec gc shows what can go")
    if free < LITTLE_GB:
        return look("disk", found, "a study may run out of it; kdrec gc shows what can go")
    if os.statvfs(path).f_favail == 0 and os.statvfs(path).f_files:
        return broken("disk", f"no more files fit on the disk of {name} ({path})", "delete many small files there")
    return ok("disk", found)


def hub(home: Home) -> list[Line]:
    """Switches that keep the Hub away, or put another in its place; the Hub itself is not asked."""
    offline = [name for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if _is_on(os.environ.get(name))]
    endpoint = os.environ.get("HF_ENDPOINT")
    found: list[Line] = []
    if offline:
        advice = f"unset {' '.join(offline)} to fetch hub: sources; pypi: and file: need no Hub"
        found.append(look("hub", f"{' and '.join(offline)} set: the Hub is not asked, its cache alone is read", advice))
    if endpoint:
        found.append(look("hub", f"HF_ENDPOINT is {redacted(endpoint)}", "unset it if that mirror is not meant"))
    return found or [ok("hub", "hub: sources are fetched from the Hugging Face Hub when they are wanted")]


def _is_on(value: Any) -> bool:
    return str(value).lower() in _YES
