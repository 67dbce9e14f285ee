"""Words with tags, questions with answers: what is read, and one sentence for everything that cannot be used."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdrec import tasks
from kdrec.errors import BadArgument, DataError
from kdrec.tasks.tokens import is_bio


def tagged(n=60):
    """Rows of words and BIO tags, all different."""
    return [
        {"tokens": ["call", f"Ann{at}", "in", "New", f"York{at}"], "tags": ["O", "B-PER", "O", "B-LOC", "I-LOC"]}
        for at in range(n)
    ]


def asked(n=60):
    rows = []
    for at in range(n):
        context = f"It is {at} o'clock in town {at % 30}, says the clock."
        answer = {"text": [f"{at} o'clock"], "answer_start": [6]} if at % 3 else {"text": [], "answer_start": []}
        rows.append({"question": f"what time is it, {at}?", "context": context, "answers": answer})
    return rows


def jsonl(tmp_path, rows, name="rows.jsonl"):
    path = tmp_path / name
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def load_tags(path, **more):
    return tasks.load_file(path, text="tokens", label="tags", **more)


def load_answers(path, **more):
    return tasks.load_file(path, text=("question", "context"), label="answers", **more)


def parts(task):
    return (task.train, task.validation, task.test)


def test_words_and_tags_are_one_task_from_every_kind_of_file(tmp_path):
    rows = tagged()
    conll = "-DOCSTART- -X- O\n\n" + "\n\n".join(
        "\n".join(f"{word} NN {tag}" for word, tag in zip(row["tokens"], row["tags"], strict=True)) for row in rows
    )
    (tmp_path / "rows.conll").write_text(conll + "\n", encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    made = [load_tags(path) for path in (jsonl(tmp_path, rows), tmp_path / "rows.conll", tmp_path / "rows.parquet")]
    assert len({task.fingerprint for task in made}) == 1
    task = made[0]
    assert (task.family, task.metric, task.labels) == ("tokens", "span_f1", ("B-LOC", "B-PER", "I-LOC", "O"))
    assert sum(len(part) for part in parts(task)) == 60
    assert task.train.labels_of(0).tolist() == [3, 1, 3, 0, 2]
    assert tasks.features(task).n_classes == 4


def test_tags_that_are_no_spans_are_scored_word_by_word(tmp_path):
    rows = [{"tokens": row["tokens"], "tags": ["VERB", "PROPN", "ADP", "PROPN", "PROPN"]} for row in tagged()]
    assert load_tags(jsonl(tmp_path, rows)).metric == "accuracy"


def test_declared_tag_names_stand_for_their_numbers(tmp_path):
    names = ["O", "B-PER", "B-LOC", "I-LOC"]
    feature = {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "List"}
    table = pa.Table.from_pylist([{**row, "tags": [names.index(tag) for tag in row["tags"]]} for row in tagged()])
    meta = {b"huggingface": json.dumps({"info": {"features": {"tags": feature}}}).encode()}
    pq.write_table(table.replace_schema_metadata(meta), tmp_path / "named.parquet")
    named, spelled = load_tags(tmp_path / "named.parquet"), load_tags(jsonl(tmp_path, tagged()))
    assert named.fingerprint == spelled.fingerprint


def test_questions_keep_the_places_of_their_answers_and_contexts_stay_together(tmp_path):
    rows = asked()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    task = load_answers(jsonl(tmp_path, rows))
    assert load_answers(tmp_path / "rows.parquet").fingerprint == task.fingerprint
    assert (task.family, task.metric, task.labels) == ("qa", "squad_f1", ("start", "end"))
    found = {}
    for part in parts(task):
        for row, (question, context) in enumerate(part.texts):
            labels = part.labels_of(row).tolist()
            found[question] = [context[a:b] for a, b in zip(labels[::2], labels[1::2], strict=True)]
    assert found == {row["question"]: row["answers"]["text"] for row in rows}
    contexts = [{context for _, context in part.texts} for part in parts(task)]
    assert sum(map(len, contexts)) == len(set.union(*contexts))
    assert (tasks.features(task).n_classes, tasks.features(task).label_entropy) == (None, None)


def changed(rows, at, **values):
    return [{**row, **values} if number == at else row for number, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (changed(tagged(), 4, tags=["O", "O"]), "rows.jsonl, line 5: 5 words and 2 tags; every word needs one tag"),
        (changed(tagged(), 4, tokens=[], tags=[]), "rows.jsonl, line 5: the row has no word; remove it"),
        (
            changed(tagged(), 4, tokens="one two"),
            "rows.jsonl, line 5: a list of words and a list of tags were expected",
        ),
        (changed(tagged(), 0, tokens=["a", " ", "b", "c", "d"]), "rows.jsonl, line 1: a word is empty"),
        (
            changed(tagged(), 0, tokens=["a", "\ud800", "b", "c", "d"]),
            "a word must be a text that a tokenizer can read",
        ),
        (changed(tagged(), 0, tags=["O", None, "O", "O", "O"]), "rows.jsonl, line 1: a tag is empty"),
        (changed(tagged(), 9, tags=["O"] * 4 + ["B-ODD"]), "1 of 5 tags occur once, such as 'B-ODD'"),
        (
            [{**row, "tags": ["O", "S-PER", "O", "B-LOC", "E-LOC"]} for row in tagged()],
            "tags of spans must be O, B-TYPE or I-TYPE (BIO), got 'E-LOC' beside",
        ),
        (
            [{**row, "tags": ["O"] * 5} for row in tagged()],
            "every word has the tag 'O'; a task needs at least two tags",
        ),
        (tagged(20), "rows.jsonl has 20 rows; at least 50 are needed"),
    ],
)
def test_words_that_cannot_be_used_are_refused_in_one_sentence(tmp_path, rows, sentence):
    with pytest.raises(DataError) as refused:
        load_tags(jsonl(tmp_path, rows))
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a NN O\nb O\n", "rows.conll, line 2: 3 columns (a word first, its tag last) were expected"),
        ("a\nb\n", "rows.conll, line 1: 2 columns (a word first, its tag last) were expected"),
        ("", "rows.conll has 0 rows; at least 50 are needed"),
    ],
)
def test_a_ragged_token_file_names_its_line(tmp_path, content, sentence):
    (tmp_path / "rows.conll").write_text(content)
    with pytest.raises(DataError) as refused:
        load_tags(tmp_path / "rows.conll")
    assert sentence in str(refused.value)


def test_columns_of_a_conll_file_have_fixed_names(tmp_path):
    (tmp_path / "rows.conll").write_text("a O\n")
    with pytest.raises(DataError, match=r"are called tokens and tags \(its first and its last\), got word, tag"):
        tasks.load_file(tmp_path / "rows.conll", text="word", label="tag")
    with pytest.raises(DataError, match=r"no file at .*; did you mean 'rows.conll'"):
        load_tags(tmp_path / "row.conll")


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        (
            {"text": ["4 o'clock"], "answer_start": [7]},
            'line 5: the answer "4 o\'clock" is not at character 7 of its context, where " o\'clock " stands',
        ),
        ({"text": ["noon"], "answer_start": [500]}, "is not at character 500 of its context, which is outside"),
        ({"text": ["noon"], "answer_start": [-1]}, "is not at character -1 of its context, which is outside"),
        ({"text": ["noon"], "answer_start": []}, "1 answers and 0 starts; every answer needs one start"),
        ({"text": [""], "answer_start": [6]}, "an answer is a text with the character it starts at, got ''"),
        ({"text": ["noon"], "answer_start": ["6"]}, "an answer is a text with the character it starts at, got 'noon'"),
        (
            {"text": [["noon"]], "answer_start": [6]},
            "an answer is a text with the character it starts at, got ['noon']",
        ),
        ({"text": ["noon"], "answer_start": [{}]}, "an answer is a text with the character it starts at, got 'noon'"),
        ({"texts": ["noon"]}, "line 5: column 'answers' holds an object here, \"{'texts'"),
        ({"text": ["noon"]}, "line 5: answers are {'text': [...], 'answer_start': [...]}, got {'text'"),
        (None, "line 5: answers are"),
    ],
)
def test_answers_outside_their_context_are_refused_in_one_sentence(tmp_path, answers, sentence):
    with pytest.raises(DataError) as refused:
        load_answers(jsonl(tmp_path, changed(asked(), 4, answers=answers)))
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_empty_question_or_context_is_refused(tmp_path):
    for column in ("question", "context"):
        with pytest.raises(DataError, match=rf"rows.jsonl, line 5: a {column} is empty"):
            load_answers(jsonl(tmp_path, changed(asked(), 4, **{column: " "})))


def test_an_answer_given_by_several_people_counts_once(tmp_path):
    twice = {"text": ["4 o'clock", "4 o'clock"], "answer_start": [6, 6]}
    task = load_answers(jsonl(tmp_path, changed(asked(), 4, answers=twice)))
    assert max(len(part.labels_of(row)) for part in parts(task) for row in range(len(part))) == 2


def test_columns_that_do_not_fit_what_they_hold_are_refused(tmp_path):
    path = jsonl(tmp_path, [{**row, "more": "x"} for row in tagged()])
    with pytest.raises(DataError, match="column 'tags' holds tags, which need one column of words, got 2"):
        tasks.load_file(path, text=("tokens", "more"), label="tags")
    with pytest.raises(DataError, match="column 'answers' holds answers, which need two columns"):
        tasks.load_file(jsonl(tmp_path, asked(), "qa.jsonl"), text="question", label="answers")
    with pytest.raises(BadArgument, match="one text column, or two"):
        tasks.load_file(path, text=(), label="tags")


def test_a_test_file_that_shares_rows_is_refused(tmp_path):
    rows = tagged(80)
    with pytest.raises(
        DataError, match=r"5 rows of train.jsonl are also in test.jsonl, such as 'call Ann55 in New York55'"
    ):
        load_tags(jsonl(tmp_path, rows[:60], "train.jsonl"), test=jsonl(tmp_path, rows[55:], "test.jsonl"))
    questions = asked(90)
    with pytest.raises(DataError, match=r"10 rows of train.jsonl are also in t.jsonl, such as \"It is "):
        load_answers(jsonl(tmp_path, questions[:60], "train.jsonl"), test=jsonl(tmp_path, questions[50:60], "t.jsonl"))


def test_a_test_file_of_another_kind_or_with_new_tags_is_refused(tmp_path):
    train = jsonl(tmp_path, tagged(), "train.jsonl")
    plain = jsonl(tmp_path, [{"tokens": "a b", "tags": "x"}] * 20, "plain.jsonl")
    with pytest.raises(DataError, match=r"column 'tags' holds label in plain.jsonl and tags in train.jsonl"):
        load_tags(train, test=plain)
    strange = [{"tokens": ["x", f"y{at}"], "tags": ["O", "B-NEW"]} for at in range(20)]
    with pytest.raises(DataError, match=r"the label 'B-NEW' .* does not occur in train.jsonl"):
        load_tags(train, test=jsonl(tmp_path, strange, "test.jsonl"))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["O", "B-A", "I-A"], True),
        (["B-A", "I-A"], True),
        (["NOUN", "VERB"], False),
        (["S", "B", "I"], False),
        (["O", "X"], False),
    ],
)
def test_bio_is_told_from_other_tags(tags, expected):
    assert is_bio(tags) is expected


@pytest.mark.parametrize("tags", [["O", "B-A", "E-A"], ["O", "B_A", "I_A"], ["O", "B-A", "NOUN"], ["O", "B-A", "S-A"]])
def test_schemes_that_only_look_like_bio_are_refused(tags):
    with pytest.raises(DataError, match=r"tags of spans must be O, B-TYPE or I-TYPE \(BIO\), got"):
        is_bio(tags)
