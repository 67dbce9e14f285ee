"""Splits by content: no row moves when others come or go, no duplicate straddles, ids and fingerprints are content."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdrec import tasks
from kdrec.errors import DataError
from kdrec.tasks.rows import Row, Rows, example_ids, normalise, once_each
from kdrec.tasks.splits import PARTS, apart_from, first_text, make_task, part_of, whole, word_before_colon

LABELS = ("neg", "pos")


@dataclass(frozen=True)
class Limits:
    train: int | None = None
    validation: int | None = None
    test: int | None = None
    transfer: int | None = None
    teacher: int | None = None


def split(rows, *, test=None, limits=None, name="t", metric="accuracy", labels=LABELS, group=whole):
    return make_task(
        name,
        Rows(labels=labels, train=tuple(rows), test=test),
        family="sentence",
        metric=metric,
        licence="test",
        group=group,
        limits=limits,
    )


def numbered(n, start=0):
    return [Row(texts=(f"question number {i}",), label=LABELS[i % 2]) for i in range(start, start + n)]


def placed(task):
    return {ids: part for part in PARTS for ids in getattr(task, part).ids_N.tolist()}


spelled = st.builds(
    lambda word, case, gap: Row(texts=(gap.join(getattr(w, case)() for w in word.split()),), label="pos"),
    st.sampled_from([f"the {i} film was STRASSE" for i in range(12)]),
    st.sampled_from(["upper", "lower", "title", "casefold"]),
    st.sampled_from([" ", "  ", "\n", "\t "]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=20), max_size=60), st.integers(0, 2**32), st.booleans())
def test_adding_and_shuffling_rows_never_moves_another_row(texts, seed, has_test):
    ours = numbered(100)
    test = tuple(numbered(20, start=1000)) if has_test else None
    others = [Row(texts=(f"{text} #{at}",), label="neg") for at, text in enumerate(texts)]
    mixed = ours + others
    random.Random(seed).shuffle(mixed)
    before, after = placed(split(ours, test=test)), placed(split(mixed, test=test))
    assert before.items() <= after.items()


@settings(max_examples=40, deadline=None)
@given(st.lists(spelled, min_size=1, max_size=40))
def test_duplicates_never_straddle_splits(rows):
    task = split(numbered(100) + rows)
    where = {}
    for part in PARTS:
        for (text,) in getattr(task, part).texts:
            assert where.setdefault(normalise(text), part) == part


@settings(max_examples=60)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=2), st.booleans())
def test_the_split_of_a_group_is_a_function_of_the_group_alone(texts, has_test):
    group = whole(tuple(texts))
    assert part_of(group, has_test=has_test) == part_of(whole(tuple(reversed(texts))), has_test=has_test)
    if has_test:
        assert part_of(group, has_test=True) != "test"
    elif part_of(group, has_test=False) != "test":  # the validation draw does not depend on the test draw
        assert part_of(group, has_test=False) == part_of(group, has_test=True)


def test_shares_are_a_fifth_for_test_and_three_twentieths_of_the_rest_for_validation():
    task = split(numbered(20_000))
    assert len(task.test) / 20_000 == pytest.approx(0.20, abs=0.01)
    assert len(task.validation) / (20_000 - len(task.test)) == pytest.approx(0.15, abs=0.01)
    given_test = split(numbered(5_000), test=tuple(numbered(50, start=9_000)))
    assert len(given_test.test) == 50
    assert len(given_test.validation) / 5_000 == pytest.approx(0.15, abs=0.02)


def test_labels_follow_their_texts_and_every_row_is_kept():
    rows = numbered(300)
    task = split(rows)
    found = {
        (texts[0], task.labels[label])
        for part in PARTS
        for texts, label in zip(getattr(task, part).texts, getattr(task, part).labels_U, strict=True)
    }
    assert found == {(row.texts[0], row.label) for row in rows}


@given(st.lists(st.builds(Row, texts=st.tuples(st.text(max_size=5)), label=st.sampled_from(LABELS)), max_size=40))
def test_example_ids_are_unique_and_do_not_depend_on_order(rows):
    ids = example_ids(rows)
    assert ids.dtype == np.int64
    assert len(set(ids.tolist())) == len(rows)
    assert sorted(example_ids(rows[::-1]).tolist()) == sorted(ids.tolist())


def test_an_example_id_is_what_the_documentation_says():
    import hashlib

    parts = [b"good film", b"pos", b"0"]
    digest = hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()
    assert example_ids([Row(texts=("good film",), label="pos")])[0] == int.from_bytes(digest[:8], "big", signed=True)


def test_limits_take_a_prefix_whatever_the_order_of_rows():
    rows = numbered(500)
    small = split(rows, limits=Limits(train=50, validation=20, test=30))
    again = split(rows[::-1], limits=Limits(train=50, validation=20, test=30))
    everything = split(rows)
    assert [len(getattr(small, part)) for part in PARTS] == [50, 20, 30]
    for part, n in zip(PARTS, (50, 20, 30), strict=True):
        np.testing.assert_array_equal(getattr(small, part).ids_N, getattr(everything, part).ids_N[:n])
        np.testing.assert_array_equal(getattr(small, part).ids_N, getattr(again, part).ids_N)
    assert small.fingerprint == again.fingerprint


def test_a_limit_that_leaves_a_label_without_training_rows_is_refused_in_words():
    rows = [*numbered(300), Row(texts=("the only one",), label="rare")]
    with pytest.raises(DataError, match=r"1 of 3 labels, such as 'rare', have no row among the 10 training rows"):
        split(rows, labels=("neg", "pos", "rare"), limits=Limits(train=10))


def test_one_text_over_and_over_cannot_be_split():
    with pytest.raises(DataError, match="too few different texts"):
        split([Row(texts=("same",), label=LABELS[i % 2]) for i in range(100)])


def test_the_fingerprint_is_of_content_and_not_of_the_name():
    rows = numbered(200)
    base = split(rows)
    assert split(rows, name="other").fingerprint == base.fingerprint
    assert split(rows[::-1]).fingerprint == base.fingerprint
    flipped = [*rows[1:], Row(texts=rows[0].texts, label="pos")]
    changes = [
        split(flipped),
        split(rows[1:]),
        split(rows, metric="macro_f1"),
        split(rows, labels=("pos", "neg")),
        split(rows, limits=Limits(test=10)),
    ]
    assert len({base.fingerprint, *(task.fingerprint for task in changes)}) == 1 + len(changes)


def test_a_swapped_pair_is_the_same_group():
    assert whole(("A  dog", "a Cat")) == whole(("a cat", "a DOG"))
    assert whole(("a cat", "a dog")) != whole(("a cat", "a cat"))
    assert first_text(("Some premise", "x")) == first_text(("some  PREMISE", "y"))
    assert word_before_colon(("peg: peg a tent", "x")) == word_before_colon(("Peg: pegged to the dollar", "y"))


def test_rows_that_are_also_held_out_are_separated():
    train = [Row(texts=("One",), label="pos"), Row(texts=("two",), label="neg")]
    kept, leaking = apart_from(train, [Row(texts=("one ",), label="neg")], whole)
    assert kept == (train[1],)
    assert leaking == (train[0],)


def test_once_each_keeps_one_spelling_and_drops_contradictions_with_a_count():
    rows = [
        Row(texts=("Who ?",), label="pos"),
        Row(texts=("who ?",), label="pos"),
        Row(texts=("when ?",), label="pos"),
        Row(texts=("When  ?",), label="neg"),
        Row(texts=("why ?",), label="neg"),
    ]
    kept, notes = once_each(rows)
    assert kept == (rows[0], rows[4])
    assert once_each(rows[::-1]) == (kept, notes)
    assert notes == (
        "2 of 5 rows repeat the text of another row and were left out",
        "1 texts with contradictory labels were left out",
    )


def test_metric_follows_the_skew_of_classes():
    for name in ("sentence", "pair"):
        family = tasks.family(name)
        assert family.metric({"a": 40, "b": 10}) == "accuracy"
        assert family.metric({"a": 41, "b": 10}) == "macro_f1"
