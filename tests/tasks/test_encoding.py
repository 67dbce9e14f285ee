"""Tokens of real text by a real tokenizer: equal to transformers' own, tokenised once, never believed when damaged."""

from __future__ import annotations

import multiprocessing
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdrec import catalog, tasks
from kdrec.errors import BadArgument, DataError, SourceError
from kdrec.home import Home
from kdrec.sources import resolve
from kdrec.studies import RowLimits
from kdrec.tasks import token_store
from kdrec.tasks.rows import Row, Rows
from kdrec.tasks.splits import make_task
from kdrec.types import Encoded

pytestmark = pytest.mark.network  # the tokenizer and the questions come from the package index

LIMITS = RowLimits(train=200, validation=50, test=50)


@pytest.fixture(scope="module")
def model(shared_home):
    return resolve(catalog.card("minilm").source, shared_home)


@pytest.fixture(scope="module")
def tokenizer_file(model):
    return model / "tokenizer.json"


@pytest.fixture(scope="module")
def reference(model):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model)


@pytest.fixture(scope="module")
def trec(shared_home):
    return tasks.load("trec", shared_home, LIMITS)


@pytest.fixture(scope="module")
def pairs(trec):
    """Pairs of real questions: same coarse label or not."""
    split = trec.train
    rows = [
        Row(texts=(a[0], b[0]), label="same" if x == y else "other")
        for a, b, x, y in zip(split.texts, split.texts[1:], split.labels_U, split.labels_U[1:], strict=False)
    ]
    labels = ("other", "same")
    data = Rows(labels=labels, train=tuple(rows))
    return make_task("pairs", data, family="pair", metric="accuracy", licence="test")


def examples(encoded):
    return [encoded.input_ids_T[a:b].tolist() for a, b in zip(encoded.offsets_N1, encoded.offsets_N1[1:], strict=False)]


def same(a: Encoded, b: Encoded):
    for name in ("input_ids_T", "token_type_ids_T", "offsets_N1", "labels_U", "ids_N"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.n_truncated, a.fingerprint) == (b.n_truncated, b.fingerprint)


def files(home):
    return sorted(home.folder("tokens").iterdir())


@pytest.mark.parametrize("max_length", [8, 128])
def test_sentences_are_encoded_as_transformers_encodes_them(trec, tokenizer_file, reference, home, max_length):
    encoded = tasks.encode(trec.train, trec, tokenizer_file, max_length, home)
    texts = [text for (text,) in trec.train.texts]
    assert examples(encoded) == reference(texts, truncation=True, max_length=max_length)["input_ids"]
    assert encoded.n_truncated == sum(len(ids) > max_length for ids in reference(texts)["input_ids"])
    assert encoded.token_type_ids_T is None
    np.testing.assert_array_equal(encoded.ids_N, trec.train.ids_N)
    np.testing.assert_array_equal(encoded.labels_U, trec.train.labels_U)


@pytest.mark.parametrize("max_length", [16, 128])
def test_pairs_are_encoded_as_transformers_encodes_them(pairs, tokenizer_file, reference, home, max_length):
    encoded = tasks.encode(pairs.train, pairs, tokenizer_file, max_length, home)
    firsts, seconds = (list(texts) for texts in zip(*pairs.train.texts, strict=True))
    expected = reference(firsts, seconds, truncation="longest_first", max_length=max_length)
    assert examples(encoded) == expected["input_ids"]
    assert encoded.token_type_ids_T is not None
    assert encoded.token_type_ids_T.tolist() == [kind for kinds in expected["token_type_ids"] for kind in kinds]


def test_no_padding_and_no_text_survives_the_round_trip_changed(trec, tokenizer_file, reference, home):
    encoded = tasks.encode(trec.validation, trec, tokenizer_file, 128, home)
    assert reference.pad_token_id not in encoded.input_ids_T
    for (text,), ids in zip(trec.validation.texts, examples(encoded), strict=True):
        plain = reference.decode(ids, skip_special_tokens=True)
        assert "".join(plain.split()) == "".join(text.lower().split())


def test_a_second_call_maps_the_same_arrays_from_disk_without_tokenising(trec, tokenizer_file, home):
    first = tasks.encode(trec.test, trec, tokenizer_file, 32, home)
    (path,) = files(home)
    written = path.stat().st_mtime_ns
    second = tasks.encode(trec.test, trec, tokenizer_file, 32, home)
    same(first, second)
    assert path.stat().st_mtime_ns == written
    assert _is_mapped(second.input_ids_T)
    assert not second.input_ids_T.flags.writeable
    assert second.input_ids_T.dtype == np.int32
    assert second.offsets_N1.dtype == second.ids_N.dtype == second.labels_U.dtype == np.int64


def _is_mapped(array):
    while array is not None and not isinstance(array, np.memmap):
        array = array.base
    return isinstance(array, np.memmap)


def test_the_key_is_content_rows_tokenizer_and_length_and_not_a_name_or_a_path(trec, tokenizer_file, home, tmp_path):
    base = tasks.encode(trec.test, trec, tokenizer_file, 32, home)
    copied = shutil.copy(tokenizer_file, tmp_path / "tokenizer.json")
    assert tasks.encode(trec.test, replace(trec, name="other"), copied, 32, home).fingerprint == base.fingerprint
    changed_tokenizer = tmp_path / "changed.json"
    changed_tokenizer.write_bytes(tokenizer_file.read_bytes() + b"\n")
    others = [
        tasks.encode(trec.test, trec, tokenizer_file, 33, home),
        tasks.encode(trec.validation, trec, tokenizer_file, 32, home),
        tasks.encode(trec.test, trec, changed_tokenizer, 32, home),
    ]
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == 4


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1, exclude_max=True), st.booleans())
def test_a_token_file_with_any_byte_changed_or_cut_is_made_again(trec, tokenizer_file, home, where, cut):
    expected = tasks.encode(trec.test, trec, tokenizer_file, 24, home)
    (path,) = files(home)
    good = path.read_bytes()
    at = int(where * len(good))
    bad = good[:at] if cut else good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :]
    path.unlink()  # a new file, as a crash or a disk would leave it; the mapped one stays what it was
    path.write_bytes(bad)
    same(tasks.encode(trec.test, trec, tokenizer_file, 24, home), expected)
    assert path.read_bytes() == good


def test_a_token_file_of_another_key_is_made_again(trec, tokenizer_file, home):
    wrong = tasks.encode(trec.validation, trec, tokenizer_file, 24, home)
    expected = tasks.encode(trec.test, trec, tokenizer_file, 24, home)
    path = home.folder("tokens") / f"{expected.fingerprint}.tokens"
    shutil.copy(home.folder("tokens") / f"{wrong.fingerprint}.tokens", path)
    again = tasks.encode(trec.test, trec, tokenizer_file, 24, home)
    np.testing.assert_array_equal(again.ids_N, trec.test.ids_N)
    same(again, token_store.read(path, expected.fingerprint))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=9), min_size=1, max_size=9), st.booleans())
def test_what_the_store_reads_is_what_it_was_given(tmp_path, tokens, typed):
    flat = np.array([t for row in tokens for t in row], dtype=np.int32)
    encoded = Encoded(
        input_ids_T=flat,
        token_type_ids_T=(flat % 2).astype(np.int8) if typed else None,
        offsets_N1=np.cumsum([0, *map(len, tokens)]),
        labels_U=np.arange(len(tokens)),
        ids_N=-np.arange(len(tokens)),
        n_truncated=3,
        fingerprint="key",
    )
    token_store.write(tmp_path / "x.tokens", encoded)
    read = token_store.read(tmp_path / "x.tokens", "key")
    if not typed:
        assert read.token_type_ids_T is None
        read, encoded = (replace(e, token_type_ids_T=np.zeros(0, np.int8)) for e in (read, encoded))
    same(read, encoded)


def _encode_elsewhere(root, start, tokenizer_file, trec):
    start.wait()
    tasks.encode(trec.train, trec, tokenizer_file, 64, Home.at(root))


def test_processes_that_tokenise_at_once_leave_one_good_file(trec, tokenizer_file, home):
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    workers = [
        context.Process(target=_encode_elsewhere, args=(home.root, start, tokenizer_file, trec)) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    (path,) = files(home)
    assert len(token_store.read(path, path.stem)) == len(trec.train)


def test_a_missing_or_broken_tokenizer_and_a_length_too_small_are_refused(trec, tokenizer_file, home, tmp_path):
    with pytest.raises(SourceError, match=r"no tokenizer at .*nowhere\.json; a model needs the file"):
        tasks.encode(trec.test, trec, tmp_path / "nowhere.json", 32, home)
    broken = tmp_path / "tokenizer.json"
    broken.write_text("{}")
    with pytest.raises(SourceError, match="is not a tokenizer"):
        tasks.encode(trec.test, trec, broken, 32, home)
    with pytest.raises(BadArgument, match="max_length must be a whole number of at least 8, got 7"):
        tasks.encode(trec.test, trec, tokenizer_file, 7, home)
    assert files(home) == []


def test_a_text_without_a_token_is_refused(home, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"good": 0, "?": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # and no special tokens
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    rows = [Row(texts=(f"good {i}",), label="ab"[i % 2]) for i in range(100)]
    blank = [Row(texts=("\u2003" * n,), label="a") for n in range(1, 30)]
    data = Rows(labels=("a", "b"), train=tuple(rows), test=tuple(blank))
    task = make_task("t", data, family="sentence", metric="accuracy", licence="test")
    with pytest.raises(DataError, match="29 texts become no token at all"):
        tasks.encode(task.test, task, tmp_path / "tokenizer.json", 16, home)
