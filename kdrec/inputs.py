"""Files of others, read whole: regular ones, up to a size. A device never ends, a pipe waits, and a table unfolds.

What they hold is judged by their readers; here it is only seen to that reading comes to an end.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from kdrec.errors import DataError

MOST_TEXT: Final = 64 << 20
"""Bytes of a study, a mapping, a card or a features file."""
MOST_TABLE: Final = 2 << 30
"""Bytes of a table, and of what a Parquet file unfolds to."""
MOST_CELLS: Final = 200_000_000
"""Of a Parquet file: runs of equal values take no room in it."""


def bytes_of(path: Path, most: int = MOST_TABLE) -> bytes:
    """The content of a regular file of at most `most` bytes.

    Raises
    ------
    DataError
        For a device, a pipe, a socket or a larger file.
    OSError
        When there is none, or it cannot be read.
    """
    check_regular(path, most)
    return path.read_bytes()


def text_of(path: Path) -> str:
    """The UTF-8 text of a small file; see `bytes_of`. A `UnicodeDecodeError` says that it is none."""
    return bytes_of(path, MOST_TEXT).decode("utf-8")


def check_regular(path: Path, most: int = MOST_TABLE) -> None:
    """Refuse what is no regular file, or larger than `most` bytes; a folder is left to whoever opens it."""
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        return
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"{path} is no regular file: a device or a pipe is not read")
    if found.st_size > most:
        raise DataError(f"{path} has {found.st_size / 1e6:,.0f} MB, and at most {most / 1e6:,.0f} are read")


def parquet(path: Path, columns: Sequence[str] | None = None) -> Any:
    """A Parquet file as a table of pyarrow, of some or all of its columns, where it does not unfold past the limits.

    Texts come as dictionaries, as most files keep them: a text that stands in a million rows takes room once.

    Raises
    ------
    DataError
        When it is no regular file, or unfolds to more than `MOST_TABLE` bytes or `MOST_CELLS` cells.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    check_regular(path)
    schema = pq.read_schema(path)
    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_binary(field.type)]
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        chunks = [
            group.column(at)
            for group in map(file.metadata.row_group, range(file.metadata.num_row_groups))
            for at in range(group.num_columns)
        ]
        unfolded = sum(chunk.total_uncompressed_size for chunk in chunks)
        if unfolded > MOST_TABLE or sum(chunk.num_values for chunk in chunks) > MOST_CELLS:
            raise _too_large(path)
        table = file.read(columns=None if columns is None else list(columns))
    n_bytes = 0
    for chunk in (chunk for column in table.columns for chunk in column.chunks):
        if pa.types.is_dictionary(chunk.type):
            n_bytes += pc.sum(pc.binary_length(chunk.dictionary).take(chunk.indices)).as_py() or 0
        else:
            n_bytes += chunk.nbytes
    if n_bytes > MOST_TABLE:
        raise _too_large(path)
    return table


def _too_large(path: Path) -> DataError:
    return DataError(
        f"{path.name} unfolds to more than {MOST_TABLE >> 30} GiB or {MOST_CELLS:,} cells, and is not read"
    )
