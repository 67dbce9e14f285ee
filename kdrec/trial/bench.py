"""What all trials of one task and one teacher share: rows, tokens, the fine-tuned teacher and its logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, reduce
from typing import Final

import torch
from filelock import FileLock

from kdrec import catalog, engine, lending, signals, sources, tasks
from kdrec.errors import MismatchError
from kdrec.examples import joined
from kdrec.home import Home
from kdrec.shelf import Shelf
from kdrec.signals import TeacherSignal
from kdrec.studies import Study
from kdrec.tasks import family
from kdrec.teacher import Pupil, Teacher
from kdrec.trial.ranks import AskTeacher, FineTune, Ranks
from kdrec.types import Candidate, Encoded, KDConfig, ModelCard, Task, TaskFeatures, TeacherChoice

THREADS: Final = 1
"""Threads of a training on a CPU, whatever starts it: sums over two threads end in other bits, and a trial that a study
made would not be the one that `kdrec distill` makes again."""


def load_task(study: Study, name: str, home: Home) -> Task:
    """Rows of a study's task: the user's own data where the study describes it, else from the catalogue."""
    own, rows = study.data.get(name), study.rows_for(name)
    if own is None:
        return tasks.load(study.aliases.get(name, name), home, rows, known_as=name)
    return tasks.load_file(
        own.path,
        text=own.text,
        label=own.label,
        name=name,
        test=own.test,
        unlabelled=own.unlabelled,
        rows=rows,
    )


def lock(home: Home, name: str) -> FileLock:
    """A lock that its holder's death releases."""
    return FileLock(home.folder("locks") / f"{name[:80]}.lock")


class Bench:
    """Everything that the trials of one task and one teacher share; each part is made when first asked for, once.

    `say` is told what is amiss with the shelf of the home, and with what is kept in it. `ranks` are the processes that
    train together, this one leading; by default it is alone.
    """

    def __init__(
        self,
        study: Study,
        task_name: str,
        teacher: str,
        home: Home,
        say: Callable[[str], object] = lambda sentence: None,
        ranks: Ranks | None = None,
    ) -> None:
        self.study, self.home, self.ranks, self.say = study, home, ranks or Ranks(), say
        self.teacher_card: ModelCard = catalog.card(teacher)
        self.teacher_training = study.teacher_for(task_name)
        if self.max_length > self.teacher_card.max_length:
            raise MismatchError(
                f"model {teacher!r} reads at most {self.teacher_card.max_length} tokens, but max_length of study "
                f"{study.name!r} is {self.max_length} for {task_name!r}"
            )
        self.task = load_task(study, task_name, home)
        self.folder = sources.resolve(self.teacher_card.source, home)
        torch.set_num_threads(THREADS)
        self.accelerator = engine.make_accelerator()
        # of several processes that train together, one speaks to the shelf; the others find what it brought
        self.shelf = Shelf.of(home, say) if self.accelerator.is_main_process else Shelf.none()
        self._signals: dict[str, TeacherSignal] = {}

    def encoded(self, split: str) -> Encoded:
        """One tokenised split, from the token cache."""
        rows = getattr(self.task, split)
        return tasks.encode(rows, self.task, self.folder / "tokenizer.json", self.max_length, self.home)

    def left_out(self) -> tuple[str, ...]:
        """What was dropped or cut on the way from the source to the model, counted in sentences."""
        family = self.task.family
        cut = "cut into windows of" if family == "qa" else "cut at"
        unit = "answers" if family == "qa" else "words"
        counts = []
        for name in (*self.taught(), "validation", "test"):
            split, n_rows = self.encoded(name), len(getattr(self.task, name))
            if split.n_truncated or split.n_lost:  # a word may become no token without any cut
                lost = f", and {split.n_lost} {unit} lost" if split.n_lost else ""
                counts.append(f"{split.n_truncated} of {n_rows} {name} rows were {cut} {self.max_length} tokens{lost}")
        return (*self.task.notes, *counts)

    def read(self) -> tasks.ReadReport | None:
        """What the user's own file was read as; None of a task of the catalogue."""
        own = self.study.data.get(self.task.name)
        if own is None:
            return None
        limits = vars(self.study.rows_for(self.task.name))
        taken = [f"at most {most:,} {part} rows are taken, as the study says" for part, most in limits.items() if most]
        return tasks.ReadReport.of(self.task, file=own.path, text=own.text, label=own.label, test=own.test, notes=taken)

    @property
    def max_length(self) -> int:
        """Tokens that teacher and students read of an example, at most; a study gives both the same."""
        return self.teacher_training.max_length

    def taught(self) -> tuple[str, ...]:
        """Names of the splits that a distilled student learns from, in their order."""
        return ("train",) if self.task.transfer is None else ("train", "transfer")

    def learnt(self, config: KDConfig) -> Encoded:
        """What a student learns from: the labelled rows, and where a teacher speaks those without labels too."""
        return self.encoded("train") if config.alpha == 0 else reduce(joined, map(self.encoded, self.taught()))

    @cached_property
    def pupil(self) -> Pupil:
        """What the teacher is made from."""
        task = self.task.for_teacher()
        return Pupil(
            card=self.teacher_card,
            folder=self.folder,
            task=task,
            train=tasks.encode(task.train, task, self.folder / "tokenizer.json", self.max_length, self.home),
            validation=self.encoded("validation"),
            tokenizer=sources.sha256_file(self.folder / "tokenizer.json"),
        )

    @cached_property
    def teacher(self) -> Teacher:
        """The fine-tuned teacher: read from the home or its shelf, or made now, by one process at a time."""
        return self.make_teacher(lambda candidate: None)

    def make_teacher(self, on_candidate: Callable[[Candidate], None]) -> Teacher:
        """Fine-tune and select, or find that it was done; tells of every candidate as it is evaluated."""
        key = self.pupil.key(self.teacher_training)
        with sources.locked(lock(self.home, f"teacher-{key}"), f"the teacher of {self.task.name}", self.say):
            folder = self.home.folder("teachers", key)
            return lending.teacher(
                self.pupil,
                self.teacher_training,
                folder,
                self.accelerator,
                self.shelf,
                on_candidate,
                lambda training: self.ranks.call(FineTune(training=training)),
            )

    def signal(self, choice: TeacherChoice) -> TeacherSignal:
        """Logits of a chosen checkpoint on all that a distilled student learns from.

        One pass serves both choices when they are the same checkpoint.
        """
        checkpoint = self.teacher.selection.checkpoint(choice)
        if checkpoint not in self._signals:
            self._signals[checkpoint] = reduce(signals.joined, (self._said(choice, split) for split in self.taught()))
        return self._signals[checkpoint]

    def _said(self, choice: TeacherChoice, split: str) -> TeacherSignal:
        """Logits of a chosen checkpoint on one split: found, or made now by one process at a time."""
        checkpoint = self.teacher.selection.checkpoint(choice)
        with sources.locked(lock(self.home, f"logits-{checkpoint}"), "what a teacher says", self.say):
            return lending.signal(
                self.pupil,
                self.teacher,
                choice,
                self.home.folder("logits"),
                self.accelerator,
                self.max_length,
                self.shelf,
                lambda: self.ranks.call(AskTeacher(checkpoint=checkpoint, split=split)),
                self.encoded(split),
            )

    @cached_property
    def transfer_entropy(self) -> float | None:
        """Mean entropy of t_ll on the rows without labels, in nats a unit."""
        if self.task.transfer is None:
            return None
        return self._said("t_ll", "transfer").entropy(family(self.task.family).axis)

    def features(self, student: ModelCard) -> TaskFeatures:
        """Meta-features of the task as this teacher and student see it; the teacher is t_ll."""
        selection = self.teacher.selection
        t_ll = selection.t_ll
        return replace(
            tasks.features(self.task, mean_tokens=float(self.encoded("train").lengths_N.mean())),
            teacher_score=t_ll.score,
            teacher_nll=t_ll.loss,
            teacher_ece=t_ll.ece,
            transfer_entropy=self.transfer_entropy,
            teacher_still_improving=selection.still_improving,
            student_params=student.n_params,
            teacher_params=self.teacher_card.n_params,
        )
