"""Tasks of GLUE, in the layout of the Hub's repository, from a Hub on this machine to the splits of a task."""

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
from kdrec.tasks.readers import read_glue
from kdrec.tasks.splits import whole

COLUMNS = {
    "sst2": ("sentence",),
    "mrpc": ("sentence1", "sentence2"),
    "rte": ("sentence1", "sentence2"),
    "qqp": ("question1", "question2"),
    "qnli": ("question", "sentence"),
    "mnli": ("premise", "hypothesis"),
}
LABELS = {
    "sst2": ("negative", "positive"),
    "mrpc": ("not_equivalent", "equivalent"),
    "rte": ("entailment", "not_entailment"),
    "qqp": ("not_duplicate", "duplicate"),
    "qnli": ("entailment", "not_entailment"),
    "mnli": ("entailment", "neutral", "contradiction"),
}
PARTS = {"mnli": ("train", "validation_matched", "validation_mismatched", "test_matched", "test_mismatched")}
USUAL_PARTS = ("train", "validation", "test")
TEXTS_OF = {"train": range(300), "validation": range(290, 320), "validation_matched": range(290, 320)}
"""The first texts of a split, three rows each; the held-out split shares ten of them with the training split."""


def table(name: str, part: str, *, empty: bool = False) -> bytes:
    """A Parquet file as the `datasets` library writes it; the labels of a test split are hidden."""
    at_N = [at for at in TEXTS_OF.get(part, range(5)) for _ in range(3)]
    first, *second = COLUMNS[name]
    columns = {first: [f"first {at}" for at in at_N]}
    if second:
        columns[second[0]] = [f"second {at} {row % 3}" for row, at in enumerate(at_N)]
        columns[second[0]][0] = "" if empty else columns[second[0]][0]
    else:
        columns[first] = [f"first {at} {row % 3}" for row, at in enumerate(at_N)]
    labels = [-1 if part.startswith("test") else at % len(LABELS[name]) for at in at_N]
    features = {"label": {"names": list(LABELS[name]), "_type": "ClassLabel"}}
    made = pa.table({**columns, "label": pa.array(labels, pa.int64()), "idx": pa.array(range(len(at_N)), pa.int32())})
    stream = io.BytesIO()
    meta = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(made.replace_schema_metadata(meta), stream)
    return stream.getvalue()


PROGRAM = """
import json, sys
from kdrec import tasks
from kdrec.home import Home
home, found = Home.at(sys.argv[1]), {}
for name in sys.argv[2:]:
    task, notes = tasks.load(name, home), tasks.read(name, home).notes
    splits = {part: [list(texts) for texts in getattr(task, part).texts] for part in ("train", "validation", "test")}
    right = all(int(t[0].split()[1]) % len(task.labels) == y for t, y in zip(task.test.texts, task.test.labels_U))
    found[name] = {"labels": task.labels, "family": task.family, "notes": notes, "right": right, **splits}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def glue(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Hub]:
    """What a process with its Hub on this machine made of all six tasks, and that Hub."""
    root = tmp_path_factory.mktemp("glue")
    files = {
        f"{name}/{part}-00000-of-00001.parquet": table(name, part, empty=(name, part) == ("qqp", "train"))
        for name in COLUMNS
        for part in PARTS.get(name, USUAL_PARTS)
    }
    files |= {"README.md": b"GLUE", "cola/train-00000-of-00001.parquet": b"another task"}
    commit = tasks.known()["sst2"].sources[0].partition("@")[2].partition("!")[0]
    with serving(Hub({"datasets/nyu-mll/glue": {commit: files}})) as hub:
        command = [sys.executable, "-c", PROGRAM, str(root / "home"), *COLUMNS]
        env = {name: value for name, value in hub.environment(root).items() if name != "HF_HUB_OFFLINE"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), hub


@pytest.mark.parametrize("name", COLUMNS)
def test_a_task_of_glue_has_its_published_labels_and_columns_and_its_validation_split_for_a_test(glue, name):
    found, entry = glue[0][name], tasks.known()[name]
    assert tuple(found["labels"]) == LABELS[name]
    assert entry.n_labels == len(LABELS[name])
    assert found["family"] == entry.family == ("sentence" if len(COLUMNS[name]) == 1 else "pair")
    assert {len(texts) for texts in found["test"]} == {len(COLUMNS[name])}
    assert sorted(map(int, {texts[0].split()[1] for texts in found["test"]})) == list(range(290, 320))
    assert found["right"]
    assert len(found["test"]) == 90
    assert len(found["train"]) + len(found["validation"]) == (869 if name == "qqp" else 870)


def test_training_rows_without_a_text_are_left_out_and_counted(glue):
    leaking = "30 training rows of a group in the test split were left out"
    assert glue[0]["qqp"]["notes"] == ["1 training rows with an empty text or label were left out", leaking]
    assert glue[0]["mnli"]["notes"] == [leaking]


@pytest.mark.parametrize("name", ["mnli", "qnli"])
def test_pairs_of_one_premise_or_question_stay_together(glue, name):
    train, validation = ({texts[0] for texts in glue[0][name][part]} for part in ("train", "validation"))
    assert train
    assert validation
    assert not train & validation


def test_of_the_repository_only_the_named_tasks_are_fetched(glue):
    fetched = {path.split("/resolve/")[1].split("/")[1] for path in glue[1].asked if "/resolve/" in path}
    assert fetched == set(COLUMNS)


def test_a_folder_without_the_splits_is_refused(tmp_path: Path):
    (tmp_path / "train-00000-of-00001.parquet").write_bytes(table("rte", "train"))
    with pytest.raises(CorruptFile, match=r"has no train-\*\.parquet and validation-\*\.parquet"):
        read_glue(tmp_path, COLUMNS["rte"], whole)


def test_an_empty_text_in_the_held_out_split_is_refused(tmp_path: Path):
    (tmp_path / "train-00000-of-00001.parquet").write_bytes(table("qqp", "train"))
    (tmp_path / "validation-00000-of-00001.parquet").write_bytes(table("qqp", "validation", empty=True))
    with pytest.raises(CorruptFile, match="row 1: an empty text or label"):
        read_glue(tmp_path, COLUMNS["qqp"], whole)
