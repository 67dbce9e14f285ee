"""A disk that is really full, at every kind of file that a trial writes: one sentence, and the next run goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from homes import new_home
from small_disk import Disk

from kdrec import checkpoints, signals, teacher, trial
from kdrec.errors import KdrecError
from kdrec.home import Home
from kdrec.studies import Cell, Study
from kdrec.tasks import token_store
from kdrec.tracking import Store
from kdrec.trial import one, outbox

CELL = Cell(task="vader_tweets", student="tiny")
STUDY = Study.from_dict(
    {
        "name": "small",
        "tasks": ["vader_tweets"],
        "students": ["tiny"],
        "rows": {"train": 40, "validation": 20, "test": 20},
        "space": {"alphas": [0.5], "distances": ["ce"], "teachers": ["t_ll"], "teacher_temperatures": [1.0]},
        "teacher": {"learning_rates": [2e-4], "epochs": 1, "evaluations_per_epoch": 1, "max_length": 32},
        "training": {"epochs": 2, "max_length": 32},
    }
)


def scores(result: trial.CellResult) -> list[tuple[Any, ...]]:
    return [(made.fingerprint, made.val_score, made.val_loss, made.test_score) for made in result.trials]


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_wherever_it_is_met_and_nothing_is_lost_or_doubled(
    tmp_path: Path, home: Home, sources_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        with Disk.mounted(tmp_path / "disk") as disk:
            _meet_a_full_disk_everywhere(disk, home, sources_folder, monkeypatch)
    except PermissionError as refusal:
        pytest.skip(str(refusal))
    assert "Traceback" not in capfd.readouterr().err


def _meet_a_full_disk_everywhere(disk: Disk, home: Home, sources_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = scores(trial.run_cell(STUDY, CELL, home))
    small = new_home(disk.folder / "home", sources_folder)
    Store.open(small)
    monkeypatch.setattr(one, "PAUSES", ())
    monkeypatch.setattr(checkpoints.Checkpoint, "due", lambda checkpoint: checkpoint.path is not None)

    def full_at(room: Any, name: str) -> str:
        """Run the cell on a disk that is full from the first call of a function on; what the user is told."""
        real: Callable[..., Any] = getattr(room, name)

        def filled(*args: Any, **words: Any) -> Any:
            disk.fill()
            return real(*args, **words)

        with monkeypatch.context() as patch:
            patch.setattr(room, name, filled)
            with pytest.raises(KdrecError) as refusal:
                trial.run_cell(STUDY, CELL, small)
        disk.free()
        return str(refusal.value)

    for room in (token_store, teacher, signals, checkpoints):
        said = full_at(room, "atomic_write")
        assert "no space left" in said, (room, said)
        assert "\n" not in said, (room, said)
    for room, name in ((outbox, "atomic_write"), (Store, "start_trial"), (Store, "finish_trial")):
        said = full_at(room, name)
        assert "full" in said, (room, name, said)
        assert "\n" not in said, (room, name, said)

    assert not list(small.root.rglob("*.tmp"))
    assert scores(trial.run_cell(STUDY, CELL, small)) == undisturbed
    assert len(Store.open(small).trials()[0]) == len(undisturbed)
