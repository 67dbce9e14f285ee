"""Teacher logits are found by example id, and a file of them is believed only whole and with the right key."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save
from scipy.special import softmax
from scipy.stats import entropy

from kdrec.errors import CorruptFile, MismatchError
from kdrec.signals import TeacherSignal, _content_hash, checkpoint_of, joined, signal_key


def a_signal(n: int = 4, key: str = "k" * 64) -> TeacherSignal:
    ids_N = np.array([50, 3, 999, 7, 12, 1][:n])
    logits_NC = np.stack([ids_N * 1.0, ids_N * 2.0, -ids_N], axis=1).astype(np.float32)
    return TeacherSignal(key=key, ids_N=ids_N, logits_RC=logits_NC)


def test_logits_are_found_by_id_in_the_order_asked_for():
    wanted = np.array([999, 3, 50, 7, 3])
    assert a_signal().lookup(wanted).tolist() == [[i, 2 * i, -i] for i in wanted]


@pytest.mark.parametrize("stranger", [0, 8, 10_000])
def test_an_id_without_logits_is_an_error(stranger: int):
    with pytest.raises(MismatchError, match="no logits for 1 of 2 examples"):
        a_signal().lookup(np.array([3, stranger]))


def test_load_is_the_inverse_of_save(tmp_path: Path):
    signal, path = a_signal(), tmp_path / "s.safetensors"
    signal.save(path)
    read = TeacherSignal.load(path, key=signal.key)
    assert read.logits_RC.dtype == np.float32
    assert np.array_equal(read.ids_N, signal.ids_N)
    assert np.array_equal(read.logits_RC, signal.logits_RC)
    assert [p.name for p in tmp_path.iterdir()] == ["s.safetensors"]


def test_a_wrong_key_is_an_error(tmp_path: Path):
    a_signal().save(tmp_path / "s.safetensors")
    with pytest.raises(MismatchError, match="belong to another teacher, task, tokenizer or length"):
        TeacherSignal.load(tmp_path / "s.safetensors", key="j" * 64)


def test_the_key_depends_on_all_that_logits_depend_on():
    parts = {"checkpoint": "a", "data": "b", "tokenizer": "c", "max_length": 8}
    keys = {signal_key(**parts)}
    for name, other in (("checkpoint", "x"), ("data", "x"), ("tokenizer", "x"), ("max_length", 9)):
        keys.add(signal_key(**{**parts, name: other}))
    assert len(keys) == 5


def test_any_flipped_bit_is_detected(tmp_path: Path):
    """Header, key, shape and padding included: the file is refused as corrupt, or read to the same content."""
    signal, path = a_signal(n=2, key="k"), tmp_path / "s.safetensors"
    signal.save(path)
    whole = path.read_bytes()
    survived = 0
    for at in range(len(whole)):
        for bit in (0, 1, 5):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                read = TeacherSignal.load(path, key="k")
            except CorruptFile:
                continue
            survived += 1
            assert np.array_equal(read.ids_N, signal.ids_N)
            assert np.array_equal(read.logits_RC, signal.logits_RC)
    assert survived < 20, "only spaces and the like in the header may change unseen"


def test_any_truncation_is_detected(tmp_path: Path):
    path = tmp_path / "s.safetensors"
    a_signal().save(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptFile, match="the cached teacher logits"):
            TeacherSignal.load(path, key="k" * 64)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"logits_RC": np.zeros((4, 3))}, MismatchError, "one fp32 row"),
        ({"logits_RC": np.zeros((3, 3), np.float32)}, MismatchError, "one fp32 row"),
        ({"logits_RC": np.zeros(4, np.float32)}, MismatchError, "one fp32 row"),
        ({"ids_N": np.empty(0, np.int64), "logits_RC": np.empty((0, 3), np.float32)}, MismatchError, "one fp32 row"),
        ({"ids_N": np.array([1, 2, 2, 3])}, MismatchError, "some example has several"),
        ({"logits_RC": np.full((4, 3), np.nan, np.float32)}, CorruptFile, "not finite"),
        ({"logits_RC": np.full((4, 3), np.inf, np.float32)}, CorruptFile, "not finite"),
    ],
)
def test_what_cannot_teach_is_refused(change: dict[str, np.ndarray], error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        dataclasses.replace(a_signal(), **change)


def test_logits_at_several_places_come_back_by_id_whatever_their_order(tmp_path: Path):
    ids, counts = np.array([30, 10, 20]), np.array([2, 1, 3])
    logits = np.repeat([30.0, 30.5, 10.0, 20.0, 20.5, 20.75], 2).reshape(6, 2).astype(np.float32)
    TeacherSignal(key="k", ids_N=ids, logits_RC=logits, counts_N=counts).save(tmp_path / "s.safetensors")
    read = TeacherSignal.load(tmp_path / "s.safetensors", key="k")
    assert read.lookup(np.array([20, 30]))[:, 0].tolist() == [20.0, 20.5, 20.75, 30.0, 30.5]
    assert read.lookup(np.array([10]))[:, 1].tolist() == [10.0]
    with pytest.raises(MismatchError, match="no logits for 1 of 2"):
        read.lookup(np.array([10, 11]))


@pytest.mark.parametrize(
    "change",
    [
        {"ids": np.array([[10], [20]])},
        {"ids": np.array([1.5, 2.5])},
        {"ids": np.array([10, 20], np.int32)},
        {"logits": np.zeros((3, 2), np.float64)},
        {"counts": np.array([1.0, 2.0])},
    ],
)
def test_a_file_of_another_form_is_refused_though_its_hash_be_right(tmp_path: Path, change: dict[str, np.ndarray]):
    tensors = {"ids": np.array([10, 20]), "logits": np.zeros((3, 2), np.float32), "counts": np.array([1, 2]), **change}
    made = _content_hash("k", *tensors.values())
    (tmp_path / "s").write_bytes(save(tensors, metadata={"key": "k", "sha256": made}))
    with pytest.raises(CorruptFile, match="not of the form they are written in"):
        TeacherSignal.load(tmp_path / "s", key="k")


@pytest.mark.parametrize("counts", [[1, 2], [1, 2, 3, 4], [1, 1, 1], [7, 2, -3]])
def test_places_that_do_not_add_up_are_refused(counts: list[int]):
    with pytest.raises(MismatchError, match="one fp32 row of logits for each place"):
        TeacherSignal(key="k", ids_N=np.arange(3), logits_RC=np.zeros((6, 2), np.float32), counts_N=np.array(counts))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from kdrec.errors import KdrecError
from kdrec.signals import checkpoint_of, TeacherSignal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
big = TeacherSignal(key="new", ids_N=np.arange(9999), logits_RC=np.zeros((9999, 3), np.float32))
try:
    big.save(Path(sys.argv[1]))
except KdrecError as error:
    sys.exit(f"sentence: {error}")
"""


def test_a_full_disk_leaves_the_older_file_whole_and_is_one_sentence(tmp_path: Path):
    """The operating system refuses the write for real (a limit on the size of files)."""
    path = tmp_path / "s.safetensors"
    a_signal().save(path)
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("sentence: cannot write")
    assert "free some space" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["s.safetensors"]


def test_a_signal_says_whose_weights_made_it_and_a_changed_word_of_that_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "signal"
    signal = TeacherSignal(key="k", ids_N=np.arange(2), logits_RC=np.zeros((2, 3), dtype=np.float32))
    signal.save(path, checkpoint="c" * 64)
    assert checkpoint_of(path) == "c" * 64
    assert TeacherSignal.load(path, key="k").key == "k"
    for word in (b"c" * 64, b"checkpoint"):
        path.write_bytes(path.read_bytes().replace(word, b"x" * len(word)))
        with pytest.raises(CorruptFile, match="do not match"):
            TeacherSignal.load(path, key="k")
        signal.save(path, checkpoint="c" * 64)
    signal.save(path)
    assert checkpoint_of(path) is None
    assert checkpoint_of(tmp_path / "nowhere") is None


def test_joined_signals_say_what_each_says():
    one, other = (
        a_signal(4),
        TeacherSignal(
            key="o" * 64, ids_N=np.array([4, 2]), logits_RC=np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32)
        ),
    )
    both = joined(one, other)
    assert both.lookup(np.array([2, 3, 4, 999])).tolist() == [[4, 5, 6], [3, 6, -3], [1, 2, 3], [999, 1998, -999]]
    assert both.key not in (one.key, other.key)
    with pytest.raises(MismatchError, match="must both have one place an example"):
        joined(
            one,
            TeacherSignal(key="", ids_N=np.array([1]), logits_RC=np.ones((1, 3), np.float32), counts_N=np.array([1])),
        )


def test_joined_signals_of_places_say_what_each_says():
    parts = [
        TeacherSignal(
            key=name,
            ids_N=np.array(ids),
            logits_RC=np.arange(2 * sum(counts), dtype=np.float32).reshape(-1, 2) + shift,
            counts_N=np.array(counts),
        )
        for name, ids, counts, shift in (("a", [9, 4], [1, 3], 0), ("b", [5, 1], [2, 2], 100))
    ]
    both = joined(*parts)
    for part, ids in zip(parts, ([4, 9], [1, 5]), strict=True):
        np.testing.assert_array_equal(both.lookup(np.array(ids)), part.lookup(np.array(ids)))


@pytest.mark.parametrize("axis", [None, "classes", "positions"])
def test_entropy_is_that_of_scipy_over_units(axis):
    rng = np.random.default_rng(1)
    counts = np.array([2, 3, 4])
    logits = rng.normal(0, 3, (9, 2)).astype(np.float32)
    signal = TeacherSignal(key="k", ids_N=np.array([3, 1, 2]), logits_RC=logits, counts_N=counts)
    units = list(logits)
    if axis == "positions":
        units = [column for window in np.split(logits, np.cumsum(counts)[:-1]) for column in window.T]
    expected = np.mean([entropy(softmax(unit.astype(float))) for unit in units])
    assert signal.entropy(axis) == pytest.approx(expected, rel=1e-9)


def test_a_sure_teacher_has_no_entropy():
    sure = TeacherSignal(key="k", ids_N=np.array([1]), logits_RC=np.array([[3e4, 0, -3e4]], dtype=np.float32))
    assert sure.entropy(None) == pytest.approx(0, abs=1e-12)
