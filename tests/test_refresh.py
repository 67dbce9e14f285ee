"""Laws of a refresh: what is new is published once, with its reason; nothing new writes nothing."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from test_publish import FEATURES, MSE, TASK, record

from kdrec import history, recommend
from kdrec.bulletin import Bulletin
from kdrec.errors import StoreError
from kdrec.home import Home
from kdrec.refresh import ADVICE, advise, refresh
from kdrec.studies import Cell, Study
from kdrec.tracking import Store
from kdrec.types import BASELINE_CONFIG, DEFAULT_CONFIG, History, KDConfig, Trial


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    root = tmp_path_factory.mktemp("refreshed")
    return Home(root=root, tracking_uri=f"sqlite:///{root / 'mlflow.db'}")


@pytest.fixture(scope="module")
def store(home: Home) -> Store:
    return Store.open(home)


def published(home: Home) -> list[Any]:
    client = MlflowClient(home.tracking_uri)
    found = client.get_experiment_by_name("kdrec recommendations")
    return client.search_runs([found.experiment_id], order_by=["start_time"]) if found else []


def heard() -> tuple[list[str], Any]:
    names: list[str] = []
    return names, lambda done, of, name: names.append(f"{done}/{of} {name}")


def test_a_refresh_publishes_what_is_new_once(home: Home, store: Store) -> None:
    names, watch = heard()
    assert refresh(home, watch).run_id is None, "an empty history has nothing to publish"
    for config, score in ((BASELINE_CONFIG, 78.0), (DEFAULT_CONFIG, 80.0)):
        record(store, "mine", config, score)

    first = refresh(home, watch)
    assert first.changes == ("published for the first time, 1 cell",)
    assert names == [f"1/1 {TASK}/small"], "a task is asked about whatever its name looks like"
    assert first.bulletin == store.bulletin()
    (line,) = first.bulletin.lines
    assert (line.config, line.n_trials) == (DEFAULT_CONFIG.label(), 2)
    assert not history.changed(home), "the next suggestion need not open the store"

    again = refresh(home, watch)
    assert (again.run_id, again.changes, again.bulletin) == (None, (), first.bulletin)
    assert len(names) == 1, "the same trials and the same kdrec: nobody was asked"

    record(store, "mine", MSE, 92.0)
    second = refresh(home, watch)
    (told,) = second.changes
    assert told.startswith(f"{TASK}/small: ")
    assert "1 new trial of its own, 3 in all" in told
    runs = published(home)
    assert [run.info.run_id for run in runs] == [first.run_id, second.run_id]
    assert [run.info.run_name for run in runs] == ["1 cell, first", "1 cell, 1 change"]
    assert runs[1].data.metrics["trials"] == 3
    assert "<script" not in runs[1].data.tags["mlflow.note.content"]
    assert store.trials()[0], "a table is no trial, and its experiment no study"
    with pytest.raises(Exception, match="no study 'kdrec recommendations'"):
        store.outcome("kdrec recommendations")


def test_a_study_has_saved_views_of_what_is_written_and_a_deleted_one_stays_away(home: Home, store: Store) -> None:
    client, number = MlflowClient(home.tracking_uri), store.experiment("viewed")
    record(store, "viewed", DEFAULT_CONFIG, 80.0)
    (run,) = [run for run in client.search_runs([number]) if run.data.tags["kdrec.kind"] == "trial"]
    view = json.loads(client.get_experiment(number).tags["mlflow.sharedViewState.kdrec-trials"])
    kind, _, packed = view["state"].partition(";")
    state = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert kind == "deflate"
    assert [found.info.run_id for found in client.search_runs([number], state["searchFilter"])] == [run.info.run_id]
    written = {f"params.`{name}`" for name in run.data.params} | {f"tags.`{name}`" for name in run.data.tags}
    written |= {f"metrics.`{name}`" for name in run.data.metrics}
    assert {*state["selectedColumns"], state["orderByKey"]} <= written
    client.delete_experiment_tag(number, "mlflow.sharedViewState.kdrec-trials")
    store.experiment("viewed")
    assert "mlflow.sharedViewState.kdrec-trials" not in client.get_experiment(number).tags
    client.delete_experiment_tag(number, "kdrec.views")  # as in a study of before there were any
    store.experiment("viewed")
    assert "mlflow.sharedViewState.kdrec-trials" in client.get_experiment(number).tags


def test_half_a_table_is_no_ones_last_and_a_damaged_one_is_refused(home: Home, store: Store) -> None:
    last = store.bulletin()
    assert last is not None
    client, run_id = MlflowClient(home.tracking_uri), published(home)[-1].info.run_id
    client.set_tag(run_id, "kdrec.status", "started")
    before = store.bulletin()
    assert before is not None
    assert before.n_trials < last.n_trials
    client.set_tag(run_id, "kdrec.status", "completed")
    client.log_text(run_id, "{}", "recommendations.json")
    with pytest.raises(StoreError, match="is damaged; delete the run"):
        store.bulletin()


def test_the_answer_for_a_searched_cell_is_kept_beside_its_trials(home: Home, store: Store, tmp_path: Path) -> None:
    history.add(home, History((trial_of("mine", DEFAULT_CONFIG),)))
    features = replace(FEATURES, task="mine")
    run_id = store.open_cell(store.experiment("mine"), "mine/tiny", features, "a cell")
    study = Study(name="mine", tasks=("trec",), students=("tiny",))
    unknown = Cell(task="trec", student="tiny")
    advice = advise(study, {Cell(task="mine", student="tiny"): run_id, unknown: "no run"}, home)
    assert [line.name for line in advice.lines] == ["mine/tiny"]
    client = MlflowClient(home.tracking_uri)
    kept = json.loads(Path(client.download_artifacts(run_id, "suggestion.json", str(tmp_path))).read_text("utf-8"))
    assert kept["config"] == advice.lines[0].knobs
    run = client.get_run(run_id)
    assert run.data.tags["kdrec.suggested"] == advice.lines[0].config
    assert run.data.metrics["gain_of_8_more"] == advice.lines[0].gain


def test_a_study_run_again_is_answered_from_memory_until_a_trial_comes(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.add(home, History((trial_of("again", DEFAULT_CONFIG),)))
    study, asked = Study(name="again", tasks=("trec",), students=("tiny",)), []
    run_id = store.open_cell(store.experiment("again"), "again/tiny", replace(FEATURES, task="again"), "a cell")
    suggest = recommend.suggest
    monkeypatch.setattr(recommend, "suggest", lambda *a, **k: (asked.append(a[2]), suggest(*a, **k))[1])

    def told() -> Bulletin:
        return advise(study, {Cell(task="again", student="tiny"): run_id}, home)

    first = told()
    assert told() == first
    assert asked == ["tiny"]
    history.add(home, History((trial_of("again", MSE),)))
    assert told().lines[0].n_trials == 2
    for file in home.folder(ADVICE).iterdir():
        file.write_text(file.read_text("utf-8").replace('"n_trials": 2', '"n_trials": 3'))
    assert told().lines[0].n_trials == 2
    assert len(asked) == 3, "a trial came, and a digit of the file was changed"
    monkeypatch.setattr("kdrec.refresh.MOST_ASKED", 0)
    assert told().lines == ()


def trial_of(task: str, config: KDConfig) -> Trial:
    return Trial(
        features=replace(FEATURES, task=task),
        student="tiny",
        config=config,
        seed=0,
        status="completed",
        val_score=80.0,
        val_loss=0.5,
        test_score=None,
        seconds=1.0,
    )
