"""Tokenised splits on disk: one flat file each, memory-mapped when read, never believed without its hash and its key.

Form: SHA-256 (32 bytes) of everything after it, length of the header (8 bytes, little-endian), header (JSON: key,
counts, and dtype, shape and offset of every array), then the arrays, each at a multiple of 64 bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any, Final, Literal

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
    atomic_write(path, hashlib.sha256(body).digest() + body, over_folder=True)


def read(path: Path, key: str) -> Encoded:
    """Map an encoded split into memory, read-only.

    Raises
    ------
    FileNotFoundError
        When there is none.
    CorruptFile
        When the content does not match its hash, was written under another key, or is not of the form above.
    """
    if path.stat().st_size <= _HASH + 8 or path.is_dir():
        raise CorruptFile(f"{path} is a folder, or too short to be a token file")
    raw = np.memmap(path, dtype=np.uint8, mode="r")
    if hashlib.sha256(raw[_HASH:].data).digest() != raw[:_HASH].tobytes():
        raise CorruptFile(f"{path} does not match its recorded hash")
    begins = _HASH + 8 + int.from_bytes(raw[_HASH : _HASH + 8].tobytes(), "little")
    try:
        header = json.loads(raw[_HASH + 8 : begins].tobytes())
        if header["key"] != key:
            raise CorruptFile(f"{path} was written for another split, tokenizer or length")
        encoded = _decoded(raw, begins, header)
        sound = _adds_up(encoded)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        sound = False
    if not sound:  # with the right hash: made by another program, and its numbers would be read as tokens
        raise CorruptFile(f"{path} is not of the form of a token file")
    return encoded


def _decoded(raw: npt.NDArray[np.uint8], begins: int, header: dict[str, Any]) -> Encoded:
    arrays: dict[str, Any] = {name: _view(raw, begins, name, *place) for name, place in header["arrays"].items()}
    axis: Literal["classes", "positions"] | None = {None: None, "classes": "classes", "positions": "positions"}[
        header["axis"]
    ]
    reading = {name: arrays.pop(f"reading.{name}") for name in _READING} if axis else {}
    return Encoded(
        **{"token_type_ids_T": None, **arrays},
        n_truncated=_count(header["n_truncated"]),
        n_lost=_count(header["n_lost"]),
        reading=Reading(axis=axis, **reading) if axis else None,
        fingerprint=header["key"],
    )


def _adds_up(encoded: Encoded) -> bool:
    """Whether flat arrays and the offsets into them fit one another."""
    types, reading, n = encoded.token_type_ids_T, encoded.reading, len(encoded)
    if n == 0 or len(encoded.offsets_N1) != n + 1 or not _is_cut(encoded.offsets_N1, encoded.input_ids_T):
        return False
    if types is not None and types.shape != encoded.input_ids_T.shape:
        return False
    if reading is not None and not (len(reading.offsets_N1) == n + 1 and _reads(reading, encoded)):
        return False
    return encoded.labels_U.ndim == 1 and int(encoded.units_N.sum()) == len(encoded.labels_U)


def _reads(reading: Reading, encoded: Encoded) -> bool:
    """Whether every place is a token of its example."""
    if not _is_cut(reading.offsets_N1, reading.places_R) or reading.rows_N.shape != encoded.ids_N.shape:
        return False
    lengths_R = np.repeat(encoded.lengths_N, reading.counts_N)
    inside = (reading.places_R >= 0) & (reading.places_R < lengths_R)
    return bool(inside.all()) and reading.origin_R2.shape == (len(reading.places_R), 2)


def _is_cut(offsets: npt.NDArray[Any], flat: npt.NDArray[Any]) -> bool:
    """Whether offsets rise from 0 to the end of a flat array."""
    whole = offsets.ndim == 1 == flat.ndim and len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == len(flat)
    return bool(whole and (np.diff(offsets) >= 0).all())


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("a count was expected")
    return value


def _arrays(encoded: Encoded) -> dict[str, tuple[str, npt.NDArray[Any]]]:
    """Every array there is, by its name in the file, with its type there."""
    arrays = {name: (dtype, getattr(encoded, name)) for name, dtype in _ARRAYS.items()}
    if encoded.reading is not None:
        arrays |= {f"reading.{name}": ("<i8", getattr(encoded.reading, name)) for name in _READING}
    return {name: (dtype, values) for name, (dtype, values) in arrays.items() if values is not None}


def _view(
    raw: npt.NDArray[np.uint8], begins: int, name: str, dtype: str, shape: list[int], offset: int
) -> npt.NDArray[Any]:
    if dtype != _ARRAYS.get(name, "<i8") or min([offset, *shape]) < 0:
        raise ValueError("an array of another type, or outside the file")
    size = np.dtype(dtype).itemsize * math.prod(shape)
    return raw[begins + offset : begins + offset + size].view(np.ndarray).view(dtype).reshape(shape)
