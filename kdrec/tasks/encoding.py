"""A split to tokens, once per (rows, tokenizer, maximum length): flat, unpadded, in the order of the split.

The tokenizer is the model's own `tokenizer.json`, run by the `tokenizers` library; padding is left to the batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from kdrec.errors import BadArgument, CorruptFile, DataError, SourceError
from kdrec.home import Home
from kdrec.sources import sha256_file
from kdrec.tasks import token_store
from kdrec.tasks.family import Family, family
from kdrec.tasks.rows import digest
from kdrec.types import Encoded, Split, Task

FORMAT: Final = "tokens 1"
"""Part of every key; changes when what is stored changes."""
MIN_LENGTH: Final = 8
_CHUNK: Final = 1024


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
        Most tokens of an example, special tokens included; of a pair, the longer text loses tokens first.
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
        When a text becomes no token at all.
    """
    if max_length < MIN_LENGTH:
        raise BadArgument(f"max_length must be a whole number of at least {MIN_LENGTH}, got {max_length!r}")
    if not tokenizer_file.is_file():
        raise SourceError(f"no tokenizer at {tokenizer_file}; a model needs the file tokenizer.json")
    key = _key(split, task, sha256_file(tokenizer_file), max_length)
    path = home.folder("tokens") / f"{key}.tokens"
    with suppress(FileNotFoundError, CorruptFile):
        return token_store.read(path, key)
    token_store.write(path, _tokenise(split, family(task.family), tokenizer_file, max_length, key))
    return token_store.read(path, key)


def _key(split: Split, task: Task, tokenizer: str, max_length: int) -> str:
    hashed = hashlib.sha256(digest(FORMAT, task.family, tokenizer, str(max_length), *task.labels))
    hashed.update(split.ids_N.astype("<i8").tobytes())
    hashed.update(split.labels_N.astype("<i8").tobytes())
    for texts in split.texts:
        hashed.update(digest(*texts))
    return hashed.hexdigest()


def _tokenise(split: Split, family: Family, tokenizer_file: Path, max_length: int, key: str) -> Encoded:
    ids: list[np.ndarray[Any, Any]] = []
    types: list[np.ndarray[Any, Any]] = []
    lengths_N = np.zeros(len(split), dtype=np.int64)
    n_truncated = 0
    for at, encoding in enumerate(_encodings(split, family, tokenizer_file, max_length)):
        ids.append(np.array(encoding.ids, dtype=np.int32))
        types.append(np.array(encoding.type_ids, dtype=np.int8))
        lengths_N[at] = len(encoding.ids)
        n_truncated += bool(encoding.overflowing)
    if not lengths_N.all():
        text = split.texts[int(lengths_N.argmin())][0]
        raise DataError(f"{int((lengths_N == 0).sum())} texts become no token at all, such as {text[:40]!r}")
    types_T = np.concatenate(types)
    return Encoded(
        input_ids_T=np.concatenate(ids),
        token_type_ids_T=types_T if types_T.any() else None,
        offsets_N1=np.concatenate([[0], np.cumsum(lengths_N)]),
        labels_N=family.targets(split),
        ids_N=split.ids_N,
        n_truncated=n_truncated,
        fingerprint=key,
    )


def _encodings(split: Split, family: Family, tokenizer_file: Path, max_length: int) -> Iterator[Any]:
    """Encodings in the order of the split; the padding and truncation stored in the tokenizer's file are replaced."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(tokenizer_file))
    except Exception as error:  # the library raises no narrower kind
        raise SourceError(f"{tokenizer_file} is not a tokenizer: {error}") from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length, strategy=family.truncation)
    for begins in range(0, len(split), _CHUNK):
        inputs = family.inputs(split.texts[begins : begins + _CHUNK])
        yield from tokenizer.encode_batch_fast(inputs)
