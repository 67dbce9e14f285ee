"""Where an interrupted training run left off: one safetensors file, written atomically, checked by its hash.

Tensors only: the optimizer's state and the random generator travel as tensors, the rest as JSON in the file's header.
Nothing here is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from kdrec.sources import atomic_write, remove

SAVE_EVERY_SECONDS = 30.0
"""A run shorter than this is cheaper to repeat than to save."""


@dataclass(frozen=True, kw_only=True)
class State:
    """All that a run needs to go on exactly as if it had not stopped."""

    model: dict[str, torch.Tensor]
    best: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    rng: dict[str, torch.Tensor]
    progress: dict[str, Any]

    def restore_rng(self) -> None:
        """Put the random generators back where they were, so that dropout goes on with the same draws."""
        torch.set_rng_state(self.rng["cpu"])
        if "cuda" in self.rng and torch.cuda.is_available():
            torch.cuda.set_rng_state(self.rng["cuda"])


@dataclass(kw_only=True)
class Checkpoint:
    """One run's checkpoint file; `path` None keeps none."""

    path: Path | None
    every_seconds: float = SAVE_EVERY_SECONDS
    _last: float = 0.0

    def __post_init__(self) -> None:
        self._last = time.monotonic()

    @classmethod
    def none(cls) -> Self:
        """Keep nothing."""
        return cls(path=None)

    def exists(self) -> bool:
        """Whether a state was saved, be it whole or damaged."""
        return self.path is not None and self.path.exists()

    def due(self) -> bool:
        """Whether enough has been done since the last save to be worth another."""
        return self.path is not None and time.monotonic() - self._last >= self.every_seconds

    def save(
        self,
        *,
        model: dict[str, torch.Tensor],
        best: dict[str, torch.Tensor],
        optimizer: dict[str, Any],
        progress: dict[str, Any],
    ) -> None:
        """Write the state in one atomic step.

        Raises
        ------
        KdrecError
            The disk is full or the folder cannot be written; an older checkpoint stays whole.
        """
        assert self.path is not None, "only a checkpoint with a path is due"
        tensors = {f"model/{name}": tensor for name, tensor in model.items()}
        tensors |= {f"best/{name}": tensor for name, tensor in best.items()}
        for index, slots in optimizer["state"].items():
            tensors |= {f"optimizer/{index}/{slot}": torch.as_tensor(value).cpu() for slot, value in slots.items()}
        tensors["rng/cpu"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["rng/cuda"] = torch.cuda.get_rng_state()
        tensors = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
        header = {"groups": json.dumps(optimizer["param_groups"]), "progress": json.dumps(progress)}
        header["sha256"] = _hash(header, tensors)
        atomic_write(self.path, save(tensors, metadata=header), over_folder=True)
        self._last = time.monotonic()

    def load(self) -> State | None:
        """The saved state; None where there is none or it is damaged (the run then starts over)."""
        if self.path is None or not self.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            if header.pop("sha256") != _hash(header, tensors):
                raise ValueError("content and recorded hash differ")
            return _state(header, tensors)
        except (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError):
            self.clear()
            return None

    def clear(self) -> None:
        """Forget the saved state."""
        if self.path is not None:
            remove(self.path)


def _hash(header: dict[str, str], tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _state(header: dict[str, str], tensors: dict[str, torch.Tensor]) -> State:
    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in part("optimizer/").items():
        index, slot = name.split("/", 1)
        slots.setdefault(int(index), {})[slot] = tensor
    return State(
        model=part("model/"),
        best=part("best/"),
        optimizer={"state": slots, "param_groups": json.loads(header["groups"])},
        rng=part("rng/"),
        progress=json.loads(header["progress"]),
    )
