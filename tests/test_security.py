"""The lines of `docs/security.md` that no other test holds, and that every test named there exists."""

from __future__ import annotations

import ast
import json
import os
import pickle
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import yaml
from test_cli import features, run, trials
from test_studies import FULL
from test_tracking import record

from kdrec import catalog, checkpoints, history, question, tasks
from kdrec.errors import BadArgument, KdrecError
from kdrec.home import Home
from kdrec.signals import TeacherSignal
from kdrec.studies import Study
from kdrec.tasks import token_store
from kdrec.tracking import Store, cell_note, closing_note
from kdrec.types import History, Training

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "security.md"
HOSTILE = "x' or 1=1 --<script>[bold]|`$&amp;"
CODE = [path for folder in ("kdrec", "flows") for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize(("page", "least"), [("security.md", 30), ("reliability.md", 20)])
def test_every_test_that_a_table_of_the_docs_names_exists(page: str, least: int) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.with_name(page).read_text(encoding="utf-8"))
    assert len(named) >= least
    for file, name in named:
        assert re.search(rf"^ *def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), (
            f"{file}::{name}"
        )


def test_every_line_of_the_threat_table_names_a_test() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if re.match(r"\| \d+ \|", line)]
    assert len(rows) >= 12
    assert not [row for row in rows if "::test_" not in row]


# ------------------------------------------------------------------------------------------------------- code in data


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in nodes(path) if isinstance(node, ast.Call))


def test_nothing_here_unpickles_or_evaluates() -> None:
    refused = {"eval", "exec", "compile", "__import__"}
    modules = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "cloudpickle", "yaml"}
    for path in CODE:
        imported = {
            alias.name.split(".")[0] for node in nodes(path) if isinstance(node, ast.Import) for alias in node.names
        }
        imported |= {str(node.module).split(".")[0] for node in nodes(path) if isinstance(node, ast.ImportFrom)}
        assert not imported & modules, path
        for call in calls(path):
            name = ast.unparse(call.func)
            assert name not in refused, f"{path}: {name}"
            assert name not in ("torch.load", "np.load", "numpy.load", "pd.read_pickle"), f"{path}: {name}"


def test_every_model_is_loaded_without_its_code() -> None:
    loads = [(path, call) for path in CODE for call in calls(path)]
    loads = [
        (p, c)
        for p, c in loads
        if isinstance(c.func, ast.Attribute)
        and c.func.attr in ("from_pretrained", "from_config")
        and ast.unparse(c.func.value) != "ScriptDirectory"  # of Alembic, in MLflow's own package
    ]
    assert loads
    for path, call in loads:
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert given.get("trust_remote_code") == "False", f"{path}:{call.lineno}"
        weights = ast.unparse(call.func) not in ("AutoConfig.from_pretrained",) and call.func.attr == "from_pretrained"  # type: ignore[attr-defined]
        assert not weights or given.get("use_safetensors") == "True", f"{path}:{call.lineno}"
    assert not [path for path in CODE if "load_dataset(" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("key", ["trust_remote_code", "tracking_uri", "token", "password"])
def test_no_study_or_card_can_switch_code_on_or_carry_a_secret(tmp_path: Path, key: str) -> None:
    tables: list[tuple[str, ...]] = [(), ("space",), ("rows",), ("teacher",), ("training",), ("data", "mine")]
    for path in tables:
        study = tomllib.loads(FULL)
        table = study
        for name in path:
            table = table[name]
        table[key] = True
        with pytest.raises(BadArgument, match=f"unknown key '{key}'"):
            Study.from_dict(study)
    study = tomllib.loads(FULL)
    study["override"][0][key] = True
    with pytest.raises(BadArgument, match=f"unknown key '{key}'"):
        Study.from_dict(study)
    card = tomllib.loads((ROOT / "models" / "minilm.toml").read_text(encoding="utf-8"))
    for place in ("teacher", "students"):
        changed = {**card, place: {**card[place], key: True}} if place == "teacher" else {**card, key: True}
        (tmp_path / "card.toml").write_text(tomli_w.dumps(changed), encoding="utf-8")
        with pytest.raises(BadArgument, match=f"unknown key '{key}'"):
            catalog.read_file(tmp_path / "card.toml")


class Bomb:
    """Writes a file where it is unpickled."""

    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.ran,))


def own(path: Path) -> Any:
    return tasks.load_file(path, text="text", label="label")


READERS: dict[str, Callable[[Path], Any]] = {
    "study.toml": Study.load,
    "card.toml": catalog.read_file,
    "features.json": question.read_features,
    "history.csv": history.read_table,
    "history.parquet": history.read_table,
    "history.pkl": history.read_table,
    "history.sqlite": lambda path: history.load(Home(root=path.parent, tracking_uri="sqlite:///x.db")),
    "own.csv": own,
    "own.tsv": own,
    "own.jsonl": own,
    "own.json": own,
    "own.parquet": own,
    "own.pkl": own,
    "own.conll": lambda path: tasks.load_file(path, text="tokens", label="tags"),
    "key.tokens": lambda path: token_store.read(path, "key"),
    "logits.safetensors": lambda path: TeacherSignal.load(path, key="key"),
}


@pytest.mark.parametrize("name", READERS)
def test_a_pickle_in_the_place_of_a_file_is_refused_and_never_runs(tmp_path: Path, name: str) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "ran"))
    for content in (bomb, bomb + b"PAR1", b"PK\x03\x04" + bomb):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(KdrecError):
            READERS[name](tmp_path / name)
    assert not (tmp_path / "ran").exists()
    pickle.loads(bomb)
    assert (tmp_path / "ran").exists()  # it would have


def test_a_pickle_in_the_place_of_a_checkpoint_is_forgotten_and_never_runs(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    assert checkpoints.Checkpoint(path=path).load() is None
    assert not (tmp_path / "ran").exists()


# -------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "name", ["../up", "/etc", "a/b", "..", ".hidden", "a\\b", "a\0b", "-rf", "a b", HOSTILE, "a" * 81]
)
@pytest.mark.parametrize("kind", ["name", "tasks", "students"])
def test_a_name_of_a_study_that_could_leave_its_folder_is_refused(kind: str, name: str) -> None:
    good = {"name": "study", "tasks": ["trec"], "students": ["small"]}
    with pytest.raises(BadArgument, match="must be a name of letters, digits"):
        Study.from_dict({**good, kind: name if kind == "name" else [name]})


@pytest.fixture(scope="module")
def travelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, History]:
    """A home whose store holds trials of a hostile name, made where the environment is full of secrets."""
    secrets = (
        "MLFLOW_TRACKING_PASSWORD",
        "MLFLOW_TRACKING_TOKEN",
        "HF_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "PIP_INDEX_URL",
    )
    root = tmp_path_factory.mktemp("travel") / "home"
    home = Home(root=root, tracking_uri=f"sqlite:///{root}/mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        for name in secrets:
            patch.setenv(name, f"http://ada:s3cret-{name}@127.0.0.1/simple")
        store = Store.open(home)
        made = []
        for trial in trials(HOSTILE):
            made.append(record(store, replace(trial, student="small", run_id=""), trial.fingerprint.encode().hex()))
        cell = f"{HOSTILE}/small"
        experiment = store.experiment("study")
        parent = store.open_cell(experiment, cell, features(HOSTILE), _note(), training=Training(), rows={"train": 9})
        best = made[-1].config
        store.close_cell(parent, {"val_score": 84.0}, closing_note("greedy", made, path=[HOSTILE], best=best))
        history.sync(home, store.trials)
    return home, History(tuple(made))


def _note() -> str:
    return cell_note(
        HOSTILE, features(HOSTILE), training=Training(), rows={HOSTILE: 9}, searched=HOSTILE, left_out=[HOSTILE]
    )


def test_a_hostile_name_goes_through_the_store_and_back_unharmed(travelled: tuple[Home, History]) -> None:
    home, made = travelled
    store = Store.open(home)
    assert store.trials()[0] == list(made)
    assert [store.find(trial.fingerprint) for trial in made] == list(made)
    assert history.load(home).trials == made.trials
    assert {trial.task for trial in made} == {HOSTILE}
    beside = [path.name for path in home.root.parent.iterdir()]
    assert beside == ["home"]


def test_a_hostile_name_is_shown_and_never_rendered_by_the_pages_of_mlflow(travelled: tuple[Home, History]) -> None:
    home, _ = travelled
    store = Store.open(home)
    for experiment in store.ledger.client.search_experiments():
        notes = [experiment.tags.get("mlflow.note.content", "")]
        for found in store.ledger.client.search_runs([experiment.experiment_id]):
            notes.append(found.data.tags["mlflow.note.content"])
        for note in notes:
            assert "<script" not in note
            assert "[bold]" not in note
    assert "&lt;script&gt;" in _note()


def test_a_hostile_name_goes_through_the_commands_unharmed(
    travelled: tuple[Home, History], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, made = travelled
    monkeypatch.setenv("COLUMNS", "300")
    assert run("history", "show", home=home) == 0
    assert HOSTILE in capsys.readouterr().out
    for ending in ("csv", "parquet"):
        assert run("history", "export", tmp_path / f"h.{ending}", home=home) == 0
        assert set(history.read_table(tmp_path / f"h.{ending}")) == set(made)
    capsys.readouterr()
    assert run("suggest", HOSTILE, "--student", "small", "--history", "own", "--json", home=home) == 0
    assert json.loads(capsys.readouterr().out)["task"] == HOSTILE
    assert run("suggest", HOSTILE, "--student", "small", "--history", "own", home=home) == 0
    assert HOSTILE in capsys.readouterr().out
    assert run("suggest", HOSTILE, "--student", "small", "--study", tmp_path / "s.toml", home=home) == 2
    assert capsys.readouterr().err.count("\n") == 1


# ------------------------------------------------------------------------------------------------------------ secrets


def test_no_secret_of_the_environment_or_of_a_uri_reaches_the_home(travelled: tuple[Home, History]) -> None:
    home, _ = travelled
    files = [path for path in home.root.rglob("*") if path.is_file()]
    assert home.root / "mlflow.db" in files
    assert not [path for path in files if b"s3cret" in path.read_bytes()]


def test_runs_say_nothing_of_who_made_them_and_where(travelled: tuple[Home, History]) -> None:
    home, made = travelled
    tags = Store.open(home).ledger.client.get_run(made.trials[0].run_id).data.tags
    assert not {name for name in tags if name.startswith(("mlflow.user", "mlflow.source"))}
    assert not [value for value in tags.values() if os.uname().nodename in value]


def test_no_deployment_carries_a_secret() -> None:
    page = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    for deployment in page["deployments"]:
        assert set(deployment["parameters"]) <= {"study", "task", "student", "home", "workers", "like"}
        assert deployment["work_pool"]["job_variables"] == {}
    for path in (ROOT / "Dockerfile", ROOT / "prefect.yaml", *sorted((ROOT / "flows" / "studies").glob("*.toml"))):
        assert not re.search(
            r"://[^/\s]*:[^/\s]*@|(password|token|secret)\s*[=:]", path.read_text("utf-8"), re.IGNORECASE
        )


# ------------------------------------------------------------------------------------------------------------ network


def test_servers_listen_on_loopback_unless_told() -> None:
    for path in (*CODE, ROOT / "Makefile", ROOT / "Dockerfile", ROOT / "prefect.yaml", ROOT / "README.md"):
        text = path.read_text(encoding="utf-8")
        assert "0.0.0.0" not in text, path
        for listens in re.findall(r"(?:create_server|bind)\(\((.*?),", text):
            assert listens == '"127.0.0.1"', path
    assert "mlflow ui --host 127.0.0.1" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert 'create_server(("127.0.0.1", port))' in (ROOT / "flows" / "server.py").read_text(encoding="utf-8")


def test_every_file_of_a_home_is_below_a_folder_of_its_owner_alone(travelled: tuple[Home, History]) -> None:
    home, _ = travelled
    assert home.root.stat().st_mode & 0o077 == 0
