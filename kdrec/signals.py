"""TeacherSignal: a teacher's logits by example id, whoever computed them; the loss never asks.

On disk a signal is one safetensors file whose header holds its key (what it was computed from) and the hash of its
content. A file with another key or another hash is refused, never used.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from kdrec.errors import CorruptFile, MismatchError
from kdrec.sources import atomic_write
from kdrec.types import Ints


def signal_key(*, checkpoint: str, data: str, tokenizer: str, max_length: int) -> str:
    """Hash of all that a teacher's logits depend on: weights, rows, tokenizer, maximum length in tokens."""
    parts = {"checkpoint": checkpoint, "data": data, "tokenizer": tokenizer, "max_length": max_length}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class TeacherSignal:
    """Logits (fp32) of N examples over C classes; `ids_N` rise, so that a lookup is a binary search."""

    key: str
    ids_N: Ints
    logits_NC: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        ids_N, logits_NC = self.ids_N, self.logits_NC
        if logits_NC.ndim != 2 or logits_NC.dtype != np.float32 or ids_N.shape != logits_NC.shape[:1] or not len(ids_N):
            raise MismatchError(f"a teacher signal needs one fp32 row of logits per example, got {logits_NC.shape}")
        if len(np.unique(ids_N)) != len(ids_N):
            raise MismatchError("a teacher signal needs one row of logits per example, and some example has several")
        if not np.isfinite(self.logits_NC).all():
            raise CorruptFile("the teacher's logits are not finite: it diverged, and cannot teach")
        order = np.argsort(ids_N, kind="stable")
        object.__setattr__(self, "ids_N", ids_N[order])
        object.__setattr__(self, "logits_NC", logits_NC[order])

    def lookup(self, ids_B: Ints) -> npt.NDArray[np.float32]:
        """Logits (B, C) of these examples, in their order; an id without logits is an error, never a guess."""
        at_B = np.minimum(np.searchsorted(self.ids_N, ids_B), len(self.ids_N) - 1)
        missing = ids_B[self.ids_N[at_B] != ids_B]
        if len(missing):
            raise MismatchError(f"the teacher has no logits for {len(missing)} of {len(ids_B)} examples of the batch")
        return self.logits_NC[at_B]

    def save(self, path: Path) -> None:
        """Write the signal in one atomic step."""
        content = _content_hash(self.key, self.ids_N, self.logits_NC)
        tensors: dict[str, npt.NDArray[Any]] = {"ids": self.ids_N, "logits": self.logits_NC}
        atomic_write(path, save(tensors, metadata={"key": self.key, "sha256": content}))

    @classmethod
    def load(cls, path: Path, *, key: str) -> Self:
        """Read a signal computed from exactly what `key` names.

        Raises
        ------
        CorruptFile
            The file is truncated or its content does not match its hash.
        MismatchError
            The file is whole but belongs to another teacher, other rows, another tokenizer or another length.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                header = file.metadata() or {}
                ids_N, logits_NC = file.get_tensor("ids"), file.get_tensor("logits")
        except (SafetensorError, OSError) as error:
            raise CorruptFile(f"the cached teacher logits {path.name} cannot be read: {error}") from None
        if header.get("sha256") != _content_hash(header.get("key", ""), ids_N, logits_NC):
            raise CorruptFile(f"the cached teacher logits {path.name} do not match their recorded hash")
        if header.get("key") != key:
            raise MismatchError(
                f"the cached teacher logits {path.name} belong to another teacher, task, tokenizer or length: "
                f"key {key[:12]} was expected, {str(header.get('key'))[:12]} came"
            )
        return cls(key=key, ids_N=ids_N, logits_NC=logits_NC)


def _content_hash(key: str, *arrays: npt.NDArray[Any]) -> str:
    """Hash of the key and of every array with its form: the same bytes under another key or shape are other content."""
    digest = hashlib.sha256(json.dumps([key, *(f"{array.dtype}{array.shape}" for array in arrays)]).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
