from __future__ import annotations

import json
import multiprocessing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from homes import new_home
from tiny_studies import TEACHER, speak, study_of, write_rows

from kdrec import catalog, history, trial
from kdrec.errors import BadArgument, DataError, KdrecError, MismatchError
from kdrec.home import Home
from kdrec.space import told as told_of
from kdrec.studies import Cell, Study
from kdrec.tracking import Store
from kdrec.training import identity_of
from kdrec.trial import bench
from kdrec.trial.cell import _Runner
from kdrec.trial.one import run_trial
from kdrec.trial.taught import _differences
from kdrec.types import BASELINE_CONFIG, DEFAULT_CONFIG, History, KDConfig, Settings, TaskFeatures, Training, Trial

CELL = Cell(task="vader_tweets", student="tiny")


def small_study(**changes: Any) -> Study:
    table = {
        "name": "small",
        "tasks": ["vader_tweets"],
        "students": ["tiny"],
        "rows": {"train": 60, "validation": 30, "test": 30},
        "space": {"alphas": [0.5], "teachers": ["t_ll"], "teacher_temperatures": [1.0]},
        "teacher": {"learning_rates": [2e-4], "epochs": 1, "evaluations_per_epoch": 1, "max_length": 32},
        "training": {"learning_rate": 6e-4, "epochs": 1, "max_length": 32},
    }
    return Study.from_dict({**table, **changes})


@pytest.fixture(scope="module")
def searched(module_home: Home) -> tuple[Home, trial.CellResult]:
    return module_home, trial.run_cell(small_study(), CELL, module_home)


@pytest.mark.slow
class TestACell:
    def test_a_cell_runs_the_baseline_and_the_space_once(self, searched: tuple[Home, trial.CellResult]) -> None:
        _, result = searched
        configs = [made.config for made in result.trials]
        assert configs == [BASELINE_CONFIG, DEFAULT_CONFIG, KDConfig(distance="mse")]
        assert all(made.status == "completed" and made.seconds > 0 and made.run_id for made in result.trials)
        assert {(made.learning_rate, made.epochs, made.n_steps) for made in result.trials} == {(6e-4, 1.0, 2)}
        assert {len(str(made.features.data)) for made in result.trials} == {16}
        assert result.best in configs

    def test_a_second_search_finds_every_trial(self, searched: tuple[Home, trial.CellResult]) -> None:
        home, result = searched
        told: list[trial.Progress] = []
        again = trial.run_cell(small_study(), CELL, home, told.append)
        assert again == result
        assert told[-1].done == told[-1].expected == 3

    def test_another_study_of_the_same_cell_finds_its_trials_too(self, searched: tuple[Home, trial.CellResult]) -> None:
        home, result = searched
        other = trial.run_cell(small_study(name="other"), CELL, home)
        assert [made.run_id for made in other.trials] == [made.run_id for made in result.trials]

    def test_history_is_what_the_cell_returned(self, searched: tuple[Home, trial.CellResult]) -> None:
        home, result = searched
        trials, _ = Store.open(home).trials()
        assert sorted(trials, key=lambda made: made.run_id) == sorted(result.trials, key=lambda made: made.run_id)

    def test_two_callers_at_once_make_one_run(self, searched: tuple[Home, trial.CellResult]) -> None:
        home, _ = searched
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            ids = pool.map(_one_more_seed, [home, home])
        assert ids[0] == ids[1]
        assert len({made.fingerprint for made in Store.open(home).trials()[0]}) == len(Store.open(home).trials()[0])

    def test_a_diverged_student_is_evidence(self, searched: tuple[Home, trial.CellResult]) -> None:
        home, _ = searched
        study = small_study(training={"epochs": 1, "max_length": 32, "learning_rate": 1e30})
        result = trial.run_cell(study, CELL, home)
        assert {made.status for made in result.trials} == {"diverged"}
        assert all(made.val_score is None and made.test_score is None for made in result.trials)
        again = trial.run_cell(study, CELL, home)
        assert [made.run_id for made in again.trials] == [made.run_id for made in result.trials]

    def test_a_trial_that_fails_is_marked_is_no_history_and_is_made_anew(
        self, searched: tuple[Home, trial.CellResult], tmp_path: Path
    ) -> None:
        home, _ = searched
        store = Store.open(home)
        before = store.trials()[0]
        runner = _Runner(trial.Bench(small_study(), CELL.task, "minilm", home), CELL, lambda _: None)
        with pytest.raises(KdrecError):
            run_trial(replace(runner.place, folder=tmp_path), BASELINE_CONFIG, replace(runner.place.training, seed=3))
        assert store.trials()[0] == before
        statuses = {run.data.tags["kdrec.status"] for run in store.ledger.runs(store.ledger.experiments(), "trial")}
        assert "failed" in statuses
        assert run_trial(runner.place, BASELINE_CONFIG, replace(runner.place.training, seed=3)).status == "completed"

    def test_the_recommender_can_drive_a_search(self, searched: tuple[Home, trial.CellResult]) -> None:
        home, _ = searched
        result = trial.run_cell(small_study(search="suggested"), CELL, home)
        assert result.path[0].tried == (DEFAULT_CONFIG,)
        assert all(step.reason for step in result.path)

    def test_a_history_of_other_knobs_is_refused_before_anything_is_trained(
        self, searched: tuple[Home, trial.CellResult], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home, result = searched
        before = Store.open(home).trials()[0]
        foreign = History((replace(result.trials[0], config=Settings.of(lr=1e-3)),))
        monkeypatch.setattr("kdrec.history.load", lambda home: foreign)
        with pytest.raises(DataError, match=r"the study 'foreign' has alpha, .* and task 'vader_tweets' has lr$"):
            trial.run_cell(small_study(name="foreign", search="suggested", seeds=[9]), CELL, home)
        assert Store.open(home).trials()[0] == before

    def test_a_search_hears_the_trials_that_come_with_kdrec_but_not_those_of_the_cell_it_searches(
        self, searched: tuple[Home, trial.CellResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home, result = searched
        mine = replace(result.trials[1], run_id="shipped-1", fingerprint="")
        other = replace(mine, features=replace(mine.features, task="other"), run_id="shipped-2")
        history.write_table(History((mine, other)), tmp_path / "replication.csv")
        monkeypatch.setattr("kdrec.history.replication.FOLDER", tmp_path)
        study = small_study(name="heard", search="suggested")
        runner = _Runner(trial.Bench(study, CELL.task, "minilm", home), CELL, lambda _: None)
        assert [made.task for made in runner._adviser().past if made.is_shipped] == ["other"]

    def test_listed_configurations_are_run_and_no_other(self, searched: tuple[Home, trial.CellResult]) -> None:
        home, before = searched
        study = small_study(name="next", search="listed", space={}, configs=[{"distance": "mse"}, {"tau_t": 2.0}])
        result = trial.run_cell(study, CELL, home)
        assert [made.config for made in result.trials] == [
            BASELINE_CONFIG,
            KDConfig(distance="mse"),
            KDConfig(tau_t=2.0),
        ]
        assert result.trials[1].run_id in {made.run_id for made in before.trials}
        assert result.suggestion is None

    def test_the_teachers_trace_and_files_are_made_once(self, searched: tuple[Home, trial.CellResult]) -> None:
        home, _ = searched
        before = {path: path.stat().st_mtime_ns for path in (home.root / "teachers").rglob("*.safetensors")}
        trial.prepare_teacher(small_study(), "vader_tweets", "minilm", home)
        after = {path: path.stat().st_mtime_ns for path in (home.root / "teachers").rglob("*.safetensors")}
        assert before == after != {}


@pytest.mark.slow
def test_another_machine_trains_the_cell_to_the_same_bits_without_fine_tuning_and_without_asking_the_teacher(
    searched: tuple[Home, trial.CellResult],
    bucket: str,
    tmp_path: Path,
    sources_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other machine has a home and a store of its own; an object store is all that both know."""
    home, result = searched
    trial.prepare_teacher(small_study(), CELL.task, "minilm", replace(home, shared=f"{bucket}/kdrec"))
    other = replace(new_home(tmp_path / "other", sources_folder), shared=f"{bucket}/kdrec")

    def refuse(*words: Any) -> None:
        raise AssertionError("this was done on the first machine")

    monkeypatch.setattr("kdrec.teacher._run", refuse)
    monkeypatch.setattr("kdrec.teacher.live_logits", refuse)
    told: list[trial.Progress] = []
    again = trial.run_cell(small_study(), CELL, other, told.append)
    assert not [progress for progress in told if progress.notice and "split has" not in progress.message]
    assert {made.run_id for made in again.trials}.isdisjoint(made.run_id for made in result.trials)
    alike = {"run_id": "", "seconds": 0.0}
    assert [replace(made, **alike) for made in again.trials] == [replace(made, **alike) for made in result.trials]
    assert again.best == result.best


SUGGESTED: dict[str, Any] = {
    "name": "advised",
    "search": "suggested",
    "space": {"teachers": ["t_ll"], "teacher_temperatures": [1.0, 2.0], "student_temperatures": ["1"]},
    "trial_price": 0.0,
    "batch": 2,
}
"""Six configurations, each worth its price of nothing: the search tries them all."""


def written(home: Home, cell: str = str(CELL)) -> tuple[Any, list[Any], str]:
    """The parent run of the advised cell, its decisions as they were logged, and its note."""
    store = Store.open(home)
    [run] = [
        run for run in store.ledger.runs([store.experiment("advised")], "cell") if run.data.tags["kdrec.cell"] == cell
    ]
    text = Path(store.ledger.client.download_artifacts(run.info.run_id, "decisions.json")).read_text()
    return run, json.loads(text), text


@pytest.fixture(scope="module")
def advised(module_home: Home) -> tuple[Home, trial.CellResult, list[Any]]:
    """Killed while its second batch is made; the world moves on; then run to its end."""
    made: list[str] = []

    def die(progress: trial.Progress) -> None:
        made.append(progress.message)
        if progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trial.run_cell(small_study(**SUGGESTED), CELL, module_home, die)
    early = written(module_home)[1]
    store = Store.open(module_home)
    own = store.trials()[0]
    others = [
        replace(t, features=replace(t.features, task=f"other{n}"), run_id=f"{n}{t.run_id}", fingerprint="")
        for n in range(3)
        for t in own
    ]
    history.add(module_home, History(tuple(others)))
    history.sync(module_home, store.trials)  # now the history holds this cell's own trials, and other cells'
    return module_home, trial.run_cell(small_study(**SUGGESTED), CELL, module_home), early


@pytest.mark.slow
class TestAnAdvisedCell:
    def test_it_decides_after_a_kill_as_it_did_before(self, advised: tuple[Home, trial.CellResult, list[Any]]) -> None:
        home, _, early = advised
        assert 1 <= len(early) < len(written(home)[1])
        assert written(home)[1][: len(early)] == early

    def test_a_second_search_repeats_every_decision_to_the_byte_and_writes_no_point_twice(
        self, advised: tuple[Home, trial.CellResult, list[Any]]
    ) -> None:
        home, result, _ = advised
        run, decisions, text = written(home)
        assert trial.run_cell(small_study(**SUGGESTED), CELL, home) == result
        assert written(home)[2] == text
        client = Store.open(home).ledger.client
        for name in ("worth", "price"):
            points = client.get_metric_history(run.info.run_id, f"decision/{name}")
            assert [(point.step, point.value) for point in points] == [(d["step"], d[name]) for d in decisions]

    def test_every_decision_is_told_with_its_worth_price_reason_proposals_and_forecast(
        self, advised: tuple[Home, trial.CellResult, list[Any]]
    ) -> None:
        home, result, _ = advised
        _, decisions, text = written(home)
        assert [d["step"] for d in decisions] == list(range(len(decisions)))
        proposed = [KDConfig(**config) for d in decisions for config in d["proposed"]]
        assert proposed == [made.config for made in result.trials[1:]], "what was proposed is what was made, in order"
        assert len(proposed) == len(set(proposed)) == 6, "at no price all is tried"
        assert [len(d["proposed"]) for d in decisions] == [1, 2, 2, 1, 0]
        assert [d["n_trials"] for d in decisions] == [0, 1, 3, 5, 6]
        assert all(d["price"] == 0 and len(d["answer"]["gain"]) == 5 and d["reason"] for d in decisions)
        assert (decisions[-1]["stop"], decisions[-1]["reason"]) == (True, "stop: every configuration has been tried")
        assert len(text) < 100_000

    def test_it_ends_with_the_suggestion(self, advised: tuple[Home, trial.CellResult, list[Any]]) -> None:
        home, result, _ = advised
        run, decisions, _ = written(home)
        assert result.suggestion is not None
        assert json.loads(json.dumps(result.suggestion.to_dict())) == decisions[-1]["answer"]
        assert result.best == result.suggestion.config
        note = run.data.tags["mlflow.note.content"]
        assert note.startswith("**Suggested: ")
        for d in decisions:
            assert f"| {d['step']} | {d['n_trials']} | {d['worth']:.3f} | 0 |" in note
        assert "every configuration has been tried" in note

    def test_a_price_too_high_ends_after_the_suggestion_itself(
        self, advised: tuple[Home, trial.CellResult, list[Any]]
    ) -> None:
        home, _, _ = advised
        result = trial.run_cell(small_study(**{**SUGGESTED, "name": "dear", "trial_price": 90.0}), CELL, home)
        assert [len(step.tried) for step in result.path][-1] == 0
        assert {made.config for made in result.trials} >= {BASELINE_CONFIG, result.best}
        assert "less than twice the price of 90 points" in result.path[-1].reason

    def test_more_seeds_are_made_of_every_proposal(self, advised: tuple[Home, trial.CellResult, list[Any]]) -> None:
        home, _, _ = advised
        study = small_study(**{**SUGGESTED, "name": "seeds", "trial_price": 90.0, "seeds": [0, 1]})
        result = trial.run_cell(study, CELL, home)
        made = [(t.config, t.seed) for t in result.trials]
        assert made[:4] == [(BASELINE_CONFIG, 0), (BASELINE_CONFIG, 1), (made[2][0], 0), (made[2][0], 1)]


def _one_more_seed(home: Home) -> str:
    study = small_study(seeds=[7], space={**json.loads(SPACE), "distances": ["mse"]})
    return trial.run_cell(study, CELL, home).trials[-1].run_id


SPACE = '{"alphas": [0.5], "teachers": ["t_ll"], "teacher_temperatures": [1.0]}'


def identity(**changes: Any) -> str:
    parts: dict[str, Any] = {
        "task": "a",
        "student": "b",
        "config": KDConfig(),
        "training": Training(),
        "checkpoint": "c",
    }
    return trial.fingerprint(**{**parts, **changes})


@pytest.mark.parametrize(
    "change",
    [
        {"task": "x"},
        {"student": "x"},
        {"checkpoint": "x"},
        {"config": KDConfig(tau_t=2.0)},
        {"config": KDConfig(tau_t=2.0, scale_soft_loss="tau_t*tau_s")},
        {"training": Training(seed=1)},
        {"training": Training(epochs=5)},
    ],
)
def test_whatever_changes_the_student_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert identity(**change) != identity()


def test_the_name_of_one_checkpoint_is_not_part_of_the_fingerprint() -> None:
    assert identity(config=replace(KDConfig(), teacher="t_hs")) == identity()


def test_rows_without_labels_are_part_of_what_a_teacher_teaches_and_of_no_baseline() -> None:
    more, half = {"transfer": "t"}, {"training": Training(transfer_weight=0.5)}
    assert len({identity(), identity(**more), identity(transfer="u"), identity(**more, **half)}) == 4
    bare = {"config": BASELINE_CONFIG, "checkpoint": None}
    assert identity(**bare) == identity(**bare, **more) == identity(**bare, **more, **half)
    assert identity(**half) == identity(), "without such rows their weight means nothing"


TRAINED_OF_OLD = {
    **{"learning_rate": 1e-3, "epochs": 8, "batch_size": 32, "max_length": 128, "seed": 3, "warmup_ratio": 0.1},
    **{"weight_decay": 0.01, "max_grad_norm": 1.0, "gradient_accumulation_steps": 1, "evaluations_per_epoch": 1},
}
"""All that a training said at version 1 of an identity."""


def test_a_trial_of_before_the_schema_grew_is_found_under_its_old_fingerprint() -> None:
    """The digests were written down by the last kdrec of schema 1."""
    old = Training(**TRAINED_OF_OLD)
    taught = trial.fingerprint("task-hash", "student-hash:(0, 5)", KDConfig(tau_t=4.0), old, "c" * 64)
    assert taught == "b96dda18d2c703e82b83f2ec492ed40433fac6cedcbfde845d4a36db1c082dd8"
    bare = replace(old, learning_rate=6e-4, epochs=4, seed=0)
    baseline = trial.fingerprint("task-hash", "student-hash:(0, 5)", BASELINE_CONFIG, bare, None)
    assert baseline == "7e038e016e17557506e1dd71b0921c8979adf0ad99bb127be87f98c5edfa6cf2"
    assert identity_of(old) == TRAINED_OF_OLD


def test_a_field_that_came_later_counts_only_where_it_is_not_at_its_default() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Grown(Training):
        later: str = "as before"

    assert identity_of(Grown(**TRAINED_OF_OLD)) == TRAINED_OF_OLD
    assert identity_of(Grown(**TRAINED_OF_OLD, later="other")) == {**TRAINED_OF_OLD, "later": "other"}


def test_a_teacher_is_no_student() -> None:
    with pytest.raises(BadArgument, match="'minilm' is a teacher, a student was expected; its students are base"):
        catalog.teacher_of("minilm")


def test_a_length_that_the_model_cannot_read_is_refused(home: Home) -> None:
    long = {"epochs": 1, "max_length": 1024}
    with pytest.raises(MismatchError, match=r"reads at most 512 tokens, but max_length of study 'small' is 1024"):
        trial.Bench(small_study(teacher=long, training=long), "vader_tweets", "minilm", home)


def test_a_study_that_names_the_guarded_teacher_says_what_coincides_and_warns_of_a_teacher_worse_than_its_student(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A teacher that has hardly been trained, before anything is distilled; equal checkpoints are one trial."""
    speak(tmp_path, monkeypatch)
    length = {"max_length": 32}
    study = study_of(
        "sentence",
        write_rows(tmp_path, "sentence"),
        search="full",
        space={"alphas": [0.5], "distances": ["mse"], "teachers": ["t_ll", "t_hs", "t_llg"]},
        teacher={"learning_rates": [1e-6], "epochs": 2, "batch_size": 16, "evaluations_per_epoch": 1, **length},
    )
    told: list[trial.Progress] = []
    trial.prepare_teacher(study, "sentence", TEACHER, home, told.append)
    (cell,) = study.cells()
    chosen = trial.Bench(study, cell.task, TEACHER, home).teacher.selection
    assert told[-1].message.startswith(f"ready; {told_of(chosen.aliases)}")
    told.clear()
    result = trial.run_cell(study, cell, home, told.append)
    (place,) = [at for at, progress in enumerate(told) if progress.notice and "split has" not in progress.message]
    assert told[place].message.startswith(f"{cell}: the teacher (")
    assert told[place].done == 1, "after the baseline"
    run = Store.open(home).ledger.client.get_run(result.run_id)
    assert "**Warning:** the teacher (" in run.data.tags["mlflow.note.content"]
    assert len(result.trials) == 1 + len(chosen.checkpoints)
    outcome = Store.open(home).outcome(study.name)
    assert dict(outcome.teachers[0].aliases) == dict(chosen.aliases)
    assert outcome.teachers[0].t_llg == chosen.t_llg


def test_weights_made_again_differ_by_what_is_shown_and_the_sentence_names_it() -> None:
    """What lies below the last digit shown is no difference; every number that differs is named, and no other."""
    made = trial_with(val_score=80.20, val_loss=0.53, test_score=79.0)
    assert _differences(made, made) == ()
    assert _differences(made, replace(made, val_score=80.2 + 1e-6, val_loss=0.53001)) == ()
    (said,) = _differences(made, replace(made, test_score=78.5))
    assert "(test score 79.00, now 78.50)" in said
    assert "validation" not in said
    assert "machine" not in said, "nobody knows where it was made"
    (said,) = _differences(made, replace(made, val_score=79.9, val_loss=0.54))
    assert "(validation score 80.20, now 79.90; validation loss 0.5300, now 0.5400)" in said
    (said,) = _differences(made, replace(made, val_loss=None))
    assert "(validation loss 0.5300, now unknown)" in said


def trial_with(**scores: float) -> Trial:
    values: dict[str, Any] = {"features": TaskFeatures(task="trec"), "student": "tiny", "config": DEFAULT_CONFIG}
    return Trial(**values, seed=0, status="completed", seconds=1.0, **scores)


def test_whoever_trains_does_so_with_the_same_number_of_threads(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study's workers and `distill` share the bench, where it is settled."""
    monkeypatch.setattr(bench, "load_task", lambda *_: None)
    monkeypatch.setattr(bench.sources, "resolve", lambda *_: home.root)
    torch.set_num_threads(2)
    bench.Bench(small_study(), "vader_tweets", "minilm", home)
    assert torch.get_num_threads() == bench.THREADS == 1
