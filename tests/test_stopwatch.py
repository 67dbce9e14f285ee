"""Seconds of work are those of all processes that did it, without the pauses between them or within one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kdrec import engine
from kdrec.checkpoints import Checkpoint
from kdrec.stopwatch import Stopwatch
from kdrec.trial import one
from kdrec.types import BASELINE_CONFIG, Training


class Clock:
    """A wall clock and a processor's, set by hand."""

    def __init__(self) -> None:
        self.wall = self.processor = 100.0

    def pass_(self, wall: float, processor: float) -> None:
        self.wall += wall
        self.processor += processor


def watch_of(clock: Clock, seconds: float = 0.0) -> Stopwatch:
    return Stopwatch(seconds, lambda: clock.wall, lambda: clock.processor)


def test_laps_add_up_to_what_was_worked_and_a_stopped_process_works_not() -> None:
    clock = Clock()
    watch = watch_of(clock)
    clock.pass_(2, 2)
    assert watch.lap() == 2
    clock.pass_(600, 1)  # stopped, and gone on with
    assert watch.lap() == 3
    clock.pass_(1, 0)  # a short wait is no pause
    assert watch.lap() == 4


def test_a_slow_lap_on_a_busy_machine_is_work() -> None:
    clock = Clock()
    watch = watch_of(clock)
    clock.pass_(20, 1)
    assert watch.lap() == 20


def test_a_watch_goes_on_from_what_a_checkpoint_tells() -> None:
    clock = Clock()
    watch = watch_of(clock, 75.5)
    clock.pass_(16, 16)
    assert watch.lap() == 91.5


@pytest.mark.parametrize("ends", ["finished", "diverged"])
def test_seconds_of_a_trial_are_those_of_its_training_and_its_test_and_not_of_its_last_process(
    monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    best = engine.Evaluation(step=4, epoch=1.0, score=80.0, loss=0.5, ece=0.1, is_best=True)
    words: dict[str, Any] = {"best": best, "plan_hash": "", "n_tokens": 1, "ending": "length", "still_improving": None}
    finished = engine.Finished(step=4, seconds=91.0, **words)
    diverged = engine.Diverged(step=4, epoch=1.0, reason="", seconds=91.0)
    clock = Clock()

    def predict(*_: Any) -> None:
        clock.pass_(3, 3)

    monkeypatch.setattr(one, "Stopwatch", lambda: watch_of(clock))
    monkeypatch.setattr(one.encoder, "build", lambda *_, **__: SimpleNamespace(model=None))
    monkeypatch.setattr(one.engine, "Lesson", lambda **_: None)
    monkeypatch.setattr(one.engine, "fit", lambda *_: iter([finished if ends == "finished" else diverged]))
    monkeypatch.setattr(one.engine, "predict", predict)
    monkeypatch.setattr(one, "grader", lambda *_: lambda logits: SimpleNamespace(score=79.0, also={}))
    task = SimpleNamespace(labels=("a", "b"), validation=None, test=None)
    bench: Any = SimpleNamespace(task=task, learnt=lambda _: None, encoded=lambda _: None, accelerator=None)
    seat: Any = SimpleNamespace(bench=bench, student=None, folder=None)
    training = Training(learning_rate=1e-4, epochs=1)
    results, _, _ = one.train(seat, BASELINE_CONFIG, training, Checkpoint.none(), None)
    assert results["seconds"] == (94.0 if ends == "finished" else 91.0)
    assert results["status"] == ("completed" if ends == "finished" else "diverged")
