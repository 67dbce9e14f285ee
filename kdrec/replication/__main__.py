"""`python -m kdrec.replication ship | report`: the shipped files from a home, the page from the shipped files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kdrec import history
from kdrec.errors import KdrecError, NoHistory
from kdrec.history import replication
from kdrec.history.provenance import Provenance
from kdrec.home import Home
from kdrec.replication import audited, page
from kdrec.replication.ship import Told, ship
from kdrec.report import history_line

DOCS: Final = Path("docs")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the two commands; 0 when done, 2 after one sentence on standard error."""
    words = _parser().parse_args(argv)
    try:
        said = _ship(words) if words.command == "ship" else _report(words)
    except (KdrecError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{said}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kdrec.replication", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("ship", help="write the trials of a home, and how they were made")
    made.add_argument("--home", type=Path, required=True, help="home whose store holds the replication alone")
    made.add_argument("--commit", required=True, help="commit that the trials were made with")
    made.add_argument("--machine", required=True, help="class of the machine in words, such as 'two x86-64 cores'")
    made.add_argument("--workers", type=int, default=1, help="worker processes")
    made.add_argument("--cpu-hours", type=float, help="CPU hours of the whole study, where they were measured")
    made.add_argument("--note", action="append", default=[], help="a sentence: what was measured, what was left")
    made.add_argument("--into", type=Path, default=replication.FOLDER, help="folder of the two files [the package]")
    page_ = commands.add_parser("report", help="write the page and its figures from the shipped trials")
    page_.add_argument("--from", dest="source", type=Path, help="folder of the two files [the package]")
    page_.add_argument("--into", type=Path, default=DOCS, help="folder of documents [docs]")
    page_.add_argument(
        "--keep-audit", action="store_true", help="take the audit beside the page if it is of these trials"
    )
    page_.add_argument("--quick", action="store_true", help="leave the realised gains out of a new audit")
    return parser


def _ship(words: argparse.Namespace) -> str:
    told = Told(
        commit=words.commit,
        machine=words.machine,
        workers=words.workers,
        cpu_hours=words.cpu_hours,
        notes=tuple(words.note),
    )
    trials = ship(Home.at(words.home), words.into, told)
    return f"{words.into / replication.TABLE} holds {history_line(trials)}"


def _report(words: argparse.Namespace) -> str:
    folder = words.source or replication.FOLDER
    table, facts = folder / replication.TABLE, folder / replication.FACTS
    if not table.is_file():
        raise NoHistory(f"no trials are shipped: {table} does not exist; 'ship' makes it")
    trials = history.read_table(table)
    known = Provenance.from_json(facts.read_text(encoding="utf-8")) if facts.is_file() else None
    kept = audited.kept(words.into / page.FOLDER, trials) if words.keep_audit else None
    page.write(trials, known, kept or audited.audit(trials, quick=words.quick), words.into)
    return f"{words.into / page.PAGE} tells of {history_line(trials)}"


if __name__ == "__main__":
    sys.exit(main())
