"""The nouns: inverses are inverses, and a bad value gets one sentence."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdrec.errors import BadArgument
from kdrec.types import (
    BASELINE_CONFIG,
    DEFAULT_CONFIG,
    FAMILIES,
    HISTORY_COLUMNS,
    KNOBS,
    SCHEMA_2_COLUMNS,
    Gain,
    History,
    KDConfig,
    ModelCard,
    NextTrial,
    Settings,
    Split,
    Suggestion,
    Task,
    TaskFeatures,
    TeacherTraining,
    Training,
    Trial,
    history_columns,
)

above_0 = st.floats(0, 1e6, exclude_min=True, allow_nan=False)
at_least_0 = st.floats(0, 1e6, allow_nan=False)
counts = st.integers(1, 10**9)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


configs = st.builds(
    KDConfig,
    alpha=st.floats(0, 1),
    distance=st.sampled_from(["ce", "mse"]),
    teacher=st.sampled_from(["t_hs", "t_ll", "t_llg"]),
    tau_t=above_0,
    tau_s=above_0,
    scale_soft_loss=st.sampled_from(["none", "tau_t*tau_s"]),
)
features = st.builds(
    TaskFeatures,
    task=st.text(min_size=1),
    family=maybe(st.sampled_from(FAMILIES)),
    n_train=maybe(st.integers(1000, 10**9)),
    n_classes=maybe(st.integers(1, 1000)),
    label_entropy=maybe(at_least_0),
    mean_tokens=maybe(at_least_0),
    teacher_score=maybe(st.floats(0, 100)),
    teacher_nll=maybe(at_least_0),
    teacher_ece=maybe(st.floats(0, 1)),
    n_transfer=maybe(st.integers(0, 10**9)),
    transfer_entropy=maybe(at_least_0),
    teacher_still_improving=maybe(st.booleans()),
    data=maybe(st.from_regex("[0-9a-f]{16}", fullmatch=True)),
    student_params=maybe(counts),
    teacher_params=maybe(counts),
)
trials = st.builds(
    Trial,
    features=features,
    student=st.text(min_size=1),
    config=configs,
    seed=st.integers(0, 2**31),
    status=st.sampled_from(["completed", "diverged", "failed"]),
    val_score=st.floats(0, 100),
    val_loss=maybe(at_least_0),
    test_score=maybe(st.floats(0, 100)),
    seconds=at_least_0,
    run_id=st.text(),
    fingerprint=st.text(),
    learning_rate=maybe(above_0),
    epochs=maybe(at_least_0),
    n_steps=maybe(st.integers(0, 10**9)),
    still_improving=maybe(st.booleans()),
)


@given(config=configs)
def test_from_params_is_the_inverse_of_to_params(config: KDConfig):
    params = config.to_params()
    assert all(isinstance(value, str) for value in params.values())
    assert KDConfig.from_params(json.loads(json.dumps(params))) == config
    assert KDConfig.from_params({**params, "seed": "3"}) == config


@given(config=configs)
def test_one_configuration_has_one_spelling(config: KDConfig):
    same = dataclasses.replace(config)
    assert (same, hash(same), same.to_params()) == (config, hash(config), config.to_params())
    if float(config.tau_t).is_integer():
        assert KDConfig(tau_t=int(config.tau_t)).to_params() == KDConfig(tau_t=config.tau_t).to_params()


def test_params_are_as_short_as_a_person_writes_them():
    params = KDConfig(alpha=0.7, tau_t=4, tau_s=1.5).to_params()
    assert params == {"alpha": "0.7", "distance": "ce", "teacher": "t_ll", "tau_t": "4", "tau_s": "1.5"}
    assert KDConfig(alpha=-0.0).to_params() == KDConfig(alpha=0).to_params()
    assert KDConfig(scale_soft_loss="tau_t*tau_s").to_params()["scale_soft_loss"] == "tau_t*tau_s"


def test_equal_training_has_one_spelling():
    """A study file that says 1 and one that says 1.0 must find each other's trials."""
    whole = Training(learning_rate=1, weight_decay=0, warmup_ratio=0, max_grad_norm=1)
    real = Training(learning_rate=1.0, weight_decay=0.0, warmup_ratio=0.0, max_grad_norm=1.0)
    assert json.dumps(dataclasses.asdict(whole)) == json.dumps(dataclasses.asdict(real))
    teachers = TeacherTraining(learning_rates=(1,)), TeacherTraining(learning_rates=(1.0,))
    assert len({json.dumps(dataclasses.asdict(teacher)) for teacher in teachers}) == 1


@given(trial=trials)
def test_from_row_is_the_inverse_of_to_row(trial: Trial):
    row = trial.to_row()
    assert tuple(row) == HISTORY_COLUMNS
    assert not any(isinstance(value, bool) for value in row.values()), "yes is 1 in every form"
    back = Trial.from_row(row)
    assert back == trial
    assert type(back.still_improving) is type(trial.still_improving)
    assert type(back.features.teacher_still_improving) is type(trial.features.teacher_still_improving)
    assert Trial.from_row(json.loads(json.dumps(row))) == trial


@given(trial=trials)
def test_what_is_not_known_in_the_newer_columns_leaves_the_spelling_of_a_trial_as_it_was(trial: Trial):
    newer = {f.name for f in dataclasses.fields(Trial)} & set(SCHEMA_2_COLUMNS)
    bare = dataclasses.replace(trial.features, **dict.fromkeys(set(SCHEMA_2_COLUMNS) - newer))
    old = dataclasses.replace(trial, features=bare, **dict.fromkeys(newer))
    row = {column: value for column, value in old.to_row().items() if column not in SCHEMA_2_COLUMNS}
    assert old.spelled() == json.dumps(row, sort_keys=True)
    assert (trial.spelled() == old.spelled()) == (trial == old)


foreign_knobs = st.dictionaries(
    st.sampled_from(["lr", "loss", "seed", "task"]), st.floats(-1e9, 1e9) | st.sampled_from(["kl", "a b"]), min_size=1
)


@given(trial=trials, knobs=foreign_knobs)
def test_a_row_of_foreign_knobs_names_them_in_the_place_of_kdrecs_own(trial: Trial, knobs: dict[str, Any]):
    trial = dataclasses.replace(trial, config=Settings.of(**knobs))
    row = trial.to_row()
    assert tuple(row) == history_columns([trial.config])
    assert [c for c in row if c in HISTORY_COLUMNS] == [c for c in HISTORY_COLUMNS if not hasattr(KDConfig(), c)]
    assert Trial.from_row(json.loads(json.dumps(row))) == trial


def a_row(**changes: Any) -> dict[str, Any]:
    return {
        **{
            "task": "trec",
            "student": "tiny",
            "alpha": 0.5,
            "distance": "ce",
            "teacher": "t_ll",
            "tau_t": 1,
            "tau_s": 1,
        },
        **{"seed": 0, "status": "completed", "val_score": 80.0, "seconds": 1.0},
        **changes,
    }


def test_a_row_may_lack_what_is_optional():
    trial = Trial.from_row(a_row())
    assert (trial.task, trial.run_id, trial.fingerprint, trial.test_score) == ("trec", "", "", None)
    assert trial.config == DEFAULT_CONFIG
    assert trial.features == TaskFeatures(task="trec")


@pytest.mark.parametrize("column", ["task", "student", *KNOBS, "seed", "status", "seconds"])
def test_a_row_without_a_needed_value_is_refused_and_never_filled_with_a_default(column: str):
    for row in (a_row(**{column: None}), {k: v for k, v in a_row().items() if k != column}):
        with pytest.raises(BadArgument, match=f"a history row needs a value for '{column}'"):
            Trial.from_row(row)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: KDConfig(alpha=-0.1), "alpha must be in [0, 1], got -0.1"),
        (lambda: KDConfig(alpha=1.1), "alpha must be in [0, 1], got 1.1"),
        (lambda: KDConfig(alpha=float("nan")), "alpha must be in [0, 1], got nan"),
        (lambda: KDConfig(alpha="0.5"), "alpha must be in [0, 1], got '0.5'"),
        (lambda: KDConfig(alpha=True), "alpha must be in [0, 1], got True"),
        (lambda: KDConfig(tau_t=0), "tau_t must be in (0, inf), got 0"),
        (lambda: KDConfig(tau_s=float("inf")), "tau_s must be in (0, inf), got inf"),
        (lambda: KDConfig(distance="kl"), "distance must be one of ce, mse, got 'kl'"),
        (lambda: KDConfig(teacher="best"), "teacher must be one of t_ll, t_hs, t_llg, got 'best'"),
        (lambda: KDConfig(scale_soft_loss=2), "scale_soft_loss must be one of none, tau_t*tau_s, got 2"),
        (lambda: KDConfig.from_params({"alpha": "1"}), "'distance' is missing"),
        (
            lambda: KDConfig.from_params({**DEFAULT_CONFIG.to_params(), "tau_t": "hot"}),
            "tau_t must be a number, got 'hot'",
        ),
        (lambda: Training(learning_rate=0), "learning_rate must be in (0, inf), got 0"),
        (lambda: Training(epochs=0), "epochs must be a whole number of at least 1, got 0"),
        (lambda: Training(epochs=2.0), "epochs must be a whole number of at least 1, got 2.0"),
        (lambda: Training(max_length=7), "max_length must be a whole number of at least 8, got 7"),
        (lambda: Training(seed=-1), "seed must be a whole number of at least 0, got -1"),
        (lambda: Training(warmup_ratio=1.5), "warmup_ratio must be in [0, 1], got 1.5"),
        (lambda: Training(batch_size=10, gradient_accumulation_steps=4), "got 10 and 4"),
        (
            lambda: TeacherTraining(learning_rates=()),
            "learning_rates of a teacher must be distinct, at least one, got []",
        ),
        (lambda: TeacherTraining(seeds=(0, 0)), "seeds of a teacher must be distinct, at least one, got [0, 0]"),
        (lambda: TeacherTraining(learning_rates=(1e-4, -1)), "learning_rate must be in (0, inf), got -1"),
        (lambda: TaskFeatures(task=""), "task must be a name, got ''"),
        (lambda: TaskFeatures(task="t", family="images"), "family must be one of"),
        (lambda: TaskFeatures(task="t", teacher_score=101), "teacher_score must be in [0, 100], got 101"),
        (lambda: TaskFeatures(task="t", n_train=3, n_classes=4), "n_classes (4) cannot be above n_train (3)"),
        (lambda: TaskFeatures(task="t", n_transfer=-1), "n_transfer must be a whole number of at least 0, got -1"),
        (lambda: TaskFeatures(task="t", data="0123"), "data must be 16 hexadecimal digits, got '0123'"),
        (lambda: TaskFeatures(task="t", data=7), "data must be 16 hexadecimal digits, got 7"),
        (lambda: TaskFeatures(task="t", teacher_still_improving=2), "teacher_still_improving must be 0 or 1, got 2"),
        (lambda: TaskFeatures(task="t", teacher_still_improving="no"), "teacher_still_improving must be 0 or 1, got"),
        (lambda: Trial.from_row(a_row(still_improving=1.0)), "still_improving must be 0 or 1, got 1.0"),
        (lambda: Trial.from_row(a_row(learning_rate=0)), "learning_rate must be in (0, inf), got 0"),
        (lambda: Trial.from_row(a_row(epochs=-1)), "epochs must be in [0, inf), got -1"),
        (lambda: Trial.from_row(a_row(n_steps=0.5)), "n_steps must be a whole number of at least 0, got 0.5"),
        (lambda: TaskFeatures.from_dict({"n_clases": 3}), "unknown feature 'n_clases'; did you mean 'n_classes'?"),
        (lambda: Trial.from_row(a_row(**{"knob.lr": 1})), "got alpha beside knob.lr"),
        (lambda: Trial.from_row({k: v for k, v in a_row(**{"knob.lr": None}).items() if k not in KNOBS}), "got none"),
        (lambda: Trial.from_row(a_row(status="running")), "status must be one of completed, diverged, failed"),
        (lambda: Trial.from_row(a_row(val_score=None)), "a completed trial has a validation score"),
        (lambda: Trial.from_row(a_row(val_loss=float("nan"))), "val_loss must be in [0, inf), got nan"),
    ],
)
def test_a_bad_value_gets_one_sentence(make: Any, sentence: str):
    with pytest.raises(BadArgument) as error:
        make()
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert isinstance(error.value, ValueError)


def a_card(**changes: Any) -> ModelCard:
    values = {"name": "m", "role": "student", "source": "file:m", "licence": "MIT", "n_layers": 2, "teacher": "t"}
    return ModelCard(**{**values, "hidden_size": 8, "n_params": 1, "max_length": 8, "layers": (0, 2), **changes})


@pytest.mark.parametrize("layers", [(), (0,), (2, 0), (0, 0), (0, 1, 2), (-1, 0)])
def test_a_card_keeps_as_many_rising_layers_as_it_has(layers: tuple[int, ...]):
    with pytest.raises(BadArgument, match="rising indices"):
        a_card(layers=layers)


def test_a_student_names_its_teacher_and_a_teacher_names_none():
    assert a_card().layers == (0, 2)
    with pytest.raises(BadArgument, match="names its teacher"):
        a_card(teacher=None)
    with pytest.raises(BadArgument, match="names its teacher"):
        a_card(role="teacher")
    with pytest.raises(BadArgument, match="role must be one of"):
        a_card(role="assistant")
    with pytest.raises(BadArgument, match="model must be a name"):
        a_card(name="../x")


def test_ids_of_a_split_are_unique_and_one_a_row():
    with pytest.raises(BadArgument, match="unique"):
        Split(texts=(("a",), ("b",)), labels_U=np.array([0, 1]), ids_N=np.array([7, 7]))
    with pytest.raises(BadArgument, match="one length"):
        Split(texts=(("a",),), labels_U=np.array([0, 1]), ids_N=np.array([7, 8]))


def test_a_task_needs_two_labels():
    split = Split(texts=(("a",),), labels_U=np.array([0]), ids_N=np.array([7]))
    with pytest.raises(BadArgument, match="at least two labels"):
        Task(
            name="t",
            family="sentence",
            labels=("x",),
            metric="accuracy",
            train=split,
            validation=split,
            test=split,
            fingerprint="",
        )


def test_a_label_names_only_knobs_that_count():
    assert BASELINE_CONFIG.label() == "labels only"
    assert KDConfig(tau_t=4).label() == "t_ll ce alpha=0.5 tau=4/1"
    assert KDConfig(distance="mse", teacher="t_hs", alpha=1).label() == "t_hs mse alpha=1"
    assert KDConfig(tau_t=2, scale_soft_loss="tau_t*tau_s").label() == "t_ll ce alpha=0.5 tau=2/1 scaled"


def test_history_knows_its_tasks_and_students_in_order_of_appearance():
    rows = [a_row(task=task, student=student) for task, student in (("b", "y"), ("a", "x"), ("b", "x"))]
    history = History(tuple(Trial.from_row(row) for row in rows))
    assert (len(history), history.tasks(), history.students()) == (3, ("b", "a"), ("y", "x"))
    assert [trial.task for trial in history] == ["b", "a", "b"]


def test_a_suggestion_becomes_plain_json_in_the_documented_order():
    suggestion = Suggestion(
        task="t",
        student="s",
        config=KDConfig(),
        is_default=True,
        gain=(Gain(trials="all", mean=1, lo80=0, hi80=2, lo90=0, hi90=3),),
        next=(NextTrial(config=KDConfig(tau_t=4), worth=0.5),),
        stop=False,
        reason="r",
    )
    table = json.loads(json.dumps(suggestion.to_dict()))
    keys = ["task", "student", "config", "is_default", "gain", "next", "stop", "reason", "evidence", "audit"]
    assert list(table) == keys
    assert list(table["gain"][0]) == ["trials", "mean", "lo80", "hi80", "lo90", "hi90"]
    assert table["next"][0]["config"]["tau_t"] == 4


def test_a_suggestion_of_foreign_knobs_names_them_as_they_were_named():
    config = Settings.of(lr=1e-3, loss="kl")
    upcoming = (NextTrial(config=config, worth=0.5),)
    suggestion = Suggestion(
        task="t", student="s", config=config, is_default=True, gain=(), next=upcoming, stop=False, reason="r"
    )
    table = json.loads(json.dumps(suggestion.to_dict()))
    assert table["config"] == {"loss": "kl", "lr": 0.001}
    assert table["next"] == [{"config": {"loss": "kl", "lr": 0.001}, "worth": 0.5}]


@pytest.mark.parametrize("task", ["", 3, None, "\ud800", "a\udfff"])
def test_a_task_has_a_name_that_can_be_written(task: object) -> None:
    with pytest.raises(BadArgument, match=r"^task must be a name, got ") as refused:
        TaskFeatures(task=task)  # type: ignore[arg-type]
    assert str(refused.value).encode()
