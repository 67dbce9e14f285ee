"""`torchrun --nproc_per_node N -m kdrec.trial STUDY TASK MODEL`: a cell or a teacher, trained by N processes together.

Without torchrun it is one process. Only main speaks: lines for a person, or with `--json` lines for the program that
started it. Exit codes as everywhere: 0 done, 2 the user or the world has to put something right.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers.utils import logging

from kdrec import catalog
from kdrec.errors import BadArgument, KdrecError, did_you_mean
from kdrec.home import Home
from kdrec.studies import Cell, Study
from kdrec.terminal import OneSentenceParser
from kdrec.trial.cell import Progress, prepare_teacher, run_cell
from kdrec.trial.follow import Follower
from kdrec.trial.ranks import Ranks


def main(words: list[str] | None = None) -> int:
    """Do one process's part; returns its exit code."""
    asked = _parser().parse_args(words)
    logging.disable_progress_bar()  # bars of several processes would tear the lines of main
    _end_with_others(heard_by_a_program=asked.json)
    tell = _as_json if asked.json else _as_text
    home = Home.at(asked.home) if asked.home else Home.from_env()
    is_main = True
    try:
        ranks = Ranks.join()
        is_main = ranks.is_main
        if is_main:
            _lead(Study.load(asked.study), asked.task, asked.model, home, ranks, lambda told: tell(vars(told)))
            ranks.dismiss()
        else:
            _follow(Path(asked.study), asked.task, asked.model, home, ranks)
        ranks.leave()
    except KdrecError as error:
        if is_main:
            tell({"error": str(error)})
        return 2
    return 0


def _lead(
    study: Study, task: str, model: str, home: Home, ranks: Ranks, on_progress: Callable[[Progress], None]
) -> None:
    """The teacher's stage, and the search of the cell where the model is a student."""
    if task not in study.tasks:
        raise BadArgument(f"study {study.name!r} has no task {task!r}{did_you_mean(task, study.tasks)}")
    teachers = {catalog.teacher_of(student) for student in study.students}
    if model not in {*study.students, *teachers}:
        near = did_you_mean(model, {*study.students, *teachers})
        raise BadArgument(f"study {study.name!r} has no student or teacher {model!r}{near}")
    prepare_teacher(study, task, catalog.card(model).teacher or model, home, on_progress, ranks)
    if model not in teachers:
        run_cell(study, Cell(task=task, student=model), home, on_progress, ranks)


def _follow(study: Path, task: str, model: str, home: Home, ranks: Ranks) -> None:
    """What main calls for, until it ends; the study is read with the first order, when main has found it good."""
    follower: Follower | None = None
    for order in ranks.orders():
        follower = follower or Follower(Study.load(study), task, model, home)
        follower.do(order)


def _end_with_others(*, heard_by_a_program: bool) -> None:
    """End this process, wherever it is, when what started it is gone, and at once on Ctrl-C.

    The locks it holds are free then, and a trial it was at is made anew or goes on from its checkpoint. A program that
    hears this process holds its input open and never writes: the end of the input is its own end.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = os.getppid()

    def watch_parent() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    def watch_input() -> None:
        while os.read(0, 1):  # not sys.stdin: its lock, held here, would abort the interpreter's end
            pass
        os._exit(1)

    for watch in (watch_parent, watch_input) if heard_by_a_program else (watch_parent,):
        threading.Thread(target=watch, daemon=True).start()


def _as_json(content: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(content)}\n")
    sys.stdout.flush()


def _as_text(content: dict[str, Any]) -> None:
    if "error" in content:
        sys.stderr.write(f"kdrec: {content['error']}\n")
        return
    sys.stdout.write(f"{content['part']} {content['done']}/{content['expected']} {content['message']}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = OneSentenceParser(
        prog="torchrun --nproc_per_node N -m kdrec.trial", description="Train one model at a time with N processes."
    )
    parser.add_argument("study", metavar="STUDY", help="a study file")
    parser.add_argument("task", metavar="TASK", help="a task of the study")
    parser.add_argument("model", metavar="MODEL", help="a student, whose cell is searched, or its teacher alone")
    parser.add_argument("--home", metavar="DIR", help="folder of studies, caches and history (KDREC_HOME, or ./.kdrec)")
    parser.add_argument("--json", action="store_true", help="for a program: progress as JSON; ends with its own input")
    return parser


if __name__ == "__main__":
    sys.exit(main())
