"""Names of labels as a file spells them: what is one, what may be one, what is no label and what is no class."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdrec import tasks
from kdrec.errors import DataError

NFC, NFD = "caf\u00e9", "cafe\u0301"


def write(path, labels, n=60, start=0):
    """Rows of a text and a label, the labels in turn, as the file's extension wants them."""
    rows = [{"text": f"text number {at}", "label": labels[at % len(labels)]} for at in range(start, start + n)]
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        sign = "\t" if path.suffix == ".tsv" else ","
        path.write_text("\n".join(sign.join(map(str, row)) for row in [("text", "label"), *(r.values() for r in rows)]))
    return path


def load(path, **more):
    return tasks.load_file(path, text="text", label="label", **more)


def refusal(path, **more):
    with pytest.raises(DataError) as refused:
        load(path, **more)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize(
    ("spellings", "meant"),
    [
        (("0", "0.0", "1", "1.0"), ("0", "1")),
        (("0.00", "-0", "+2", "2."), ("0", "2")),
        (("-1", "-1.0", "1", "1,0"), ("-1", "1")),
        ((NFC, NFD, "tea"), (NFC, "tea")),
        (("very good", "very  good", "very\u00a0good", "bad"), ("bad", "very good")),
        (("True", "False", "FALSE", "true", "True"), ("FALSE", "True")),
    ],
)
def test_spellings_of_one_value_are_one_label_and_said_to_be(tmp_path, ending, spellings, meant):
    if ending == ".csv":
        spellings = [f'"{one}"' for one in spellings]
    task = load(write(tmp_path / f"rows{ending}", spellings, n=120))
    assert tuple(sorted(task.labels)) == tuple(sorted(meant))
    assert any(repr(name) in note and "are one label" in note for note in task.notes for name in meant)


def test_numbers_of_every_kind_of_file_are_one_rule(tmp_path):
    made = [
        write(tmp_path / "text.csv", ("0.0", "1.0")),
        write(tmp_path / "whole.csv", ("0", "1")),
        write(tmp_path / "tabs.tsv", ("0.0", "1")),
        write(tmp_path / "real.jsonl", (0.0, 1.0)),
        write(tmp_path / "spelled.jsonl", ("0.0", "1.0")),
        write(tmp_path / "real.parquet", (0.0, 1.0)),
    ]
    loaded = [load(path) for path in made]
    assert len({task.fingerprint for task in loaded}) == 1
    assert not any(task.notes for task in loaded), "nothing was merged"


@pytest.mark.parametrize(
    ("train", "test"), [(("0.0", "1.0"), ("0", "1")), (("True", "False"), ("TRUE", "FALSE")), ((NFC, "x"), (NFD, "x"))]
)
def test_a_test_file_may_spell_the_labels_otherwise(tmp_path, train, test):
    held_out = write(tmp_path / "test.csv", test, n=20, start=500)
    task = load(write(tmp_path / "train.csv", train), test=held_out)
    assert (len(task.labels), len(task.test)) == (2, 20)


def test_words_with_a_zero_after_a_point_stay_words(tmp_path):
    assert load(write(tmp_path / "rows.csv", ("v1.0", "v2.0"))).labels == ("v1.0", "v2.0")
    assert load(write(tmp_path / "codes.csv", ("007", "010"))).labels == ("007", "010")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (
            ("Pos", "pos", "neg"),
            "'Pos' (20 times, first at line 2) and 'pos' (20 times, first at line 3)",
        ),
        (("POS", "pos", "neg"), "only in letter case; write them alike"),
        (("pos", "po\u200bs", "neg"), "signs that look alike or cannot be seen"),
        (("pos", "\uff50os", "neg"), "signs that look alike or cannot be seen"),
        (
            ("01", "1", "2"),
            "'01' (20 times, first at line 2) and '1' (20 times, first at line 3)",
        ),
        (("1e0", "1", "2"), "how a number is spelled"),
        (("true", "false", "0", "1"), "two spellings of truth values; write them alike"),
    ],
)
def test_names_that_may_be_one_are_refused_with_their_rows(tmp_path, labels, words):
    assert words in refusal(write(tmp_path / "rows.csv", labels))


def test_a_test_label_in_another_letter_case_is_named_beside_its_twin(tmp_path):
    held_out = write(tmp_path / "test.tsv", ("Pos", "neg"), n=20, start=500)
    said = refusal(write(tmp_path / "train.csv", ("pos", "neg")), test=held_out)
    assert "'Pos' (10 times, first at line 2) does not occur in train.csv, where 'pos' differs from it only in" in said


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (("yes", "no", "-1"), "holds -1 (20 times, first at line 4) beside names, which the datasets library writes"),
        (("0", "1", "2", "-1"), "holds -1 (15 times, first at line 5) beside numbers from 0 on"),
        (("0", "1", "-100"), "holds -100 (20 times, first at line 4)"),
        (("0", "1", "-100.0"), "holds -100 (20 times, first at line 4)"),
    ],
)
def test_what_stands_for_no_label_is_no_label(tmp_path, labels, words):
    assert words in refusal(write(tmp_path / "rows.csv", labels))


def test_minus_one_of_a_scale_around_0_is_a_label_and_is_said(tmp_path):
    task = load(write(tmp_path / "rows.csv", ("-1", "0", "1")))
    assert task.labels == ("-1", "0", "1")
    read = tasks.ReadReport.of(task, file="rows.csv", text=("text",), label="label")
    assert any("-1 is read as a label of its own" in note for note in read.notes)
    assert load(write(tmp_path / "more.csv", ("-2", "-1", "0", "1", "2"))).labels[0] == "-2"


def declared(path, column, values, feature, **more):
    table = pa.table({**more, column: values})
    meta = {b"huggingface": json.dumps({"info": {"features": {column: feature}}}).encode()}
    pq.write_table(table.replace_schema_metadata(meta), path)
    return path


@pytest.mark.parametrize("kind", [pa.int64(), pa.int8(), pa.float64()])
def test_a_number_outside_the_declared_names_is_no_label(tmp_path, kind):
    feature = {"names": ["no", "yes"], "_type": "ClassLabel"}
    texts = [f"text {at}" for at in range(60)]
    good = declared(tmp_path / "good.parquet", "label", pa.array([0, 1] * 30, kind), feature, text=texts)
    assert load(good).labels == ("no", "yes")
    for value in (-1, 2):
        values = pa.array([0, value, 1] * 20, kind)
        said = refusal(declared(tmp_path / "rows.parquet", "label", values, feature, text=texts))
        assert f"20 of 60 labels in column 'label' are {value}, which is none of the 2 declared names (first" in said
        assert "row 2): no label; fill them or remove their rows" in said


@pytest.mark.parametrize("names", [["O", "B-PER"], ["NOUN", "VERB"]])
@pytest.mark.parametrize("value", [-100, -1, 2])
def test_a_number_outside_the_declared_tags_is_no_tag(tmp_path, names, value):
    words, feature = [["a", f"b{at}"] for at in range(60)], {"feature": {"names": names, "_type": "ClassLabel"}}
    path = declared(tmp_path / "rows.parquet", "tags", [[0, 1]] * 6 + [[1, value]] * 54, feature, tokens=words)
    with pytest.raises(DataError, match=f"row 7: a tag is {value}, which is none of the 2 declared names: no tag"):
        tasks.load_file(path, text="tokens", label="tags")


@pytest.mark.parametrize("tags", [["O", "B-PER", -100], ["NOUN", "VERB", "-100"], [0, 1, -100], [0, 1, 2, -1]])
def test_a_tag_that_stands_for_none_is_refused_where_no_names_are_declared(tmp_path, tags):
    rows = [{"tokens": [f"{at} {word}" for word in range(len(tags))], "tags": tags} for at in range(60)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=r"holds -1(00)? \(60 times, first at line 1\) .* writes for 'no label'"):
        tasks.load_file(tmp_path / "rows.jsonl", text="tokens", label="tags")


@pytest.mark.parametrize(
    "labels",
    [
        tuple(f"{at / 5:.1f}" for at in range(6)),
        ("0", "0.5", "1"),
        ("3,5", "4,0", "4,5"),
        ("50%", "75 %", "12.5%"),
        (".5", "1.5", "2"),
    ],
)
def test_numbers_with_a_fraction_are_a_quantity(tmp_path, labels):
    said = refusal(write(tmp_path / "rows.tsv", labels))
    assert "holds numbers with a fraction" in said
    assert "a quantity to predict (regression); kdrec needs classes: put the numbers into a few ranges first" in said


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_a_quantity_is_one_in_every_kind_of_file(tmp_path, ending):
    assert "such as 0.5 (20 times, first at " in refusal(write(tmp_path / f"rows{ending}", (0.5, 1.0, 2.0)))


def test_lists_written_as_text_are_named(tmp_path):
    said = refusal(write(tmp_path / "rows.tsv", ("['neg']", "['pos', 'urgent']")))
    assert "holds lists written as text, such as ['neg'] (30 times, first at line 2)" in said


def test_tags_in_two_letter_cases_are_refused(tmp_path):
    rows = [{"tokens": ["x", f"y{at}"], "tags": ["O", "B-PER" if at % 2 else "B-per"]} for at in range(60)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=r"'B-PER' \(30 times, first at line 2\) and 'B-per' .* letter case"):
        tasks.load_file(tmp_path / "rows.jsonl", text="tokens", label="tags")
