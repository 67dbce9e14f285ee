"""Tables of other tools on the command line: mappings that come with kdrec, rows left out, seconds from two moments."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from kdrec.cli import main
from kdrec.errors import BadArgument, DataError, NoHistory
from kdrec.history import TableMap, read_table, take
from kdrec.history.ready import names, text_of
from kdrec.history.times import seconds_between, seconds_of
from kdrec.types import Settings

Captured = pytest.CaptureFixture[str]
LOOSE: dict[str, Any] = {
    "columns": {"task": "data", "seed": "seed", "status": "state", "val_score": "score", "seconds": "took"},
    "knobs": {"lr": "lr"},
    "constants": {"student": "small"},
    "statuses": {"ok": "completed", "gone": "failed", "": "failed", "burst": "diverged"},
    "factors": {"val_score": 1},
}
HEADER = "data,seed,state,score,took,lr\n"
MLFLOW = """\
,run_id,experiment_id,status,start_time,end_time,metrics.f1,params.corpus,params.lr,params.run_seed
0,a0,7,FINISHED,2026-01-02 03:00:00.500000+00:00,2026-01-02 03:00:30.500000+00:00,0.71,mails,0.1,0
1,a1,7,FINISHED,2026-01-02 03:00:00+00:00,2026-01-02 03:01:00+00:00,0.74,mails,0.2,0
2,a2,7,RUNNING,2026-01-02 03:00:00+00:00,,,mails,0.3,0
3,a3,7,FAILED,2026-01-02 03:00:00+00:00,2026-01-02 03:00:01+00:00,,mails,high,zero
4,a4,7,FINISHED,2026-01-02 03:00:00+00:00,2026-01-02 03:09:00+00:00,,,,
"""
OPTUNA = """\
number,value,datetime_start,datetime_complete,duration,params_drop,params_lr,user_attrs_set,state
0,0.5,2026-01-02 03:00:00,2026-01-02 03:00:12,0 days 00:00:12.5,0.1,1e-3,mails,COMPLETE
1,inf,2026-01-02 03:00:00,2026-01-02 03:00:12,0 days 00:00:02,0.2,1e-3,mails,COMPLETE
2,0.4,2026-01-02 03:00:00,2026-01-02 03:00:12,0 days 00:00:03,0.2,1e-2,mails,PRUNED
3,,2026-01-02 03:00:00,,,,,mails,RUNNING
4,,,,,,,,WAITING
"""
WANDB = """\
"Name","State","Runtime","set","eta","val/f1"
"a","finished","95","mails","0.1","71.5"
"b","finished","1m 35s","mails","0.2","NaN"
"c","crashed","","mails","0.3",""
"""


def written(tmp_path: Path, text: str, name: str = "runs.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("row", ["mails,x,gone,,,", "mails,0,gone,inf,soon,nan", ",,,,,", "mails,-1,gone,900,-5,"])
def test_a_row_that_failed_is_left_out_whatever_stands_in_it(tmp_path: Path, row: str) -> None:
    taken = take(written(tmp_path, f"{HEADER}mails,0,ok,70,9,0.1\n{row}\n"), TableMap(**LOOSE))
    assert [trial.val_score for trial in taken.history] == [70.0]
    assert taken.n_failed == 1


def test_a_failed_row_of_kdrecs_own_form_is_left_out_too(tmp_path: Path) -> None:
    good, bad = "a,,,,,,,,,s,,,0.1,0,completed,70,,,9,r1", "a,,,,,,,,,s,,,,none,failed,inf,,,,r2"
    names = (
        "task,family,n_train,n_classes,label_entropy,mean_tokens,teacher_score,teacher_nll,teacher_ece,student,"
        "student_params,teacher_params,knob.lr,seed,status,val_score,val_loss,test_score,seconds,run_id"
    )
    assert len(read_table(written(tmp_path, f"{names}\n{bad}\n{good}\n"))) == 1


def test_a_row_of_an_unknown_status_or_another_length_is_still_refused(tmp_path: Path) -> None:
    for row, what in (("mails,0,RUNNING,,,", "got"), ("mails,0,gone", "6 cells were expected")):
        with pytest.raises(DataError, match=what):
            read_table(written(tmp_path, f"{HEADER}{row}\n"), TableMap(**LOOSE))


def test_a_table_of_failed_rows_alone_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoHistory, match="expected, and 2 failed"):
        read_table(written(tmp_path, f"{HEADER}a,0,gone,,,\na,0,,,,\n"), TableMap(**LOOSE))


@pytest.mark.parametrize("cell", ["inf", "-inf", "NaN", "nan", "Infinity", "1.7976931348623157e+308"])
def test_non_finite_is_what_the_mapping_says_and_refused_where_it_says_nothing(tmp_path: Path, cell: str) -> None:
    path = written(tmp_path, f"{HEADER}mails,0,ok,{cell},9,0.1\nmails,0,ok,70,9,0.2\n")
    first, second = read_table(path, TableMap(**LOOSE, non_finite="diverged"))
    assert (first.status, first.val_score, first.seconds) == ("diverged", None, 9.0)
    assert second.val_score == 70.0
    assert len(read_table(path, TableMap(**LOOSE, non_finite="failed"))) == 1
    with pytest.raises(DataError, match=r"line 2, column 'val_score'.*non_finite = "):
        read_table(path, TableMap(**LOOSE))


def test_a_run_that_its_tool_calls_diverged_has_no_score_to_judge(tmp_path: Path) -> None:
    (trial,) = read_table(written(tmp_path, f"{HEADER}mails,0,burst,nan,9,0.1\n"), TableMap(**LOOSE))
    assert (trial.status, trial.val_score) == ("diverged", None)


def test_a_completed_run_without_a_score_is_what_the_mapping_says(tmp_path: Path) -> None:
    path = written(tmp_path, f"{HEADER}mails,0,ok,,9,0.1\nmails,0,ok,70,9,0.2\n")
    assert [t.status for t in read_table(path, TableMap(**LOOSE, without_score="diverged"))] == [
        "diverged",
        "completed",
    ]
    with pytest.raises(DataError, match="a completed trial has a validation score"):
        read_table(path, TableMap(**LOOSE))


@pytest.mark.parametrize("name", ["non_finite", "without_score"])
def test_a_row_cannot_be_said_to_have_completed_without_a_number(name: str) -> None:
    with pytest.raises(BadArgument, match=f"{name} must be one of diverged, failed, got 'completed'"):
        TableMap(**LOOSE, **{name: "completed"})


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        ("0 days 00:00:12.5", 12.5),
        ("2 days 01:00:01", 176_401.0),
        ("1 day, 0:00:12", 86_412.0),
        ("-1 days +23:59:59", -1.0),
        ("P0DT0H1M12.5S", 72.5),
        ("PT3S", 3.0),
        ("1m 35s", 95.0),
        ("1.5min", 90.0),
        ("250ms", 0.25),
        (timedelta(minutes=2), 120.0),
        ("61.5", "61.5"),
        ("P", "P"),
        ("soon", "soon"),
        ("", ""),
        (None, None),
    ],
)
def test_a_span_of_time_is_seconds_and_anything_else_stays(cell: object, seconds: object) -> None:
    assert seconds_of(cell) == seconds


@pytest.mark.parametrize(
    ("start", "end", "seconds"),
    [
        ("2026-03-02 09:00:00.123000+00:00", "2026-03-02 09:01:40.123000+00:00", 100.0),
        ("2026-03-01T10:01:00.000Z", "2026-03-01T12:02:00+02:00", 60.0),
        ("2026-03-02 09:00:00", "2026-03-03 09:00:00.5", 86_400.5),
        ("2026-03-02 09:00:00 UTC", "2026-03-02 09:00:09 UTC", 9.0),
        ("1772442000123", "1772442100123", 100.0),
        (1772442000123456, 1772442001123456, 1.0),
        (1772442000, 1772442000.5, 0.5),
        (datetime(2026, 1, 1), datetime(2026, 1, 1, 0, 1), 60.0),
        ("2026-03-02", "", None),
        (None, 3, None),
        ("2026-03-02 09:00:00", "2026-03-02 09:00:00Z", "2026-03-02 09:00:00 to 2026-03-02 09:00:00Z"),
        ("soon", "2026-03-02", "soon to 2026-03-02"),
        ("1e300", "1e301", "1e300 to 1e301"),
    ],
)
def test_seconds_are_from_start_to_end_in_any_form_of_a_moment(start: object, end: object, seconds: object) -> None:
    assert seconds_between(start, end) == seconds


def test_a_run_that_ends_before_it_starts_is_refused(tmp_path: Path) -> None:
    columns = {**LOOSE["columns"], "seconds": ["from", "to"]}
    path = written(tmp_path, "data,seed,state,score,from,to,lr\nmails,0,ok,70,20,10,1\n")
    with pytest.raises(DataError, match=r"line 2: seconds must be in \[0, inf\), got -10"):
        read_table(path, TableMap(**{**LOOSE, "columns": columns}))


def test_times_and_spans_of_parquet_are_read_as_those_of_csv(tmp_path: Path) -> None:
    start = datetime(2026, 1, 2, 3)
    table = pyarrow.table(
        {
            **{"data": ["a", "a"], "seed": [0, 1], "state": ["ok", None], "score": [70.0, None], "lr": [0.1, 0.1]},
            "from": pyarrow.array([start, start], pyarrow.timestamp("ns", tz="UTC")),
            "to": pyarrow.array([start + timedelta(seconds=7), None], pyarrow.timestamp("ms", tz="UTC")),
            "took": pyarrow.array([timedelta(seconds=8), None], pyarrow.duration("ns")),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "runs.parquet")
    for seconds, column in ((7.0, ["from", "to"]), (8.0, "took")):
        mapping = TableMap(**{**LOOSE, "columns": {**LOOSE["columns"], "seconds": column}})
        assert [trial.seconds for trial in read_table(tmp_path / "runs.parquet", mapping)] == [seconds]


def test_fractions_are_not_believed_as_points_without_a_factor(tmp_path: Path) -> None:
    path = written(tmp_path, f"{HEADER}mails,0,ok,0.7,9,0.1\nmails,0,ok,1,9,0.2\n")
    bare = {**LOOSE, "factors": {}}
    with pytest.raises(DataError, match="no val_score is above 1, and points from 0 to 100 were expected"):
        read_table(path, TableMap(**bare))
    for factor, best in ((1, 1.0), (100, 100.0)):
        assert (
            max(t.val_score or 0 for t in read_table(path, TableMap(**{**bare, "factors": {"val_score": factor}})))
            == best
        )


def test_the_knob_of_a_star_is_every_column_of_its_form_that_nothing_else_reads(tmp_path: Path) -> None:
    path = written(tmp_path, "p.data,p.seed,state,score,took,p.lr,p.,q.x,p.T\nmails,0,ok,70,9,0.1,1,2,4\n")
    columns = {**LOOSE["columns"], "task": "p.data", "seed": "p.seed"}
    (trial,) = read_table(path, TableMap(**{**LOOSE, "columns": columns, "knobs": {"*": "p.*"}}))
    assert trial.config == Settings.of(lr=0.1, T=4)


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        (
            {"columns": {**LOOSE["columns"], "seconds": ["a"]}},
            "seconds is a column, or the two columns of start and end",
        ),
        ({"columns": {**LOOSE["columns"], "task": ["a", "b"]}}, "task must be the name of a column, got "),
        ({"knobs": {"lr": 3}}, "lr must be the name of a column, got 3"),
        ({"knobs": {"*": "p"}}, "the knob '*' reads columns of a form with one star"),
    ],
)
def test_a_column_that_is_none_is_refused(part: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadArgument) as refused:
        TableMap(**{**LOOSE, **part})
    assert str(refused.value).startswith(sentence)


def test_a_column_that_stands_twice_is_not_guessed_at(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has the column 'lr' twice"):
        read_table(written(tmp_path, "data,seed,state,score,took,lr,lr\na,0,ok,70,9,1,2\n"), TableMap(**LOOSE))


TOOLS = {
    "mlflow": (
        MLFLOW,
        ["--column", "task=params.corpus", "--column", "seed=params.run_seed", "--column", "val_score=metrics.f1"],
        ["--constant", "student=s", "--factor", "val_score=100"],
    ),
    "optuna": (
        OPTUNA,
        ["--column", "task=user_attrs_set"],
        ["--constant", "student=s", "--constant", "seed=0", "--factor", "val_score=100"],
    ),
    "wandb": (
        WANDB,
        ["--column", "task=set", "--column", "val_score=val/f1", "--knob", "eta=eta"],
        ["--constant", "student=s", "--constant", "seed=0"],
    ),
}
FOUND = {
    "mlflow": ([("completed", 71.0, 30.0), ("completed", 74.0, 60.0)], ["lr"], 3),
    "optuna": ([("completed", 50.0, 12.5), ("diverged", None, 2.0)], ["drop", "lr"], 3),
    "wandb": ([("completed", 71.5, 95.0), ("diverged", None, 95.0)], ["eta"], 1),
}


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_the_export_of_a_tool_is_imported_by_its_mapping_and_says_what_was_read(
    tmp_path: Path, capsys: Captured, tool: str
) -> None:
    text, first, second = TOOLS[tool]
    trials, knobs, n_failed = FOUND[tool]
    path, home = written(tmp_path, text), str(tmp_path / "home")
    assert main(["--home", home, "history", "import", str(path), "--mapping", tool, *first, *second, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["left_out"] == {"failed": n_failed, "repeated": 0}
    assert (told["new"], told["knobs"]) == (len(trials), knobs)
    assert main(["--home", home, "history", "show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(row["status"], row["val_score"], row["seconds"]) for row in shown] == trials


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_the_export_of_a_tool_without_a_mapping_is_one_sentence_that_names_it(
    tmp_path: Path, capsys: Captured, tool: str
) -> None:
    path = written(tmp_path, TOOLS[tool][0])
    assert main(["--home", str(tmp_path / "home"), "history", "import", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"--mapping {tool}" in said


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_a_mapping_says_all_that_is_still_to_be_named_at_once(tmp_path: Path, capsys: Captured, tool: str) -> None:
    path = written(tmp_path, TOOLS[tool][0])
    assert main(["--home", str(tmp_path / "home"), "history", "import", str(path), "--mapping", tool]) == 2
    said = capsys.readouterr().err
    assert f"the mapping {tool} leaves task, student" in said
    assert "--column task=COLUMN or --constant task=VALUE" in said
    assert path.read_text().splitlines()[0].split(",")[-1].strip('"') in said


@pytest.mark.parametrize("tool", names())
def test_a_printed_mapping_is_filled_in_and_used_as_a_file(tmp_path: Path, capsys: Captured, tool: str) -> None:
    assert main(["history", "mapping", tool]) == 0
    printed = capsys.readouterr().out
    assert printed == text_of(tool)
    text, first, second = TOOLS[tool]
    copy = written(tmp_path, printed, "my.toml")
    out = tmp_path / "history.csv"
    words = [str(written(tmp_path, text)), "--mapping", str(copy), *first, *second, "--out", str(out)]
    assert main(["--home", str(tmp_path / "home"), "history", "import", *words]) == 0
    assert len(read_table(out)) == len(FOUND[tool][0])
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--mapping", "optna"], "--mapping takes mlflow, optuna, wandb or a TOML file; did you mean 'optuna'?"),
        (["--mapping", "none.toml"], "the mapping none.toml cannot be read: No such file or directory"),
        (["--knob", "lr=lr"], "--column, --knob, --constant and --factor add to a mapping: they need --mapping"),
        (["--mapping", "optuna", "--column", "task"], "--column is written NAME=VALUE, got 'task'"),
        (["--mapping", "optuna", "--factor", "val_score=x"], "--factor val_score is a number, got 'x'"),
    ],
)
def test_a_mistake_in_the_words_of_an_import_is_one_sentence(
    tmp_path: Path, capsys: Captured, words: list[str], sentence: str
) -> None:
    path = written(tmp_path, OPTUNA)
    assert main(["--home", str(tmp_path / "home"), "history", "import", str(path), *words]) == 2
    assert capsys.readouterr().err == f"{sentence}\n"


def test_knobs_that_are_named_replace_those_of_the_star_and_a_column_replaces_a_constant(
    tmp_path: Path, capsys: Captured
) -> None:
    text, first, second = TOOLS["optuna"]
    words = [*first, *second, "--knob", "rate=params_lr", "--column", "seconds=datetime_start,datetime_complete"]
    words = ["--home", str(tmp_path / "home"), "history", "import", str(written(tmp_path, text)), *words]
    assert main([*words, "--mapping", "optuna", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["knobs"] == ["rate"]
