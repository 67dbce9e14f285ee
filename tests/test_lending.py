"""A teacher is made once for all homes that share a shelf, and believed by none that has not checked it."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_teacher import CPU, TRAINING, flip, made, pupil  # noqa: F401 - two are fixtures

from kdrec import lending, teacher
from kdrec.home import Home
from kdrec.shelf import Shelf
from kdrec.signals import TeacherSignal
from kdrec.teacher import Pupil, Teacher
from kdrec.trace import TRACE, Trace, record_hash, write_trace
from kdrec.types import Candidate, FineTuning, TeacherTraining


class Machine:
    """A home of its own and what was made, computed and said there."""

    def __init__(self, root: Path, url: str, pupil: Pupil, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
        self.pupil, self.monkeypatch = pupil, monkeypatch
        self.home = Home(root=root, tracking_uri="sqlite:///x.db", shared=url)
        self.folder = self.home.folder("teachers", pupil.key(TRAINING))
        self.said: list[str] = []
        self.trained: list[Candidate] = []
        self.passes = 0

    def teacher(self, on_candidate: Callable[[Candidate], None] | None = None) -> Teacher:
        shelf = Shelf.of(self.home, self.said.append)
        return lending.teacher(self.pupil, TRAINING, self.folder, CPU, shelf, on_candidate or self.trained.append)

    def signal(self, found: Teacher) -> TeacherSignal:
        def counted(*words: Any) -> Any:
            self.passes += 1
            return plain(*words)

        plain = teacher.live_logits
        shelf = Shelf.of(self.home, self.said.append)
        with self.monkeypatch.context() as patch:
            patch.setattr(teacher, "live_logits", counted)
            return lending.signal(self.pupil, found, "t_hs", self.home.folder("logits"), CPU, 64, shelf)


@pytest.fixture
def machine(tmp_path: Path, pupil: Pupil, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Machine]:  # noqa: F811
    (tmp_path / "shelf").mkdir()
    return lambda name: Machine(tmp_path / name, f"file://{tmp_path}/shelf", pupil, monkeypatch)


@pytest.fixture
def shelved(tmp_path: Path, pupil: Pupil, made: Teacher, machine: Callable[[str], Machine]) -> Path:  # noqa: F811
    """The finished teacher's folder on the shelf, put there by a machine that had made it."""
    one = machine("one")
    shutil.copytree(made.folder, one.folder, dirs_exist_ok=True)
    one.signal(one.teacher())
    assert (one.trained, one.passes, one.said) == ([], 1, [])
    return tmp_path / "shelf" / "teachers" / pupil.key(TRAINING)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_one_machine_made_another_neither_trains_nor_computes(
    shelved: Path,
    made: Teacher,  # noqa: F811
    machine: Callable[[str], Machine],
) -> None:
    two = machine("two")
    found = two.teacher()
    signal = two.signal(found)
    assert (two.trained, two.passes, two.said) == ([], 0, [])
    assert found.trace == made.trace
    assert files(two.folder) == files(made.folder) == files(shelved)
    computed = machine("one").signal(made)
    assert np.array_equal(signal.logits_RC, computed.logits_RC)


def resealed(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a trace as one does who knows its form."""
    record = json.loads((folder / TRACE).read_text())
    del record["sha256"]
    change(record)
    record["sha256"] = record_hash(record)
    (folder / TRACE).write_text(json.dumps(record))


def set_first(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda record: record["candidates"][0].update({name: value})


def other_weights(folder: Path, data: bytes) -> None:
    """Bytes under the hash that they have, which the trace names."""
    (folder / f"{hashlib.sha256(data).hexdigest()}.safetensors").write_bytes(data)
    best = {"score": 100.0, "loss": 0.0, "checkpoint": hashlib.sha256(data).hexdigest()}
    resealed(folder, lambda record: record["candidates"][0].update(best))


def of_another_model(folder: Path) -> None:
    weights = next(folder.glob("*.safetensors"))
    state = {name: tensor.clone() for name, tensor in load_file(weights).items()}
    save_file({**state, "classifier.weight": torch.zeros(7, 32)}, folder / "w")
    other_weights(folder, (folder / "w").read_bytes())


HOSTILE: dict[str, Callable[[Path], object]] = {
    "flipped trace": lambda folder: flip(folder / TRACE),
    "no trace at all": lambda folder: (folder / TRACE).write_bytes(pickle.dumps([1])),
    "trace of a folder elsewhere": lambda folder: resealed(
        folder, lambda record: [one.update(checkpoint="../../../x") for one in record["candidates"]]
    ),
    "a score no metric gives": lambda folder: resealed(folder, set_first("score", 1e9)),
    "a score that is a text": lambda folder: resealed(folder, set_first("score", "90")),
    "a rate nobody asked for": lambda folder: resealed(folder, set_first("learning_rate", 1.0)),
    "an unfinished trace": lambda folder: resealed(folder, lambda record: record["runs"].pop()),
    "flipped weights": lambda folder: [flip(path) for path in folder.glob("*.safetensors")],
    "no weights": lambda folder: [path.unlink() for path in folder.glob("*.safetensors")],
    "pickled weights": lambda folder: other_weights(folder, pickle.dumps([1])),
    "weights of another model": of_another_model,
}


@pytest.mark.parametrize("harm", HOSTILE)
def test_a_damaged_or_hostile_teacher_is_refused_made_anew_and_replaced(
    harm: str,
    shelved: Path,
    made: Teacher,  # noqa: F811
    machine: Callable[[str], Machine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    HOSTILE[harm](shelved)
    two = machine("two")

    def copied(pupil: Pupil, training: Any, folder: Path, *words: Any) -> Teacher:  # noqa: F811
        """What fine-tuning would make, which has tests of its own."""
        if not teacher.is_finished(pupil, folder, training):
            two.trained += made.trace
            for path in made.folder.iterdir():
                (folder / path.name).write_bytes(path.read_bytes())
        return fine_tune(pupil, training, folder, *words)

    fine_tune = lending.fine_tune
    monkeypatch.setattr(lending, "fine_tune", copied)
    assert two.teacher().trace == made.trace
    assert two.trained
    assert two.said
    assert all("on the shared shelf file://" in line and "is refused, and made anew: " in line for line in two.said)
    three = machine("three")
    assert three.teacher().trace == made.trace
    assert (three.trained, three.said) == ([], []), "what was refused is replaced"
    assert set(files(three.folder)) == set(files(made.folder))


def damaged(path: Path, pupil: Pupil) -> None:  # noqa: F811
    flip(path)


def of_two_classes(path: Path, pupil: Pupil) -> None:  # noqa: F811
    logits = np.zeros((len(pupil.train), 2), dtype=np.float32)
    TeacherSignal(key=path.stem, ids_N=pupil.train.ids_N, logits_RC=logits).save(path)


def of_other_examples(path: Path, pupil: Pupil) -> None:  # noqa: F811
    logits = np.zeros((len(pupil.train), 3), dtype=np.float32)
    TeacherSignal(key=path.stem, ids_N=pupil.train.ids_N + 1, logits_RC=logits).save(path)


def of_another_key(path: Path, pupil: Pupil) -> None:  # noqa: F811
    logits = np.zeros((len(pupil.train), 3), dtype=np.float32)
    TeacherSignal(key="other", ids_N=pupil.train.ids_N, logits_RC=logits).save(path)


@pytest.mark.parametrize("harm", [damaged, of_two_classes, of_other_examples, of_another_key])
def test_damaged_or_hostile_logits_are_refused_computed_again_and_replaced(
    harm: Callable[[Path, Pupil], None],
    shelved: Path,
    pupil: Pupil,  # noqa: F811
    made: Teacher,  # noqa: F811
    machine: Callable[[str], Machine],
) -> None:
    [path] = (shelved.parents[1] / "logits").iterdir()
    whole = TeacherSignal.load(path, key=path.stem).logits_RC
    harm(path, pupil)
    two, three = machine("two"), machine("three")
    two.signal(made)
    assert two.passes == len(two.said) == 1
    assert np.array_equal(TeacherSignal.load(path, key=path.stem).logits_RC, whole)
    three.signal(made)
    assert (three.passes, three.said) == (0, [])


def test_of_two_machines_that_make_one_teacher_at_once_the_first_to_bring_it_is_everybodys(
    shelved: Path,
    made: Teacher,  # noqa: F811
    machine: Callable[[str], Machine],
    tmp_path: Path,
) -> None:
    """The faster machine's hardware rounds otherwise: other weights of other hashes under the same key."""
    weights = load_file(made.weights("t_hs"))
    save_file({name: tensor + 1e-6 for name, tensor in weights.items()}, tmp_path / "w")
    other_weights(shelved, (tmp_path / "w").read_bytes())
    theirs = files(shelved)
    away = shelved.rename(tmp_path / "not yet there")
    two = machine("two")

    def arrive(candidate: Candidate) -> None:
        two.trained.append(candidate)
        if away.exists():
            away.rename(shelved)

    found = two.teacher(arrive)
    assert len(two.trained) == len(made.trace), "the work was wasted"
    assert (two.folder / TRACE).read_bytes() == theirs[TRACE]
    assert found.weights("t_ll").read_bytes() == (tmp_path / "w").read_bytes()
    assert files(shelved) == theirs
    assert two.said == []


def test_a_trace_is_put_only_after_its_weights(
    made: Teacher,  # noqa: F811
    machine: Callable[[str], Machine],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = machine("one")
    shutil.copytree(made.folder, one.folder, dirs_exist_ok=True)
    put: list[str] = []
    monkeypatch.setattr(Shelf, "_put", lambda shelf, name, path: put.append(name.rpartition("/")[2]))
    one.teacher()
    assert put[-1] == TRACE
    assert set(put[:-1]) == {made.weights(choice).name for choice in ("t_hs", "t_ll")}


def finished(one: Candidate) -> Trace:
    """The trace of a teacher of one run."""
    run = FineTuning(learning_rate=1e-4, seed=0, n_steps=1, ending="length", still_improving=None, seconds=1.0)
    return Trace(candidates=[one], runs=[run], complete=True)


@pytest.mark.parametrize("error", [-1.0, float("nan"), "1", [1.0]])
def test_a_trace_of_the_shelf_whose_standard_error_is_no_number_is_refused(
    pupil: Pupil,  # noqa: F811
    tmp_path: Path,
    error: Any,
) -> None:
    one = Candidate(
        learning_rate=1e-4, seed=0, step=1, epoch=1.0, score=80.0, loss=0.5, ece=0.1, checkpoint="a" * 64, score_se=1.0
    )
    training = TeacherTraining(learning_rates=(1e-4,), epochs=1)
    write_trace(tmp_path, finished(one))
    assert lending._checked((tmp_path / TRACE).read_bytes(), pupil, training) == (one,)
    write_trace(tmp_path, finished(replace(one, score_se=error)))
    with pytest.raises(ValueError, match="score_se must be"):
        lending._checked((tmp_path / TRACE).read_bytes(), pupil, training)
