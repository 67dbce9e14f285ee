"""What both flows do: cells of a study through worker processes, each piece a Prefect task run, the results shown."""

from __future__ import annotations

from collections.abc import Iterable

from prefect import runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger

from flows import pieces
from flows.pieces import Outcome, Piece
from flows.progress import Board, Log, Outlet, Show, Terminal
from flows.workers import Workers, usable_cores
from kdrec import history, question, report
from kdrec.errors import KdrecError
from kdrec.home import Home
from kdrec.studies import Cell, Study
from kdrec.tracking import Store


def conduct(study: Study, cells: Iterable[Cell], home: Home, workers: int | None) -> list[Outcome]:
    """Search cells of a study: their teachers first, a cell as soon as its own teacher is there.

    Called inside a flow. One piece that fails keeps no other from its end.

    Returns
    -------
    list of Outcome
        In the order of `cells`.

    Raises
    ------
    KdrecError
        Once all is done that can be done, when a piece was refused.
    """
    cells = tuple(cells)
    pieces.check(study)
    Store.open(home).experiment(study.name)  # before any worker: processes racing on a new database break it
    question.sync(home)
    before = {trial.run_id for trial in history.load(home)}
    outlet: Outlet = Log(get_run_logger().info) if runtime.deployment.id else Terminal()
    outcomes, failures = _work_off(pieces.cut(study, home, cells), workers or usable_cores(), outlet)
    question.sync(home, always=True)  # so that the next suggestion need not open the store
    found = [outcomes[str(cell)] for cell in cells if str(cell) in outcomes]
    _show(study, found, before, outlet)
    for name, error in failures.items():
        raise KdrecError(f"{name}: {error}") if isinstance(error, KdrecError) else error
    return found


def _work_off(plan: tuple[Piece, ...], workers: int, outlet: Outlet) -> tuple[dict[str, Outcome], dict[str, Exception]]:
    """Outcomes and failures by name of piece."""
    outcomes: dict[str, Outcome] = {}
    failures: dict[str, Exception] = {}
    named = {piece.name: piece for piece in plan}
    board = Board(_in_groups(plan), workers)

    def work(name: str) -> None:
        piece = named[name]
        try:
            outcome = crew.run(piece, piece.units * piece.cost)
        except Exception as error:
            failures[name] = error
            _finish(board, moved, name, f"failed: {error}", failed=True)
            raise
        if outcome is not None:
            outcomes[name] = outcome
        _finish(board, moved, name, "done")

    def hear(told: pieces.Told) -> None:
        if board.hear(told):
            moved(told.piece)

    with outlet.screen(board) as moved, Workers(min(workers, len(plan)), pieces.do, hear) as crew:
        runs: dict[str, PrefectFuture[None]] = {}
        for piece in plan:
            run = task(work, name=piece.role, task_run_name=piece.name, cache_policy=NO_CACHE, persist_result=False)
            runs[piece.name] = run.submit(piece.name, wait_for=[runs[piece.needs]] if piece.needs else None)
        for future in runs.values():
            future.wait()
    return outcomes, failures


def _finish(board: Board, moved: Show, name: str, message: str, *, failed: bool = False) -> None:
    board.finish(name, message.strip().splitlines()[-1], failed=failed)
    moved(name)


def _in_groups(plan: tuple[Piece, ...]) -> list[Piece]:
    """Every teacher followed by its cells, as one reads them."""
    teachers = [piece for piece in plan if piece.role == "teacher"]
    return [piece for teacher in teachers for piece in (teacher, *(p for p in plan if p.needs == teacher.name))]


def _show(study: Study, found: list[Outcome], before: set[str], outlet: Outlet) -> None:
    """Tables of all cells, how many trials were new, and the best of each cell where Prefect's page shows it."""
    if not found:
        return
    outlet.show(report.cells_table(found))
    runs = {trial.run_id for outcome in found for trial in outcome.trials}
    new = len(runs - before)
    outlet.show(f"Study {study.name}: {len(runs)} trials, {new} new and {len(runs) - new} found in the store.")
    create_markdown_artifact(_best_of(found), key=_slug(study.name), description=f"Study {study.name}")


def _best_of(found: Iterable[Outcome]) -> str:
    lines = ["| cell | best configuration | validation | test |", "|---|---|---|---|"]
    for outcome in found:
        best = [trial for trial in outcome.trials if trial.config == outcome.best]
        scores = (_mean([trial.val_score for trial in best]), _mean([trial.test_score for trial in best]))
        lines.append(f"| {outcome.cell} | {outcome.best.label()} | {scores[0]} | {scores[1]} |")
    return "\n".join(lines)


def _mean(scores: list[float | None]) -> str:
    known = [score for score in scores if score is not None]
    return f"{sum(known) / len(known):.2f}" if known else "-"


def _slug(name: str) -> str:
    """The key of an artifact: lower-case letters, digits and dashes."""
    return "-".join(filter(None, "".join(c if c.isalnum() and c.isascii() else "-" for c in name.lower()).split("-")))
