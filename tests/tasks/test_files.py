"""The user's own file: what is read, and for everything that cannot be used one sentence."""

from __future__ import annotations

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdrec import tasks
from kdrec.errors import BadArgument, DataError
from kdrec.studies import RowLimits
from kdrec.tasks.tables import read_table


def reviews(n=100, labels=("1", "5"), start=0):
    return [(f'review {i}, it was "fine"\nreally {i * i}', labels[i % len(labels)]) for i in range(start, start + n)]


def as_csv(rows, header=("review", "stars"), delimiter=","):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows([header, *rows])
    return out.getvalue()


@pytest.fixture
def write(tmp_path):
    def write(content, name="my_reviews.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def load(path, **more):
    return tasks.load_file(path, text=more.pop("text", "review"), label=more.pop("label", "stars"), **more)


def contents(task):
    return sorted(
        (texts, task.labels[label])
        for split in (task.train, task.validation, task.test)
        for texts, label in zip(split.texts, split.labels_U, strict=True)
    )


def test_all_four_kinds_of_file_give_the_same_task(tmp_path, write):
    rows = [(text.replace("\n", " ").replace('"', "'"), label) for text, label in reviews()]
    made = [
        load(write(as_csv(rows))),
        load(write("\n".join("\t".join(r) for r in [("review", "stars"), *rows]), "r.tsv")),
    ]
    made.append(load(write("\n".join(json.dumps({"stars": int(s), "review": t}) for t, s in rows), "r.jsonl")))
    table = pa.table({"review": [text for text, _ in rows], "stars": pa.array([float(s) for _, s in rows])})
    pq.write_table(table, tmp_path / "r.parquet")
    made.append(load(tmp_path / "r.parquet"))
    assert len({task.fingerprint for task in made}) == 1
    assert contents(made[0]) == sorted(((text,), label) for text, label in rows)
    assert made[0].labels == ("1", "5")


def test_quotes_line_breaks_and_a_byte_order_mark_are_read(write):
    task = load(write(b"\xef\xbb\xbf" + as_csv(reviews()).encode()))
    assert contents(task) == sorted(((text,), label) for text, label in reviews())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1), min_size=1)
)
def test_a_csv_cell_is_read_as_it_was_written(tmp_path, texts):
    path = tmp_path / "any.csv"
    path.write_bytes(as_csv([(text, "x") for text in texts]).encode())
    assert [row[0] for row in read_table(path, ["review", "stars"]).rows] == texts


def test_labels_that_are_numbers_are_ordered_as_numbers_and_others_as_text(write):
    assert load(write(as_csv(reviews(200, labels=("10", "2", "1"))))).labels == ("1", "2", "10")
    assert load(write(as_csv(reviews(200, labels=("ok", "bad", "7"))))).labels == ("7", "bad", "ok")


def test_two_text_columns_make_a_pair(write):
    rows = [(f"premise {i}", f"claim {i}", "yes" if i % 2 else "no") for i in range(100)]
    task = load(write(as_csv(rows, header=("a", "b", "y"))), text=["a", "b"], label="y", name="mine")
    assert (task.family, task.name, len(task.train.texts[0])) == ("pair", "mine", 2)


def test_a_skewed_file_is_scored_by_macro_f1_and_a_name_is_made_of_the_file_name(write):
    task = load(write(as_csv(reviews(150, labels=("a",) * 5 + ("b",))), "my reviews (1).csv"))
    assert (task.metric, task.name) == ("macro_f1", "my-reviews-1")
    assert load(write(as_csv(reviews()))).metric == "accuracy"


def test_a_test_file_becomes_the_test_split(write):
    path, test = write(as_csv(reviews(100))), write(as_csv(reviews(20, start=500)), "held_out.csv")
    task = load(path, test=test)
    assert sorted(t for (t,) in task.test.texts) == sorted(t for t, _ in reviews(20, start=500))
    assert len(task.train) + len(task.validation) == 100


def test_limits_of_a_study_apply_to_a_file(write):
    task = load(write(as_csv(reviews(400))), rows=RowLimits(train=50, validation=10, test=12))
    assert (len(task.train), len(task.validation), len(task.test)) == (50, 10, 12)


def test_duplicates_of_the_user_are_kept(write):
    rows = reviews(100) + reviews(3)
    assert len(contents(load(write(as_csv(rows))))) == 103


GOOD = as_csv(reviews())
BAD = {
    "a column that is not there": (GOOD.replace("stars", "star", 1), "has no column 'stars'; did you mean 'star'?"),
    "another separator": (as_csv([("x", "1")] * 60, delimiter=";"), "only column is 'review;stars': separate columns"),
    "a column twice": ("review,stars,stars\na,1,1\n", "2 columns named 'stars'"),
    "one class": (as_csv(reviews(labels=("5",))), "every row has the label '5'; a task needs at least two labels"),
    "three rows": (as_csv(reviews(3)), "has 3 rows; at least 50 are needed, and 10 of every label"),
    "no row": ("review,stars\n", "has 0 rows; at least 50 are needed"),
    "nothing": ("", "is empty; its first line must name the columns"),
    "an empty text": (
        as_csv([*reviews(60), ("  ", "1"), ("", "5")]),
        r"2 of 62 texts in column 'review' are empty \(first",
    ),
    "a text that is NaN": (as_csv([("NaN", "1"), *reviews(60)]), r"1 of 61 texts .*\(first at line 2\); fill them"),
    "an empty label": (as_csv([*reviews(60), ("good", "")]), "1 of 61 labels in column 'stars' are empty"),
    "a rare label": (
        as_csv([*reviews(60), ("good", "3")]),
        "1 of 3 labels have fewer than 10 rows, such as '3' with 1",
    ),
    "prices as labels": (
        as_csv([(f"r{i}", f"{i * 0.37:.2f}") for i in range(300)]),
        r"'stars' holds 300 different numbers in 300 rows, which looks like a quantity to predict \(regression\)",
    ),
    "numbers as text": (as_csv([(f"{i}", "ab"[i % 2]) for i in range(60)]), "column 'review' holds only numbers"),
    "a ragged row": (
        GOOD + "good, but late,5\n",
        r"line 202: 2 cells were expected as in the header, got 3; text with",
    ),
    "an open quote": (GOOD + '"never closed,5\n', "record at line 202: unexpected end of data"),
    "latin-1": (
        GOOD.encode() + "très bon,5\n".encode("latin-1"),
        r"is not UTF-8: byte 0xe8 at line 202 \(offset \d+\)",
    ),
    "UTF-16": (GOOD.encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
    "a NUL byte": (GOOD + "a\0b,5\n", "holds a NUL byte at line 202"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_csv_is_refused_in_one_sentence(what, write):
    content, words = BAD[what]
    with pytest.raises(DataError, match=words) as refused:
        load(write(content))
    assert "\n" not in str(refused.value)


def test_more_than_a_thousand_numeric_labels_look_like_regression_even_when_each_is_frequent(write):
    rows = [(f"r{i}", str(i % 1001)) for i in range(1001 * 10)]
    with pytest.raises(DataError, match="looks like a quantity"):
        load(write(as_csv(rows)))


BAD_JSONL = {
    "no JSON": ('{"review": "a", "stars": 1}\n{oops\n', "line 2 is not JSON"),
    "no object": ("[1, 2]\n", "line 1: a JSON object was expected, got "),
    "nothing": ("\n", "is empty"),
    "a list as text": ('{"review": ["a"], "stars": 1}\n', "line 1: column 'review' holds a list of words, whose"),
    "half a surrogate pair": ('{"review": "\\ud83d", "stars": 1}\n', "line 1: text holds a NUL or half a surrogate"),
    "an escaped NUL": ('{"review": "a\\u0000", "stars": 1}\n', "line 1: text holds a NUL"),
    "no such key": ('{"reviews": "a", "stars": 1}\n', "has no column 'review'; did you mean 'reviews'"),
    "a key missing once": ('{"stars": 1}\n{"review": "a", "stars": 1}\n', "1 of 2 texts in column 'review' are empty"),
    "NaN": ('{"review": NaN, "stars": 1}\n', "1 of 1 texts in column 'review' are empty"),
    "depth": ('{"review": ' + "[" * 5000, "line 1 is not JSON that can be read: nested too deeply"),
    "digits": ('{"review": "a", "stars": ' + "9" * 5000 + "}", "line 1 is not JSON: Exceeds the limit"),
}


@pytest.mark.parametrize("what", BAD_JSONL)
def test_a_bad_jsonl_is_refused_in_one_sentence(what, write):
    content, words = BAD_JSONL[what]
    with pytest.raises(DataError, match=words) as refused:
        load(write(content, "r.jsonl"))
    assert "\n" not in str(refused.value)


def test_a_truncated_parquet_file_is_refused(tmp_path):
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"review": ["a"] * 60, "stars": [1] * 60}), path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"r\.parquet cannot be read as Parquet"):
        load(path)


NO_PYTHON = {
    "a text that is no UTF-8": pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")),
    "a date beyond the calendar": pa.array([2**30], pa.date32()),
    "a time beyond the calendar": pa.array([2**62], pa.timestamp("us")),
    "a time zone that is none": pa.array([1], pa.timestamp("us", "No/Where")),
}


@pytest.mark.parametrize("what", NO_PYTHON)
def test_a_parquet_cell_that_python_cannot_hold_is_refused(tmp_path, what):
    pq.write_table(pa.table({"review": NO_PYTHON[what], "stars": ["1"]}), tmp_path / "r.parquet")
    with pytest.raises(DataError, match=r"r\.parquet cannot be read as Parquet: "):
        load(tmp_path / "r.parquet")


def test_an_empty_parquet_text_is_named_by_its_row(tmp_path):
    path = tmp_path / "r.parquet"
    pq.write_table(pa.table({"review": ["a", None] * 30, "stars": [1, 2] * 30}), path)
    with pytest.raises(DataError, match=r"30 of 60 texts in column 'review' are empty \(first at row 2\)"):
        load(path)


def test_labels_have_one_order_whatever_the_order_of_their_rows(write):
    labels = ("b", "-nan", "10", "9", "+nan", "-inf", "a")
    wanted = ("-inf", "9", "10", "+nan", "-nan", "a", "b")
    for turned in (labels, labels[::-1], labels[3:] + labels[:3]):
        assert load(write(as_csv(reviews(140, turned)))).labels == wanted


def test_a_ragged_tsv_has_its_own_hint_and_quotes_mean_nothing_in_it(write):
    rows = "".join(f'"quoted at the start {i}\t{i % 2}\n' for i in range(60))
    assert ('"quoted at the start 7',) in [
        texts for texts, _ in contents(load(write("review\tstars\n" + rows, "r.tsv")))
    ]
    with pytest.raises(DataError, match=r"line 62: 2 cells were expected as in the header, got 1$"):
        load(write("review\tstars\n" + rows + "alone\n", "r.tsv"))


def test_a_missing_file_an_unknown_kind_and_a_folder_are_refused_by_name(tmp_path, write):
    path = write(GOOD)
    with pytest.raises(DataError, match=r"no file at .*my_review\.csv; did you mean 'my_reviews.csv'"):
        load(path.with_name("my_review.csv"))
    with pytest.raises(DataError, match=r"unknown extension; known are \.csv, \.tsv, \.jsonl, \.json, \.parquet"):
        load(write(GOOD, "reviews.xlsx"))
    with pytest.raises(DataError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(DataError, match=r"a\.csv cannot be read: File name too long$"):
        load(tmp_path / f"{'a' * 300}.csv")
    with pytest.raises(DataError, match="no file at "):
        load(tmp_path / "a\0b.csv")
    gone = write(GOOD, "a\0b.csv".replace("\0", "-"))
    gone.unlink()
    gone.symlink_to(gone)  # a link to itself cannot be followed
    with pytest.raises(DataError):
        load(gone)


def test_a_label_that_only_the_test_file_has_is_refused(write):
    path = write(GOOD)
    test = write(as_csv([*reviews(20, start=500), ("great", "4"), ("fine", "4")]), "held_out.csv")
    with pytest.raises(DataError, match=r"held_out.csv: the label '4' \(2 times, .*line 42\) does not occur in my_"):
        load(path, test=test)


def test_rows_in_both_files_are_counted_and_refused(write):
    path, test = write(GOOD), write(as_csv(reviews(12, start=95)), "held_out.csv")
    with pytest.raises(DataError, match=r"5 rows of my_reviews.csv are also in held_out.csv, such as 'review 95"):
        load(path, test=test)


def test_a_tiny_test_file_is_refused(write):
    with pytest.raises(DataError, match=r"held_out\.csv has 4 rows; a test file needs at least 10"):
        load(write(GOOD), test=write(as_csv(reviews(4, start=500)), "held_out.csv"))


@pytest.mark.parametrize("text", [["a", "b", "c"], [], "stars", ["review", "review"]])
def test_columns_that_cannot_be_are_refused(text, write):
    with pytest.raises(BadArgument, match=r"text column|different columns"):
        load(write(GOOD), text=text)
