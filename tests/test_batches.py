"""The plan sees each example once an epoch and pads little; a batch is joined to its teacher by example id."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import encoded, keyword_split, signal_for

from kdrec import tasks
from kdrec.batches import BUCKET_BATCHES, collate, evaluation_batches, plan, plan_epoch, plan_hash
from kdrec.errors import BadArgument, MismatchError
from kdrec.home import Home
from kdrec.studies import RowLimits

lengths = st.lists(st.integers(1, 60), min_size=1, max_size=300).map(np.array)


@given(lengths_N=lengths, batch_size=st.integers(1, 40), seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_every_example_is_once_in_an_epoch(lengths_N: np.ndarray, batch_size: int, seed: int, epoch: int):
    made = plan_epoch(lengths_N, batch_size, seed=seed, epoch=epoch)
    assert np.array_equal(np.sort(np.concatenate(made)), np.arange(len(lengths_N)))
    sizes = [len(batch) for batch in made]
    assert sum(size < batch_size for size in sizes) <= 1
    assert max(sizes) <= batch_size


def test_a_plan_is_its_epochs_in_order_and_depends_on_the_seed_alone():
    lengths_N = np.random.default_rng(0).integers(3, 40, 500)
    ids_N = np.random.default_rng(1).permutation(5000)[:500]
    made = plan(lengths_N, 16, n_steps=96, seed=4)
    expected = [batch for epoch in range(3) for batch in plan_epoch(lengths_N, 16, seed=4, epoch=epoch)]
    assert len(made) == 3 * 32
    shorter = plan(lengths_N, 16, n_steps=50, seed=4)
    assert len(shorter) == 50
    assert all(np.array_equal(a, b) for a, b in zip(shorter, made, strict=False)), "a shorter run sees the same batches"
    assert all(np.array_equal(a, b) for a, b in zip(made, expected, strict=True))
    assert not np.array_equal(made[0], made[32])
    assert plan_hash(made, ids_N) == plan_hash(plan(lengths_N, 16, n_steps=96, seed=4), ids_N)
    hashes = {plan_hash(plan(lengths_N, 16, n_steps=96, seed=seed), ids_N) for seed in range(20)}
    assert len(hashes) == 20


def test_the_hash_of_a_plan_sees_ids_order_and_where_batches_end():
    ids_N = np.arange(4) + 10
    plans = [[[0, 1], [2, 3]], [[0, 1, 2], [3]], [[1, 0], [2, 3]], [[2, 3], [0, 1]]]
    hashes = {plan_hash([np.array(batch) for batch in batches], ids_N) for batches in plans}
    assert len(hashes) == 4
    assert plan_hash([np.arange(4)], ids_N) != plan_hash([np.arange(4)], ids_N + 1)


def test_batches_follow_no_order_of_length():
    lengths_N = np.arange(1, 2001)
    means = [lengths_N[batch].mean() for batch in plan_epoch(lengths_N, 10, seed=0, epoch=0)]
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.25


def test_no_example_no_plan():
    with pytest.raises(BadArgument, match="at least one example"):
        plan(np.array([], dtype=np.int64), 4, n_steps=1, seed=0)


def padding(lengths_N: np.ndarray, batches: list[np.ndarray]) -> float:
    return sum(len(batch) * lengths_N[batch].max() for batch in batches) / lengths_N.sum()


def test_little_is_padded_on_real_questions(shared_home: Home):
    """Against shuffled batches of the same size, on the real lengths of TREC; and evaluation pads as little."""
    task = tasks.load("trec", shared_home, RowLimits(train=2000))
    lengths_N = np.array([len(text.split()) + 2 for (text,) in task.train.texts])
    bucketed = padding(lengths_N, plan_epoch(lengths_N, 32, seed=0, epoch=0))
    shuffled = padding(lengths_N, np.array_split(np.random.default_rng(0).permutation(len(lengths_N)), 63))
    assert bucketed < 1.12
    assert bucketed < shuffled / 1.4
    assert padding(lengths_N, list(evaluation_batches(lengths_N))) < 1.15
    assert len(lengths_N) > BUCKET_BATCHES * 32, "the law is of more than one bucket"


@given(lengths_N=lengths, max_tokens=st.integers(1, 500))
def test_evaluation_batches_hold_every_example_and_no_more_tokens_than_allowed(lengths_N: np.ndarray, max_tokens: int):
    made = list(evaluation_batches(lengths_N, max_tokens))
    assert np.array_equal(np.sort(np.concatenate(made)), np.arange(len(lengths_N)))
    assert all(len(batch) == 1 or len(batch) * lengths_N[batch].max() <= max_tokens for batch in made)


def test_collate_by_hand():
    split = encoded([[5, 6, 7], [8], [9, 4]], [1, 0, 2], types=True)
    batch = collate(split, np.array([2, 0]), pad_id=99)
    assert batch.input_ids_BL.tolist() == [[9, 4, 99], [5, 6, 7]]
    assert batch.attention_mask_BL.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch.token_type_ids_BL is not None
    assert batch.token_type_ids_BL.tolist() == [[0, 1, 0], [0, 1, 0]]
    assert batch.labels_U.tolist() == [2, 1]
    assert batch.teacher_RC is None
    assert set(batch.inputs()) == {"input_ids", "attention_mask", "token_type_ids"}
    plain = collate(encoded([[5, 6], [8]], [1, 0]), np.array([1]), pad_id=0)
    assert set(plain.inputs()) == {"input_ids", "attention_mask"}
    assert plain.input_ids_BL.tolist() == [[8]]


@given(seed=st.integers(0, 1000))
def test_logits_are_joined_by_id_whatever_the_order_of_the_signal(seed: int):
    split = keyword_split(20, seed=3)
    signal = signal_for(split, 3, seed=seed)
    by_id = dict(zip(signal.ids_N.tolist(), signal.logits_RC.tolist(), strict=True))
    rows = np.random.default_rng(seed).permutation(20)[:7]
    batch = collate(split, rows, pad_id=0, signal=signal)
    assert batch.teacher_RC is not None
    assert batch.teacher_RC.tolist() == [by_id[i] for i in split.ids_N[rows].tolist()]


def test_an_example_that_the_teacher_never_saw_is_an_error():
    split, other = keyword_split(20, seed=3), keyword_split(20, seed=4)
    with pytest.raises(MismatchError, match="the teacher has no logits for"):
        collate(split, np.arange(20), pad_id=0, signal=signal_for(other, 3))


def test_a_compact_vocabulary_renames_tokens_and_refuses_unknown_ones():
    split = encoded([[5, 6], [8]], [0, 1])
    vocabulary_V = np.full(10, -1)
    vocabulary_V[[0, 5, 6]] = [0, 1, 2]
    assert collate(split, np.array([0]), pad_id=0, vocabulary_V=vocabulary_V).input_ids_BL.tolist() == [[1, 2]]
    with pytest.raises(MismatchError, match="compact vocabulary was not built for"):
        collate(split, np.array([0, 1]), pad_id=0, vocabulary_V=vocabulary_V)
