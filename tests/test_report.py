from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from kdrec import report
from kdrec.search import SearchStep
from kdrec.types import (
    BASELINE_CONFIG,
    DEFAULT_CONFIG,
    Gain,
    History,
    KDConfig,
    ModelCard,
    NextTrial,
    Settings,
    Suggestion,
    TaskFeatures,
    Trial,
)

MSE = KDConfig(distance="mse")
HOT = KDConfig(tau_t=4)
FEATURES = TaskFeatures(task="trec", family="sentence", n_train=3000, n_classes=6, teacher_score=91.25)


def trial(config: KDConfig, score: float | None, *, seed: int = 0, test: float | None = None) -> Trial:
    return Trial(
        features=FEATURES,
        student="small",
        config=config,
        seed=seed,
        status="completed" if score is not None else "diverged",
        val_score=score,
        val_loss=None if score is None else (100 - score) / 50,
        test_score=test,
        seconds=12.4,
    )


@dataclass
class Result:
    trials: tuple[Trial, ...]
    path: tuple[SearchStep, ...] = ()
    best: KDConfig = DEFAULT_CONFIG
    cell: str = "trec/small"


def walk() -> Result:
    path = (
        SearchStep(knob="distance", tried=(MSE,), kept=DEFAULT_CONFIG, reason="stayed: the best other value diverged"),
        SearchStep(knob="temperatures", tried=(HOT,), kept=HOT, reason="moved: +1.50 points on validation"),
    )
    trials = (
        trial(DEFAULT_CONFIG, 85.5, test=84.0),
        trial(MSE, None),
        trial(HOT, 87.0, test=86.5),
        trial(BASELINE_CONFIG, 80.0, test=79.0),
    )
    return Result(trials=trials, path=path, best=HOT)


def test_a_student_that_still_improved_at_its_end_is_marked_in_the_table() -> None:
    rising = replace(trial(HOT, 87.0), still_improving=True)
    lines = report.to_text(report.cells_table([Result((trial(DEFAULT_CONFIG, 85.5), rising))])).splitlines()
    assert [line.rstrip().endswith("still improving") for line in lines if "tau=" in line] == [False, True]


def test_where_every_trial_diverged_none_is_best() -> None:
    lost = Result(trials=(trial(BASELINE_CONFIG, None), trial(HOT, None)), best=HOT)
    text = report.to_text(report.cells_table([lost]))
    assert "diverged" in text
    assert "best" not in text


def lines_of(text: str, word: str) -> list[str]:
    return [line for line in text.splitlines() if word in line]


def test_a_cell_shows_each_configuration_once_with_its_scores_seconds_and_marks() -> None:
    text = report.to_text(report.cells_table([walk()]))
    [best] = [line for line in lines_of(text, "tau=4/1") if "best" in line]
    assert best.split() == ["t_ll", "ce", "alpha=0.5", "tau=4/1", "87.00", "0.2600", "86.50", "12", "best"]
    [default] = lines_of(text, "default")
    assert default.endswith("kept, default")
    assert "trec/small" in text
    assert "91.25" in lines_of(text, "teacher")[0]


def test_a_teacher_worse_than_labels_alone_is_said_under_the_table() -> None:
    said = (
        "The teacher (91.2 on validation) is worse than this student trained on labels alone (98.0): train the teacher"
    )
    weak = Result(trials=(trial(BASELINE_CONFIG, 98.0), trial(DEFAULT_CONFIG, 85.5)))
    assert said in " ".join(report.to_text(report.cells_table([weak])).split())
    assert "worse than this student" not in report.to_text(report.cells_table([walk()]))


def test_the_teacher_shown_is_the_one_that_taught() -> None:
    """Labels-only trials are found whatever teacher was beside them."""
    other = replace(trial(BASELINE_CONFIG, 80.0), features=replace(FEATURES, teacher_score=12.0))
    text = report.to_text(report.cells_table([Result(trials=(other, trial(DEFAULT_CONFIG, 85.5)))]))
    assert "91.25" in lines_of(text, "teacher")[0]
    assert "worse than" not in text


def test_the_baseline_comes_first_and_a_diverged_trial_says_so() -> None:
    rows = report.to_text(report.cells_table([walk()])).splitlines()
    order = [next(i for i, row in enumerate(rows) if word in row) for word in ("labels only", "tau=1/1", "diverged")]
    assert order == sorted(order)
    assert "baseline" in rows[order[0]]
    assert "nan" not in "\n".join(rows)


def test_seeds_are_averaged_and_counted() -> None:
    result = Result(
        trials=(
            trial(DEFAULT_CONFIG, 80, seed=0),
            trial(DEFAULT_CONFIG, 90, seed=1),
            trial(MSE, None, seed=0),
            trial(MSE, 50, seed=1),
        )
    )
    text = report.to_text(report.cells_table([result]))
    assert "means of 2 seeds" in text
    assert "85.00" in lines_of(text, "tau=1/1")[0]
    assert "diverged (1 of 2)" in lines_of(text, "mse")[0]
    assert "50.00" not in text, "a mean over the seeds that survived would flatter a configuration"


def test_the_walk_reads_knob_by_knob() -> None:
    first, second = report.path_lines(walk())
    assert first == (
        "1. distance: tried t_ll mse alpha=0.5; kept t_ll ce alpha=0.5 tau=1/1 (stayed: the best other value diverged)"
    )
    assert second.startswith("2. temperatures: tried t_ll ce alpha=0.5 tau=4/1; kept t_ll ce alpha=0.5 tau=4/1")


def test_a_full_grid_is_counted_rather_than_listed() -> None:
    step = SearchStep(knob="all", tried=tuple(KDConfig(tau_t=t) for t in (1, 2, 3, 4, 5)), kept=HOT, reason="")
    assert report.path_lines(replace_path(step)) == ["1. all: tried 5 configurations; kept t_ll ce alpha=0.5 tau=4/1"]


def replace_path(step: SearchStep) -> Result:
    return Result(trials=(), path=(step,))


SUGGESTION = Suggestion(
    task="sms_spam",
    student="small",
    config=HOT,
    is_default=False,
    gain=tuple(
        Gain(trials=k, mean=m, lo80=-0.1, hi80=2 * m, lo90=-0.2, hi90=3 * m)
        for k, m in ((1, 0.1), (2, 0.2), (4, 0.3), (8, 0.4), ("all", 0.5))
    ),
    next=(NextTrial(config=MSE, worth=0.123), NextTrial(config=DEFAULT_CONFIG, worth=-0.0)),
    stop=True,
    reason="stop: no trial is worth its price of 0.2 points",
    evidence={
        "n_tasks": 2,
        "n_trials": 40,
        "similarity": {"trec": 0.42, "vader_tweets": 0.1},
        "notes": ["this task is unlike anything in this history"],
    },
    audit={"note": "unaudited: here are 2 tasks"},
)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_suggestion_is_acted_on_from_its_text_at_any_width(width: int) -> None:
    text = report.to_text(report.suggestion_text(SUGGESTION), width=width)
    assert all(len(line) <= width for line in text.splitlines())
    flat = " ".join(text.split())
    assert "sms_spam, student small: start with t_ll ce alpha=0.5 tau=4/1." in flat
    for row in ("1 +0.10 -0.10 to 0.20", "8 +0.40 -0.10 to 0.80", "all +0.50 -0.10 to 1.00"):
        assert row in flat
    assert "Stop here. No trial is worth its price of 0.2 points." in flat
    assert "Behind this: 40 trials of 2 tasks; nearest: trec (0.42), vader_tweets (0.10)." in flat
    assert "- this task is unlike anything in this history" in flat
    assert "- unaudited: here are 2 tasks" in flat
    assert "t_ll mse alpha=0.5 +0.12" in flat


def test_the_default_is_called_so_and_going_on_is_said() -> None:
    text = report.to_text(
        report.suggestion_text(replace(SUGGESTION, is_default=True, config=DEFAULT_CONFIG, stop=False))
    )
    assert "(the safe default)" in text
    assert "Go on tuning." in text
    assert "Try next:" in text


def test_the_start_of_a_space_without_the_default_is_not_called_the_default() -> None:
    text = report.to_text(report.suggestion_text(replace(SUGGESTION, is_default=True, config=MSE)))
    assert "(the start of this space)" in text


def test_a_suggestion_over_foreign_knobs_names_them_and_where_its_space_starts() -> None:
    config = Settings.of(loss="kl", lr=1e-3, tau=2)
    upcoming = (NextTrial(config=Settings.of(loss="mse", lr=1e-3), worth=0.2),)
    text = report.to_text(report.suggestion_text(replace(SUGGESTION, is_default=True, config=config, next=upcoming)))
    assert "start with loss=kl lr=0.001 tau=2 (the start of this space)." in " ".join(text.split())
    assert "loss=mse lr=0.001" in text
    foreign = replace(trial(DEFAULT_CONFIG, 50), config=config)
    assert "loss=kl lr=0.001 tau=2" in report.to_text(report.history_table(History((foreign,))))


def test_no_history_is_said_rather_than_left_blank() -> None:
    bare = replace(SUGGESTION, evidence={"n_tasks": 0, "n_trials": 0})
    assert "Behind this: no trials" in report.to_text(report.suggestion_text(bare))


def test_a_history_shows_its_last_trials_and_says_how_many_it_hides() -> None:
    history = History((*(trial(DEFAULT_CONFIG, 50 + i, seed=i) for i in range(5)), trial(MSE, None)))
    text = report.to_text(report.history_table(history, limit=2))
    assert "54.00" in text
    assert "50.00" not in text
    assert "6 trials (1 diverged) of 1 task and 1 student; the last 2 are shown, --limit 0 shows all" in text
    assert "50.00" in report.to_text(report.history_table(history))
    assert "no trials yet" in report.to_text(report.history_table(History()))


def test_markup_in_a_users_names_is_shown_as_typed() -> None:
    odd = replace(trial(DEFAULT_CONFIG, 50), student="[bold]x[/bold]")
    assert "[bold]x[/bold]" in report.to_text(report.history_table(History((odd,))), width=200)


def test_students_stand_below_their_teacher() -> None:
    teacher = ModelCard(
        name="minilm",
        role="teacher",
        source="pypi:p==1#sha256=00!m",
        licence="MIT",
        n_layers=6,
        hidden_size=384,
        n_params=22_700_000,
        max_length=512,
    )
    student = replace(
        teacher, name="small", role="student", teacher="minilm", n_layers=2, layers=(0, 1), n_params=15_600_000
    )
    first, second = report.to_text(report.models_table([student, teacher]), width=120).splitlines()[-2:]
    assert first.startswith("minilm ")
    assert "22.7 M" in first
    assert second.startswith("  small")
    assert "layers 0, 1 of minilm" in second
    assert "sha256" not in first


COST = {
    "seconds_per_trial": 75.0,
    "lo80": 60.0,
    "hi80": 130.0,
    "next_trials_seconds": 20_000.0,
    "next_trials_lo80": 9_000.0,
    "next_trials_hi80": 40_000.0,
    "n_trials": 1200,
    "n_own_trials": 3,
}


def test_a_suggestion_says_what_its_trials_take_and_what_its_scores_are() -> None:
    answer = replace(SUGGESTION, evidence={**SUGGESTION.evidence, "cost": COST, "metric": "macro_f1"})
    flat = " ".join(report.to_text(report.suggestion_text(answer), width=80).split())
    assert (
        "A trial is expected to take 75 s (80 %: 60 s to 2.2 min), judged by 1,200 past trials, 3 of them its own; "
        in flat
    )
    assert "the 2 below take 5.6 h (80 %: 2.5 h to 11 h) together." in flat
    assert "a teacher, a calibration and a baseline that are not there yet come on top." in flat
    assert "in points of the task's score (macro_f1, 0-100):" in flat


def test_what_is_decided_stands_before_what_it_rests_on() -> None:
    text = report.to_text(report.suggestion_text(SUGGESTION))
    places = [text.index(word) for word in ("start with", "Stop here.", "80 % interval", "If you tune", "Behind this")]
    assert places == sorted(places)


def test_a_cost_that_is_not_known_is_not_spoken_of() -> None:
    answer = replace(SUGGESTION, evidence={**SUGGESTION.evidence, "cost": None})
    assert "expected to take" not in report.to_text(report.suggestion_text(answer))
