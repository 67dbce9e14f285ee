"""From the records of `scale.py` to `docs/scale.md`: tables, and sentences whose figures are those of the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from kdrec.replication.markdown import filled, table

Record = dict[str, Any]

QUIET_CORES: Final = 0.2
"""More than so much of the machine taken by others marks a wall time."""
KEYS: Final = {
    "workers": ("workers", "repeat"),
    "cells": ("cells", "seconds"),
    "studies": ("studies", "store", "prefect"),
    "history": ("trials_in_store",),
}
WISHES: Final = (
    ("scale.py workers", {"part": "workers", "workers": 4}),
    ("scale.py cells --cells 200", {"part": "cells", "cells": 200}),
    ("scale.py cells --cells 1000", {"part": "cells", "cells": 1000}),
    ("scale.py studies", {"part": "studies", "studies": 10, "store": "home", "prefect": True}),
    ("scale.py studies --store server", {"part": "studies", "studies": 10, "store": "server", "prefect": True}),
)
"""What the page should say, and by which command it will."""
MB: Final = 2**20
TITLE: Final = """
# How costs grow

Written by `python benchmarks/scale.py page` from `benchmarks/results/scale.jsonl`, which the other commands of that
script fill and go on with. A wall time with a star was measured while other work held more than a fifth of a core
(the column *others* says how many cores), and is an upper bound; CPU seconds depend on that less.
"""
CELLS: Final = """
The product's own command with one worker that sleeps {seconds:g} s in place of training (`benchmarks/asleep.py`); a
cell is labels alone and one configuration, so two trials. Everything else is real: rows, tokens, hashes of the
weights, locks, outbox, MLflow, Prefect. *Overhead* is the time from the first trial's start to the last one's end,
divided by the number of trials, less the sleep; so it holds a half of what a cell costs.
The flow's share holds the answers of the recommender at the end, of forty cells at most.
"""
STUDIES: Final = """
Each study has six cells of its own, a Prefect server, a flow process and a worker; all share one home, so one store,
one folder of locks and one Prefect database. A trial sleeps 1 s. Lost and duplicate trials must be 0. Without Prefect
(`--bare`), a study is one
process that does its pieces one after the other.
"""
HISTORY: Final = """
Stores that `benchmarks/many_trials.py` fills from the rows of one recorded trial; some of them are recorded by kdrec
beside it and must be equal row by row, or nothing is measured. A cell has 100 trials. CPU seconds of the whole
command, Python's start and imports with it.
"""
MENDED: Final = """
Measured once, before and after, in one process each:

- A line of progress summed the pace of a study anew for every piece, so a study paid with the cube of its cells.
  With 1,332 pieces (999 cells and their teachers) a line took 87 ms and takes 0.2 to 0.9; with 268 it took 3.7 ms
  and takes 0.04 to 0.2.
- A store was asked for two tags at once, which a database joins over all runs; the last table before this section
repeats that.
- A first sync held every run in memory and holds a page of them.
- Every cell hashed its model's files anew: two thirds of the work of a cell that is found. A process now reads a file
  once, until somebody writes to it.
- A study asked the recommender about all of its cells at the end, one after the other, and again when nothing was new.
  It asks about forty at most, and remembers. With both, 200 cells ended after 154 s instead of 441, and once more,
  where all is found, after 49 s instead of 365 (both in `scale.jsonl`).
- The cost model inverted a matrix of all tasks and cells: with 1,000 cells an answer took 8.5 CPU seconds and takes
  1.6. The study of 1,000 cells above was measured before: of its 776 s, 330 came after the last trial.
- Ten studies at once on a new home made Prefect's tables together, and five ended of it (in `scale.jsonl`). They now
  prepare a new database one after the other.
- A sync hashed and wrote all rows of the local table again. With 100,000, nothing new took 2.1 CPU seconds of its own
  and takes 1.1.

Looking for a trial still goes through all fingerprints of a store, because MLflow has no index on the values of
tags; a sync still reads the whole local table, and an answer all of it. All three grow in proportion to the trials.
"""
WORKERS: Final = """
Eight cells of four real trials whose teachers were made before. *Span* is from the first trial's start to the last
one's end, without the start of Prefect's server and the worker's imports.
"""


def page(records: Sequence[Record]) -> str:
    """The page of these records; of one question the newest counts."""
    newest = {(r["part"], *(r[key] for key in KEYS[r["part"]])): r for r in records}
    parts: dict[str, list[Record]] = {part: [] for part in KEYS}
    for record in newest.values():
        parts[record["part"]].append(record)
    blocks = [TITLE]
    for part, (heading, write) in _PARTS.items():
        found = sorted(parts[part], key=lambda r: tuple(str(r[k]).rjust(9) for k in KEYS[r["part"]]))
        blocks += [f"## {heading}", *(write(found) if found else ["Not measured yet."])]
    blocks += ["## What grew badly and was mended", MENDED]
    missing = [
        f"- `benchmarks/{command}`" for command, wish in WISHES if not any(wish.items() <= r.items() for r in records)
    ]
    blocks += ["## Not measured yet", "\n".join(missing)] if missing else []
    return filled("\n\n".join(block.strip() for block in [*blocks, *_made_on(newest.values())])) + "\n"


def _made_on(records: Iterable[Record]) -> list[str]:
    rows = sorted({(r["date"][:10], r["machine"], r["commit"], _versions(r)) for r in records})
    return ["## Measured on", table(("date", "machine", "commit", "versions"), rows, words=4)]


def _versions(record: Record) -> str:
    return ", ".join(f"{name} {number}" for name, number in record["versions"].items())


def _wall(record: Record, seconds: float, digits: int = 0) -> str:
    """A wall time, with a star where others worked on the machine; a record that does not know had them."""
    return f"{seconds:,.{digits}f}{'' if _others(record) <= QUIET_CORES else '*'}"


def _others(record: Record) -> float:
    return float(record.get("others_cores", record["load_before"]))


def _others_text(record: Record) -> str:
    """In cores; not known of a record that has only the load before it."""
    return f"{record['others_cores']:.1f}" if "others_cores" in record else f"load {record['load_before']:.0f}"


def _mb(value: float) -> str:
    return f"{value / MB:,.0f}"


def _cells(records: list[Record]) -> list[str]:
    header = (
        "cells",
        "trials",
        "first trial, s",
        "overhead a trial, s",
        "CPU s a trial",
        "of the server",
        "of the flow",
    )
    header += ("study, s", "run again, s", "again, CPU s", "others")
    rows = [
        (
            r["cells"],
            r["trials"],
            _wall(r, r["first_trial_seconds"]),
            _wall(r, r["overhead_seconds"], 2),
            f"{r['cpu_seconds'] / r['trials']:.2f}",
            f"{r['server_cpu_seconds'] / r['trials']:.2f}",
            f"{r['flow_cpu_seconds'] / r['trials']:.2f}",
            _wall(r, r["wall_seconds"]),
            _wall(r, r["again_seconds"]),
            f"{r['again_cpu_seconds']:.0f}",
            _others_text(r),
        )
        for r in records
    ]
    sizes = ("cells", "MLflow, MB", "MLflow, kB a trial", "Prefect, MB", "flow, peak MB", "server", "worker", "threads")
    memory = [
        (
            r["cells"],
            f"{r['store_bytes'] / MB:.1f}",
            f"{r['store_bytes'] / 1024 / r['trials']:.0f}",
            f"{r['prefect_bytes'] / MB:.1f}",
            *(_mb(r[f"peak_{role}_bytes"]) for role in ("flow", "server", "workers")),
            f"{r['peak_threads']:.0f}",
        )
        for r in records
    ]
    largest = max(records, key=lambda r: r["cells"])
    over_time = [
        (f"{s['seconds']:.0f}", *(_mb(s[f"{role}_bytes"]) for role in ("flow", "server", "workers")))
        for s in largest["memory"]
    ]
    lost = sum(r["lost"] for r in records)
    return [
        CELLS.format(seconds=largest["seconds"]),
        table(header, rows, words=0),
        f"Trials lost: {lost}. Bytes on disk, and memory:",
        table(sizes, memory, words=0),
        f"Memory over the {largest['cells']} cells, in MB:",
        table(("after, s", "flow", "server", "worker"), over_time, words=0),
    ]


def _studies(records: list[Record]) -> list[str]:
    header = (
        "studies",
        "store",
        "Prefect",
        "trials",
        "lost",
        "duplicate",
        "unfinished",
        "failed studies",
        "lock errors",
    )
    header += ("Prefect's lock errors", "first trial, s", "all, s", "CPU s a study", "others")
    rows = [
        (
            r["studies"],
            r["store"],
            "yes" if r["prefect"] else "no",
            f"{r['trials']} of {r['wanted']}",
            *(r[name] for name in ("lost", "duplicates", "unfinished", "failed_studies", "lock_errors")),
            r["prefect_lock_errors"],
            _wall(r, r["first_trial_seconds"]),
            _wall(r, r["wall_seconds"]),
            f"{r['cpu_seconds'] / r['studies']:.0f}",
            _others_text(r),
        )
        for r in records
    ]
    return [STUDIES, table(header, rows, words=0)]


def _history(records: list[Record]) -> list[str]:
    header = ("trials", "store, MB", "first sync, CPU s", "peak MB", "nothing new", "ten new", "peak MB of it")
    header += ("a new trial's words", "`suggest`", "peak MB of it")
    rows = [
        (
            f"{r['trials_in_store']:,}",
            _mb(r["store_bytes"]),
            f"{r['first_cpu_seconds']:.1f}",
            _mb(r["first_peak_bytes"]),
            f"{r['nothing_cpu_seconds']:.1f}",
            f"{r['ten_cpu_seconds']:.1f}",
            _mb(r["ten_peak_bytes"]),
            f"{r['record_trial_cpu_seconds']:.2f}",
            f"{r['suggest_cpu_seconds']:.1f}" if "suggest_cpu_seconds" in r else "not measured",
            _mb(r["suggest_peak_bytes"]) if "suggest_peak_bytes" in r else "",
        )
        for r in records
    ]
    asked = (("one_trial", "is there this trial"), ("last_hour", "what ended in the last hour"), ("a_page", "a page"))
    filters = [
        (
            f"{r['trials_in_store']:,}",
            words,
            *(f"{1000 * r[f'filters_{name}_{way}_seconds']:,.0f}" for way in ("with_kind", "alone")),
            f"{r[f'filters_{name}_with_kind_seconds'] / r[f'filters_{name}_alone_seconds']:.1f}",
        )
        for r in records
        if "filters_a_page_alone_seconds" in r
        for name, words in asked
    ]
    return [
        HISTORY,
        table(header, rows, words=0),
        "Questions put to the store with the kind of run as a second tag in the filter, as they were, and without it, "
        "as they are (CPU milliseconds, the best of three in one process):",
        table(("trials", "question", "with it", "without", "ratio"), filters, words=0),
    ]


def _workers(records: list[Record]) -> list[str]:
    one = [r["span_seconds"] for r in records if r["workers"] == 1]
    header = (
        "workers",
        "wall, s",
        "span, s",
        "speed-up of the span",
        "CPU s",
        "trials' own seconds",
        "workers, peak MB",
        "others",
    )
    rows = [
        (
            r["workers"],
            _wall(r, r["wall_seconds"]),
            _wall(r, r["span_seconds"]),
            f"{min(one) / r['span_seconds']:.2f}{'' if _others(r) <= QUIET_CORES else '*'}" if one else "",
            f"{r['cpu_seconds']:.0f}",
            _wall(r, r["training_seconds"]),
            _mb(r["peak_workers_bytes"]),
            _others_text(r),
        )
        for r in records
    ]
    return [WORKERS, table(header, rows, words=0)]


_PARTS: Final[dict[str, tuple[str, Callable[[list[Record]], list[str]]]]] = {
    "workers": ("Worker processes on one machine", _workers),
    "cells": ("Cells of a study", _cells),
    "studies": ("Studies at once on one store", _studies),
    "history": ("Trials of a store", _history),
}
