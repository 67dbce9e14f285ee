"""One reader a known source: verified files to rows. What a reader leaves out it counts, in sentences."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from kdrec.errors import CorruptFile
from kdrec.tasks.rows import Row, Rows, once_each
from kdrec.tasks.splits import Group, apart_from
from kdrec.tasks.tables import Table, decode, read_table

RATING_CUT: Final = 0.5
"""Mean ratings in [-4, 4] up to minus this are `neg`, from this on `pos`."""


def read_trec(path: Path) -> Rows:
    """TREC questions (Li and Roth 2002), lines of `LABEL:fine question` in latin-1, by coarse label.

    The file repeats questions up to 15 times; each is kept once.
    """
    rows = []
    for at, line in enumerate(_lines(path.read_text(encoding="latin-1")), start=1):
        found = re.fullmatch(r"([A-Z]+):\w+ (\S.*)", line.strip())
        if found is None:
            raise CorruptFile(f"{path.name}, line {at}: 'LABEL:fine question' was expected, got {line[:40]!r}")
        rows.append(Row(texts=(found[2],), label=found[1]))
    kept, notes = once_each(rows)
    return Rows(labels=tuple(sorted({row.label for row in kept})), train=kept, notes=notes)


def read_sms_spam(path: Path) -> Rows:
    """SMS Spam Collection (Almeida et al. 2011), CSV of index, spam (0 or 1) and text; each text once."""
    table = csv.reader(io.StringIO(decode(path), newline=""), strict=True)
    if next(table, None) != ["", "spam", "text"]:
        raise CorruptFile(f"{path.name}: a header of index, spam and text was expected")
    kept, notes = once_each(Row(texts=(text,), label=("ham", "spam")[int(spam)]) for _, spam, text in table)
    return Rows(labels=("ham", "spam"), train=kept, notes=notes)


def read_vader_tweets(path: Path) -> Rows:
    """Tweets with the mean of ten human ratings in [-4, 4] (Hutto and Gilbert 2014), cut into neg, neu, pos."""
    header, *lines = _lines(decode(path))
    if header.split("\t") != ["id", "sentiment", "text"]:
        raise CorruptFile(f"{path.name}: a header of id, sentiment and text was expected, got {header[:40]!r}")
    cells = (line.split("\t") for line in lines)
    kept, notes = once_each(Row(texts=(text,), label=_polarity(float(rating))) for _, rating, text in cells)
    return Rows(labels=("neg", "neu", "pos"), train=kept, notes=notes)


def _lines(text: str) -> list[str]:
    """Lines that end in a line feed; `str.splitlines` would also break at rarer letters inside a text."""
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]


def _polarity(rating: float) -> str:
    return "neg" if rating <= -RATING_CUT else "pos" if rating >= RATING_CUT else "neu"


def read_parquet_splits(
    train: Sequence[Path], test: Sequence[Path], texts: Sequence[str], group: Group, *, skip_empty: bool = False
) -> Rows:
    """Parquet files of two published splits, `texts` and `label`, with declared label names.

    The test split stays as published. Training rows of a group that is also in the test split are left out, and with
    `skip_empty` those with an empty text or label, which otherwise are refused.
    """
    tables = [read_table(path, [*texts, "label"]) for path in train]
    full = [_without_empty(table) for table in tables] if skip_empty else tables
    n_empty = sum(len(table.rows) for table in tables) - sum(len(table.rows) for table in full)
    held_out = _rows([read_table(path, [*texts, "label"]) for path in test])
    kept, leaking = apart_from(_rows(full), held_out, group)
    declared = tables[0].names.get("label", tuple(sorted({row.label for row in kept})))
    counted = (
        (n_empty, "training rows with an empty text or label were left out"),
        (len(leaking), "training rows of a group in the test split were left out"),
    )
    return Rows(labels=declared, train=kept, test=held_out, notes=tuple(f"{n} {said}" for n, said in counted if n))


def _without_empty(table: Table) -> Table:
    full = [at for at, cells in enumerate(table.rows) if None not in cells]
    return replace(table, rows=tuple(table.rows[at] for at in full), lines=tuple(table.lines[at] for at in full))


def _rows(tables: Sequence[Table]) -> tuple[Row, ...]:
    rows = []
    for table in tables:
        for at, cells in enumerate(table.rows):
            if any(cell is None for cell in cells):
                raise CorruptFile(f"{table.path.name}, {table.where(at)}: an empty text or label")
            rows.append(Row(texts=tuple(str(cell) for cell in cells[:-1]), label=str(cells[-1])))
    return tuple(rows)


def read_glue(folder: Path, texts: Sequence[str], group: Group, test: str = "validation") -> Rows:
    """One GLUE task: a folder of the Hub's dataset.

    Its test labels are hidden, so the published split named by `test` is our test split. Two training rows of QQP have
    no second question; training rows without a text are left out.
    """
    parts = [sorted(folder.glob(f"{part}-*.parquet")) for part in ("train", test)]
    if not all(parts):
        raise CorruptFile(f"the folder {folder} of the dataset has no train-*.parquet and {test}-*.parquet")
    return read_parquet_splits(parts[0], parts[1], texts, group, skip_empty=True)
