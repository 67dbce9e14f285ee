"""Tokenised splits on disk: one flat file each, memory-mapped when read, never believed without its hash and its key.

Form: SHA-256 (32 bytes) of everything after it, length of the header (8 bytes, little-endian), header (JSON: key,
counts, and dtype, shape and offset of every array), then the arrays, each at a multiple of 64 bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kdrec.errors import CorruptFile
from kdrec.examples import Encoded, Reading
from kdrec.sources import atomic_write

ALIGNMENT: Final = 64
_HASH: Final = 32
_ARRAYS: Final = {
    "input_ids_T": "<i4",
    "token_type_ids_T": "|i1",
    "offsets_N1": "<i8",
    "labels_U": "<i8",
    "ids_N": "<i8",
}
_READING: Final = ("places_R", "offsets_N1", "rows_N", "origin_R2")
"""Arrays of a split's reading, where it has one; 64-bit, in the file as `reading.NAME`."""


def write(path: Path, encoded: Encoded) -> None:
    """Write an encoded split in one atomic step; the last of several writers of the same content wins."""
    table: dict[str, list[Any]] = {}
    blobs: list[bytes] = []
    size = 0
    for name, (dtype, values) in _arrays(encoded).items():
        blob = np.ascontiguousarray(values, dtype=dtype).tobytes()
        table[name] = [dtype, list(values.shape), size]
        blobs.append(blob + bytes(-len(blob) % ALIGNMENT))
        size += len(blobs[-1])
    facts = {
        "key": encoded.fingerprint,
        "n_truncated": encoded.n_truncated,
        "n_lost": encoded.n_lost,
        "axis": encoded.reading.axis if encoded.reading else None,
    }
    header = json.dumps({**facts, "arrays": table}).encode()
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
    arrays: dict[str, Any] = {name: _view(raw, begins, *place) for name, place in header["arrays"].items()}
    reading = {name: arrays.pop(f"reading.{name}") for name in _READING} if header["axis"] else None
    return Encoded(
        **{"token_type_ids_T": None, **arrays},
        n_truncated=header["n_truncated"],
        n_lost=header["n_lost"],
        reading=None if reading is None else Reading(axis=header["axis"], **reading),
        fingerprint=key,
    )


def _arrays(encoded: Encoded) -> dict[str, tuple[str, npt.NDArray[Any]]]:
    """Every array there is, by its name in the file, with its type there."""
    arrays = {name: (dtype, getattr(encoded, name)) for name, dtype in _ARRAYS.items()}
    if encoded.reading is not None:
        arrays |= {f"reading.{name}": ("<i8", getattr(encoded.reading, name)) for name in _READING}
    return {name: (dtype, values) for name, (dtype, values) in arrays.items() if values is not None}


def _view(raw: npt.NDArray[np.uint8], begins: int, dtype: str, shape: list[int], offset: int) -> npt.NDArray[Any]:
    size = np.dtype(dtype).itemsize * math.prod(shape)
    return raw[begins + offset : begins + offset + size].view(np.ndarray).view(dtype).reshape(shape)
