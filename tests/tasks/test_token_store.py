"""A token file is believed only if its form adds up, though its hash be right: what it says is read as tokens."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from kdrec.errors import CorruptFile
from kdrec.tasks import token_store
from kdrec.types import Encoded, Reading

ENCODED = Encoded(
    input_ids_T=np.arange(9, dtype=np.int32),
    token_type_ids_T=None,
    offsets_N1=np.array([0, 4, 9]),
    labels_U=np.array([1, 0, 1]),
    ids_N=np.array([7, 8]),
    n_truncated=0,
    fingerprint="key",
    reading=Reading(
        axis="classes",
        places_R=np.array([1, 2, 1]),
        offsets_N1=np.array([0, 2, 3]),
        rows_N=np.array([0, 1]),
        origin_R2=np.array([[0, 1], [1, 2], [0, 1]]),
    ),
)


def rewritten(path, header, arrays):
    path.write_bytes(b"")
    body = len(header).to_bytes(8, "little") + header + arrays
    path.write_bytes(hashlib.sha256(body).digest() + body)


@pytest.fixture
def parts(tmp_path):
    path = tmp_path / "key.tokens"
    token_store.write(path, ENCODED)
    whole = path.read_bytes()
    begins = 40 + int.from_bytes(whole[32:40], "little")
    return path, json.loads(whole[40:begins]), whole[begins:]


def test_a_file_that_adds_up_is_read(parts):
    path, header, arrays = parts
    rewritten(path, json.dumps(header).encode(), arrays)
    assert token_store.read(path, "key").reading.places_R.tolist() == [1, 2, 1]


CHANGES = {
    "an array of Python objects": lambda h: h["arrays"].update(input_ids_T=["|O", [9], 0]),
    "an array of another type": lambda h: h["arrays"].update(input_ids_T=["<i8", [4], 0]),
    "an array outside the file": lambda h: h["arrays"].update(ids_N=["<i8", [2], 1 << 40]),
    "an array before the file": lambda h: h["arrays"].update(ids_N=["<i8", [2], -16]),
    "an array of a huge shape": lambda h: h["arrays"].update(ids_N=["<i8", [1 << 60], 0]),
    "an array of a negative shape": lambda h: h["arrays"].update(ids_N=["<i8", [-1, -2], 0]),
    "an unknown array": lambda h: h["arrays"].update(more=["<i8", [2], 0]),
    "no labels": lambda h: h["arrays"].pop("labels_U"),
    "offsets of another array": lambda h: h["arrays"].update(offsets_N1=h["arrays"]["reading.offsets_N1"]),
    "fewer ids": lambda h: h["arrays"]["ids_N"].__setitem__(1, [1]),
    "no axis": lambda h: h.update(axis=None),
    "another axis": lambda h: h.update(axis="rows"),
    "a count that is none": lambda h: h.update(n_lost="1"),
    "no count": lambda h: h.pop("n_truncated"),
    "places outside their example": lambda h: h["arrays"].update({"reading.places_R": ["<i8", [3], 64 * 3]}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_header_that_does_not_fit_its_arrays_is_refused_though_the_hash_be_right(parts, what):
    path, header, arrays = parts
    CHANGES[what](header)
    rewritten(path, json.dumps(header).encode(), arrays)
    with pytest.raises(CorruptFile, match="is not of the form of a token file"):
        token_store.read(path, "key")


@pytest.mark.parametrize(
    "header", [b"", b"{", b"[]", b"7", b"\xff", b"[" * 5000, b'{"key": "key"}', b'{"key": "key", "arrays": 3}']
)
def test_a_header_that_is_none_is_refused(parts, header):
    path, _, arrays = parts
    rewritten(path, header, arrays)
    with pytest.raises(CorruptFile, match="is not of the form of a token file"):
        token_store.read(path, "key")
