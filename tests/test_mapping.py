from __future__ import annotations

from pathlib import Path

import pytest

from kdrec.errors import BadArgument, DataError
from kdrec.history import TableMap, read_table
from kdrec.types import KDConfig, Settings

OPTUNA = TableMap(
    columns={"task": "user_attrs_data", "status": "state", "val_score": "value", "seconds": "duration"},
    knobs={"lr": "params_lr", "tau": "params_tau"},
    constants={"student": "small", "seed": 0},
    statuses={"COMPLETE": "completed", "FAIL": "failed"},
    factors={"val_score": 100},
)
HEADER = "number,value,duration,params_lr,params_tau,user_attrs_data,state\n"


def table(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "runs.csv"
    path.write_text(HEADER + "\n".join(rows), encoding="utf-8")
    return path


def test_a_row_of_another_tool_becomes_a_trial_in_our_words_and_units(tmp_path: Path) -> None:
    path = table(tmp_path, "0,0.875,0 days 00:01:12.500000,0.001,4,trec,COMPLETE", "1,,2 days 01:00:00,0.01,,trec,FAIL")
    (trial,) = read_table(path, OPTUNA)
    assert (trial.task, trial.student, trial.seed, trial.status) == ("trec", "small", 0, "completed")
    assert trial.config == Settings.of(lr=0.001, tau=4)
    assert (trial.val_score, trial.seconds) == (87.5, 72.5)
    assert trial.features.n_train is None


def test_a_span_counts_its_days_and_a_number_of_seconds_stays_one(tmp_path: Path) -> None:
    path = table(tmp_path, "0,0.5,2 days 01:00:01,1,,a,COMPLETE", "1,0.5,61.5,1,,a,COMPLETE")
    assert [trial.seconds for trial in read_table(path, OPTUNA)] == [2 * 86_400 + 3601, 61.5]


def test_kdrecs_own_knobs_may_come_from_another_tools_columns(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("weight,T,score\n0.5,2,81.0\n", encoding="utf-8")
    mapping = TableMap(
        columns={"alpha": "weight", "tau_t": "T", "val_score": "score"},
        constants={"task": "a", "student": "s", "seed": 0, "status": "completed", "seconds": 1}
        | {"distance": "ce", "teacher": "t_ll", "tau_s": 1},
    )
    (trial,) = read_table(path, mapping)
    assert trial.config == KDConfig(alpha=0.5, tau_t=2, tau_s=1)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("0,high,1,1,,a,COMPLETE", "line 2, column 'val_score': a finite number was expected, got 'high'"),
        ("0,0.5,soon,1,,a,COMPLETE", "line 2, column 'seconds': a finite number was expected, got 'soon'"),
        ("0,0.5,1,1,,a,RUNNING", "status must be one of completed, diverged, failed, got 'RUNNING'"),
        ("0,87.5,1,1,,a,COMPLETE", "val_score must be in [0, 100], got 8750.0"),
        ("0,0.5,1,1,,a", "line 2: 7 cells were expected, as in the header, got 6"),
    ],
)
def test_a_cell_that_is_not_what_the_mapping_says_is_refused(tmp_path: Path, row: str, sentence: str) -> None:
    with pytest.raises(DataError) as refused:
        read_table(table(tmp_path, row), OPTUNA)
    assert sentence in str(refused.value)


def test_a_column_that_the_table_lacks_is_refused_with_the_nearest(tmp_path: Path) -> None:
    path = table(tmp_path, "0,0.5,1,1,,a,COMPLETE")
    path.write_text(path.read_text().replace("params_lr", "params_lrate"))
    with pytest.raises(DataError) as refused:
        read_table(path, OPTUNA)
    assert str(refused.value) == (
        "runs.csv has no column 'params_lr' to read knob.lr from; did you mean 'params_lrate'?"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[column]\n", "map.toml: unknown key 'column'; did you mean 'columns'?"),
        ("columns = 3\n", "map.toml: columns must be a table, got 3"),
        ('[columns]\nval_scor = "v"\n', "map.toml: a history has no column 'val_scor'; did you mean 'val_score'?"),
        (
            '[columns]\ntask = "t"\n[knobs]\nlr = "lr"\n',
            "map.toml: 'student' is neither among columns nor constants, and every trial has one",
        ),
        ("[columns\n", "map.toml is not a TOML file: "),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "map.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises((BadArgument, DataError)) as refused:
        TableMap.load(path)
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ({"statuses": {"ok": "done"}}, "a status is one of completed, diverged, failed, got 'done'"),
        ({"factors": {"task": 2}}, "factors multiply numbers, 'task' is none"),
        ({"factors": {"val_score": -1}}, "the factor of val_score must be in (0, inf), got -1"),
        ({"constants": {"student": "s", "seed": 0, "task": "a"}}, "'task' is among columns and among constants"),
    ],
)
def test_a_part_that_means_nothing_is_refused(part: dict[str, dict[str, object]], sentence: str) -> None:
    given = {"columns": OPTUNA.columns, "knobs": OPTUNA.knobs, "constants": OPTUNA.constants, **part}
    with pytest.raises(BadArgument) as refused:
        TableMap(**given)  # type: ignore[arg-type]
    assert str(refused.value).startswith(sentence)


def test_a_mapping_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        TableMap.load(tmp_path / "none.toml")
    assert str(refused.value) == f"the mapping {tmp_path / 'none.toml'} cannot be read: No such file or directory"
