"""Rows and examples as flat arrays: what belongs to which."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdrec.errors import BadArgument
from kdrec.examples import Encoded, Reading, Split, joined, offsets_of, runs

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


def an_encoded(rows: list[list[int]], labels: list[int], *, types: bool = False, places: bool = False) -> Encoded:
    lengths, flat = [len(row) for row in rows], [token for row in rows for token in row]
    reading = None
    if places:  # at every token but the first
        reading = Reading(
            axis="classes",
            places_R=np.concatenate([np.arange(1, n) for n in lengths]),
            offsets_N1=offsets_of(np.array(lengths) - 1),
            rows_N=np.arange(len(rows)),
            origin_R2=np.concatenate([np.stack([np.arange(n - 1), np.arange(1, n)], 1) for n in lengths]),
        )
    return Encoded(
        input_ids_T=np.array(flat, dtype=np.int32),
        token_type_ids_T=np.array(flat, dtype=np.int8) % 2 if types else None,
        offsets_N1=offsets_of(np.array(lengths)),
        labels_U=np.array(labels),
        ids_N=np.array([100 * len(rows) + at for at in range(len(rows))]),
        n_truncated=1,
        n_lost=2,
        fingerprint=f"{rows}",
        reading=reading,
    )


@pytest.mark.parametrize("places", [False, True])
@pytest.mark.parametrize("types", [(False, False), (True, False), (False, True), (True, True)])
def test_two_splits_joined_have_the_examples_of_both(types: tuple[bool, bool], places: bool):
    """Each example has the tokens, types, labels and places that it had alone; rows are counted through."""
    parts = (
        an_encoded([[5, 6, 7], [8, 9]], [1, 0, 2] if places else [1, 0], types=types[0], places=places),
        an_encoded([[4, 3], [2, 1, 9, 7], [6, 6]], [-1] * (5 if places else 3), types=types[1], places=places),
    )
    both = joined(*parts)
    assert (len(both), both.n_truncated, both.n_lost) == (5, 2, 4)
    assert (both.token_type_ids_T is None) == (types == (False, False))
    for at, (part, row) in enumerate([(parts[0], 0), (parts[0], 1), (parts[1], 0), (parts[1], 1), (parts[1], 2)]):
        assert both.ids_N[at] == part.ids_N[row]
        mine, its = slice(*both.offsets_N1[at : at + 2]), slice(*part.offsets_N1[row : row + 2])
        assert both.input_ids_T[mine].tolist() == part.input_ids_T[its].tolist()
        if both.token_type_ids_T is not None:
            expected = (
                [0] * part.lengths_N[row] if part.token_type_ids_T is None else part.token_type_ids_T[its].tolist()
            )
            assert both.token_type_ids_T[mine].tolist() == expected
        units, its_units = (slice(*x.unit_offsets_N1[i : i + 2]) for x, i in ((both, at), (part, row)))
        assert both.labels_U[units].tolist() == part.labels_U[its_units].tolist()
        if places:
            mine, its = (slice(*x.reading.offsets_N1[i : i + 2]) for x, i in ((both, at), (part, row)))
            assert both.reading.places_R[mine].tolist() == part.reading.places_R[its].tolist()
            assert both.reading.origin_R2[mine].tolist() == part.reading.origin_R2[its].tolist()
    if places:
        assert both.reading.rows_N.tolist() == [0, 1, 2, 3, 4]
    assert both.fingerprint != joined(*parts[::-1]).fingerprint


def test_splits_that_are_read_otherwise_are_not_joined():
    with pytest.raises(BadArgument, match="must be read alike"):
        joined(an_encoded([[1, 2]], [0]), an_encoded([[1, 2]], [0], places=True))
