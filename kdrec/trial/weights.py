"""Weights of trained students that are to be taken home: one safetensors file a trial, named by its fingerprint.

A trial is its scores and needs no weights, so most trials leave none. What is kept here has the whole vocabulary, the
scores that were measured with it, and the hash of all of this; a file that does not match it counts as not kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from kdrec.home import Home
from kdrec.sources import atomic_write, mark_used, remove
from kdrec.types import Trial

FOLDER: Final = "students"
SCORES: Final = ("val_score", "val_loss", "test_score")

State = dict[str, torch.Tensor]


def keep(home: Home, trial: Trial, state: State) -> None:
    """Write the weights of a trained student, in place of any of the same trial."""
    words = {"trial": trial.fingerprint, "scores": json.dumps({name: getattr(trial, name) for name in SCORES})}
    content = save(state, metadata={"format": "pt", **words, "sha256": _content_hash(words, state)})
    atomic_write(_path(home, trial.fingerprint), content, over_folder=True)


def kept(home: Home, fingerprint: str) -> tuple[dict[str, float | None], State] | None:
    """Scores and weights of a trial's student, or None."""
    path = _path(home, fingerprint)
    try:
        with safe_open(path, framework="pt") as file:
            words = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        recorded = words.pop("sha256")
        del words["format"]
        if recorded != _content_hash(words, state) or words["trial"] != fingerprint:
            return None
        scores = json.loads(words["scores"])
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RecursionError):
        return None
    mark_used(path)
    return {name: scores[name] for name in SCORES}, state


def forget(home: Home, fingerprint: str) -> None:
    """Remove the weights of a trial that another one beat."""
    remove(_path(home, fingerprint))


def _path(home: Home, fingerprint: str) -> Path:
    return home.folder(FOLDER) / f"{fingerprint}.safetensors"


def _content_hash(words: Mapping[str, str], state: State) -> str:
    digest = hashlib.sha256(json.dumps(sorted(words.items())).encode())
    for name, tensor in sorted(state.items()):
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()
