"""One reader a known source: verified files to rows. What a reader leaves out it counts, in sentences."""

from __future__ import annotations

import bz2
import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from kdrec.errors import CorruptFile
from kdrec.tasks.qa import LABELS
from kdrec.tasks.rows import Row, Rows, once_each
from kdrec.tasks.splits import Group, apart_from
from kdrec.tasks.structured import read_questions, read_words
from kdrec.tasks.tables import Table, decode, read_raw, read_table

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


def read_rotten_tomatoes(path: Path) -> Rows:
    """Snippets of film reviews by verdict, `fresh` or `rotten`: bzip2-packed CSV; each snippet once, plots left out."""
    table = csv.DictReader(io.StringIO(bz2.decompress(path.read_bytes()).decode("utf-8"), newline=""), strict=True)
    if not {"category", "text"} <= set(table.fieldnames or ()):
        raise CorruptFile(f"{path.name}: the columns category and text were expected, got {table.fieldnames}")
    reviews = [row for row in table if row["category"] in ("fresh", "rotten") and row["text"].strip()]
    kept, notes = once_each(Row(texts=(row["text"].strip(),), label=row["category"]) for row in reviews)
    return Rows(labels=("fresh", "rotten"), train=kept, notes=notes)


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
    rows = _rows(full)
    declared = tables[0].names.get("label", tuple(sorted({row.label for row in rows})))
    empty = (f"{n_empty} training rows with an empty text or label were left out",) if n_empty else ()
    return _published(declared, rows, held_out, group, notes=empty)


def _without_empty(table: Table) -> Table:
    return table.only([at for at, cells in enumerate(table.rows) if None not in cells])


def _rows(tables: Sequence[Table]) -> tuple[Row, ...]:
    rows = []
    for table in tables:
        for at, cells in enumerate(table.rows):
            if any(cell is None for cell in cells):
                raise CorruptFile(f"{table.path.name}, {table.where(at)}: an empty text or label")
            rows.append(Row(texts=tuple(str(cell) for cell in cells[:-1]), label=str(cells[-1])))
    return tuple(rows)


def read_tagged_splits(*paths: Path, group: Group, tags: str = "tags", test: str = "test") -> Rows:
    """Two published splits of words (`tokens`) and tags, with declared tag names; the test split stays as published.

    `paths` are the two files, or one folder of a Hub dataset.
    """
    train_files, test_files = _split_files(paths, test)
    rows, held_out = (
        tuple(row for path in files for row in read_words(path, "tokens", tags)) for files in (train_files, test_files)
    )
    seen = tuple(sorted({tag for row in (*rows, *held_out) for tag in row.tags}))
    return _published(read_raw(train_files[0], [tags]).names.get(tags, seen), rows, held_out, group)


def read_squad_splits(*paths: Path, group: Group, test: str = "test") -> Rows:
    """Two published splits in SQuAD's form, files or folder as above; no context of the test split is trained on."""
    rows, held_out = (
        tuple(row for path in files for row in read_questions(path, "question", "context", "answers"))
        for files in _split_files(paths, test)
    )
    return _published(LABELS, rows, held_out, group)


def _split_files(paths: Sequence[Path], test: str) -> tuple[list[Path], list[Path]]:
    """Files of the training and the test split, in the layouts of the Hub: `train-*.parquet` or `train/*.parquet`.

    Raises
    ------
    CorruptFile
        When a folder has no file of a split.
    """
    if len(paths) == 2:
        return [paths[0]], [paths[1]]
    folder = paths[0]
    train, held_out = (
        sorted((*folder.glob(f"{part}-*.parquet"), *folder.glob(f"{part}/*.parquet"))) for part in ("train", test)
    )
    if not train or not held_out:
        raise CorruptFile(f"the folder {folder} of the dataset has no train-*.parquet and {test}-*.parquet")
    return train, held_out


def _published(
    labels: tuple[str, ...], train: Sequence[Row], test: tuple[Row, ...], group: Group, notes: tuple[str, ...] = ()
) -> Rows:
    """Published splits; training rows of a group that is also in the test split are left out, and counted."""
    kept, leaking = apart_from(train, test, group)
    left_out = f"{len(leaking)} training rows of a group in the test split were left out"
    return Rows(labels=labels, train=kept, test=test, notes=(*notes, left_out) if leaking else notes)


def read_usaddress(path: Path) -> Rows:
    """Addresses as written by people, every word with its part (the parser's own training file): XML, a tag a part.

    An address that is also there with other tags has no truth, and goes with all its copies.
    """
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except ElementTree.ParseError as error:
        raise CorruptFile(f"{path.name} is not XML: {error}") from None
    rows = []
    for address in root.iter("AddressString"):
        pairs = [(word, part.tag) for part in address for word in (part.text or "").split()]
        if pairs:
            words, tags = zip(*pairs, strict=True)
            rows.append(Row(texts=words, tags=tags))
    kept, notes = once_each(rows)
    return Rows(labels=tuple(sorted({tag for row in kept for tag in row.tags})), train=kept, notes=notes)


def read_glue(folder: Path, texts: Sequence[str], group: Group, test: str = "validation") -> Rows:
    """One GLUE task: a folder of the Hub's dataset.

    Its test labels are hidden, so the published split named by `test` is our test split. Two training rows of QQP have
    no second question; training rows without a text are left out.
    """
    train, held_out = _split_files([folder], test)
    return read_parquet_splits(train, held_out, texts, group, skip_empty=True)
