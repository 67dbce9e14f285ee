"""Changes that make a bad file of a good one, drawn from a seeded generator: bytes, words, values of a tree."""

from __future__ import annotations

import copy
import datetime
import random
from typing import Any

WORDS = (
    *("", " ", "nan", "inf", "-inf", "-1", "0", "-0.0", "1e999", "1e-999", "1_000", "0x10", "1,5", "\u0663", "True"),
    *("null", "None", "[", "]", "{", "}", "=", '"', "'", '"""', ",", "\t", "\n", "\r", "\r\n", "\\", "#", "\ufeff"),
    *(
        "\0",
        "\x1b[2J",
        "\u2028",
        "\u0085",
        "\ud7ff",
        "é",
        "𐍈",
        "a" * 200,
        "9" * 400,
        "9" * 5000,
        "[" * 3000,
        "0x" + "f" * 5000,
    ),
    *(
        "{a=" * 3000,
        "../..",
        "x' or 1=1 --",
        "<script>",
        "[[override]]",
        "\\ud800",
        "\\u0000",
        "e400",
        "1e5",
        "2024-01-01",
    ),
)
VALUES: tuple[Any, ...] = (
    *("", " ", "1", "nan", "a\nb", "\x1b[2J", "a\0b", "../up", "x' or 1=1 --<script>", "é" * 90),
    *(0, 1, -1, True, False, 1.0, 0.5, -0.0, 1e308, float("nan"), float("inf"), 10**30, 10**400, 1 << 20000),
    *([], [1], ["a"], [[]], [[1]], [{}], ["a", "a"], ["a", 1], {}, {"a": 1}, {"a": {}}),
    *(datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1), datetime.time(1)),
)
"""Values of every type that TOML has, each at its edges; what JSON cannot say is left out by who writes JSON."""


def changed_bytes(rng: random.Random, data: bytes) -> bytes:
    """Up to four pieces flipped, cut out, doubled, overwritten or put in."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(made) + 1)
        some = rng.randint(1, 8)
        match rng.randrange(6):
            case 0 if at < len(made):
                made[at] ^= 1 << rng.randrange(8)
            case 1:
                del made[at : at + some]
            case 2:
                made[at:at] = made[at : at + some]
            case 3:
                made[at : at + some] = rng.randbytes(some)
            case 4:
                made[at:at] = rng.choice((b"\0", b"\xff", b"\xfe\xff", b"\xed\xa0\x80", b"\xc3", b"\n"))
            case _ if rng.random() < 0.3:
                del made[at:]
    return bytes(made)


def changed_text(rng: random.Random, text: str) -> str:
    """Up to three words put in, put in the place of others, or lines cut, doubled or moved."""
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(text) + 1)
        match rng.randrange(6):
            case 0:
                text = text[:at] + rng.choice(WORDS) + text[at:]
            case 1:
                text = text[:at] + rng.choice(WORDS) + text[at + rng.randint(1, 12) :]
            case 2:
                text = text[:at] + text[at + rng.randint(1, 30) :]
            case 3 | 4:
                lines = text.splitlines(keepends=True) or [""]
                line = rng.choice(lines)
                lines[rng.randrange(len(lines))] = rng.choice(
                    ("", line, line + line, line.replace("=", "= -"), line[:-1])
                )
                text = "".join(lines)
            case _:
                words = text.split(" ")
                words[rng.randrange(len(words))] = rng.choice(WORDS)
                text = " ".join(words)
    return text


def changed_tree(rng: random.Random, tree: Any, values: tuple[Any, ...] = VALUES) -> Any:
    """One to three places of nested dicts and lists changed: a value replaced, moved or dropped, a key misspelled."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.randint(1, 3)):
        places = list(_places(tree))
        if not places:
            return rng.choice(values)
        parent, key = rng.choice(places)
        match rng.randrange(7):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, dict):
                parent[rng.choice((f"{key}x", str(key)[:-1], "", "a\nb", "\x1b[2J"))] = parent.pop(key)
            case 2:
                parent[key] = copy.deepcopy(_value(*rng.choice(places)))
            case 3:
                parent[key] = [parent[key]]
            case 4 if isinstance(parent[key], list) and parent[key]:
                parent[key] = parent[key][0]
            case _:
                parent[key] = copy.deepcopy(rng.choice(values))
    return tree


def _places(tree: Any) -> list[tuple[Any, Any]]:
    items = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    return [(tree, key) for key, _ in items] + [place for _, value in items for place in _places(value)]


def _value(parent: Any, key: Any) -> Any:
    return parent[key] if (key in parent if isinstance(parent, dict) else key < len(parent)) else None
