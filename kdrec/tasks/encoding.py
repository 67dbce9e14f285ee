"""A split to tokens, once per (rows, tokenizer, maximum length): flat, unpadded, in the order of the split.

The tokenizer is the model's own `tokenizer.json`, run by the `tokenizers` library; padding is left to the batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from kdrec.errors import BadArgument, CorruptFile, DataError, SourceError
from kdrec.examples import Encoded, Reading, Split, Task, offsets_of
from kdrec.home import Home
from kdrec.sources import mark_used, sha256_file
from kdrec.tasks import token_store
from kdrec.tasks.example import Example
from kdrec.tasks.family import Family, family
from kdrec.tasks.rows import digest

FORMAT: Final = "tokens 2"
"""Part of every key; changes when what is stored changes."""
MIN_LENGTH: Final = 8
MOST_ID: Final = 2**31 - 1
"""Ids are kept in 32 bits; no embedding has rows for more."""


def encode(split: Split, task: Task, tokenizer_file: Path, max_length: int, home: Home) -> Encoded:
    """Tokenise a split, or map it into memory when it was tokenised before.

    Parameters
    ----------
    split : Split
        One of the splits of `task`.
    task : Task
        Says the family, which says how a row is encoded.
    tokenizer_file : Path
        `tokenizer.json` of the model; the key holds the hash of its content.
    max_length : int
        Most tokens of an example, special tokens included. Of a pair, the longer text loses tokens first; of a text of
        words, the last ones; the context of a question is cut into windows, and loses nothing but answers longer than
        these.
    home : Home
        Token files are kept in its folder `tokens`. A damaged one is detected by its hash and made again.

    Returns
    -------
    Encoded
        Read-only arrays, mapped into memory; `fingerprint` is the key. `token_type_ids_T` is None where the tokenizer
        makes them all zero.

    Raises
    ------
    BadArgument
        When `max_length` is below 8.
    SourceError
        When the tokenizer file is missing or is not one.
    DataError
        When a text becomes no token at all, or a question leaves its context no room.
    """
    if max_length < MIN_LENGTH:
        raise BadArgument(f"max_length must be a whole number of at least {MIN_LENGTH}, got {max_length!r}")
    if not tokenizer_file.is_file():
        raise SourceError(f"no tokenizer at {tokenizer_file}; a model needs the file tokenizer.json")
    key = _key(split, task, sha256_file(tokenizer_file), max_length)
    path = home.folder("tokens") / f"{key}.tokens"
    with suppress(FileNotFoundError, CorruptFile):
        found = token_store.read(path, key)
        mark_used(path)
        return found
    token_store.write(path, tokenise(split, family(task.family), tokenizer_file, max_length, key))
    return token_store.read(path, key)


def _key(split: Split, task: Task, tokenizer: str, max_length: int) -> str:
    hashed = hashlib.sha256(digest(FORMAT, task.family, tokenizer, str(max_length), *task.labels))
    for numbers in (split.ids_N, split.labels_U, split.offsets_N1):
        hashed.update(b"" if numbers is None else numbers.astype("<i8").tobytes())
    for texts in split.texts:
        hashed.update(digest(*texts))
    return hashed.hexdigest()


def tokenise(split: Split, family: Family, tokenizer_file: Path, max_length: int, key: str = "") -> Encoded:
    """Tokenise a split, and keep nothing of it; parameters and refusals are those of `encode`."""
    tokenizer = _tokenizer(tokenizer_file)
    with _no_panic(tokenizer_file):
        examples = list(family.encode(split, tokenizer, max_length))
    lengths_N = np.array([len(example.ids) for example in examples], dtype=np.int64)
    if not lengths_N.all():
        text = " ".join(split.texts[examples[int(lengths_N.argmin())].row])
        raise DataError(f"{int((lengths_N == 0).sum())} texts become no token at all, such as {text[:40]!r}")
    types_T = np.concatenate([np.array(example.type_ids, dtype=np.int8) for example in examples])
    return Encoded(
        input_ids_T=np.concatenate([np.array(example.ids, dtype=np.int32) for example in examples]),
        token_type_ids_T=types_T if types_T.any() else None,
        offsets_N1=offsets_of(lengths_N),
        labels_U=np.concatenate([np.array(example.labels, dtype=np.int64) for example in examples]),
        ids_N=np.array([_id(example, split) for example in examples], dtype=np.int64),
        n_truncated=sum(example.truncated for example in examples),
        n_lost=sum(example.n_lost for example in examples),
        reading=None if family.axis is None else _reading(examples, family.axis),
        fingerprint=key,
    )


def _reading(examples: Sequence[Example], axis: Literal["classes", "positions"]) -> Reading:
    places = [example.places or () for example in examples]
    return Reading(
        axis=axis,
        places_R=np.concatenate([np.array(some, dtype=np.int64) for some in places]),
        offsets_N1=offsets_of(np.array([len(some) for some in places])),
        rows_N=np.array([example.row for example in examples], dtype=np.int64),
        origin_R2=np.concatenate([np.array(example.origin, dtype=np.int64).reshape(-1, 2) for example in examples]),
    )


def _id(example: Example, split: Split) -> int:
    """The id of the row; of its further windows a hash of it and their number, so that every example has its own."""
    row_id = int(split.ids_N[example.row])
    if example.window == 0:
        return row_id
    return int.from_bytes(digest(str(row_id), str(example.window))[:8], "big", signed=True)


def _tokenizer(file: Path) -> Any:
    """A tokenizer of this call's own; the padding and truncation stored in its file are left to the family."""
    from tokenizers import Tokenizer

    try:
        with _no_panic(file):
            tokenizer = Tokenizer.from_file(str(file))
    except SourceError:
        raise
    except Exception as error:  # the library raises no narrower kind
        raise SourceError(f"{file} is not a tokenizer: {error}") from None
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    if largest > MOST_ID:
        raise SourceError(f"{file} gives a token the id {largest}, and ids go to {MOST_ID}")
    tokenizer.no_padding()
    return tokenizer


@contextmanager
def _no_panic(file: Path) -> Iterator[None]:
    """Say in a sentence that a tokenizer gave up: a panic of its Rust is no `Exception`, and would end a worker."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise SourceError(f"the tokenizer {file} failed: {error}") from None
