"""Every kind of file that a home believes, damaged in every way: noticed, and made again or set aside; no traceback."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from kdrec import history, refresh, trace
from kdrec.bulletin import Bulletin
from kdrec.checkpoints import Checkpoint
from kdrec.errors import CorruptFile, KdrecError, StoreError
from kdrec.home import Home
from kdrec.signals import TeacherSignal
from kdrec.sources import atomic_write, put_aside, remove
from kdrec.tasks import token_store
from kdrec.tracking import Store
from kdrec.tracking.runs import RESULT, trial_of
from kdrec.trial import outbox, weights
from kdrec.types import DEFAULT_CONFIG, Candidate, Encoded, FineTuning, History, TaskFeatures, Trial

NESTED = b"[" * 200_000
MADE = Trial(
    features=TaskFeatures(task="t"),
    student="tiny",
    config=DEFAULT_CONFIG,
    seed=0,
    status="completed",
    val_score=80.2,
    val_loss=0.1,
    test_score=79.5,
    seconds=1 / 3,
    fingerprint="abc",
)
OUTCOME = outbox.Outcome(trial=MADE, measured=(("validation/score", 80.2, 4),))
RUN = FineTuning(learning_rate=1e-4, seed=0, n_steps=4, ending="length", still_improving=False, seconds=2.5)


@dataclass(frozen=True)
class Kind:
    """A kind of file: how it is written, and what is read of it (None where it is not believed)."""

    name: str
    write: Callable[[Home], Path]
    read: Callable[[Home], Any]


def write_outbox(home: Home) -> Path:
    outbox.keep(home, OUTCOME)
    return home.root / "outbox" / "abc.json"


def write_history(home: Home) -> Path:
    def fetch(watermark: str | None) -> tuple[list[Trial], str]:
        return [replace(MADE, run_id="r", seed=1)], "1"

    history.sync(home, fetch, full=True)
    return home.history_db


def read_history(home: Home) -> Any:
    return [replace(trial, run_id="") for trial in history.load(home)] or None


def write_trace(home: Home) -> Path:
    folder = home.folder("teachers", "k")
    state = folder / "w"
    state.write_bytes(b"weights")
    sha256 = trace.sha256_file(state)
    atomic_write(folder / f"{sha256}.safetensors", b"weights", over_folder=True)
    candidate = Candidate(
        step=4, epoch=1.0, score=80.0, loss=0.5, ece=0.1, learning_rate=1e-4, seed=0, checkpoint=sha256, score_se=1.0
    )
    trace.write_trace(folder, trace.Trace(candidates=[candidate], runs=[RUN], complete=True))
    return folder / trace.TRACE


def write_teacher(home: Home) -> Path:
    return next(write_trace(home).parent.glob("*.safetensors"))


def read_trace(home: Home) -> Any:
    found = trace.read_trace(home.root / "teachers" / "k")
    return (found.candidates, found.runs, found.complete) if found.candidates else None


def write_checkpoint(home: Home) -> Path:
    made = Checkpoint(path=home.folder("checkpoints") / "c.safetensors")
    state = {"w": torch.arange(3.0)}
    made.save(model=state, best=state, optimizer={"state": {}, "param_groups": []}, progress={"step": 1})
    assert made.path is not None
    return made.path


def read_checkpoint(home: Home) -> Any:
    found = Checkpoint(path=home.root / "checkpoints" / "c.safetensors").load()
    return found and (found.model["w"].tolist(), found.progress)


def write_logits(home: Home) -> Path:
    path = home.folder("logits") / "key.safetensors"
    TeacherSignal(key="key", ids_N=np.arange(2), logits_RC=np.ones((2, 3), dtype=np.float32)).save(path)
    return path


def read_logits(home: Home) -> Any:
    return TeacherSignal.load(home.root / "logits" / "key.safetensors", key="key").logits_RC.tolist()


def write_tokens(home: Home) -> Path:
    path = home.folder("tokens") / "key.bin"
    split = Encoded(
        ids_N=np.arange(2),
        input_ids_T=np.array([1, 2, 3], dtype=np.int32),
        token_type_ids_T=None,
        offsets_N1=np.array([0, 2, 3]),
        labels_U=np.array([0, 1]),
        n_truncated=0,
        fingerprint="key",
    )
    token_store.write(path, split)
    return path


def read_tokens(home: Home) -> Any:
    return token_store.read(home.root / "tokens" / "key.bin", "key").input_ids_T.tolist()


def write_student(home: Home) -> Path:
    weights.keep(home, MADE, {"w": torch.arange(3.0)})
    return home.root / "students" / "abc.safetensors"


def read_student(home: Home) -> Any:
    found = weights.kept(home, "abc")
    return found and (found[0], found[1]["w"].tolist())


def write_advice(home: Home) -> Path:
    path = home.folder("advice") / "a.json"
    refresh._keep(path, Bulletin(history="h", version="1", lines=()))
    return path


def read_advice(home: Home) -> Any:
    return refresh._remembered(home.root / "advice" / "a.json")


KINDS = (
    Kind("outbox", write_outbox, lambda home: outbox.kept(home, "abc")),
    Kind("history", write_history, read_history),
    Kind("trace", write_trace, read_trace),
    Kind("teacher", write_teacher, read_trace),
    Kind("checkpoint", write_checkpoint, read_checkpoint),
    Kind("logits", write_logits, read_logits),
    Kind("tokens", write_tokens, read_tokens),
    Kind("student", write_student, read_student),
    Kind("advice", write_advice, read_advice),
)


def flipped(at: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[int(at * (len(data) - 1))] ^= 1
        path.write_bytes(data)

    return damage


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "dear").touch()


DAMAGES: dict[str, Callable[[Path], object]] = {
    **{f"flip {at:.2f}": flipped(at) for at in (0.0, 0.1, 0.25, 0.5, 0.77, 1.0)},
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "nested": lambda path: path.write_bytes(NESTED),
    "folder": to_folder,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_damaged_file_is_not_believed_and_is_made_again(tmp_path: Path, kind: Kind, damage: str) -> None:
    home = Home.at(tmp_path)
    path = kind.write(home)
    whole = kind.read(home)
    assert whole is not None

    DAMAGES[damage](path)
    try:
        found = kind.read(home)
    except KdrecError:  # one line by its making
        found = None
    # of a database, some bytes mean nothing: what is read is never other than what was written
    assert found is None or (kind.name == "history" and found == whole)
    kind.write(home)
    assert kind.read(home) == whole
    if damage == "folder":
        (kept,) = path.parent.glob("*.damaged*")
        assert (kept / "dear").exists()


@pytest.mark.parametrize("old", [b"80.2", b"79.5", b"0.1", b'"completed"'])
def test_a_changed_digit_of_a_kept_outcome_is_told_and_never_evidence(tmp_path: Path, old: bytes) -> None:
    home, said = Home.at(tmp_path), list[str]()
    path = write_outbox(home)
    new = b'"diverged"' if old.startswith(b'"') else old.replace(old[-1:], b"9")
    path.write_bytes(path.read_bytes().replace(old, new))
    assert outbox.kept(home, "abc", said.append) is None
    assert len(said) == 1
    assert "put aside as abc.json.damaged and the trial is trained again" in said[0]
    assert outbox.kept(home, "abc", said.append) is None  # it is told once
    assert len(said) == 1


def test_an_outcome_without_a_hash_is_put_aside_as_one_that_cannot_be_checked(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    path = write_outbox(home)
    content, _, _ = path.read_text().rpartition(', "sha256"')
    path.write_text(content + "}")
    assert outbox.kept(home, "abc") is None
    assert path.with_name("abc.json.damaged").exists()


def test_any_flipped_byte_of_a_history_is_noticed_or_repaired_and_changes_no_row(tmp_path: Path) -> None:
    home, rows = Home.at(tmp_path), [replace(MADE, seed=seed, fingerprint=f"f{seed}") for seed in range(3)]
    history.add(home, History(tuple(rows[:2])))
    whole = home.history_db.read_bytes()
    repaired = 0
    for at in range(0, len(whole), 89):
        home.history_db.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        try:
            assert list(history.load(home)) == rows[:2]
        except (CorruptFile, StoreError):
            continue
        history.sync(home, lambda watermark: (rows[2:], "1"))
        assert list(history.load(home)) == rows
        with closing(sqlite3.connect(home.history_db)) as database:
            repaired += database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert repaired


@pytest.mark.parametrize("name", ["val_score", "val_loss", "test_score", "seconds"])
def test_a_result_that_is_not_the_metric_beside_it_is_refused_in_one_sentence(name: str) -> None:
    from kdrec.tracking.runs import FINGERPRINT, SCHEMA, STATUS, STUDENT, result_tags
    from kdrec.types import SCHEMA_VERSION

    tags = {**result_tags(MADE), SCHEMA: str(SCHEMA_VERSION), STUDENT: "tiny", FINGERPRINT: "abc", STATUS: "completed"}
    params = {**DEFAULT_CONFIG.to_params(), "seed": "0"}
    metrics = {one: getattr(MADE, one) for one in ("val_score", "val_loss", "test_score", "seconds")}

    def run(metrics: dict[str, float], tags: dict[str, str] = tags) -> Any:
        data = SimpleNamespace(tags=tags, params=params, metrics=metrics)
        return SimpleNamespace(data=data, info=SimpleNamespace(run_id="r1"))

    assert trial_of(run(metrics)) == replace(MADE, run_id="r1")
    changed = {**metrics, name: metrics[name] + 0.1}
    with pytest.raises(StoreError, match=rf"run r1 cannot be read as a trial \(its tag kdrec\.result says {name} "):
        trial_of(run(changed))
    with pytest.raises(StoreError, match=r"delete it in MLflow to go on"):
        trial_of(run(metrics, {**tags, RESULT: NESTED.decode()}))


@pytest.mark.parametrize("beside", ["history.sqlite", "artifacts"])
def test_an_emptied_store_beside_what_tells_of_its_runs_is_refused_and_not_filled_anew(
    tmp_path: Path, beside: str
) -> None:
    home = Home.at(tmp_path)
    if beside == "artifacts":
        home.artifacts.mkdir()
    else:
        write_history(home)
    file = tmp_path / "mlflow.db"
    file.touch()
    with pytest.raises(StoreError, match=rf"is empty, and {beside} beside it .* delete it to begin anew"):
        Store.open(home)
    assert file.stat().st_size == 0
    with closing(sqlite3.connect(file)) as database:  # a database without a table is as empty
        database.execute("VACUUM")
    with pytest.raises(StoreError, match="is empty, and"):
        Store.open(home)


def test_a_file_where_a_folder_of_the_home_belongs_is_one_sentence(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    (tmp_path / "outbox").touch()
    with pytest.raises(KdrecError, match="outbox must be a folder of the kdrec home, and a file is there"):
        outbox.kept(home, "abc")
    with pytest.raises(KdrecError, match="must be a folder"):
        Home.at(tmp_path / "outbox" / "home").folder("tokens")


def test_what_is_put_aside_takes_the_place_of_an_older_file_and_of_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content in ("1", "2"):
        path.write_text(content)
        assert put_aside(path).read_text() == content
    for n in (2, 3):
        path.mkdir()
        assert put_aside(path).name == f"a.damaged-{n}"
    path.write_text("x")
    remove(path)
    remove(path)
    assert not path.exists()
