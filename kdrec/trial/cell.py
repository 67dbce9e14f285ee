"""A cell: its teacher made ready, its knob space searched, its parent run written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kdrec import catalog, encoder, history, sources
from kdrec.autotune import bound_by_budget, expected_evaluations
from kdrec.home import Home
from kdrec.resolution import cannot_show, cannot_tell
from kdrec.search import STRATEGIES, Proposal, Propose, SearchStep
from kdrec.space import check_one_space, told
from kdrec.studies import Cell, Study
from kdrec.trace import is_guarded
from kdrec.tracking import Store, cell_note, closing_note, warned
from kdrec.trial.advice import Adviser, decision
from kdrec.trial.bench import Bench
from kdrec.trial.calibrate import Calibrated, calibrate, length_told
from kdrec.trial.one import Place, run_trial
from kdrec.trial.ranks import Ranks
from kdrec.types import BASELINE_CONFIG, TEACHERS, Candidate, Decision, KDConfig, Suggestion, Training, Trial
from kdrec.weak_teacher import weak_teacher


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the work on one teacher or one cell has come; `expected` is a guess that grows more exact.

    With `notice`, the message is something that the user has to know (what is amiss, or what a file of theirs was read
    as), and no step of the work.
    """

    part: str
    done: int
    expected: int
    message: str
    notice: bool = False


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """A searched cell: its trials (the labels-only baseline among them), the way of the search, and its end.

    `run_id` is the cell's run in the store, the parent of its trials'. Where the recommender was asked, `suggestion` is
    its last answer.
    """

    cell: Cell
    trials: tuple[Trial, ...]
    path: tuple[SearchStep, ...]
    best: KDConfig
    run_id: str
    suggestion: Suggestion | None = None


def _silent(_: Progress) -> None:
    """Progress that nobody watches."""


def prepare_teacher(
    study: Study,
    task_name: str,
    teacher: str,
    home: Home,
    on_progress: OnProgress = _silent,
    ranks: Ranks | None = None,
) -> None:
    """Stage one of a task: fine-tune its teacher, select, compute its logits, log the trace. Does nothing twice."""
    part, training = f"{task_name} teacher", study.teacher_for(task_name)
    expected = expected_evaluations(training)
    on_progress(Progress(part=part, done=0, expected=expected, message="reading rows and weights"))
    seen: list[Candidate] = []

    def say(text: str) -> None:
        on_progress(Progress(part=part, done=len(seen), expected=expected, message=text, notice=True))

    bench = Bench(study, task_name, teacher, home, say, ranks)
    read = bench.read()
    if read is not None:
        say(read.sentence())

    def saw(candidate: Candidate) -> None:
        seen.append(candidate)
        text = f"validation {candidate.score:.1f}, loss {candidate.loss:.3f}"
        on_progress(Progress(part=part, done=len(seen), expected=expected, message=text))

    bench.teacher = bench.make_teacher(saw)
    selection = bench.teacher.selection
    choices = study.teacher_choices
    for choice in choices:
        bench.signal(choice)
    store = Store.open(home)
    store.log_teacher(
        store.experiment(study.name),
        task_name,
        bench.teacher.trace,
        {choice: selection.of(choice) for choice in TEACHERS},
        {"task": task_name, "teacher": teacher, "epochs": str(training.epochs or "auto")},
        key=bench.teacher.key,
        runs=bench.teacher.runs,
    )
    if "t_llg" in choices and not is_guarded(bench.teacher.trace):
        say("this teacher is from an earlier version, which kept no standard errors: its t_llg is its t_ll")
    if selection.still_improving:
        say(selection.warning(task_name))
    if bound := bound_by_budget(training, bench.teacher.runs):
        say(bound)
    parts, n_seen = ["ready", told(selection.aliases, choices), *bench.left_out()], max(len(seen), 1)
    on_progress(Progress(part=part, done=n_seen, expected=n_seen, message="; ".join(parts)))


def run_cell(
    study: Study, cell: Cell, home: Home, on_progress: OnProgress = _silent, ranks: Ranks | None = None
) -> CellResult:
    """Search one cell: the labels-only baseline, then the study's strategy. Finished trials are found, not repeated."""
    on_progress(Progress(part=str(cell), done=0, expected=1, message="reading rows, logits and weights"))

    def say(text: str) -> None:
        on_progress(Progress(part=str(cell), done=0, expected=1, message=text, notice=True))

    bench = Bench(study, cell.task, catalog.teacher_of(cell.student), home, say, ranks)
    return _Runner(bench, cell, on_progress).search()


def _way(study: Study) -> str:
    """How a study searches, in a few words for the note."""
    if study.search == "listed":
        return f"the {len(study.configs)} configurations listed in the study"
    return f"{study.search}, from {study.space.default().label()}"


class _Runner:
    """Searches one cell and tells how far it has come."""

    def __init__(self, bench: Bench, cell: Cell, on_progress: OnProgress, *, keep: bool = False) -> None:
        self.study, self.on_progress, self.keep = bench.study, on_progress, keep
        self.aliases = bench.teacher.selection.aliases
        student = catalog.card(cell.student)
        folder = sources.resolve(student.source, bench.home)
        encoder.check_same_tokenizer(bench.folder, folder)
        features, store = bench.features(student), Store.open(bench.home)
        wanted = self.study.training_for(cell)
        self.place = Place(
            bench=bench,
            cell=cell,
            training=wanted.resolved(learning_rate=1.0),
            student=student,
            folder=folder,
            student_hash=f"{encoder.source_hash(folder)}:{student.layers}",
            features=features,
            store=store,
            experiment_id=store.experiment(self.study.name),
            parent_run_id="",
        )
        self.decisions: list[Decision] = []
        self.done, self.expected = 0, self._guess()
        self.calibrated = Calibrated(training=wanted.resolved(learning_rate=1.0))
        if unsure := cannot_show(len(bench.task.validation)):
            self._tell(unsure, notice=True)
        if wanted.is_auto:
            self._open(f"The training of {student.name} is being calibrated.", known=False)
            self.calibrated = self._calibrate()
            tried = self.calibrated.found if not wanted.has_length else None
            self.place = replace(
                self.place,
                training=self.calibrated.training,
                still_improving=None if tried is None else tried.still_improving,
            )
        self.note = self._note()
        self._open(self.note)

    def _calibrate(self) -> Calibrated:
        """How students of this cell are trained, found before any of its trials."""
        n_validation = len(self.place.bench.task.validation)
        if unsure := cannot_tell(n_validation):
            self._tell(unsure, notice=True)

        def tell(training: Training, trial: Trial) -> None:
            score = "diverged" if trial.val_score is None else f"validation {trial.val_score:.1f}"
            what = f"learning rate {training.learning_rate:g}, {length_told(training)}"
            rows = "" if trial.config.is_baseline else ", with rows without labels"
            self._tell(f"calibration: {what}{rows}: {score} ({trial.seconds:.0f} s)")

        made = calibrate(self.place, tell)
        if made.found:
            self._tell(made.sentence(), notice=made.diverged or made.found.reason in ("cap", "budget"))
        return made

    def _note(self) -> str:
        """What stands beside the cell's run in MLflow from its first trial on."""
        seeds = ", ".join(str(seed) for seed in self.study.seeds)
        own = self.place.bench.read()
        return cell_note(
            self.place.student.name,
            self.place.features,
            training=self.place.training,
            rows=self.place.bench.task.n_rows(),
            searched=f"{_way(self.study)}, seeds {seeds}",
            read="" if own is None else " ".join(own.lines()),
            left_out=self.place.bench.left_out(),
            calibrated=self.calibrated.sentence(),
        )

    def _open(self, note: str, *, known: bool = True) -> None:
        """Open the cell's run, or write to it what is known by now."""
        place, training, rows = self.place, self.place.training, self.place.bench.task.n_rows()
        features = place.features
        run_id = (
            place.store.open_cell(
                place.experiment_id,
                str(place.cell),
                features,
                note,
                training=training,
                rows=rows,
                settings=self.study.settings(place.cell),
            )
            if known
            else place.store.open_cell(place.experiment_id, str(place.cell), features, note)
        )
        self.place = replace(place, parent_run_id=run_id)

    def search(self) -> CellResult:
        """The baseline, then the strategy; the parent run is closed with what was found."""
        propose = self._advised() if self.study.search == "suggested" else self._listed
        baseline = self.evaluate([BASELINE_CONFIG])
        self._warn(baseline)
        strategy = STRATEGIES[self.study.search]
        found = strategy(self.study.space, self.evaluate, propose, aliases=self.aliases)
        result = CellResult(
            cell=self.place.cell,
            trials=(*baseline, *found.trials),
            path=found.path,
            best=found.best,
            run_id=self.place.parent_run_id,
            suggestion=self.decisions[-1].answer if self.decisions else None,
        )
        self._close(result)
        return result

    def _warn(self, baseline: Sequence[Trial]) -> None:
        """Say at once where the teacher is worse than its student without it, before anything is distilled."""
        weak = weak_teacher(baseline, self.place.features.teacher_score)
        if weak:
            self._tell(f"{self.place.cell}: {weak}", notice=True)
            self.note = warned(self.note, str(weak))
            self.place.store.describe_cell(self.place.parent_run_id, self.note)

    def evaluate(self, configs: Sequence[KDConfig]) -> list[Trial]:
        """Every configuration with every seed of the study."""
        return [self._one(config, seed) for config in configs for seed in self.study.seeds]

    def _one(self, config: KDConfig, seed: int) -> Trial:
        started = time.monotonic()
        training = replace(self.place.training, seed=seed)
        trial = run_trial(self.place, config, training, keep=self.keep and not config.is_baseline)
        self.done += 1
        self.expected = max(self.expected, self.done)
        score = "diverged" if trial.val_score is None else f"validation {trial.val_score:.1f}"
        self._tell(f"{config.label()}: {score} ({time.monotonic() - started:.0f} s)")
        return trial

    def _listed(self, trials: Sequence[Trial]) -> Proposal:
        """What the study lists; the searches that list nothing do not ask."""
        configs = self.study.configs
        return Proposal(configs=configs, stop=bool(trials), reason="listed in the study", best=configs[0])

    def _advised(self) -> Propose:
        """The recommender, answering from what was known when this cell was first searched; each answer is logged."""
        adviser = self._adviser()

        def propose(trials: Sequence[Trial]) -> Proposal:
            proposal = adviser(trials)
            self.decisions.append(decision(len(self.decisions), trials, proposal))
            self.place.store.log_decisions(self.place.parent_run_id, self.decisions)
            return proposal

        return propose

    def _adviser(self) -> Adviser:
        place, bench = self.place, self.place.bench
        space = self.study.space.configs()
        known = history.with_shipped(
            history.load(bench.home), searched=space, asked=place.features, student=place.student.name
        )
        past, n_gone = place.store.pinned_history(place.parent_run_id, known)
        if n_gone:
            self._tell(f"{n_gone} trials that this search knew before are gone: it may take another way")
        # a history of other knobs is refused before anything is trained
        check_one_space(past, {f"the study {self.study.name!r}": space})
        return Adviser.of(self.study, past, place.features, place.student.name, aliases=self.aliases)

    def _guess(self) -> int:
        """Trials a search will want: the whole grid, or for greedy one pass over the knobs and half of another."""
        grid = len(self.study.space.configs(aliases=self.aliases))
        expected = {"full": grid, "listed": len(self.study.configs)}.get(self.study.search, min(grid, 11))
        return (1 + expected) * len(self.study.seeds)

    def _close(self, result: CellResult) -> None:
        path = [f"{step.knob}: {step.kept.label()} ({step.reason})" for step in result.path]
        best = [trial for trial in result.trials if trial.config == result.best]
        summary = {
            f"best_{name}": sum(values) / len(values)
            for name in ("val_score", "test_score")
            if (values := [value for trial in best if (value := getattr(trial, name)) is not None])
        }
        note = closing_note(self.note, result.trials, path=path, best=result.best, decisions=self.decisions)
        self.place.store.close_cell(self.place.parent_run_id, {**summary, "n_trials": len(result.trials)}, note)
        self.expected = self.done
        self._tell("searched")

    def _tell(self, message: str, *, notice: bool = False) -> None:
        part = str(self.place.cell)
        self.on_progress(Progress(part=part, done=self.done, expected=self.expected, message=message, notice=notice))
