from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kdrec import history, question, recommend
from kdrec.cli import main
from kdrec.errors import DataError
from kdrec.history import replication
from kdrec.history.provenance import ChosenTeacher, Provenance, TaskFacts
from kdrec.home import Home
from kdrec.types import DEFAULT_CONFIG, History, KDConfig, Settings, TaskFeatures, Trial

FOLDER = Path(replication.__file__).parent
TABLE, FACTS = FOLDER / replication.TABLE, FOLDER / replication.FACTS
Captured = pytest.CaptureFixture[str]
ABOUT = TaskFeatures(task="one", family="sentence", n_train=3000, n_classes=6, label_entropy=1.5)
CHOSEN = ChosenTeacher(learning_rate=1e-4, seed=0, epoch=1.5, score=90.0, loss=0.25, ece=0.05)
PROVENANCE = Provenance(
    commit="0123abc",
    machine="two x86-64 cores, no GPU",
    workers=2,
    seeds=(0, 1),
    wall_hours=1.5,
    packages={"torch": "2.6.0"},
    notes=("both cores were busy",),
    tasks=(
        TaskFacts(
            task="one",
            family="sentence",
            metric="accuracy",
            source="a package",
            licence="CC0",
            rows={"train": 3000, "validation": 400, "test": 500},
            teacher="minilm",
            t_ll=CHOSEN,
            t_hs=CHOSEN,
            training={"small": {"epochs": 4}},
        ),
    ),
)


def trial(
    task: str = "one", student: str = "small", config: KDConfig | Settings = DEFAULT_CONFIG, seed: int = 0
) -> Trial:
    return Trial(
        features=replace(ABOUT, task=task),
        student=student,
        config=config,
        seed=seed,
        status="completed",
        val_score=80.0,
        val_loss=0.5,
        test_score=79.0,
        seconds=10.0,
        run_id=f"{task}-{student}-{seed}",
    )


Ship = Callable[..., tuple[Trial, ...]]


@pytest.fixture
def ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ship:
    """Let kdrec come with some trials."""

    def ship(*trials: Trial) -> tuple[Trial, ...]:
        marked = tuple(replace(made, run_id=f"shipped-{number:012x}") for number, made in enumerate(trials))
        folder = tmp_path / f"shipped{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        history.write_table(History(marked), folder / replication.TABLE)
        monkeypatch.setattr(replication, "FOLDER", folder)
        return marked

    return ship


def test_an_absent_file_ships_nothing(home: Home) -> None:
    assert history.shipped() == History()
    assert history.shipped_provenance() is None
    assert question.history_for(None, home) == History()


def test_an_answer_rests_on_what_is_shipped_and_on_ones_own(ship: Ship, home: Home) -> None:
    came = ship(trial("one"), trial("two"))
    history.add(home, History((trial("three"),)))
    assert question.history_for(None, home).trials == (*came, trial("three"))


def test_none_is_the_prior_alone_own_is_without_what_is_shipped_and_a_file_is_that_file(
    ship: Ship, home: Home, tmp_path: Path
) -> None:
    ship(trial("one"))
    history.add(home, History((trial("three"),)))
    history.write_table(History((trial("four"),)), tmp_path / "four.csv")
    assert question.history_for("none", home) == History()
    assert question.history_for("own", home).trials == (trial("three"),)
    assert question.history_for(str(tmp_path / "four.csv"), home).trials == (trial("four"),)


def test_own_trials_of_a_cell_take_the_place_of_the_shipped_ones(ship: Ship) -> None:
    came = ship(trial("one", "small"), trial("one", "tiny"), trial("two", "small"))
    own = trial("one", "small", seed=7)
    assert history.with_shipped(History((own,))).trials == (*came[1:], own)


def test_another_data_set_of_the_same_name_takes_the_place_of_all_its_shipped_trials(ship: Ship) -> None:
    came = ship(trial("one", "small"), trial("one", "tiny"), trial("two"))
    made = trial("one", "base")
    own = replace(made, features=replace(made.features, n_train=500))
    assert history.with_shipped(History((own,))).trials == (came[2], own)


def test_a_task_asked_about_that_shares_only_the_name_is_not_taken_for_the_shipped_one(ship: Ship) -> None:
    came = ship(trial("one"), trial("two"))
    past = history.with_shipped(History())
    other = replace(ABOUT, n_classes=2)
    assert history.without_namesakes(past, ABOUT) == past
    assert history.without_namesakes(past, other).trials == came[1:]
    assert history.without_namesakes(past, TaskFeatures(task="one")) == past, "what is not known contradicts nothing"


@pytest.mark.parametrize(
    "config",
    [Settings.of(lr=1.0), KDConfig(alpha=0.3), KDConfig(tau_t=2.0, scale_soft_loss="tau_t*tau_s")],
    ids=["foreign knobs", "another value", "another objective"],
)
def test_a_history_of_another_space_is_not_mixed_with_what_is_shipped(config: KDConfig | Settings, ship: Ship) -> None:
    ship(trial("one"))
    own = History((trial("two", config=config),))
    assert history.with_shipped(own) == own
    if isinstance(config, KDConfig):
        assert history.with_shipped(History(), searched=[config]) == History()


def test_trials_of_the_guarded_teacher_stand_beside_what_is_shipped(ship: Ship) -> None:
    came = ship(trial("one"))
    own = History((trial("two", config=KDConfig(teacher="t_llg", tau_t=4.0)),))
    assert history.with_shipped(own).trials == (*came, *own)


def test_a_provenance_of_an_earlier_version_is_read_and_a_guarded_teacher_is_kept() -> None:
    (facts,) = PROVENANCE.tasks
    assert dict(facts.aliases) == {"t_hs": "t_ll"}
    old = json.loads(PROVENANCE.to_json())
    del old["tasks"][0]["t_llg"]
    old["tasks"][0]["coincide"] = True
    assert Provenance.from_json(json.dumps(old)) == PROVENANCE
    guarded = replace(facts, t_llg=replace(facts.t_ll, epoch=3.0))
    made = replace(PROVENANCE, tasks=(guarded,))
    assert Provenance.from_json(made.to_json()) == made
    assert dict(guarded.aliases) == {"t_hs": "t_ll"}


def test_a_search_does_not_hear_the_shipped_trials_of_the_cell_it_searches(ship: Ship) -> None:
    came = ship(trial("one", "small"), trial("one", "tiny"), trial("two"))
    past = history.with_shipped(History(), searched=[DEFAULT_CONFIG], asked=ABOUT, student="small")
    assert past.trials == came[1:]


def test_an_answer_says_how_many_trials_are_yours_and_how_many_came_with_kdrec(
    ship: Ship, home: Home, capsys: Captured
) -> None:
    ship(trial("one"), trial("one", config=KDConfig(tau_t=4.0)), trial("two"))
    history.add(home, History((trial("three"),)))
    assert main(["--home", str(home.root), "suggest", "one", "--student", "small"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Behind this: 4 trials of 3 tasks (1 of yours, 3 that come with kdrec)" in said
    assert "3 trials come with kdrec" in said


def test_an_answer_says_why_what_came_with_kdrec_was_left_out(ship: Ship, home: Home, capsys: Captured) -> None:
    ship(trial("one"))
    history.add(home, History((trial("three", config=KDConfig(tau_t=3.0)), trial("three", seed=1))))
    assert main(["--home", str(home.root), "suggest", "three", "--student", "small"]) == 0
    assert "the trials that come with kdrec were left out" in " ".join(capsys.readouterr().out.split())


def test_show_and_export_speak_of_ones_own_trials(ship: Ship, home: Home, capsys: Captured) -> None:
    ship(trial("one"))
    assert main(["--home", str(home.root), "history", "show"]) == 0
    assert "no trials yet" in capsys.readouterr().out


def test_shipped_trials_are_evidence_like_any_other(ship: Ship) -> None:
    ship(trial("one"), trial("two"))
    answer = recommend.suggest(history.with_shipped(History()), ABOUT, "small")
    assert answer.evidence["n_shipped_trials"] == 2
    assert answer.evidence["n_own_trials"] == 1


def test_provenance_read_back_is_what_was_written() -> None:
    assert Provenance.from_json(PROVENANCE.to_json()) == PROVENANCE
    assert PROVENANCE.of("one") is PROVENANCE.tasks[0]
    assert PROVENANCE.of("two") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "one JSON object"),
        ('{"comit": "a"}', "unknown field 'comit'; did you mean 'commit'"),
        ('{"commit": "a"}', "is not complete"),
        ('{"tasks": [{"task": "one"}]}', "t_ll is not complete"),
    ],
)
def test_a_damaged_provenance_is_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Provenance.from_json(text)


class TestWhatIsShipped:
    """The very files in the package."""

    def test_it_is_a_history_of_the_default_space_with_its_provenance(self) -> None:
        past = history.read_table(TABLE)
        facts = Provenance.from_json(FACTS.read_text(encoding="utf-8"))
        assert replication.comparable(made.config for made in past)
        assert all(made.is_shipped for made in past)
        assert {made.task for made in past} == {task.task for task in facts.tasks}

    def test_it_holds_no_path_and_no_text(self) -> None:
        for file in (TABLE, FACTS):
            text = file.read_text(encoding="utf-8")
            assert "/tmp" not in text
            assert "/home" not in text
            assert "/root" not in text

    @pytest.mark.network  # the build backend comes from the package index
    def test_a_wheel_carries_it(self, tmp_path: Path) -> None:
        words = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "-w",
            str(tmp_path),
            str(FOLDER.parent.parent),
        ]
        subprocess.run(words, check=True, timeout=300, capture_output=True)
        (wheel,) = tmp_path.glob("*.whl")
        packed = zipfile.ZipFile(wheel).namelist()
        assert {f"kdrec/history/{name}" for name in (replication.TABLE, replication.FACTS)} <= {*packed}
