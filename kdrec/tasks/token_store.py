"""Tokenised splits on disk: one flat file each, memory-mapped when read, never believed without its hash and its key.

Form: SHA-256 (32 bytes) of everything after it, length of the header (8 bytes, little-endian), header (JSON: key,
truncated examples, and dtype, count and offset of every array), then the arrays, each at a multiple of 64 bytes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kdrec.errors import CorruptFile
from kdrec.sources import atomic_write
from kdrec.types import Encoded

ALIGNMENT: Final = 64
_HASH: Final = 32
_ARRAYS: Final = {
    "input_ids_T": "<i4",
    "token_type_ids_T": "|i1",
    "offsets_N1": "<i8",
    "labels_N": "<i8",
    "ids_N": "<i8",
}


def write(path: Path, encoded: Encoded) -> None:
    """Write an encoded split in one atomic step; the last of several writers of the same content wins."""
    table: dict[str, list[Any]] = {}
    blobs: list[bytes] = []
    size = 0
    for name, dtype in _ARRAYS.items():
        values = getattr(encoded, name)
        if values is None:
            continue
        blob = np.ascontiguousarray(values, dtype=dtype).tobytes()
        table[name] = [dtype, len(values), size]
        blobs.append(blob + bytes(-len(blob) % ALIGNMENT))
        size += len(blobs[-1])
    header = json.dumps({"key": encoded.fingerprint, "n_truncated": encoded.n_truncated, "arrays": table}).encode()
    header += b" " * (-(_HASH + 8 + len(header)) % ALIGNMENT)
    body = len(header).to_bytes(8, "little") + header + b"".join(blobs)
    atomic_write(path, hashlib.sha256(body).digest() + body)


def read(path: Path, key: str) -> Encoded:
    """Map an encoded split into memory, read-only.

    Raises
    ------
    FileNotFoundError
        When there is none.
    CorruptFile
        When the content does not match its hash, or was written under another key.
    """
    if path.stat().st_size <= _HASH + 8:
        raise CorruptFile(f"{path} is too short to be a token file")
    raw = np.memmap(path, dtype=np.uint8, mode="r")
    if hashlib.sha256(raw[_HASH:].data).digest() != raw[:_HASH].tobytes():
        raise CorruptFile(f"{path} does not match its recorded hash")
    begins = _HASH + 8 + int.from_bytes(raw[_HASH : _HASH + 8].tobytes(), "little")
    header = json.loads(raw[_HASH + 8 : begins].tobytes())
    if header["key"] != key:
        raise CorruptFile(f"{path} was written for another split, tokenizer or length")
    arrays = {name: _view(raw, begins, *header["arrays"][name]) for name in header["arrays"]}
    return Encoded(
        input_ids_T=arrays["input_ids_T"],
        token_type_ids_T=arrays.get("token_type_ids_T"),
        offsets_N1=arrays["offsets_N1"],
        labels_N=arrays["labels_N"],
        ids_N=arrays["ids_N"],
        n_truncated=header["n_truncated"],
        fingerprint=key,
    )


def _view(raw: npt.NDArray[np.uint8], begins: int, dtype: str, count: int, offset: int) -> npt.NDArray[Any]:
    size = np.dtype(dtype).itemsize * count
    return raw[begins + offset : begins + offset + size].view(np.ndarray).view(dtype)
