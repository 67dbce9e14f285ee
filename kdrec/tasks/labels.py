"""Names of labels as they are meant: what is certainly one value is one label; what may be is refused with its rows.

- Certainly one: `1` and `1.0`; composed and decomposed letters (NFC); kinds and runs of white space; `True` and `true`
  where all labels are truth values. They are merged, with a note.
- Perhaps one: names that differ in letter case, in invisible signs, or by another spelling of a number (`01` and `1`).
  Merging could be wrong and keeping them apart costs a study, so this is refused.
- No label: -1 and -100 beside words, or beside the numbers 0, 1, 2 ...: what the `datasets` library writes for it.
- No class: numbers with a fraction, which are a quantity.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kdrec.errors import DataError

MAX_NUMERIC_LABELS: Final = 1000
_WHOLE: Final = re.compile(r"([+-]?)(0|[1-9][0-9]*)(?:\.0*|,00?)?")
_FRACTION: Final = re.compile(r"[+-]?\d*[.,]\d+(?:\s*%)?|[+-]?\d+(?:[.,]\d+)?\s*%")
_TRUTH: Final = frozenset({"true", "false"})
_NONE: Final = ("-1", "-100")


@dataclass(frozen=True, kw_only=True)
class Place:
    """How often a name occurs, and where first."""

    count: int
    first: str

    def __str__(self) -> str:
        return f"{self.count:,} time{'' if self.count == 1 else 's'}, first at {self.first}"


Places = Mapping[str, Place]


def places(names: Iterable[Sequence[str]], where: Sequence[str]) -> dict[str, Place]:
    """Every name of some rows with its place; `where` says where each row is."""
    counts: dict[str, int] = {}
    first: dict[str, str] = {}
    for some, at in zip(names, where, strict=True):
        for name in some:
            counts[name] = counts.get(name, 0) + 1
            first.setdefault(name, at)
    return {name: Place(count=count, first=first[name]) for name, count in counts.items()}


def as_number(text: str) -> float | None:
    """The number that a text spells, or None."""
    try:
        return float(text)
    except ValueError:
        return None


def meant(found: Places, as_in: Iterable[str] = ()) -> dict[str, str]:
    """The name that each found name stands for; `as_in` are names to prefer, of a file read before."""
    known = {name.casefold(): name for name in as_in}
    truth = {name.strip().casefold() for name in found} <= _TRUTH
    if not truth:
        return {name: _plain(name) for name in found}
    most: dict[str, str] = {}
    for name in sorted(found, key=lambda name: (-found[name].count, name)):
        most.setdefault(name.strip().casefold(), known.get(name.strip().casefold(), name.strip()))
    return {name: most[name.strip().casefold()] for name in found}


def _plain(name: str) -> str:
    """A name in its one form: white space is a space, letters are composed, a whole number has no point."""
    text = unicodedata.normalize("NFC", " ".join(name.split()))
    if number := _WHOLE.fullmatch(text):
        sign = "-" if number[1] == "-" and number[2] != "0" else ""
        return sign + number[2]
    return text


def merged(found: Places, names: Mapping[str, str]) -> tuple[str, ...]:
    """Sentences about names that were read as one."""
    notes = []
    for name, spellings in _groups(found, lambda spelling: names[spelling]):
        if len(spellings) > 1:
            spelled = " and ".join(f"{one!r} ({found[one]})" for one in spellings)
            notes.append(f"{spelled} are one label, read as {str(name)!r}")
    return tuple(notes)


def near(name: str) -> Hashable:
    """What names have in common that a person may mean as one."""
    number = as_number(name)
    if number is not None and math.isfinite(number):
        return number
    text = unicodedata.normalize("NFKC", name).lower()
    text = unicodedata.normalize("NFC", text)
    seen = "".join(sign for sign in text if unicodedata.category(sign) != "Cf")
    return " ".join(seen.split())


def check_alike(found: Places, where: str) -> None:
    """Refuse names that may be one: in another letter case, with invisible signs, numbers spelled in two ways."""
    for _, names in _groups(found, near):
        if len(names) > 1:
            first, second = names[:2]
            raise DataError(
                f"{where} holds {first!r} ({found[first]}) and {second!r} ({found[second]}), which differ only in "
                f"{difference(first, second)}; write them alike, or as names that differ in more"
            )
    bare = {name.lower() for name in found}
    if bare & _TRUTH and bare & {"0", "1"} and bare <= {*_TRUTH, "0", "1"}:
        word, digit = (next(name for name in found if name.lower() in some) for some in (_TRUTH, {"0", "1"}))
        raise DataError(
            f"{where} holds {word!r} ({found[word]}) and {digit!r} ({found[digit]}), two spellings of truth values; "
            "write them alike"
        )


def difference(first: str, second: str) -> str:
    """What tells two names apart that are near each other."""
    if as_number(first) is not None:
        return "how a number is spelled"
    return "letter case" if first.lower() == second.lower() else "signs that look alike or cannot be seen"


def check_none(found: Places, where: str) -> None:
    """Refuse what the `datasets` library writes for 'no label'."""
    for none in _NONE:
        others = [as_number(name) for name in found if name not in _NONE]
        counting = bool(others) and all(number is not None and number >= 0 for number in others)
        words = bool(others) and all(number is None for number in others)
        if none in found and (words or (counting and (none == "-100" or len(others) > 2))):
            raise DataError(
                f"{where} holds {none} ({found[none]}) beside {'names' if words else 'numbers from 0 on'}, which the "
                "datasets library writes for 'no label'; remove those rows, or name the label by a word if it is one"
            )


def check_classes(found: Places, where: str) -> None:
    """Refuse numbers that are a quantity: any with a fraction, or nearly as many as there are rows."""
    fractions = [name for name in found if _FRACTION.fullmatch(name)]
    numeric = all(as_number(name) is not None or _FRACTION.fullmatch(name) for name in found)
    n_rows = sum(place.count for place in found.values())
    todo = "kdrec needs classes: put the numbers into a few ranges first"
    if numeric and (len(found) > MAX_NUMERIC_LABELS or len(found) > n_rows / 2):
        raise DataError(
            f"{where} holds {len(found)} different numbers in {n_rows} rows, which looks like a quantity to predict "
            f"(regression); {todo}"
        )
    if numeric and fractions:
        one = fractions[0]
        raise DataError(
            f"{where} holds numbers with a fraction ({len(fractions)} of {len(found)} labels), such as {one} "
            f"({found[one]}), which are a quantity to predict (regression); {todo}, or write each as a word"
        )


def check_lists(found: Places, where: str) -> None:
    """Refuse lists that were written as text, as a table program does with a column of lists."""
    lists = [name for name in found if name.startswith("[") and name.endswith("]") and len(name) > 2]
    if lists and len(lists) > len(found) / 2:
        raise DataError(
            f"{where} holds lists written as text, such as {lists[0][:40]} ({found[lists[0]]}); lists are read from "
            ".jsonl, .json and .parquet files, and a label is one name a row"
        )


def _groups(found: Places, key: Callable[[str], Hashable]) -> list[tuple[Hashable, list[str]]]:
    groups: dict[Hashable, list[str]] = {}
    for name in sorted(found):
        groups.setdefault(key(name), []).append(name)
    return list(groups.items())
