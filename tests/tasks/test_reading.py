"""What a file was understood as: its kinds of column, its layout, and the report that is shown before it is used."""

from __future__ import annotations

import csv
import json

import pytest

from kdrec import tasks
from kdrec.errors import DataError
from kdrec.tasks.structured import find_bare_words, find_words, kind_of
from kdrec.tasks.tables import read_raw, read_table


def jsonl(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def labelled(labels, n=60):
    return [{"text": f"text number {at}", "label": labels[at % len(labels)]} for at in range(n)]


def asked(n=60):
    return [
        {
            "question": f"what time is it, {at}?",
            "context": f"It is {at} o'clock in town {at}.",
            "answers": [{"text": f"{at} o'clock", "answer_start": 6}] if at % 3 else [],
        }
        for at in range(n)
    ]


def nested(rows):
    questions = [
        {"context": row["context"], "qas": [{"id": "x", "question": row["question"], "answers": row["answers"]}]}
        for row in rows
    ]
    halves = questions[: len(questions) // 2], questions[len(questions) // 2 :]
    return {"version": "2.0", "data": [{"title": "t", "paragraphs": some} for some in halves]}


def load_answers(path):
    return tasks.load_file(path, text=("question", "context"), label="answers")


def test_every_layout_of_answers_is_the_same_task(tmp_path):
    rows = asked()
    keys = ("text", "answer_start")
    columns = [{**row, "answers": {key: [one[key] for one in row["answers"]] for key in keys}} for row in rows]
    made = [jsonl(tmp_path / "objects.jsonl", rows), jsonl(tmp_path / "columns.jsonl", columns)]
    for name, value in {"nested.json": nested(rows), "list.json": rows, "data.json": {"data": columns}}.items():
        (tmp_path / name).write_text(json.dumps(value, indent=1))
        made.append(tmp_path / name)
    articles = nested(rows)["data"]
    made.append(jsonl(tmp_path / "nested.jsonl", [nested(rows)]))
    made.append(jsonl(tmp_path / "articles.jsonl", articles))
    made.append(jsonl(tmp_path / "paragraphs.jsonl", [one for article in articles for one in article["paragraphs"]]))
    (tmp_path / "articles.json").write_text(json.dumps(articles))
    made.append(tmp_path / "articles.json")
    made.append(jsonl(tmp_path / "lines.json", rows))
    loaded = [load_answers(path) for path in made]
    assert len({task.fingerprint for task in loaded}) == 1
    assert tasks.ReadReport.of(loaded[0], file="q", text=("a", "b"), label="c").n_unanswered == 20


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"data": [{"paragraphs": [{"qas": []}]}]}, "it breaks after 0 questions ('context')"),
        ({"data": [{"paragraphs": 7}]}, "it breaks after 0 questions"),
        ({"data": [{"paragraphs": []}]}, "holds no question"),
        ({"rows": 1}, "a list of objects, or SQuAD's 'data' of 'paragraphs', was expected, got"),
        ([1, 2], "a list of objects, or SQuAD's"),
        ([], "a list of objects, or SQuAD's"),
    ],
)
def test_json_of_another_layout_is_refused_in_one_sentence(tmp_path, value, words):
    (tmp_path / "rows.json").write_text(json.dumps(value))
    with pytest.raises(DataError) as refused:
        read_raw(tmp_path / "rows.json", ["question"])
    assert words in str(refused.value)


@pytest.mark.parametrize("text", ["{", "[" * 9000, "", "NaN", '{"a": 1}\n{'])
def test_a_broken_json_file_is_refused(tmp_path, text):
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(DataError, match=r"rows.json"):
        read_raw(tmp_path / "rows.json", ["a"])


def test_an_answer_in_a_nested_file_that_is_not_in_its_context_is_named_by_its_question(tmp_path):
    rows = asked()
    rows[7]["answers"] = [{"text": "noon", "answer_start": 6}]
    (tmp_path / "rows.json").write_text(json.dumps(nested(rows)))
    with pytest.raises(DataError, match=r"rows.json, question 8: the answer 'noon' is not at character 6"):
        load_answers(tmp_path / "rows.json")


def test_a_list_of_one_label_is_that_label(tmp_path):
    bare, listed = (labelled(labels) for labels in (("pos", "neg"), (["pos"], ["neg"])))
    one, other = (
        tasks.load_file(jsonl(tmp_path / name, rows), text="text", label="label")
        for name, rows in (("a.jsonl", bare), ("b.jsonl", listed))
    )
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (
            (["neg", "urgent"], ["pos"]),
            "several labels in 30 of 60 rows (multi-label; first at line 1: ['neg', ",
        ),
        ((["pos"], ["neg"], ["neg", "x"]), "several labels in 20 of 60 rows (multi-label; first at line 3"),
        (([0, 1, 1], [1, 0, 0]), "several labels in 60 of 60 rows (multi-label"),
        ((["pos"], []), "30 of 60 labels in column 'label' are empty (first at line 2)"),
        (({"id": 0, "name": "neg"},), "line 1: column 'label' holds an object, {'id': 0, 'name': 'neg'}"),
        (
            ("pos", "neg", ["pos"]),
            "line 3: column 'label' holds a list here, \"['pos']\", and a text or a number in",
        ),
        (
            (["pos"], ["neg"], "pos"),
            "line 3: column 'label' holds a text or a number here, 'pos', and a list in 40",
        ),
        ((None, "pos", {"a": 1}, "neg"), "line 3: column 'label' holds an object here"),
        (([{"id": 1, "name": "neg"}],), "a span is [start, end, tag] with characters of the text from 0 to 13"),
    ],
)
def test_a_column_is_what_most_of_its_cells_are_and_the_one_that_differs_is_named(tmp_path, labels, words):
    with pytest.raises(DataError) as refused:
        tasks.load_file(jsonl(tmp_path / "rows.jsonl", labelled(labels)), text="text", label="label")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_kind_of_a_column_does_not_depend_on_which_cell_comes_first(tmp_path):
    rows = asked()
    for turned in (rows, rows[1:] + rows[:1], rows[::-1]):
        assert kind_of(jsonl(tmp_path / "rows.jsonl", turned), ["question", "context"], "answers") == "answers"


def spanned(spans, text="Ana met Bo Li in New York, at last."):
    return [{"text": f"{text} {at}", "label": spans} for at in range(60)]


def test_spans_of_characters_are_words_with_tags(tmp_path):
    spans = [[0, 3, "PER"], [8, 13, "PER"], [17, 25, "LOC"]]
    objects = [{"start_offset": a, "end_offset": b, "label": tag} for a, b, tag in spans]
    loose = [[0, 4, "PER"], [7, 13, "PER"], [16, 25, "LOC"]]  # with the white space around
    for named in (spans, objects, loose):
        found = find_words(jsonl(tmp_path / "rows.jsonl", spanned(named)), "text", "label")
        assert found.rows[0].texts == ("Ana", "met", "Bo", "Li", "in", "New", "York", ",", "at", "last", ".", "0")
        assert found.rows[0].tags == tuple(
            ["B-PER", "O", "B-PER", "I-PER", "O", "B-LOC", "I-LOC", "O", "O", "O", "O", "O"]
        )
    task = tasks.load_file(tmp_path / "rows.jsonl", text="text", label="label")
    assert (task.family, task.metric) == ("tokens", "span_f1")
    assert any("were split into words" in note for note in task.notes)
    assert find_bare_words(tmp_path / "rows.jsonl", "text")[0] == found.rows[0].texts, "as a student is asked later"


@pytest.mark.parametrize(
    ("spans", "words"),
    [
        ([[0, 2, "PER"]], "line 1: the column holds spans of characters, and [0, 2, 'PER'] is 'An', which is no whole"),
        ([[0, 3, "PER"], [0, 7, "ACT"]], "[0, 7, 'ACT'] overlaps another one; a word has one tag"),
        (
            [[0, 300, "PER"]],
            "a span is [start, end, tag] with characters of the text from 0 to 37, got [0, 300,",
        ),
        ([[3, 0, "PER"]], "a span is [start, end, tag]"),
        ([["PER", 0, 3]], "a span is [start, end, tag]"),
        ([[3, 4, "PER"]], "which is no whole words"),
    ],
)
def test_spans_that_cannot_be_used_are_refused_in_one_sentence(tmp_path, spans, words):
    with pytest.raises(DataError) as refused:
        find_words(jsonl(tmp_path / "rows.jsonl", spanned(spans)), "text", "label")
    assert words in str(refused.value)


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_a_cell_is_as_long_as_it_is(tmp_path, ending):
    text = "word " * 60_000
    with (tmp_path / f"rows{ending}").open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if ending == ".tsv" else ",")
        writer.writerows([("text", "label"), (text, "a"), ("short", "b")])
    assert read_table(tmp_path / f"rows{ending}", ["text"]).rows == ((text,), ("short",))


def report_of(tmp_path, labels, n=None):
    n = n or 12 * len(labels)
    rows = (f"text {at},{labels[at % len(labels)]}\n" for at in range(n))
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(rows))
    task = tasks.load_file(tmp_path / "rows.csv", text="text", label="label")
    return task, tasks.ReadReport.of(task, file=tmp_path / "rows.csv", text=("text",), label="label")


def test_a_report_says_rows_columns_labels_metric_and_splits(tmp_path):
    task, read = report_of(tmp_path, ("pos", "neg", "pos"), n=90)
    assert (read.file, read.n_rows, read.text, read.label) == ("rows.csv", 90, ("text",), "label")
    assert [(one.name, one.count) for one in read.labels] == [("pos", 60), ("neg", 30)]
    assert read.splits == {part: len(getattr(task, part)) for part in ("train", "validation", "test")}
    assert sum(read.splits.values()) == 90
    sizes = ", ".join(f"{count} {part}" for part, count in read.splits.items())
    assert read.lines() == [
        "rows.csv was read as 90 rows of texts with a label: 'text' with 'label', scored by accuracy.",
        "Its 2 labels, with their rows: 'pos' (60), 'neg' (30).",
        f"Splits: {sizes}, by content.",
    ]
    assert json.loads(json.dumps(read.to_dict()))["labels"][0] == {"name": "pos", "count": 60}


def test_of_many_labels_the_largest_rarest_and_oddest_are_named_in_few_lines(tmp_path):
    names = [f"intent{'abcdefghijklmnopqrstuvwxyz'[at]}" for at in range(20)]
    _, read = report_of(tmp_path, [*names, "n/a", "17", names[0], "x" * 60], n=24 * 40)
    assert read.odd == ("17", "n/a", "x" * 60)
    text = "\n".join(read.lines())
    assert len(read.lines()) == 3
    assert len(text) < 500
    assert "Its 23 labels, with their rows: largest 'intenta' (80), " in text
    assert f"oddest '17', 'n/a', '{'x' * 37}...'" in text
    assert len(read.labels) == 23


def test_a_report_counts_tags_by_words_and_keeps_the_notes(tmp_path):
    rows = "".join(f"# newpar\nAna{at}\tB-PER\nsat\tO\n\n" for at in range(60))
    (tmp_path / "rows.conll").write_text(rows)
    task = tasks.load_file(tmp_path / "rows.conll", text="tokens", label="tags")
    read = tasks.ReadReport.of(task, file=tmp_path / "rows.conll", text="tokens", label="tags", test="b.conll")
    assert "Its 2 tags, with their words: 'B-PER' (60), 'O' (60)." in read.lines()
    assert read.lines()[-1].endswith("; test rows are those of b.conll.")
    assert read.sentence().endswith("60 comment lines (beginning with '#') were skipped")


def test_many_numbers_are_said_to_be_read_as_classes(tmp_path):
    _, read = report_of(tmp_path, [str(at) for at in range(30)])
    assert any(note.startswith("the 30 numbers are read as classes") for note in read.notes)
    assert not report_of(tmp_path, ["0", "1"], n=60)[1].notes


def test_placeholders_and_joined_labels_are_named(tmp_path):
    _, read = report_of(tmp_path, ["pos", "neg", "N/A", "pos;neg"], n=80)
    assert read.lines()[1].endswith("; oddest 'N/A'.")
    assert "'pos;neg' is read as a label of its own, not as several labels" in read.notes


def test_lists_of_words_with_one_label_are_refused_by_their_row(tmp_path):
    rows = [{"text": ["a", f"b{at}"], "label": "O B-PER"} for at in range(60)]
    with pytest.raises(DataError, match=r"rows.jsonl, line 1: column 'text' holds a list of words, whose tags are a"):
        tasks.load_file(jsonl(tmp_path / "rows.jsonl", rows), text="text", label="label")


def test_a_text_without_spans_is_labelled_and_one_without_a_cell_is_not(tmp_path):
    cells = ([[0, 3, "PER"]], [], None)
    rows = [{"text": f"Ana sat at {at}", "label": cells[at % 3]} for at in range(120)]
    path = jsonl(tmp_path / "rows.jsonl", rows)
    task = tasks.load_file(path, text="text", label="label", unlabelled="empty labels")
    assert sum(len(part) for part in (task.train, task.validation, task.test)) == 80
    assert task.transfer is not None
    assert 0 < len(task.transfer) <= 40
