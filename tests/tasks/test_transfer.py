"""Rows without labels: whose they are, what is left out of them, and that no label comes in with them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from tiny_studies import COLUMNS, write_bare, write_rows
from tiny_tasks import LABELS, METRICS, rows_of

from kdrec import tasks
from kdrec.errors import BadArgument, DataError
from kdrec.studies import OwnData, RowLimits, Study
from kdrec.tasks.rows import Row, Rows
from kdrec.tasks.rows import fingerprint as content_of
from kdrec.tasks.splits import make_task
from kdrec.types import FAMILIES, UNLABELLED

each_family = pytest.mark.parametrize("family", FAMILIES)
NEW = 500
"""Seed of rows that the main file has not."""


def load(path, family, **more):
    (texts, label) = COLUMNS[family]
    return tasks.load_file(path, text=list(texts), label=label, **more)


def made(family, limits=None, n=110, labels=None):
    rows = rows_of(family, n)
    data = Rows(labels=labels or LABELS[family], train=rows[20:], test=rows[:20])
    return make_task(family, data, family=family, metric=METRICS[family], licence="none", limits=limits)


def strangers(family, n=12):
    known = {row.texts for row in rows_of(family, 400)}
    return [row for row in rows_of(family, 3 * n, seed=NEW) if row.texts not in known][:n]


def texts_of(split):
    return set(split.texts)


@each_family
def test_rows_of_another_file_come_without_labels(family, tmp_path):
    more = strangers(family)
    task = load(write_rows(tmp_path, family), family, unlabelled=write_bare(tmp_path, family, more))
    assert texts_of(task.transfer) == {row.texts for row in more}
    assert set(task.transfer.labels_U.tolist()) == {UNLABELLED}
    n_labels = {"tokens": sum(len(row.texts) for row in more), "qa": 2 * len(more)}
    assert len(task.transfer.labels_U) == n_labels.get(family, len(more))
    assert not set(task.transfer.ids_N.tolist()) & set(task.train.ids_N.tolist())


@each_family
def test_rows_whose_label_cell_is_empty_are_the_same_rows(family, tmp_path):
    more = strangers(family)
    apart = load(write_rows(tmp_path, family), family, unlabelled=write_bare(tmp_path, family, more))
    path = write_rows(tmp_path, family, bare=more, name="both")
    together = load(path, family, unlabelled="empty labels")
    assert together.transfer_fingerprint == apart.transfer_fingerprint
    assert together.fingerprint == apart.fingerprint
    np.testing.assert_array_equal(together.transfer.ids_N, apart.transfer.ids_N)
    with pytest.raises(DataError):
        load(path, family)


@each_family
def test_the_order_of_the_file_does_not_matter_and_a_bound_takes_a_prefix(family, tmp_path):
    path, more = write_rows(tmp_path, family), strangers(family)
    one = load(path, family, unlabelled=write_bare(tmp_path, family, more))
    other = load(path, family, unlabelled=write_bare(tmp_path, family, more[::-1], "turned"))
    assert other.transfer.texts == one.transfer.texts
    assert other.transfer_fingerprint == one.transfer_fingerprint
    few = load(path, family, unlabelled=tmp_path / write_bare(tmp_path, family, more).name, rows=RowLimits(transfer=5))
    assert few.transfer.texts == one.transfer.texts[:5]
    assert few.transfer_fingerprint != one.transfer_fingerprint
    none = load(path, family, unlabelled=write_bare(tmp_path, family, more), rows=RowLimits(transfer=0))
    assert none.transfer is None
    assert none.fingerprint == one.fingerprint == load(path, family).fingerprint


@each_family
def test_held_out_rows_and_repeats_of_training_rows_are_left_out_and_counted(family, tmp_path):
    path, more = write_rows(tmp_path, family), strangers(family)
    bare = load(path, family)
    held_out = [Row(texts=texts) for texts in (*bare.validation.texts[:2], *bare.test.texts[:3])]
    loud = [Row(texts=tuple(f" {word.upper()}" for word in bare.train.texts[0]))]
    seen = [*held_out, *loud, Row(texts=bare.train.texts[1])]
    file = write_bare(tmp_path, family, [*seen, *more])
    task = load(path, family, unlabelled=file)
    assert texts_of(task.transfer) == {row.texts for row in more}
    where = f"19 rows without labels (of {file.name})"
    assert task.notes == (
        f"5 of {where} that also stand in the validation or test split were left out",
        f"2 of {where} that repeat a training row were left out",
    )


def test_a_swapped_pair_of_the_test_split_is_held_out_too(tmp_path):
    path = write_rows(tmp_path, "pair")
    first, second = load(path, "pair").test.texts[0]
    task = load(path, "pair", unlabelled=write_bare(tmp_path, "pair", [Row(texts=(second, first)), *strangers("pair")]))
    assert (second, first) not in texts_of(task.transfer)


@each_family
def test_a_catalogue_task_lends_the_rows_that_train_leaves_over(family):
    everything = made(family)
    task = made(family, RowLimits(train=40, transfer=20))
    assert task.train.texts == everything.train.texts[:40]
    assert task.transfer.texts == everything.train.texts[40:60]
    assert set(task.transfer.labels_U.tolist()) == {UNLABELLED}
    assert made(family, RowLimits(train=40)).transfer is None
    left = len(everything.train) - 40
    assert made(family, RowLimits(train=40, transfer=left)).transfer.texts == everything.train.texts[40:]
    with pytest.raises(DataError, match=rf"asks for {left + 1} rows without labels, and there are {left} usable ones"):
        made(family, RowLimits(train=40, transfer=left + 1))
    with pytest.raises(DataError, match=r"there are 0 usable ones \(training rows that rows.train leaves over\)"):
        made(family, RowLimits(transfer=1))


def test_a_row_without_a_label_is_the_same_whatever_its_label_was():
    """Fingerprint and ids of the rows are of their texts alone."""
    rows = rows_of("sentence", 110)
    flipped = tuple(replace(row, label={"yes": "no", "no": "yes"}[row.label]) for row in rows)
    one, other = (
        make_task(
            "t",
            Rows(labels=("no", "yes"), train=rows[40:], test=rows[:20], unlabelled=some, unlabelled_from="here"),
            family="sentence",
            metric="accuracy",
            licence="none",
        )
        for some in (rows[20:40], flipped[20:40])
    )
    assert one.transfer_fingerprint == other.transfer_fingerprint
    np.testing.assert_array_equal(one.transfer.ids_N, other.transfer.ids_N)


@each_family
def test_a_teacher_has_the_students_rows_and_more_of_the_same_order(family):
    everything = made(family)
    task = made(family, RowLimits(train=40, transfer=10, teacher=60))
    assert task.teacher_train.texts == everything.train.texts[:60]
    assert task.for_teacher().train is task.teacher_train
    assert task.for_teacher().transfer is None
    assert task.for_teacher().fingerprint == made(family, RowLimits(train=60)).fingerprint
    assert task.fingerprint == made(family, RowLimits(train=40)).fingerprint
    assert task.transfer.texts == made(family, RowLimits(train=40, transfer=10)).transfer.texts
    same = made(family, RowLimits(train=40, teacher=40))
    assert same.teacher_train is None
    assert same.for_teacher().fingerprint == same.fingerprint


@each_family
def test_the_fingerprint_of_a_task_is_of_its_labelled_rows_as_ever(family):
    task = made(family, RowLimits(train=40, transfer=10, teacher=60))
    splits = [task.train, task.validation, task.test]
    assert task.fingerprint == content_of(family, task.labels, task.metric, splits)


@dataclass(frozen=True)
class Bad:
    content: str
    sentence: str
    name: str = "more.csv"


@pytest.mark.parametrize(
    "bad",
    [
        Bad("txt\nw1 w2\n", "more.csv has no column 'text'; did you mean 'txt'?"),
        Bad("text\n", "has no usable row without labels (of more.csv): there is none"),
        Bad("", "more.csv is empty; its first line must name the columns"),
        Bad('text\nw1 w2\n" "\n', "more.csv: 1 of 2 texts in column 'text' are empty (first at line 3)"),
        Bad("text\n1\n2\n", "more.csv: column 'text' holds only numbers; name the column of the text"),
        Bad("text\nw1\n", "more.ods has an unknown extension", "more.ods"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_a_sentence(bad, tmp_path):
    path = write_rows(tmp_path, "sentence")
    (tmp_path / bad.name).write_text(bad.content, encoding="utf-8")
    with pytest.raises(DataError) as refused:
        load(path, "sentence", unlabelled=tmp_path / bad.name)
    assert bad.sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_of_held_out_rows_alone_is_refused(tmp_path):
    path = write_rows(tmp_path, "sentence")
    rows = [Row(texts=texts) for texts in load(path, "sentence").validation.texts]
    with pytest.raises(DataError) as refused:
        load(path, "sentence", unlabelled=write_bare(tmp_path, "sentence", rows))
    assert f"has no usable row without labels (of more.csv): {len(rows)} of {len(rows)} rows" in str(refused.value)


def test_more_rows_than_a_file_has_are_refused(tmp_path):
    path, more = write_rows(tmp_path, "sentence"), strangers("sentence", 6)
    with pytest.raises(DataError, match=r"asks for 7 rows without labels, and there are 6 usable ones \(of more.csv\)"):
        load(
            path,
            "sentence",
            unlabelled=write_bare(tmp_path, "sentence", more),
            rows=RowLimits(transfer=7),
        )


def test_empty_labels_are_spoken_of_only_where_there_are_some(tmp_path):
    with pytest.raises(DataError, match="no cell of column 'label' is empty, so that every row has a label"):
        load(write_rows(tmp_path, "sentence"), "sentence", unlabelled="empty labels")
    (tmp_path / "own.conll").write_text("w1 O\n\n" * 60)
    with pytest.raises(DataError, match=r"a .conll file has no empty labels"):
        tasks.load_file(tmp_path / "own.conll", text="tokens", label="tags", unlabelled="empty labels")


def test_a_misspelled_empty_labels_is_told_what_there_is(tmp_path):
    with pytest.raises(DataError, match="unlabelled names a file, or says 'empty labels', got 'empty label'"):
        load(write_rows(tmp_path, "sentence"), "sentence", unlabelled=tmp_path / "empty label")


def test_words_without_tags_are_read_from_a_file_of_one_column(tmp_path):
    lines = "".join(
        "".join(f"{word} {tag}\n" for word, tag in zip(r.texts, r.tags, strict=True)) + "\n"
        for r in rows_of("tokens", 110)
    )
    (tmp_path / "own.conll").write_text(lines)
    more = strangers("tokens", 4)
    (tmp_path / "more.conll").write_text("\n\n".join("\n".join(row.texts) for row in more))
    task = tasks.load_file(tmp_path / "own.conll", text="tokens", label="tags", unlabelled=tmp_path / "more.conll")
    assert texts_of(task.transfer) == {row.texts for row in more}


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ({"transfer": -1}, "rows.transfer must be a whole number of at least 0, got -1"),
        ({"transfer": 1.5}, "rows.transfer must be a whole number of at least 0, got 1.5"),
        (
            {"teacher": 100},
            "rows.teacher must be at least rows.train, whose rows it begins with, got 100 and no rows.train",
        ),
        ({"teacher": 100, "train": 200}, "got 100 and rows.train = 200"),
        ({"teacher": 5, "train": 10}, "rows.teacher must be a whole number of at least 10, got 5"),
    ],
)
def test_limits_that_cannot_be_are_refused(rows, sentence):
    with pytest.raises(BadArgument) as refused:
        RowLimits(**rows)
    assert sentence in str(refused.value)


def table(**more):
    return {"name": "s", "tasks": ["few"], "students": ["tiny"], **more}


def test_a_study_names_a_task_of_the_catalogue_anew_and_reads_back(tmp_path):
    study = Study.from_dict(
        table(
            tasks=["few", "mine"],
            data={
                "few": {"task": "trec"},
                "mine": {"path": "a.csv", "text": "text", "label": "label", "unlabelled": "b.csv"},
            },
            override=[{"task": "few", "rows": {"train": 300, "transfer": 1500, "teacher": 1800}}],
        )
    )
    assert study.aliases == {"few": "trec"}
    assert study.rows_for("few") == RowLimits(train=300, transfer=1500, teacher=1800)
    assert Study.from_dict(study.to_dict()) == study
    own = study.data["mine"].located(tmp_path)
    assert own.files() == (str(tmp_path / "a.csv"), str(tmp_path / "b.csv"))
    empty = OwnData(path="a.csv", text="text", label="label", unlabelled="empty labels").located(tmp_path)
    assert (empty.unlabelled, empty.files()) == ("empty labels", (str(tmp_path / "a.csv"),))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            {"few": {"task": "trec", "path": "a.csv"}},
            "[data.few]: task = 'trec' says all of its rows, so path means nothing",
        ),
        ({"few": {"task": 3}}, "task of [data.few] must be a name"),
        ({"fw": {"task": "trec"}}, "[data.fw] describes no task of this study; did you mean 'few'?"),
        ({"few": {"path": "a.csv", "text": "t", "label": "l", "unlabelled": ""}}, "unlabelled must be a text, got ''"),
        ({"few": {"path": "a.csv", "text": "t", "label": "l", "unlabeled": "x"}}, "did you mean 'unlabelled'?"),
    ],
)
def test_data_that_cannot_be_is_refused(data, sentence):
    with pytest.raises(BadArgument) as refused:
        Study.from_dict(table(data=data))
    assert sentence in str(refused.value)
