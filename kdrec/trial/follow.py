"""What a process that does not lead does of a study: its part of every training, and nothing else.

It reads rows, tokens, weights and logits where main has put them; it takes no lock and asks no store.
"""

from __future__ import annotations

from functools import cached_property, reduce

from kdrec import catalog, sources
from kdrec.home import Home
from kdrec.signals import TeacherSignal, joined
from kdrec.studies import Study
from kdrec.teacher import fine_tuning, kept_signal, live_logits, run_checkpoint
from kdrec.trial.bench import Bench
from kdrec.trial.one import Seat, checkpoint_of, train
from kdrec.trial.ranks import AskTeacher, Distil, FineTune, Order


class Follower:
    """One process beside the main one; what it needs is read when the first order comes, after main made it."""

    def __init__(self, study: Study, task: str, model: str, home: Home) -> None:
        self.study, self.task, self.model, self.home = study, task, model, home
        self._signals: dict[str, TeacherSignal] = {}

    def do(self, order: Order) -> None:
        """Do this process's part of an order."""
        match order:
            case FineTune():
                key = self.bench.pupil.key(self.bench.teacher_training)
                checkpoint = run_checkpoint(self.home.folder("teachers", key), order.training)
                _, events = fine_tuning(self.bench.pupil, order.training, self.bench.accelerator, checkpoint)
                for _ in events:
                    pass
            case AskTeacher():
                key = self.bench.pupil.key(self.bench.teacher_training)
                weights = self.home.folder("teachers", key) / f"{order.checkpoint}.safetensors"
                live_logits(self.bench.pupil, weights, self.bench.accelerator, self.bench.encoded(order.split))
            case Distil():
                signal = None if order.checkpoint is None else self._signal(order.checkpoint)
                train(self.seat, order.config, order.training, checkpoint_of(self.home, order.fingerprint), signal)

    @cached_property
    def bench(self) -> Bench:
        """The bench of the task; its teacher is main's to make."""
        card = catalog.card(self.model)
        return Bench(self.study, self.task, card.teacher or card.name, self.home)

    @cached_property
    def seat(self) -> Seat:
        """The student on this bench."""
        card = catalog.card(self.model)
        return Seat(bench=self.bench, student=card, folder=sources.resolve(card.source, self.home))

    def _signal(self, checkpoint: str) -> TeacherSignal:
        if checkpoint not in self._signals:
            bench, folder = self.bench, self.home.folder("logits")
            self._signals[checkpoint] = reduce(
                joined,
                (
                    kept_signal(bench.pupil, checkpoint, folder, bench.max_length, bench.encoded(split))
                    for split in bench.taught()
                ),
            )
        return self._signals[checkpoint]
