"""The doors of tracking: open a store, write what a study does, find and read what was done.

Every call names its experiment and run; nothing depends on MLflow's active run, so threads and processes may share a
store. A run counts once its status tag says `completed` or `diverged`, which is the last thing written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Self

from kdrec.bulletin import Bulletin
from kdrec.errors import BadArgument, MismatchError, StoreError
from kdrec.home import Home
from kdrec.outcome import Outcome
from kdrec.tracking.bulletins import last_bulletin, write_bulletin
from kdrec.tracking.connect import connect
from kdrec.tracking.decisions import pinned_history, write_decisions, write_suggestion
from kdrec.tracking.ledger import Ledger, Measurement, now_milliseconds
from kdrec.tracking.made import CellMade, Made, cells_made, made
from kdrec.tracking.notes import calibration_name, escaped, study_note, trial_name
from kdrec.tracking.outcome import outcome, write_page
from kdrec.tracking.parents import begin, close_cell, open_cell
from kdrec.tracking.recorded import Recorded, recorded
from kdrec.tracking.registry import Entry, Version, downloaded, register
from kdrec.tracking.runs import (
    FEATURES,
    FINGERPRINT,
    NOTE,
    PARENT,
    RESULTS,
    ROWS,
    SCHEMA,
    SETTINGS,
    STATUS,
    STUDENT,
    TRAINING,
    TrialKind,
    base_tags,
    check_schema,
    ended,
    finished,
    is_evidence,
    result_tags,
    started_tags,
    trial_of,
)
from kdrec.tracking.teachers import write_teacher
from kdrec.tracking.views import VIEWS, view_tags
from kdrec.types import (
    SCHEMA_VERSION,
    Candidate,
    Decision,
    FineTuning,
    History,
    KDConfig,
    Suggestion,
    TaskFeatures,
    TeacherChoice,
    Training,
    Trial,
    check_name,
)

OVERLAP_MILLISECONDS: Final = 3_600_000
"""A reading starts this long before the last one ended: clocks of workers differ, and readers know a run by its id."""


@dataclass(frozen=True)
class Store:
    """An open tracking store. Make one with `Store.open` in each process."""

    ledger: Ledger

    @classmethod
    def open(cls, home: Home) -> Self:
        """Reach the home's tracking store, creating a local one where there is none.

        Parameters
        ----------
        home : Home
            Names the store; a SQLite file and its artifacts are created below it, once, whoever else is opening it.

        Returns
        -------
        Store
            Checked: it answers, and nothing in it was written by another schema.

        Raises
        ------
        StoreError
            When nothing answers within seconds, the store cannot be used, or its schema is not ours. Credentials of
            the URI are not in the text.
        """
        store = cls(Ledger(home, connect(home)))
        store.ledger.experiments()
        return store

    @classmethod
    def existing(cls, home: Home) -> Self:
        """Reach the home's tracking store as `open` does, but refuse to create one: what is asked is what it knows."""
        if home.store_file is not None and not home.store_file.is_file():
            raise StoreError(
                f"there is no tracking store at {home.store_file}; set KDREC_TRACKING_URI to the one of your studies"
            )
        return cls.open(home)

    def experiment(self, study: str) -> str:
        """Id of the experiment of a study, created on first use.

        Raises
        ------
        StoreError
            When an experiment of that name is in MLflow's trash, or holds runs that are not kdrec's.
        """
        from mlflow.exceptions import MlflowException

        check_name("study", study)
        with self.ledger.asking("creating an experiment"):
            found = self.ledger.client.get_experiment_by_name(study)
            if found is None:
                remote = self.ledger.home.tracking_uri.startswith(("http://", "https://"))
                root = None if remote else (self.ledger.home.artifacts / study).as_uri()
                tags = {SCHEMA: str(SCHEMA_VERSION), NOTE: study_note(study), **view_tags()}
                try:
                    return str(self.ledger.client.create_experiment(study, artifact_location=root, tags=tags))
                except MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                    found = self.ledger.client.get_experiment_by_name(study)  # another process was first
        return self._adopted(study, found)

    def open_cell(
        self,
        experiment_id: str,
        cell: str,
        features: TaskFeatures,
        note: str,
        *,
        training: Training | None = None,
        rows: Mapping[str, int] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> str:
        """Run id of the parent of a cell's trials; a second call returns the first one's.

        The parent of a finished search stays as it is, with its note and its end, until a trial of it begins.

        Parameters
        ----------
        experiment_id : str
            From `experiment`.
        cell : str
            Such as ``trec/small``.
        features : TaskFeatures
            What is known of the task.
        note : str
            Markdown shown beside the run; see `cell_note`.
        training, rows, settings : optional
            How students are trained, the number of rows by split, and what the study asked for: kept as tags.
        """
        nouns = {FEATURES: features, TRAINING: training, ROWS: rows, SETTINGS: settings}
        return open_cell(self.ledger, experiment_id, cell, note, nouns)

    def log_decisions(self, run_id: str, decisions: Sequence[Decision]) -> None:
        """Write what a search was advised so far to its cell's parent run.

        `decision/worth` and `decision/price` are curves in points over the steps; `decisions.json` holds every answer.
        The same decisions twice leave one copy.
        """
        write_decisions(self.ledger, run_id, decisions)

    def pinned_history(self, run_id: str, past: History) -> tuple[History, int]:
        """What of `past` a cell's first search knew, and how many trials it knew are gone; the first pins all of it."""
        return pinned_history(self.ledger, run_id, past)

    def describe_cell(self, run_id: str, note: str) -> None:
        """Change the note of a cell that is still searched."""
        self.ledger.write(run_id, tags={NOTE: note})

    def close_cell(self, run_id: str, metrics: Mapping[str, float], note: str) -> None:
        """Finish a cell's parent run: summary metrics, and the note that tells the result (`closing_note`)."""
        close_cell(self.ledger, run_id, metrics, note)

    def find(self, fingerprint: str, kind: TrialKind = "trial") -> Trial | None:
        """The completed or diverged trial of a fingerprint, the earliest finished if there are several, or None."""
        done = finished(self.ledger.runs(self.ledger.experiments(), kind, fingerprint))
        return trial_of(done[0]) if done else None

    def start_trial(
        self,
        experiment_id: str,
        parent_run_id: str,
        *,
        config: KDConfig,
        student: str,
        features: TaskFeatures,
        seed: int,
        fingerprint: str,
        training: Training,
        kind: TrialKind = "trial",
    ) -> str:
        """Begin the run of a trial, in place of any half-written run of the same fingerprint.

        The caller holds the fingerprint's lock: a run found `started` here is one whose process has died.

        Returns
        -------
        str
            The run's id. Until `finish_trial` the run is no part of any history.
        """
        for run in self.ledger.runs(self.ledger.experiments(), kind, fingerprint):
            if run.data.tags.get(STATUS) == "started":
                self.ledger.end(run.info.run_id, "KILLED")
                self.ledger.write(run.info.run_id, tags={STATUS: "replaced"})
        begin(self.ledger, parent_run_id)
        note = f"{escaped(config.label())}, seed {seed}: {escaped(student)} on {escaped(features.task)}."
        name = trial_name(config, seed) if kind == "trial" else calibration_name(training)
        tags = base_tags(kind, "started", name, note, fingerprint)
        tags |= started_tags(student=student, features=features, training=training)
        run_id = self.ledger.create(experiment_id, {**tags, PARENT: parent_run_id})
        self.ledger.write(run_id, params={**config.to_params(), "seed": str(seed)})
        return run_id

    def log_metrics(self, run_id: str, measured: Sequence[Measurement]) -> None:
        """Write what was measured in one call: name, finite value, step.

        Raises
        ------
        BadArgument
            For a value that is not finite, and for the names that `finish_trial` writes (`val_score`, `val_loss`,
            `test_score`, `seconds`): call curves ``validation/score`` and the like.
        """
        for name, value, _ in measured:
            if name in RESULTS:
                raise BadArgument(
                    f"the metric {name!r} is the result of a trial and written once; name a curve like "
                    "'validation/score'"
                )
            if not math.isfinite(value):
                raise BadArgument(f"the metric {name!r} must be finite to be logged, got {value}")
        self.ledger.write(run_id, metrics=measured)

    def finish_trial(self, run_id: str, trial: Trial) -> Trial:
        """Finish the run of a trial; from now on it is evidence, unless it `failed`.

        Returns
        -------
        Trial
            `trial` with its run id and fingerprint: what `find` and `trials` will return.

        Raises
        ------
        MismatchError
            When the run was started for another configuration, seed, student or fingerprint.
        """
        with self.ledger.asking("finishing a trial"):
            run = self.ledger.client.get_run(run_id)
        tags, params = run.data.tags, run.data.params
        trial = replace(trial, run_id=run_id, fingerprint=trial.fingerprint or tags.get(FINGERPRINT, ""))
        started = (KDConfig.from_params(params), params.get("seed"), tags.get(STUDENT), tags.get(FINGERPRINT))
        if started != (trial.config, str(trial.seed), trial.student, trial.fingerprint):
            raise MismatchError(f"run {run_id} was started for {run.info.run_name!r}, and another trial came to end it")
        measured = [(name, value, 0) for name in RESULTS if (value := getattr(trial, name)) is not None]
        self.ledger.end(run_id, "FAILED" if trial.status == "failed" else "FINISHED")
        self.ledger.write(run_id, metrics=measured, tags=result_tags(trial))
        return trial

    def log_teacher(
        self,
        experiment_id: str,
        task: str,
        candidates: Sequence[Candidate],
        selection: Mapping[TeacherChoice, Candidate],
        params: Mapping[str, str],
        *,
        key: str | None = None,
        runs: Sequence[FineTuning] = (),
    ) -> str:
        """Write the trace of a task's teacher: curves of score, loss and calibration error, and the chosen ones.

        Parameters
        ----------
        experiment_id : str
            From `experiment`.
        task : str
            Name of the task.
        candidates : sequence of Candidate
            Every evaluated checkpoint.
        selection : mapping of {"t_ll", "t_hs", "t_llg"} to Candidate
            What was chosen from them.
        params : mapping of str to str
            Few short params of the run.
        key : str, optional
            Identity of the teacher; by default all that is given here. A second call with one key writes nothing.
        runs : sequence of FineTuning, optional
            How each fine-tuning run was made and why it ended.

        Returns
        -------
        str
            The run's id. The whole trace is its artifact ``trace.json``.
        """
        return write_teacher(self.ledger, experiment_id, task, candidates, selection, params, key, runs)

    def trials(self, since: str | None = None) -> tuple[list[Trial], str]:
        """Finished trials (completed and diverged), oldest first, one for each fingerprint.

        Parameters
        ----------
        since : str, optional
            The watermark an earlier call returned: only what may have come since is read. It overlaps with what was
            read before, so a reader keeps each run id once.

        Returns
        -------
        trials : list of Trial
            Of a duplicated fingerprint, the earliest finished.
        watermark : str
            For the next call.
        """
        watermark = int(since) if since else 0
        after = watermark - OVERLAP_MILLISECONDS if since else None
        found: list[tuple[tuple[float, str], Trial]] = []
        for run in self.ledger.each_run(self.ledger.experiments(), "trial", ended_after=after):
            watermark = max(watermark, run.info.end_time or 0)
            if is_evidence(run):
                found.append((ended(run), trial_of(run)))  # a run is ten times as large as its trial
        unique: dict[str, Trial] = {}
        for _, trial in sorted(found, key=itemgetter(0)):
            unique.setdefault(trial.fingerprint, trial)
        return list(unique.values()), str(
            min(watermark, now_milliseconds())
        )  # a clock that is ahead must not hide what follows

    def register(self, experiment_id: str, entry: Entry) -> Version:
        """Put a student into the model registry, once a trial, and give the aliases to the best versions."""
        return register(self.ledger, experiment_id, entry)

    def registered(self, uri: str, folder: Path) -> Path:
        """Files of a registered student, fetched to `folder`."""
        return downloaded(self.ledger, uri, folder)

    def made(self) -> Made:
        """How the studies of this store were run: training and rows of every cell, the teachers, and the time."""
        return made(self.ledger, self.ledger.experiments())

    def cells_made(self, task: str, student: str) -> tuple[CellMade, ...]:
        """How the searches of one cell were run, in whatever study, the earliest first."""
        return cells_made(self.ledger, self.ledger.experiments(), f"{task}/{student}")

    def recorded(self) -> Recorded:
        """Which trials are finished, and which teachers runs name: what tells whether a file is still needed."""
        return recorded(self.ledger, self.ledger.experiments())

    def outcome(self, study: str) -> Outcome:
        """What is finished of a study, read from its runs.

        Raises
        ------
        BadArgument
            When the store has no such study; the nearest is named.
        StoreError
            When nothing of it was searched yet, or its runs cannot be read.
        """
        return outcome(self.ledger, self.ledger.experiments(), study)

    def log_page(self, study: str, page: str) -> str:
        """Keep the page of a study as the artifact ``report.html`` of the run ``report of STUDY``; returns its id."""
        return write_page(self.ledger, self.ledger.experiments(), study, page)

    def log_suggestion(self, run_id: str, answer: Suggestion) -> None:
        """Keep the latest answer for a cell beside its trials: artifact, tags and a metric of its parent run."""
        write_suggestion(self.ledger, run_id, answer)

    def bulletin(self) -> Bulletin | None:
        """The table of recommendations published last; None where there was none."""
        return last_bulletin(self.ledger)

    def log_bulletin(self, bulletin: Bulletin, told: Sequence[str]) -> str:
        """Publish a table of recommendations and what changed in it, in a run of its own; returns the run's id."""
        return write_bulletin(self.ledger, bulletin, told)

    def _adopted(self, study: str, found: Any) -> str:
        """Id of an experiment that exists: ours, or empty and therefore free to use."""
        if found.lifecycle_stage != "active":
            raise StoreError(
                f"the experiment {study!r} is in MLflow's trash; restore it, empty the trash, or rename the study"
            )
        experiment_id = str(found.experiment_id)
        if SCHEMA in found.tags:
            check_schema(found.tags[SCHEMA], f"experiment {study!r}")
            self._give_views(experiment_id, found)
            return experiment_id
        with self.ledger.asking("opening an experiment"):
            if self.ledger.client.search_runs([experiment_id], max_results=1):
                raise StoreError(f"the experiment {study!r} holds runs that are not kdrec's; rename the study")
            self.ledger.client.set_experiment_tag(experiment_id, NOTE, study_note(study))
            self.ledger.client.set_experiment_tag(experiment_id, SCHEMA, str(SCHEMA_VERSION))
        self._give_views(experiment_id, found)
        return experiment_id

    def _give_views(self, experiment_id: str, found: Any) -> None:
        """Give an experiment that was made without them its saved views, once."""
        if VIEWS in found.tags:
            return
        with self.ledger.asking("saving views of an experiment"):
            for name, value in view_tags().items():
                self.ledger.client.set_experiment_tag(experiment_id, name, value)
