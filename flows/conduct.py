"""What both flows do: cells of a study through worker processes here, or through a deployment, and the results shown.

Here (`conduct`), each piece is a Prefect task run; elsewhere (`send`), each cell is a flow run of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

from prefect import runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger

from flows import fanout, pieces
from flows.artifacts import Bar, key_of, show_text
from flows.fanout import FanOut
from flows.pieces import Outcome, Piece
from flows.pool import CellDeployment
from flows.progress import Board, Log, Outlet, Quiet, Show, Terminal
from flows.reference import Reference, best_of
from flows.workers import Workers, usable_cores
from kdrec import history, question, refresh, report
from kdrec.errors import KdrecError
from kdrec.home import Home
from kdrec.shelf import Shelf
from kdrec.studies import Cell, Study
from kdrec.tracking import Store, bulletin_note, patiently


def conduct(
    study: Study,
    cells: Iterable[Cell],
    home: Home,
    workers: int | None = None,
    ranks: int | None = None,
    *,
    quiet: bool = False,
) -> list[Outcome]:
    """Search cells of a study: their teachers first, a cell as soon as its own teacher is there.

    Called inside a flow. One piece that fails keeps no other from its end. `workers` take pieces at once: by default
    one a core, and one where several `ranks` train each model together.

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
    Shelf.of(home)  # a shelf that nothing here can speak to is refused at once; one that is away is not
    Store.open(home).experiment(study.name)  # before any worker: processes racing on a new database break it
    before, outlet = known_trials(home), _outlet(quiet)
    several = ranks is not None and ranks > 1
    plan = pieces.cut(study, home, cells, ranks or 1)
    outcomes, failures = _work_off(plan, workers or (1 if several else usable_cores()), outlet)
    _sync(home, outlet)
    found = [outcomes[str(cell)] for cell in cells if str(cell) in outcomes]
    _show(study, found, before, home, outlet)
    for name, error in failures.items():
        raise KdrecError(f"{name}: {error}") if isinstance(error, KdrecError) else error
    return found


def send(study: Study, name: str, home: Home, deployment: str, *, quiet: bool = False) -> list[Reference]:
    """Have every cell of a study searched by a flow run of a deployment, and wait for all of them.

    Called inside a flow. One cell that fails keeps no other from its end.

    Parameters
    ----------
    study : Study
        What to search.
    name : str
        By which workers find the study: the name of a file under `flows/studies`, or a path that they see too.
    home : Home
        Shared by this process and the workers, unless they share a shelf and a tracking server (`fanout.is_apart`).
    deployment : str
        Of the flow `cell`, such as ``cell/local``.
    quiet : bool
        Show results and nothing of what happens on the way.

    Returns
    -------
    list of Reference
        Where the results are, in the order of the study's cells.

    Raises
    ------
    KdrecError
        When there is no such deployment, and once all is done that can be done, when a cell failed.
    """
    pieces.check(study)
    Shelf.of(home)
    Store.open(home).experiment(study.name)  # before any worker: processes racing on a new database break it
    outlet = _outlet(quiet)
    with get_client(sync_client=True) as client:
        pool = CellDeployment(client, deployment, lambda cell: fanout.parameters(name, cell, home))
        cells = fanout.one_of_each_task_first(pieces.cut(study, home))
        fan = FanOut(study, home, pool, outlet.say)
        with Bar(*_bar(study), lambda: fan.n_ended() / len(cells)):
            done = fan.run(cells)
    _sync(home, outlet)
    _sum_up(study, done.found, home, outlet)
    if done.failed:
        raise fanout.refusal(done.failed, len(cells))
    return list(done.found.values())


def known_trials(home: Home) -> frozenset[str]:
    """Run ids of the trials that the store has now."""
    question.sync(home)
    return frozenset(trial.run_id for trial in history.load(home))


def _sync(home: Home, outlet: Outlet) -> None:
    """Bring the new trials into the history, so that the next suggestion need not open the store."""
    patiently(lambda: question.sync(home, always=True), lambda message: outlet.say(f"{message}."))


def _outlet(quiet: bool) -> Outlet:
    outlet = Log(get_run_logger().info) if runtime.deployment.id else Terminal()
    return Quiet(outlet) if quiet else outlet


def _work_off(plan: tuple[Piece, ...], workers: int, outlet: Outlet) -> tuple[dict[str, Outcome], dict[str, Exception]]:
    """Outcomes and failures by name of piece."""
    outcomes: dict[str, Outcome] = {}
    failures: dict[str, Exception] = {}
    done: set[str] = set()
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
        done.add(name)
        if outcome is not None:
            outcomes[name] = outcome
        _finish(board, moved, name, "done")

    notices: set[str] = set()

    def hear(told: pieces.Told) -> None:
        if told.notice:
            if told.message not in notices:  # every worker meets the same trouble
                notices.add(told.message)
                outlet.say(f"{told.message}.")
        elif board.hear(told):
            moved(told.piece)

    bar = Bar(*_bar(plan[0].study, [piece.name for piece in plan if piece.role == "cell"]), board.share)
    with bar, outlet.screen(board) as moved, Workers(min(workers, len(plan)), pieces.do, hear) as crew:
        runs: dict[str, PrefectFuture[None]] = {}
        for piece in plan:
            run = task(work, name=piece.role, task_run_name=piece.name, cache_policy=NO_CACHE, persist_result=False)
            runs[piece.name] = run.submit(piece.name, wait_for=[runs[piece.needs]] if piece.needs else None)
        for future in runs.values():
            future.wait()
        for piece in plan:  # Prefect may have lost a task run before it began; what it needs failed, or is done
            if piece.name not in done | failures.keys() and (piece.needs is None or piece.needs in done):
                with suppress(Exception):  # it is among the failures
                    work(piece.name)
    return outcomes, failures


def _finish(board: Board, moved: Show, name: str, message: str, *, failed: bool = False) -> None:
    board.finish(name, message.strip().splitlines()[-1], failed=failed)
    moved(name)


def _in_groups(plan: tuple[Piece, ...]) -> list[Piece]:
    """Every teacher followed by its cells, as one reads them."""
    teachers = [piece for piece in plan if piece.role == "teacher"]
    return [piece for teacher in teachers for piece in (teacher, *(p for p in plan if p.needs == teacher.name))]


def _show(study: Study, found: list[Outcome], before: Collection[str], home: Home, outlet: Outlet) -> None:
    """Tables of all cells, then their sum."""
    if found:
        outlet.show(report.cells_table(found))
    _sum_up(study, {outcome.cell: Reference.of(outcome, before) for outcome in found}, home, outlet)


def _sum_up(study: Study, found: Mapping[Cell, Reference], home: Home, outlet: Outlet) -> None:
    """How many trials were new; what to do next and the best of each cell where Prefect's page shows it."""
    if not found:
        return
    new, old = (sum(getattr(one, name) for one in found.values()) for name in ("new", "found"))
    outlet.show(f"Study {study.name}: {new + old} trials, {new} new and {old} found in the store.")
    text = f"## The best of what was tried\n\n{best_of(found)}"
    try:
        advice = refresh.advise(study, {cell: one.run_id for cell, one in found.items()}, home)
        left = len(found) > refresh.MOST_ASKED
        rest = f"The first {refresh.MOST_ASKED} of {len(found)} cells; the flow `refresh` asks about all.\n\n" * left
        text = f"## What to do next\n\n{rest}{bulletin_note(advice, ())}\n\n{text}"
    except KdrecError as error:
        outlet.say(f"The trials are done, and no suggestion could be made of them: {error}.")
    part = _part(study, map(str, found))
    show_text(text, key_of("study", study.name, *part), f"Study {study.name}", outlet.say)


def _bar(study: Study, cells: Iterable[str] = ()) -> tuple[str, str]:
    """Key and description of the bar of a study, or of a cell of it."""
    part = _part(study, cells)
    return key_of("study", study.name, *part, "progress"), " ".join(("Study", study.name, *part))


def _part(study: Study, cells: Iterable[str]) -> tuple[str, ...]:
    """The one cell that is done here of a study of several: its artifacts are its own."""
    names = tuple(cells)
    return names if len(names) == 1 and len(study.cells()) > 1 else ()
