from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow_server import Server

from kdrec import engine, trial
from kdrec.errors import StoreError
from kdrec.home import Home
from kdrec.studies import Cell, Study
from kdrec.tracking import Store, connect, patiently
from kdrec.trial import one, outbox
from kdrec.trial.cell import _Runner
from kdrec.types import BASELINE_CONFIG, DEFAULT_CONFIG, TaskFeatures, Trial

CELL = Cell(task="vader_tweets", student="tiny")
STUDY = Study.from_dict(
    {
        "name": "small",
        "tasks": ["vader_tweets"],
        "students": ["tiny"],
        "rows": {"train": 40, "validation": 20, "test": 20},
        "teacher": {"learning_rates": [2e-4], "epochs": 1, "evaluations_per_epoch": 1, "max_length": 32},
        "training": {"epochs": 1, "max_length": 32},
    }
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    made.start()
    made.wait()
    yield made
    made.kill()


def after_training(monkeypatch: pytest.MonkeyPatch, happens: Any) -> None:
    """Let something happen once, between the end of a training and the record of it."""
    predict, waiting = engine.predict, [happens]

    def tested(model: Any, classifier: Any, split: Any, accelerator: Any) -> Any:
        logits = predict(model, classifier, split, accelerator)
        while waiting:
            waiting.pop()()
        return logits

    monkeypatch.setattr(one.engine, "predict", tested)


@pytest.mark.slow
def test_a_store_that_goes_away_costs_a_wait_and_never_a_trained_trial(
    home: Home, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    home = replace(home, tracking_uri=server.uri)
    place = _Runner(trial.Bench(STUDY, CELL.task, "minilm", home), CELL, lambda _: None).place
    monkeypatch.setattr(one, "PAUSES", (0.1,))
    with monkeypatch.context() as patch:
        after_training(patch, server.kill)
        with pytest.raises(StoreError, match=r"is trained and kept, and recorded when the study is run again$"):
            one.run_trial(place, BASELINE_CONFIG, place.training)
    (file,) = (home.root / outbox.FOLDER).iterdir()
    kept = outbox.kept(home, file.stem)
    assert kept is not None

    server.start()
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(connect, "PAUSES", (0.5,) * 120)
        patiently(lambda: Store.open(home), said.append)
    assert set(said) == {"the tracking store is away, and is waited for"}
    with monkeypatch.context() as patch:
        patch.setattr(one.engine, "fit", None)  # to train again would be an error
        sent = one.run_trial(place, BASELINE_CONFIG, place.training)
    assert replace(sent, run_id="") == kept.trial
    assert not file.exists()

    monkeypatch.setattr(one, "PAUSES", (0.5,) * 120)
    with monkeypatch.context() as patch:
        after_training(patch, lambda: (server.kill(), server.start()))
        waited = one.run_trial(place, DEFAULT_CONFIG, place.training)
    assert not list((home.root / outbox.FOLDER).iterdir())

    store = Store.open(home)
    assert sorted(store.trials()[0], key=lambda made: made.run_id) == sorted([sent, waited], key=lambda m: m.run_id)
    for made in (sent, waited):
        assert len(store.ledger.curve(made.run_id, "validation/score")) == 1
    statuses = [run.data.tags["kdrec.status"] for run in store.ledger.runs(store.ledger.experiments(), "trial")]
    assert sorted(statuses) == ["completed", "completed", "replaced", "replaced"]


MADE = Trial(
    features=TaskFeatures(task="t"),
    student="tiny",
    config=DEFAULT_CONFIG,
    seed=0,
    status="completed",
    val_score=100 / 3,
    val_loss=0.1,
    test_score=None,
    seconds=1 / 3,
    fingerprint="abc",
)


def test_an_outcome_is_read_as_it_was_written(home: Home) -> None:
    outcome = outbox.Outcome(trial=MADE, measured=(("validation/score", 1 / 3, 4), ("n_tokens", 7.0, 9)))
    outbox.keep(home, outcome)
    assert outbox.kept(home, "abc") == outcome
    outbox.forget(home, "abc")
    outbox.forget(home, "abc")
    assert outbox.kept(home, "abc") is None


@pytest.mark.parametrize(
    "damage",
    [b"", b"[]", b"null", b"\xff", b'{"trial": {}}', b'{"trial": {"task": 1}, "measured": []}'],
)
def test_a_damaged_outcome_or_one_of_another_trial_counts_as_not_kept(home: Home, damage: bytes) -> None:
    outbox.keep(home, outbox.Outcome(trial=MADE, measured=()))
    file = home.folder(outbox.FOLDER) / "abc.json"
    file.rename(file.with_name("other.json"))
    assert outbox.kept(home, "other") is None
    file.write_bytes(damage)
    assert outbox.kept(home, "abc") is None
