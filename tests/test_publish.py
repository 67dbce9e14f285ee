"""Laws of a published page: what a store holds of a study is read back, and the page is kept beside it, once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kdrec.cli import main
from kdrec.errors import BadArgument, StoreError
from kdrec.home import Home
from kdrec.tracking import Store
from kdrec.types import (
    BASELINE_CONFIG,
    DEFAULT_CONFIG,
    Candidate,
    Decision,
    Gain,
    KDConfig,
    NextTrial,
    Suggestion,
    TaskFeatures,
    Training,
    Trial,
)

TASK = "x' or 1=1 --<script>alert(1)</script>"
MSE = KDConfig(distance="mse")
FEATURES = TaskFeatures(
    task=TASK, family="sentence", n_train=600, n_classes=6, label_entropy=1.5, teacher_score=90.1, student_params=10**7
)
TRAINING = Training(learning_rate=6e-4, epochs=4, seed=0)
CANDIDATES = [
    Candidate(learning_rate=1e-4, seed=0, step=10 * n, epoch=n, score=60.0 + n, loss=loss, ece=0.1, checkpoint=f"c{n}")
    for n, loss in ((1, 0.5), (2, 0.6))
]
Captured = pytest.CaptureFixture[str]


def record(
    store: Store,
    study: str,
    config: KDConfig,
    score: float,
    *,
    training: Training = TRAINING,
    cell: str = f"{TASK}/small",
) -> Trial:
    """One finished trial of a cell, as `trial.run_trial` records it."""
    experiment = store.experiment(study)
    parent = store.open_cell(experiment, cell, FEATURES, "a cell", training=training, rows={"train": 600, "test": 80})
    name = f"{study} {config.label()} {training.learning_rate}".replace(" ", "-").replace("/", "-").replace("=", "-")
    run_id = store.start_trial(
        experiment,
        parent,
        config=config,
        student="small",
        features=FEATURES,
        seed=0,
        fingerprint=name,
        training=training,
    )
    trial = Trial(
        features=FEATURES,
        student="small",
        config=config,
        seed=0,
        status="completed",
        val_score=score,
        val_loss=0.5,
        test_score=score,
        seconds=12.0,
    )
    return store.finish_trial(run_id, trial)


def decision() -> Decision:
    gain = Gain(trials=1, mean=0.5, lo80=0.0, hi80=1.0, lo90=0.0, hi90=1.5)
    answer = Suggestion(
        task=TASK,
        student="small",
        config=DEFAULT_CONFIG,
        is_default=True,
        gain=(gain, *(replace(gain, trials=n) for n in (2, 4, 8, "all"))),
        next=(NextTrial(config=MSE, worth=0.5),),
        stop=False,
        reason="go on: it is worth it",
        evidence={"price": 0.05, "notes": []},
    )
    return Decision(step=0, n_trials=0, proposed=(DEFAULT_CONFIG,), stop=False, reason="first", answer=answer)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A study of one cell, one trial of which another study made."""
    root = tmp_path_factory.mktemp("published")
    made = Home(root=root, tracking_uri=f"sqlite:///{root / 'mlflow.db'}")
    store = Store.open(made)
    record(store, "first", MSE, 82.0)
    record(store, "first", KDConfig(tau_t=4), 90.0, training=replace(TRAINING, learning_rate=1e-3))
    for config, score in ((BASELINE_CONFIG, 78.0), (DEFAULT_CONFIG, 80.0)):
        record(store, "mine", config, score)
    t_ll, t_hs = CANDIDATES
    params = {"task": TASK, "teacher": "minilm", "epochs": "4"}
    store.log_teacher(store.experiment("mine"), TASK, CANDIDATES, {"t_hs": t_hs, "t_ll": t_ll}, params)
    store.experiment("empty")
    return made


def test_a_study_is_read_back_as_it_was_recorded(home: Home) -> None:
    outcome = Store.existing(home).outcome("mine")
    (cell,), (teacher,) = outcome.cells, outcome.teachers
    assert (cell.task, cell.student, cell.features, cell.done) == (TASK, "small", FEATURES, False)
    assert (cell.training["learning_rate"], cell.rows) == (6e-4, {"train": 600, "test": 80})
    assert (teacher.task, teacher.card, list(teacher.candidates)) == (TASK, "minilm", CANDIDATES)
    assert (teacher.t_ll, teacher.t_hs, teacher.t_llg, teacher.aliases) == (*CANDIDATES, None, {})


def test_a_cell_has_the_trials_that_its_study_found_and_none_of_another_training(home: Home) -> None:
    (cell,) = Store.existing(home).outcome("mine").cells
    assert [trial.config for trial in cell.trials] == [MSE, BASELINE_CONFIG, DEFAULT_CONFIG]
    assert cell.n_found == 1


def test_decisions_come_back_as_they_were_made(home: Home) -> None:
    store = Store.existing(home)
    cell = store.open_cell(store.experiment("advised"), f"{TASK}/small", FEATURES, "", training=TRAINING, rows={})
    store.log_decisions(cell, [decision()])
    (read,) = store.outcome("advised").cells
    assert read.decisions == (decision(),)


def test_an_unknown_study_is_answered_with_the_nearest_and_an_empty_one_in_words(home: Home) -> None:
    store = Store.existing(home)
    with pytest.raises(BadArgument, match="no study 'mien' in the tracking store; did you mean 'mine'"):
        store.outcome("mien")
    with pytest.raises(StoreError, match="study 'empty' has no cell yet"):
        store.outcome("empty")


def test_a_report_is_a_file_and_the_artifact_of_one_run_that_the_next_one_replaces(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDREC_TRACKING_URI", home.tracking_uri)
    words = ["--home", str(home.root), "report", "mine"]
    assert main([*words, "--no-log", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["file"], said["run_id"]) == ("mine.html", None)
    assert [answer["task"] for answer in said["suggestions"]] == [TASK]
    store, page = Store.existing(home), (tmp_path / "mine.html").read_bytes()
    ledger = store.ledger
    assert ledger.runs(ledger.experiments(), "report") == []
    first = store.log_page("mine", "an earlier page")
    assert main(words) == 0
    assert (tmp_path / "mine.html").read_bytes() == page
    (run,) = ledger.runs(ledger.experiments(), "report")
    assert (run.info.run_id, run.info.run_name) == (first, "report of mine")
    assert run.info.status == "FINISHED"
    kept = ledger.client.download_artifacts(run.info.run_id, "report.html", str(tmp_path))
    assert Path(kept).read_bytes() == page
    assert f"mine.html holds the report ({len(page) / 1000:,.0f} kB), and so does run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["mien"], "no study 'mien' in the tracking store; did you mean 'mine'?"),
        (["nope.toml"], "no study file at nope.toml"),
        (["mine", "--out", "mine.pdf"], "a report is written as .html, got 'mine.pdf'"),
        (["mine", "--out", "gone/mine.html"], "no folder gone to write the report to"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: list[str],
    sentence: str,
    home: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDREC_TRACKING_URI", home.tracking_uri)
    assert main(["--home", str(home.root), "report", *words]) == 2
    assert capsys.readouterr().err.strip() == sentence
    assert list(tmp_path.iterdir()) == []
