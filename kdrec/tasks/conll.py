"""CoNLL files to words and tags: a word a line, its tag last, sentences by empty lines; every defect names its line.

- Columns are separated by tabs where the file has tabs (so a word may hold spaces), else by spaces and tabs. A no-break
  space is a part of its word.
- Lines that begin with `#` and are metadata (`# sent_id = 7`, `# newpar`) are skipped and counted. A word may begin
  with `#` as well: such a line is one when it has the columns of the others and a tag that others have.
- CoNLL-U (ten columns, the first one a number) is read by its forms and universal tags; ranges of multiword tokens and
  empty nodes are no words of their own, and are skipped and counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kdrec.errors import DataError
from kdrec.tasks.rows import Row
from kdrec.tasks.tables import check_file, decode

_DOCUMENT: Final = "-DOCSTART-"
_SETTING: Final = re.compile(r"#\s*([\w.:-]+\s*=|(begin|end)\s+document\b)")
_INDEX: Final = re.compile(r"\d+([-.]\d+)?")
_UNIVERSAL: Final = 10
"""Columns of CoNLL-U: a number, the form, the lemma, the universal tag ..."""
Cells = list[str]


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """Rows of words with tags, the line each begins at, and what was skipped, in sentences."""

    rows: tuple[Row, ...]
    lines: tuple[int, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Line:
    number: int
    text: str
    begins: bool
    """Whether no word stands before it in its sentence."""

    @property
    def is_hash(self) -> bool:
        return self.text.startswith("#")


def read_conll(path: Path, *, tagged: bool = True) -> Sentences:
    """Read a file of words and tags, or (not `tagged`) of words whose tags are not wanted and may be absent.

    Raises
    ------
    DataError
        For a line that has other columns than the lines before it, or an empty word or tag.
    """
    check_file(path)
    lines = [_Line(*item) for item in _lines(decode(path))]
    tabs = any("\t" in line.text for line in lines)
    cells = [_cells(line.text, tabs=tabs) for line in lines]
    plain = [row for line, row in zip(lines, cells, strict=True) if row and not line.is_hash]
    if tabs and len({len(row) for row in plain}) > 1:  # tabs that align columns, or a few among spaces
        tabs = False
        cells = [_cells(line.text, tabs=False) for line in lines]
        plain = [row for line, row in zip(lines, cells, strict=True) if row and not line.is_hash]
    width = len((plain or [row for row in cells if row] or [[]])[0])
    tags = {row[-1] for row in plain}
    comments = [_is_comment(line, row, width, tags, tabs=tabs) for line, row in zip(lines, cells, strict=True)]
    universal = width == _UNIVERSAL and bool(plain) and all(_INDEX.fullmatch(row[0]) for row in plain)
    kept = [(line.number, row) for line, row, no in zip(lines, cells, comments, strict=True) if not no]
    words = [(number, row) for number, row in kept if not (universal and row and not row[0].isdecimal())]
    notes = (
        *_counted(sum(comments), "comment line", "(beginning with '#')"),
        *_counted(len(kept) - len(words), "line", "of multiword ranges or empty nodes"),
    )
    at = (1, 3) if universal else (0, -1)
    found = _sentences(path, words, width, at, notes, tagged=tagged)
    if tagged and not universal and len(found.rows) > 1 and all(_counts(row.texts) for row in found.rows):
        raise DataError(
            f"{path.name}: the first column counts the words of each sentence; a file of {width} columns has the word "
            "first and its tag last"
        )
    return found


def _counts(texts: Sequence[str]) -> bool:
    """Whether words are the numbers from 0 or 1 on."""
    return any(list(texts) == [str(at + first) for at in range(len(texts))] for first in (0, 1))


def _lines(text: str) -> list[tuple[int, str, bool]]:
    """Lines with their numbers, an empty text where a sentence ends, and whether a sentence begins there."""
    found: list[tuple[int, str, bool]] = []
    begins = True
    for number, line in enumerate(text.split("\n"), start=1):
        text = line.rstrip("\r")
        text = "" if not text.strip() or text.split(None, 1)[0] == _DOCUMENT else text
        found.append((number, text, begins))
        begins = not text or (begins and text.startswith("#"))
    return found


def _cells(text: str, *, tabs: bool) -> Cells:
    if not text:
        return []
    if tabs and "\t" in text:
        return [cell.strip(" ") for cell in text.split("\t")]
    return [cell for cell in re.split(r"[ \t]+", text) if cell]


def _is_comment(line: _Line, cells: Cells, width: int, tags: set[str], *, tabs: bool) -> bool:
    """Whether a line that begins with `#` is metadata: no word with a tag that other words have."""
    if not line.is_hash:
        return False
    if len(cells) != width:
        return line.begins or cells[0] == "#"
    if tabs and "\t" in line.text:
        return False
    if line.begins and _SETTING.match(line.text):
        return True
    return line.begins and cells[0] == "#" and width > 1 and cells[-1] not in {"#", *tags}


def _sentences(
    path: Path,
    lines: Sequence[tuple[int, Cells]],
    width: int,
    at: tuple[int, int],
    notes: tuple[str, ...],
    *,
    tagged: bool,
) -> Sentences:
    least = 2 if tagged else 1
    rows: list[Row] = []
    begins: list[int] = []
    words: list[str] = []
    tags: list[str] = []
    for number, cells in [*lines, (0, [])]:
        if cells:
            if len(cells) != width or width < least:
                raise DataError(
                    f"{path.name}, line {number}: {max(least, width)} columns (a word first, its tag last) were "
                    f"expected as in the other lines, got {len(cells)}"
                )
            word, tag = cells[at[0]], cells[at[1]]
            if tagged and not (word.strip() and tag.strip()):
                raise DataError(f"{path.name}, line {number}: {'a tag' if word.strip() else 'a word'} is empty")
            begins += [] if words else [number]
            words.append(word)
            tags.append(tag)
        elif words:
            rows.append(Row(texts=tuple(words), tags=tuple(tags)))
            words, tags = [], []
    return Sentences(rows=tuple(rows), lines=tuple(begins), notes=notes)


def _counted(n: int, noun: str, which: str) -> tuple[str, ...]:
    return (f"{n:,} {noun}{'' if n == 1 else 's'} {which} {'was' if n == 1 else 'were'} skipped",) if n else ()
