"""A study file and a Study are inverses; what a file says wrongly is one sentence that names what is near."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from kdrec.errors import BadArgument, DataError, KdrecError
from kdrec.studies import Cell, RowLimits, Study
from kdrec.training import Budget, StudentTraining
from kdrec.types import KDConfig, Training

FULL = """
name = "demo"
tasks = ["trec", "mine"]
students = ["small", "tiny"]
search = "full"
seeds = [0, 1]

[space]
alphas = [0.5, 1]
teacher_temperatures = [1, 4]
scale_soft_loss = "tau_t*tau_s"

[rows]
train = 1000

[teacher]
learning_rates = [1e-4]
epochs = 2

[training]
learning_rate = 6e-4
epochs = 8

[[override]]
task = "trec"
epochs = 12

[[override]]
student = "tiny"
learning_rate = 1e-3

[[override]]
task = "trec"
student = "tiny"
epochs = 20

[[override]]
task = "trec"
max_length = 64
rows = { train = 500, test = 200 }
teacher = { learning_rates = [3e-4, 1e-4], epochs = 3 }

[data.mine]
path = "mine.csv"
text = ["question", "answer"]
label = "good"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "demo.toml"
    path.write_text(FULL, encoding="utf-8")
    return path


def test_from_dict_is_the_inverse_of_to_dict(file: Path):
    for study in (Study.load(file), Study(name="least", tasks=("trec",), students=("tiny",))):
        assert Study.from_dict(study.to_dict()) == study
        assert Study.from_dict(json.loads(json.dumps(study.to_dict()))) == study
        assert pickle.loads(pickle.dumps(study)) == study


def test_a_task_may_have_rows_length_and_teacher_of_its_own(file: Path):
    study = Study.load(file)
    assert (study.rows_for("trec"), study.rows_for("mine")) == (RowLimits(train=500, test=200), RowLimits(train=1000))
    own, common = study.teacher_for("trec"), study.teacher_for("mine")
    assert (own.learning_rates, own.epochs, own.max_length) == ((3e-4, 1e-4), 3, 64)
    assert common == study.teacher
    for student in study.students:
        assert study.training_for(Cell(task="trec", student=student)).max_length == 64
        assert study.training_for(Cell(task="mine", student=student)).max_length == 128


def test_later_overrides_win_where_they_fit(file: Path):
    study = Study.load(file)
    assert study.cells() == tuple(Cell(task=t, student=s) for t in ("trec", "mine") for s in ("small", "tiny"))

    def training(cell: Cell) -> tuple[float, int, int]:
        made = study.training_for(cell).resolved(seed=1)
        return made.learning_rate, made.epochs, made.seed

    assert [training(cell) for cell in study.cells()] == [(6e-4, 12, 1), (1e-3, 20, 1), (6e-4, 8, 1), (1e-3, 8, 1)]
    bare = Study(name="x", tasks=("a",), students=("b",)).training_for(Cell(task="a", student="b"))
    assert bare == StudentTraining()
    assert bare.is_auto
    assert bare.resolved(seed=3, learning_rate=6e-4, epochs=4) == Training(seed=3)


def test_auto_is_what_a_study_says_that_says_nothing():
    table = {"name": "x", "tasks": ["a"], "students": ["b"]}
    assert Study.from_dict({**table, "training": "auto", "teacher": "auto"}) == Study.from_dict(table)
    assert Study.from_dict(table).teacher_for("a").is_auto


@pytest.mark.parametrize("key", ["training", "teacher"])
def test_auto_is_spelled_so_and_is_no_number(key: str):
    table = {"name": "x", "tasks": ["a"], "students": ["b"]}
    with pytest.raises(BadArgument, match=re.escape(f"study [{key}]: a table or \"auto\" was expected, got 'autoo'")):
        Study.from_dict({**table, key: "autoo"})
    sentence = f'study [{key}]: epochs must be a number, got "auto"; leave it out to have it found'
    with pytest.raises(BadArgument, match=re.escape(sentence)):
        Study.from_dict({**table, key: {"epochs": "auto"}})


def test_a_budget_bounds_what_a_study_leaves_to_be_found():
    table = {"name": "x", "tasks": ["a", "c"], "students": ["b"], "budget": {"max_steps": 50, "minutes": 2}}
    study = Study.from_dict({**table, "override": [{"task": "c", "teacher": {"epochs": 3, "learning_rates": [1e-4]}}]})
    assert study.teacher_for("a").budget == study.budget == Budget(max_steps=50, minutes=2)
    assert study.teacher_for("c").budget == Budget(), "what is given is made"
    assert Study.from_dict(study.to_dict()) == study


def test_a_later_length_takes_the_place_of_an_earlier_one():
    table = {"name": "x", "tasks": ["a"], "students": ["b"], "training": {"epochs": 3}}
    study = Study.from_dict({**table, "override": [{"task": "a", "n_steps": 40}]})
    assert (study.training_for(study.cells()[0]).epochs, study.training_for(study.cells()[0]).n_steps) == (None, 40)
    with pytest.raises(BadArgument, match="in epochs or in n_steps, got both"):
        Study.from_dict({**table, "training": {"epochs": 3, "n_steps": 40}})


def test_paths_of_own_data_start_at_the_study_file(file: Path):
    own = Study.load(file).data["mine"]
    assert own.path == str(file.parent / "mine.csv")
    assert (own.text, own.label, own.test) == (("question", "answer"), "good", None)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ('tsks = ["a"]', "demo.toml: unknown key 'tsks'; did you mean 'tasks'?"),
        ("[trainning]", "demo.toml: unknown key 'trainning'; did you mean 'training'?"),
        (
            "[training]\nlearning_rat = 1e-4",
            "demo.toml [training]: unknown key 'learning_rat'; did you mean 'learning_rate'?",
        ),
        ("[training]\nseed = 1", "demo.toml [training]: unknown key 'seed'"),
        ("[training]\nepochs = 0", "demo.toml [training]: epochs must be a whole number of at least 1, got 0"),
        ("[training]\nepochs = [1]", "demo.toml [training]: epochs must be a whole number"),
        ("[teacher]\nlearning_rates = 1e-4", "demo.toml [teacher]: lists and single values are mixed up"),
        ("[teacher]\nlearning_rates = []", "demo.toml [teacher]: learning_rates of a teacher must be distinct"),
        ("[space]\nalpha = [1]", "demo.toml [space]: unknown key 'alpha'; did you mean 'alphas'?"),
        ("[space]\nalphas = [1.5]", "demo.toml [space]: alpha must be in [0, 1], got 1.5"),
        ("[space]\nalphas = 0.5", "demo.toml [space]: lists and single values are mixed up"),
        ("[rows]\ntrain = 3", "demo.toml [rows]: rows.train must be a whole number of at least 10, got 3"),
        ("[rows]\ntest = true", "rows.test must be a whole number"),
        (
            'search = "gredy"',
            "search must be one of greedy, full, suggested, listed, got 'gredy'; did you mean 'greedy'?",
        ),
        ("seeds = 0", "demo.toml: seeds must be a list, got 0"),
        ("seeds = [0, 0]", "seeds of study 'demo' must be distinct, at least one, got [0, 0]"),
        ("seeds = [-1]", "seed must be a whole number of at least 0, got -1"),
        ("seeds = [[0]]", "seed must be a whole number of at least 0, got [0]"),
        (
            '[[override]]\ntask = "trek"\nepochs = 3',
            "[[override]]: task 'trek' is not in this study; did you mean 'trec'?",
        ),
        ('[[override]]\nstudent = "smal"\nepochs = 3', "student 'smal' is not in this study; did you mean 'small'?"),
        ("[[override]]\nrows = { train = 50 }", "rows belong to a task and all of its students, so name a task alone"),
        (
            '[[override]]\ntask = "trec"\nstudent = "tiny"\nteacher = { epochs = 2 }',
            "teacher belong to a task and all of its students",
        ),
        ('[[override]]\ntask = "trec"\nrows = { trian = 50 }', "[[override]] rows: unknown key 'trian'; did you mean"),
        (
            '[[override]]\ntask = "trec"\nrows = { train = 5 }',
            "rows.train must be a whole number of at least 10, got 5",
        ),
        ('[[override]]\ntask = "trec"\nrows = 5', "[[override]]: rows must be a table such as { train = ... }, got 5"),
        ('[[override]]\ntask = "trec"\nteacher = { max_length = 5 }', "give max_length beside the task"),
        ('[[override]]\ntask = "trec"\nteacher = { learning_rates = 5 }', "learning_rates must be a list"),
        ('[[override]]\ntask = "trec"\nteacher = { seeds = 3 }', "[[override]] teacher: seeds must be a list, got 3"),
        (
            '[[override]]\ntask = "trec"\nteacher = { seeds = "3" }',
            "[[override]] teacher: seeds must be a list, got '3'",
        ),
        (
            '[[override]]\ntask = "trec"\nteacher = { seeds = [[3]] }',
            "seed must be a whole number of at least 0, got [3]",
        ),
        ("[teacher]\nseeds = [[3]]", "demo.toml [teacher]: seed must be a whole number of at least 0, got [3]"),
        ('[space]\nstudent_temperatures = "1"', "demo.toml [space]: lists and single values are mixed up"),
        ('[space]\nstudent_temperatures = { "1" = 2 }', "demo.toml [space]: lists and single values are mixed up"),
        ('[[override]]\ntask = "trec"\nteacher = { epochs = 0 }', "epochs must be a whole number of at least 1, got 0"),
        ('[[override]]\nstudent = "small"\nmax_length = 64', "teacher and student must read the same text"),
        ("[[override]]\nepoch = 3", "demo.toml [[override]]: unknown key 'epoch'; did you mean 'epochs'?"),
        ("[[override]]\nepochs = 0", "epochs must be a whole number of at least 1, got 0"),
        ("[override]\nepochs = 3", "demo.toml: write overrides as [[override]] tables"),
        ("training = 3", 'demo.toml [training]: a table or "auto" was expected, got 3'),
        ("data = 3", "demo.toml [data]: a table was expected, got 3"),
        ('[data.trek]\npath = "a"\ntext = "b"\nlabel = "c"', "[data.trek] describes no task of this study"),
        ('[data.trec]\npath = "a"\ntext = "b"', "demo.toml [data.trec]: the key 'label' is missing"),
        ('[data.trec]\npath = 3\ntext = "b"\nlabel = "c"', "demo.toml [data.trec]: path must be a text, got 3"),
        ('[data.trec]\npath = "a"\ntext = [1]\nlabel = "c"', "text must be the name of one column, or a list of two"),
        ('[data.trec]\npath = "a"\ntext = ["x","y","z"]\nlabel = "c"', "or a list of two"),
    ],
)
def test_a_wrong_file_gets_one_sentence(tmp_path: Path, change: str, sentence: str):
    path = tmp_path / "demo.toml"
    path.write_text('name = "demo"\ntasks = ["trec"]\nstudents = ["small"]\n' + change + "\n", encoding="utf-8")
    with pytest.raises(BadArgument) as error:
        Study.load(path)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


LISTED = """
name = "next"
tasks = ["trec"]
students = ["small"]
search = "listed"

[[configs]]
alpha = 1
tau_t = 4

[[configs]]
distance = "mse"
"""


def test_a_study_can_list_its_configurations(tmp_path: Path):
    path = tmp_path / "next.toml"
    path.write_text(LISTED, encoding="utf-8")
    study = Study.load(path)
    assert study.configs == (KDConfig(alpha=1.0, tau_t=4.0), KDConfig(distance="mse"))
    assert Study.from_dict(json.loads(json.dumps(study.to_dict()))) == study


def test_a_study_can_steer_the_recommender():
    table = {"name": "x", "tasks": ["a"], "students": ["b"], "search": "suggested"}
    study = Study.from_dict({**table, "trial_price": 0, "trust_default": "high", "batch": 3})
    assert (study.trial_price, study.trust_default, study.batch) == (0, "high", 3)
    assert Study.from_dict(study.to_dict()) == study
    assert "batch" not in Study.from_dict(table).to_dict()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"search": "greedy", "batch": 2}, "batch is read by search = 'suggested' alone, and here search = 'greedy'"),
        ({"search": "full", "trial_price": 0.1}, "trial_price is read by search = 'suggested' alone"),
        ({"search": "full", "trust_default": "low"}, "trust_default is read by search = 'suggested' alone"),
        ({"search": "suggested", "configs": [{}]}, "configs is read by search = 'listed' alone"),
        ({"search": "suggested", "batch": 0}, "batch must be a whole number of at least 1, got 0"),
        ({"search": "suggested", "trial_price": -1}, "trial_price must be a finite number of points of at least 0"),
        ({"search": "suggested", "trust_default": "hihg"}, "got 'hihg'; did you mean 'high'?"),
        ({"search": "listed"}, "write them as [[configs]] tables"),
        ({"search": "listed", "configs": {"alpha": 1}}, "study: write configs as [[configs]] tables"),
        (
            {"search": "listed", "configs": [{"alpa": 1}]},
            "[[configs]]: unknown key 'alpa'; did you mean 'alpha'?",
        ),
        ({"search": "listed", "configs": [{"alpha": 2}]}, "study [[configs]]: alpha must be in [0, 1], got 2"),
        ({"search": "listed", "configs": [{"alpha": 0}]}, "alpha = 0 is the baseline"),
        (
            {"search": "listed", "configs": [{"distance": "mse"}, {"distance": "mse", "tau_t": 4}]},
            "configs must be distinct, and 't_ll mse alpha=0.5' is listed twice",
        ),
        ({"search": "listed", "configs": [{}], "space": {"alphas": [0.5]}}, "a [space] beside them means nothing"),
    ],
)
def test_what_a_strategy_does_not_read_is_refused(change: dict[str, Any], sentence: str):
    with pytest.raises(BadArgument) as error:
        Study.from_dict({"name": "x", "tasks": ["a"], "students": ["b"], **change})
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"tasks": ["a"], "students": ["b"]}, "study: the key 'name' is missing"),
        ({"name": "../x", "tasks": ["a"], "students": ["b"]}, "name of a study must be a name"),
        ({"name": "x", "tasks": [["a"]], "students": ["b"]}, "task or student must be a name"),
        ({"name": "x", "tasks": [3], "students": ["b"]}, "task or student must be a name"),
        ({"name": "x", "tasks": [], "students": ["b"]}, "tasks of study 'x' must be distinct, at least one, got []"),
        ({"name": "x", "tasks": "a", "students": ["b"]}, "study: tasks must be a list, got 'a'"),
    ],
)
def test_a_wrong_table_gets_one_sentence(table: dict[str, Any], sentence: str):
    with pytest.raises(BadArgument) as error:
        Study.from_dict(table)
    assert sentence in str(error.value)


def test_a_file_that_cannot_be_read_gets_one_sentence(file: Path, tmp_path: Path):
    with pytest.raises(DataError, match=r"no study file at .*demi\.toml; did you mean 'demo'"):
        Study.load(tmp_path / "demi.toml")
    (tmp_path / "broken.toml").write_text("name = ", encoding="utf-8")
    (tmp_path / "latin.toml").write_bytes('name = "é"'.encode("latin-1"))
    (tmp_path / "deep.toml").write_text("name = " + "[" * 5000, encoding="utf-8")
    (tmp_path / "digits.toml").write_text("batch = " + "9" * 5000, encoding="utf-8")
    (tmp_path / "hex.toml").write_text("batch = 0x" + "f" * 5000, encoding="utf-8")
    (tmp_path / "large.toml").write_text("trial_price = 1" + "0" * 400, encoding="utf-8")
    for name in ("broken.toml", "latin.toml", "deep.toml", "digits.toml", "hex.toml", "large.toml"):
        with pytest.raises(DataError, match=f"{name} is not a TOML file"):
            Study.load(tmp_path / name)
    with pytest.raises(KdrecError, match="cannot be read"):
        Study.load(tmp_path)
