"""A small study as if it had been recorded: nothing trained, every number known."""

from __future__ import annotations

from dataclasses import replace

from kdrec.outcome import CellOutcome, Outcome, TeacherOutcome
from kdrec.space import DEFAULT_SPACE
from kdrec.types import BASELINE_CONFIG, DEFAULT_CONFIG, Candidate, History, KDConfig, TaskFeatures, Trial

HOSTILE = "x' or 1=1 --<script>alert(1)</script>"
MSE = KDConfig(distance="mse")
BEST = KDConfig(tau_t=4)
TRAINING = {"learning_rate": 6e-4, "epochs": 4}
ROWS = {"train": 600, "validation": 400, "test": 800}


def features(task: str) -> TaskFeatures:
    return TaskFeatures(
        task=task,
        family="sentence",
        n_train=600,
        n_classes=6,
        label_entropy=1.5,
        mean_tokens=12.0,
        teacher_score=90.0,
        teacher_nll=0.3,
        teacher_ece=0.05,
        student_params=15_615_360,
        teacher_params=22_713_216,
    )


def trial(
    task: str, config: KDConfig, validation: float, test: float, *, student: str = "small", seed: int = 0
) -> Trial:
    name = f"{task} {student} {config.label()} {seed}"
    return Trial(
        features=features(task),
        student=student,
        config=config,
        seed=seed,
        status="completed",
        val_score=validation,
        val_loss=0.5,
        test_score=test,
        seconds=20.0,
        run_id=name,
        fingerprint=name,
    )


def diverged(task: str, config: KDConfig, *, student: str = "small", seed: int = 0) -> Trial:
    whole = trial(task, config, 0.0, 0.0, student=student, seed=seed)
    return replace(whole, status="diverged", val_score=None, val_loss=None, test_score=None)


def cell(task: str, trials: tuple[Trial, ...], *, student: str = "small", done: bool = True) -> CellOutcome:
    return CellOutcome(
        task=task, student=student, features=features(task), rows=ROWS, training=TRAINING, done=done, trials=trials
    )


def grid(task: str, *, student: str = "small", seeds: tuple[int, ...] = (0, 1)) -> tuple[Trial, ...]:
    """The whole grid: `BEST` is 3 points above the default, every other one point below; seeds differ by 0.2."""
    above = {BASELINE_CONFIG: -2.0, DEFAULT_CONFIG: 0.0, BEST: 3.0}
    return tuple(
        trial(task, config, score + 80.0, score + 78.0, student=student, seed=seed)
        for config in (BASELINE_CONFIG, *DEFAULT_SPACE.configs())
        for seed in seeds
        for score in [above.get(config, -1.0) + 0.2 * seed]
    )


def teacher(task: str) -> TeacherOutcome:
    made = [
        Candidate(
            learning_rate=rate, seed=0, step=step, epoch=step / 10, score=score, loss=loss, ece=0.1, checkpoint=""
        )
        for rate, step, score, loss in (
            (1e-4, 10, 60.0, 0.9),
            (1e-4, 20, 80.0, 0.5),
            (2e-4, 10, 70.0, float("inf")),
            (2e-4, 20, 82.0, 0.6),
        )
    ]
    return TeacherOutcome(task=task, card="minilm", candidates=tuple(made), t_ll=made[1], t_hs=made[3])


def study() -> Outcome:
    """A hostile name with a whole grid, and a cell that has just begun, one of its runs diverged."""
    few = (
        trial("trec", BASELINE_CONFIG, 70.0, 70.0, student="tiny"),
        trial("trec", DEFAULT_CONFIG, 75.0, 74.0, student="tiny"),
        diverged("trec", MSE, student="tiny"),
    )
    cells = (cell("trec", few, student="tiny", done=False), cell(HOSTILE, grid(HOSTILE)))
    return Outcome(study="mine", cells=cells, teachers=(teacher("trec"), teacher(HOSTILE)))


def history(outcome: Outcome) -> History:
    return History(tuple(trial for cell_ in outcome.cells for trial in cell_.trials))
