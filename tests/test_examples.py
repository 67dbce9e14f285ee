"""Rows and examples as flat arrays: what belongs to which."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdrec.errors import BadArgument
from kdrec.examples import Encoded, Reading, Split, offsets_of, runs

WORDS = Split(
    texts=(("a", "b"), ("c",), ("d", "e", "f")),
    labels_U=np.array([1, 2, 3, 4, 5, 6]),
    ids_N=np.array([7, 8, 9]),
    offsets_N1=np.array([0, 2, 3, 6]),
)


def test_a_row_has_its_own_labels():
    assert [WORDS.labels_of(row).tolist() for row in range(3)] == [[1, 2], [3], [4, 5, 6]]
    whole = Split(texts=(("a",), ("b",)), labels_U=np.array([4, 5]), ids_N=np.array([1, 2]))
    assert [whole.labels_of(row).tolist() for row in range(2)] == [[4], [5]]


@pytest.mark.parametrize("step", [1, 2, 3])
def test_every_so_many_rows_keep_their_labels(step: int):
    some = WORDS.every(step)
    assert some.texts == WORDS.texts[::step]
    assert some.ids_N.tolist() == WORDS.ids_N[::step].tolist()
    for at, row in enumerate(range(0, 3, step)):
        assert some.labels_of(at).tolist() == WORDS.labels_of(row).tolist()


def test_labels_that_do_not_fit_their_rows_are_refused():
    with pytest.raises(BadArgument, match="must be of one length"):
        Split(texts=(("a",),), labels_U=np.array([1, 2]), ids_N=np.array([1]), offsets_N1=np.array([0, 1, 2]))


@given(st.lists(st.lists(st.integers(0, 99), max_size=4), min_size=1, max_size=6), st.data())
def test_runs_are_the_pieces_of_a_flat_array_in_any_order(pieces: list[list[int]], data: st.DataObject):
    offsets = offsets_of(np.array([len(piece) for piece in pieces]))
    flat = np.array([number for piece in pieces for number in piece], dtype=np.int64)
    order = np.array(data.draw(st.permutations(range(len(pieces)))))
    taken = flat[runs(offsets[order], offsets[order + 1] - offsets[order])]
    assert taken.tolist() == [number for at in order for number in pieces[at]]


def test_units_are_words_or_the_two_ends_of_an_answer_or_whole_texts():
    def split(reading: Reading | None, n_labels: int) -> Encoded:
        return Encoded(
            input_ids_T=np.arange(7, dtype=np.int32),
            token_type_ids_T=None,
            offsets_N1=np.array([0, 3, 7]),
            labels_U=np.zeros(n_labels, dtype=np.int64),
            ids_N=np.array([1, 2]),
            n_truncated=0,
            fingerprint="f",
            reading=reading,
        )

    places = {"places_R": np.array([1, 0, 1, 2]), "offsets_N1": np.array([0, 1, 4])}
    places |= {"rows_N": np.array([0, 1]), "origin_R2": np.zeros((4, 2), dtype=np.int64)}
    assert split(None, 2).units_N.tolist() == [1, 1]
    assert split(Reading(axis="classes", **places), 4).units_N.tolist() == [1, 3]
    spans = split(Reading(axis="positions", **places), 4)
    assert (spans.units_N.tolist(), spans.unit_offsets_N1.tolist()) == ([2, 2], [0, 2, 4])
