"""TeacherSignal: a teacher's logits by example id, whoever computed them; the loss never asks.

Kept are the logits at the places where a head is read (see `Reading`), so no padded position is ever stored.

On disk a signal is one safetensors file whose header holds its key (what it was computed from) and the hash of its
content. A file with another key or another hash is refused, never used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from kdrec.errors import CorruptFile, MismatchError
from kdrec.examples import Ints, offsets_of, runs
from kdrec.sources import atomic_write

_FORM: Final = {"ids": ("<i8", 1), "logits": ("<f4", 2), "counts": ("<i8", 1)}
"""Type and dimensions of every array of a file."""


def signal_key(*, checkpoint: str, data: str, tokenizer: str, max_length: int) -> str:
    """Hash of all that a teacher's logits depend on: weights, rows, tokenizer, maximum length in tokens."""
    parts = {"checkpoint": checkpoint, "data": data, "tokenizer": tokenizer, "max_length": max_length}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class TeacherSignal:
    """Logits (fp32) of N examples at their R places, C at each; `ids_N` rise, so that a lookup is a binary search.

    `counts_N` are the places of each example; None where every example has one.
    """

    key: str
    ids_N: Ints
    logits_RC: npt.NDArray[np.float32]
    counts_N: Ints | None = None
    _starts_N: Ints = field(init=False, repr=False)

    def __post_init__(self) -> None:
        ids_N, logits_RC = self.ids_N, self.logits_RC
        counts_N = np.ones(len(ids_N), dtype=np.int64) if self.counts_N is None else self.counts_N
        fits = len(counts_N) == len(ids_N) > 0 and logits_RC.ndim == 2 and int(counts_N.sum()) == len(logits_RC)
        fits = fits and int(counts_N.min()) >= 0
        if not fits or logits_RC.dtype != np.float32:
            raise MismatchError(
                "a teacher signal needs one fp32 row of logits for each place of an example (where a head is read once "
                f"an example: one), got {logits_RC.shape} for {len(ids_N)} examples"
            )
        if len(np.unique(ids_N)) != len(ids_N):
            raise MismatchError("a teacher signal needs one row of logits per example, and some example has several")
        if not np.isfinite(self.logits_RC).all():
            raise CorruptFile("the teacher's logits are not finite: it diverged, and cannot teach")
        order = np.argsort(ids_N, kind="stable")
        starts_N = offsets_of(counts_N)[:-1]
        object.__setattr__(self, "ids_N", ids_N[order])
        object.__setattr__(self, "logits_RC", logits_RC[runs(starts_N[order], counts_N[order])])
        object.__setattr__(self, "_starts_N", offsets_of(counts_N[order])[:-1])
        if self.counts_N is not None:
            object.__setattr__(self, "counts_N", counts_N[order])

    def lookup(self, ids_B: Ints) -> npt.NDArray[np.float32]:
        """Logits of these examples, in their order, a row a place; an id without logits is an error, never a guess."""
        at_B = np.minimum(np.searchsorted(self.ids_N, ids_B), len(self.ids_N) - 1)
        missing = ids_B[self.ids_N[at_B] != ids_B]
        if len(missing):
            raise MismatchError(f"the teacher has no logits for {len(missing)} of {len(ids_B)} examples of the batch")
        if self.counts_N is None:
            return self.logits_RC[at_B]
        return self.logits_RC[runs(self._starts_N[at_B], self.counts_N[at_B])]

    def entropy(self, axis: Literal["classes", "positions"] | None) -> float:
        """Mean entropy in nats of the teacher's softmax at temperature 1, over units as `Reading` has them."""
        log_p_RC = self.logits_RC.astype(np.float64)
        if axis != "positions":
            log_p_RC -= np.logaddexp.reduce(log_p_RC, axis=1, keepdims=True)
            return float(-(np.exp(log_p_RC) * log_p_RC).sum(axis=1).mean())
        total_NC = np.logaddexp.reduceat(log_p_RC, self._starts_N, axis=0)
        log_p_RC -= np.repeat(total_NC, self.counts_N if self.counts_N is not None else 1, axis=0)
        return float(-(np.exp(log_p_RC) * log_p_RC).sum() / total_NC.size)

    def save(self, path: Path, *, checkpoint: str = "") -> None:
        """Write the signal in one atomic step; `checkpoint`, the teacher's weights, is noted for `checkpoint_of`."""
        tensors: dict[str, npt.NDArray[Any]] = {"ids": self.ids_N, "logits": self.logits_RC}
        if self.counts_N is not None:
            tensors["counts"] = self.counts_N
        made_by = {"checkpoint": checkpoint} if checkpoint else {}
        sha256 = _content_hash([self.key, checkpoint], *tensors.values())
        atomic_write(path, save(tensors, metadata={"key": self.key, "sha256": sha256, **made_by}), over_folder=True)

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
                tensors = {name: file.get_tensor(name) for name in ("ids", "logits", "counts") if name in file.keys()}  # noqa: SIM118 - not a dict
                ids_N, logits_RC, counts_N = tensors["ids"], tensors["logits"], tensors.get("counts")
        except (SafetensorError, OSError, KeyError) as error:
            raise CorruptFile(f"the cached teacher logits {path.name} cannot be read: {error}") from None
        if header.get("sha256") != _content_hash(
            [header.get("key", ""), header.get("checkpoint", "")], *tensors.values()
        ):
            raise CorruptFile(f"the cached teacher logits {path.name} do not match their recorded hash")
        if any((array.dtype.str, array.ndim) != _FORM[name] for name, array in tensors.items()):
            raise CorruptFile(f"the cached teacher logits {path.name} are not of the form they are written in")
        if header.get("key") != key:
            raise MismatchError(
                f"the cached teacher logits {path.name} belong to another teacher, task, tokenizer or length: "
                f"key {key[:12]} was expected, {str(header.get('key'))[:12]} came"
            )
        return cls(key=key, ids_N=ids_N, logits_RC=logits_RC, counts_N=counts_N)


def joined(first: TeacherSignal, second: TeacherSignal) -> TeacherSignal:
    """What a teacher says of two sets of examples, as one."""
    if (first.counts_N is None) != (second.counts_N is None):
        raise MismatchError("signals that are joined must both have one place an example, or any number")
    counts = [one.counts_N for one in (first, second) if one.counts_N is not None]
    return TeacherSignal(
        key=hashlib.sha256(f"{first.key} {second.key}".encode()).hexdigest(),
        ids_N=np.concatenate([first.ids_N, second.ids_N]),
        logits_RC=np.concatenate([first.logits_RC, second.logits_RC]),
        counts_N=np.concatenate(counts) if counts else None,
    )


def checkpoint_of(path: Path) -> str | None:
    """SHA-256 of the teacher's weights that logits were computed with; None where the file does not tell."""
    try:
        with safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get("checkpoint") or None
    except (SafetensorError, OSError):
        return None


def _content_hash(words: Sequence[str], *arrays: npt.NDArray[Any]) -> str:
    """Hash of the words of the header that are not empty, and of every array with its form.

    The same bytes under another key or shape are other content.
    """
    digest = hashlib.sha256(
        json.dumps([*filter(None, words), *(f"{array.dtype}{array.shape}" for array in arrays)]).encode()
    )
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
