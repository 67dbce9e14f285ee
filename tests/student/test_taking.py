"""A student taken home, in all families: saved as it was trained, made once, and loaded by others."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_studies import COLUMNS, STUDENT, speak, study_of, write_rows
from tiny_tasks import PIECES, speaker_card, task_of, write_speaker

from kdrec import encoder, engine, tasks
from kdrec.cli import main
from kdrec.errors import BadArgument, KdrecError, StoreError
from kdrec.home import Home
from kdrec.question import Asked
from kdrec.student.answers import answers
from kdrec.student.folder import opened
from kdrec.student.order import Order, order
from kdrec.student.passes import forward_of, logits_on
from kdrec.student.taking import Taken, Wishes, take_home
from kdrec.tracking import Entry, Store, Version
from kdrec.trial import weights
from kdrec.types import BASELINE_CONFIG, DEFAULT_CONFIG, FAMILIES, Family, KDConfig, Split, Training

pytestmark = pytest.mark.slow
WISHES = {"sentence": Wishes(onnx=True, int8=True)}


class Land:
    """A home in which every family has a file, and a student that is distilled when first asked for."""

    def __init__(self, root: Path, home: Home) -> None:
        self.home, self.taken = home, dict[Family, Taken]()
        self.files = {family: write_rows(root, family) for family in FAMILIES}

    def order(self, family: Family, **options: Any) -> Order:
        study = study_of(family, self.files[family])
        return order(Asked(task=family), STUDENT, self.home, like=study, **options)

    def take(self, family: Family) -> Taken:
        if family not in self.taken:
            self.taken[family] = take_home(self.order(family), self.home, WISHES.get(family, Wishes()))
        return self.taken[family]


class Registry:
    """Students that are no more than a file."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.store, self.folder = Store.open(home), folder
        self.experiment = self.store.experiment("distill")
        (folder / "kdrec.json").write_text("{}")

    def add(self, fingerprint: str, score: float, **more: Any) -> Version:
        values: dict[str, Any] = {
            "name": "trec-tiny",
            "task_fingerprint": "t1",
            "is_default": False,
            "card": f"# {fingerprint} " + "x" * 9000,
            "beside": (),
            **more,
        }
        entry = Entry(
            fingerprint=fingerprint,
            val_score=score,
            tags={"kdrec.seed": "0"},
            folder=self.folder,
            pipeline=None,
            inputs=(),
            components={},
            requirements=(),
            **values,
        )
        return self.store.register(self.experiment, entry)

    def holders(self) -> dict[str, int]:
        return {k: int(v) for k, v in self.store.ledger.client.get_registered_model("trec-tiny").aliases.items()}


@pytest.fixture(scope="module")
def land(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Land]:
    root = tmp_path_factory.mktemp("land")
    with pytest.MonkeyPatch.context() as patch:
        speak(root, patch)
        yield Land(root, Home.at(root / "home"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_student_of_any_family_is_saved_in_transformers_form_and_says_what_it_is(land: Land, family: Family) -> None:
    taken = land.take(family)
    saved = opened(taken.folder)
    assert {"config.json", "model.safetensors", "tokenizer.json", "kdrec.json", "README.md"} <= {
        path.name for path in taken.folder.iterdir()
    }
    config = json.loads((taken.folder / "config.json").read_text())
    assert list(config["id2label"].values()) == list(saved.facts.labels)
    assert (config["vocab_size"], config["num_hidden_layers"]) == (len(PIECES), 1), "the whole vocabulary is back"
    assert str(land.home.root) not in (taken.folder / "config.json").read_text()
    assert taken.n_new == 2, "the student and the baseline"
    found = {trial.fingerprint: trial for trial in Store.open(land.home).trials()[0]}[saved.facts.fingerprint]
    assert found.val_score == saved.facts.val_score
    assert found.config == DEFAULT_CONFIG


@pytest.mark.parametrize("family", FAMILIES)
def test_predictions_on_a_file_are_those_that_the_score_was_taken_of(land: Land, family: Family) -> None:
    """The rows of the test split, asked for from a table, give the test score of the trial."""
    taken, study = land.take(family), study_of(family, land.files[family])
    saved, texts = opened(taken.folder), COLUMNS[family][0]
    task = tasks.load_file(land.files[family], text=texts, label=COLUMNS[family][1], name=family)
    said = {one.texts: one for one in answers(saved, land.files[family], texts)}
    assert all(0 <= one.probability <= 1 + 1e-9 for one in said.values())
    (trial,) = [t for t in Store.open(land.home).trials()[0] if t.fingerprint == saved.facts.fingerprint]
    if family == "qa":
        test = tasks.encode(task.test, task, saved.tokenizer_file, study.teacher.max_length, land.home)
        logits = logits_on(forward_of(saved.model), test, saved.pad_id)
        assert tasks.grader(task, task.test, test)(logits).score == pytest.approx(trial.test_score)
        assert all(one.label in row[1] for row, one in said.items())
    elif family != "tokens":
        right = [
            said[row].label == task.labels[label]
            for row, label in zip(task.test.texts, task.test.labels_U, strict=True)
        ]
        assert 100 * np.mean(right) == pytest.approx(trial.test_score)
        assert {one.label for one in said.values()} == set(task.labels), "a constant answer would show little"
    else:
        tags = [said[row].label.split() for row in task.test.texts]
        assert [len(row) for row in tags] == [len(row) for row in task.test.texts]
        assert {"O"} < {tag for row in tags for tag in row} <= set(task.labels)


def test_a_second_time_nothing_is_trained_saved_or_registered_twice(land: Land) -> None:
    first = land.take("sentence")
    kept = next((land.home.root / "students").glob(f"{first.facts.fingerprint}*"))
    before, runs = kept.stat().st_mtime_ns, Store.open(land.home).trials()[0]
    again = take_home(land.order("sentence"), land.home, Wishes(out=land.home.root / "again"))
    assert (again.n_new, again.version.is_new, again.version.number) == (0, False, first.version.number)
    assert (kept.stat().st_mtime_ns, Store.open(land.home).trials()[0]) == (before, runs)
    assert digest(again.folder) == digest(first.folder)
    version = Store.open(land.home).ledger.client.get_model_version("sentence-speaker-1", str(again.version.number))
    assert "`model.onnx` gives" in version.description, "the card of now is without the graph, the version is not"


def test_weights_that_are_gone_or_damaged_are_trained_again_to_the_bit_and_no_trial_is_recorded(land: Land) -> None:
    first = land.take("sentence")
    runs = Store.open(land.home).trials()[0]
    kept = next((land.home.root / "students").glob(f"{first.facts.fingerprint}*"))
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 1
    kept.write_bytes(data)
    assert weights.kept(land.home, first.facts.fingerprint) is None
    trained = digest(first.folder)
    again = take_home(land.order("sentence"), land.home, Wishes())
    assert digest(again.folder) == trained
    assert "`model.onnx` gives" in again.card, "a graph that is there is made anew"
    assert "trained again" not in again.card, "the scores are the recorded ones"
    assert Store.open(land.home).trials()[0] == runs


def test_more_seeds_are_more_trials_and_the_best_on_validation_is_kept(land: Land) -> None:
    land.take("pair")
    taken = take_home(land.order("pair", n_seeds=2), land.home, Wishes(out=land.home.root / "best"))
    assert taken.n_new == 2, "a student and a baseline of another seed"
    mine = [t for t in Store.open(land.home).trials()[0] if t.task == "pair" and t.config == DEFAULT_CONFIG]
    best = max(mine, key=lambda trial: (trial.val_score, -trial.val_loss))
    assert taken.facts.fingerprint == best.fingerprint
    assert "mean of 2 seeds" in taken.card
    assert {p.stem for p in (land.home.root / "students").iterdir()} & {t.fingerprint for t in mine} == {
        best.fingerprint
    }


def test_others_load_it_offline(land: Land, tmp_path: Path) -> None:
    """transformers' pipeline and MLflow's pyfunc, in a process that knows nothing of kdrec."""
    import_ = "import json, sys, transformers, mlflow, pandas"
    code = f"""{import_}
transformers.logging.disable_progress_bar()
folder, pair, words = sys.argv[1:]
text = "w21 w1 w30s"
said = transformers.pipeline("text-classification", folder)(text, truncation=True)
both = transformers.pipeline("text-classification", pair)({{"text": "w3 w21", "text_pair": "w1"}}, truncation=True)
tags = transformers.pipeline("token-classification", words, ignore_labels=[])(text)
rows = pandas.DataFrame({{"text": [text, "w2 " * 100]}})
flavour = mlflow.pyfunc.load_model("models:/sentence-speaker-1@champion").predict(rows)
two = mlflow.pyfunc.load_model("models:/pair-speaker-1@champion").predict(
    pandas.DataFrame({{"text": ["w3 w21"], "text_pair": ["w1"]}})
)
mlflow.pyfunc.load_model("models:/tokens-speaker-1@default").predict(rows[:1])
print(json.dumps([said[0]["label"], said[0]["score"], both["label"], [tag["entity"] for tag in tags],
                  *flavour.iloc[0].tolist(), len(flavour), two["label"][0]]))"""
    folders = [str(land.take(family).folder) for family in ("sentence", "pair", "tokens")]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": land.home.tracking_uri, "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *folders],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    label, score, both, tags, flavour, sure, n_rows, two = json.loads(done.stdout.splitlines()[-1])
    table, pairs, texts = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.jsonl"
    table.write_text("text\nw21 w1 w30s\n")
    pairs.write_text("a,b\nw3 w21,w1\n")
    texts.write_text(json.dumps({"text": ["w21", "w1", "w30s"]}))
    (one,) = answers(opened(Path(folders[0])), table, ["text"])
    assert (label, flavour, n_rows) == (one.label, one.label, 2)
    assert [score, sure] == pytest.approx([one.probability] * 2, abs=1e-5)
    (ours,) = answers(opened(Path(folders[1])), pairs, ["a", "b"])
    assert both == two == ours.label
    (ours,) = answers(opened(Path(folders[2])), texts, ["text"])
    assert tags[:3] == ours.label.split(), "the pipeline tags every piece, and the last word has two"


def test_a_registered_student_says_where_it_is_from_and_answers_by_its_name(
    land: Land, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = land.take("sentence")
    client = Store.open(land.home).ledger.client
    version = client.get_model_version_by_alias("sentence-speaker-1", "champion")
    assert {alias for alias in version.aliases} == {"champion", "default"}
    assert version.tags["kdrec.teacher_checkpoint"] == taken.facts.teacher_checkpoint
    assert version.tags["kdrec.config"] == DEFAULT_CONFIG.label()
    assert version.tags["kdrec.why"].startswith("suggested from ")
    assert version.description.startswith("speaker-1 distilled from ")
    files = Store.open(land.home).registered("models:/sentence-speaker-1@default", tmp_path / "files")
    assert {"MLmodel", "kdrec.json", "README.md", "model.onnx", "model.int8.onnx"} <= {f.name for f in files.iterdir()}
    assert any(line.startswith("torch==") for line in (files / "requirements.txt").read_text().splitlines())
    for text in ((files / name).read_text() for name in ("MLmodel", "model/config.json", "README.md", "kdrec.json")):
        assert str(land.home.root.parent) not in text, "a path of this machine is no business of others"
    table = tmp_path / "a.csv"
    table.write_text('text\n"w1 [red]w2[/red] \x1b[2J"\n')
    home = ["--home", str(land.home.root)]
    assert main([*home, "predict", "models:/sentence-speaker-1@champion", str(table), "--json"]) == 0
    (by_name,) = json.loads(capsys.readouterr().out)
    assert main([*home, "predict", str(taken.folder), str(table), "--out", str(tmp_path / "said.csv")]) == 0
    assert (tmp_path / "said.csv").read_text().splitlines() == [
        "label,probability",
        f"{by_name['label']},{by_name['probability']:.6f}",
    ]
    capsys.readouterr()
    assert main([*home, "predict", str(taken.folder), str(table)]) == 0
    shown = capsys.readouterr().out
    assert "[red]w2[/red]" in shown
    assert "\x1b" not in shown
    assert main([*home, "predict", "models:/sentence-speaker@champion", str(table)]) == 2
    assert "the registry has no models:/sentence-speaker@champion; known are" in capsys.readouterr().err


def test_a_student_of_questions_is_registered_as_it_is(land: Land, tmp_path: Path) -> None:
    """transformers has no pipeline for it, so MLflow's form is not there."""
    land.take("qa")
    path = Store.open(land.home).registered("models:/qa-speaker-1/1", tmp_path)
    assert not (path / "MLmodel").exists()
    assert opened(path).facts.family == "qa"


def test_a_graph_gives_the_logits_of_the_student_and_its_cost_is_in_the_card(land: Land) -> None:
    taken = land.take("sentence")
    assert {"model.onnx", "model.int8.onnx"} <= {path.name for path in taken.folder.iterdir()}
    for line in ("ONNX, fp32", "ONNX, int8", "`model.onnx` gives the logits of the test split within", "int8)"):
        assert line in taken.card


def test_a_version_gets_the_graphs_and_the_card_that_come_later(land: Land, tmp_path: Path) -> None:
    registry = Registry(land.home, tmp_path)
    registry.add("a", 70.0, name="later")
    for name in ("README.md", "model.onnx"):
        (tmp_path / name).write_text("later")
    registry.add("a", 70.0, name="later", card="# with a graph", beside=("README.md", "model.onnx"))
    registry.add("a", 70.0, name="later", card="# without")
    assert registry.store.ledger.client.get_model_version("later", "1").description == "# with a graph"
    files = registry.store.registered("models:/later/1", tmp_path / "there")
    assert (files / "model.onnx").read_text() == (files / "README.md").read_text() == "later"


def test_a_folder_that_holds_something_else_is_not_replaced(land: Land, tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("dear")
    with pytest.raises(BadArgument, match="holds other files, which a student would replace"):
        take_home(land.order("sentence"), land.home, Wishes(out=tmp_path))
    assert (tmp_path / "diary.txt").read_text() == "dear"


def test_a_student_that_diverges_with_every_seed_is_not_taken_home(land: Land) -> None:
    wild = study_of("sentence", land.files["sentence"], training={"learning_rate": 1e30, "max_length": 32, "epochs": 1})
    asked = order(Asked(task="sentence"), STUDENT, land.home, like=wild)
    with pytest.raises(KdrecError, match=r"every seed of .* diverged on sentence/speaker-1"):
        take_home(asked, land.home, Wishes())


def test_a_word_that_no_training_text_has_is_read_as_the_unpruned_model_reads_it(tmp_path: Path, home: Home) -> None:
    """Trained with the embeddings that are used, and with all of them: the saved models are one function."""
    folder, task = write_speaker(tmp_path / "m"), task_of("sentence")
    train, validation = (
        tasks.encode(split, task, folder / "tokenizer.json", 32, home) for split in (task.train, task.validation)
    )
    unseen = [
        piece for piece in range(len(PIECES)) if piece not in set(train.input_ids_T) | set(validation.input_ids_T)
    ]
    assert len(unseen) > 5
    every = tasks.encode(
        Split(texts=((" ".join(PIECES[4:64]),),), labels_U=np.array([0]), ids_N=np.array([1])),
        task,
        folder / "tokenizer.json",
        64,
        home,
    )
    whole = []
    for seen in ((train, validation), (train, validation, every)):
        made = encoder.build(speaker_card(), folder, task, seen, seed=0)
        lesson = engine.Lesson(
            train=train, validation=validation, grade=tasks.grader(task, task.validation, validation), n_classes=2
        )
        cpu = engine.make_accelerator(device="cpu")
        list(engine.fit(made, lesson, BASELINE_CONFIG, Training(epochs=2, learning_rate=1e-3, max_length=32), cpu))
        assert (len(made.used_ids) < len(PIECES) - 4) == (len(seen) == 2)
        whole.append(encoder.whole(speaker_card(), folder, task, made.full_state()))
    ids = torch.tensor([[2, *unseen[:4], 3]])
    with torch.inference_mode():
        a, b = (model(input_ids=ids).logits for model in whole)
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"knobs": {"alpha": 0.0}}, "alpha must be above 0 to distil"),
        ({"knobs": {"distance": "kl"}}, "distance must be one of ce, mse, got 'kl'"),
        ({"n_seeds": 0}, "seeds is how many students to train, at least 1, got 0"),
    ],
)
def test_an_order_that_cannot_be_is_one_sentence(land: Land, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadArgument, match=sentence):
        land.order("sentence", **options)


def test_knobs_that_are_given_are_not_suggested(land: Land) -> None:
    asked = land.order("sentence", knobs={"tau_t": 4.0, "alpha": None})
    assert asked.study.configs == (KDConfig(tau_t=4.0),)
    assert asked.why == "given by the user"


def test_aliases_follow_validation_within_one_content_of_the_task(land: Land, tmp_path: Path) -> None:
    registry = Registry(land.home, tmp_path)
    assert registry.add("a", 70.0).aliases == ("champion",), "taught otherwise than by the default"
    assert registry.holders() == {"champion": 1}
    assert set(registry.add("b", 65.0, is_default=True).aliases) == {"default"}
    assert registry.add("c", 70.0).aliases == (), "ties go to the earlier version"
    assert registry.add("d", 71.0, is_default=True).number == 4
    assert registry.holders() == {"champion": 4, "default": 4}
    again = registry.add("b", 65.0, is_default=True)
    assert (again.number, again.is_new, again.aliases) == (2, False, ())
    assert registry.add("e", 10.0, task_fingerprint="t2").aliases == ("champion",), (
        "of other rows, and so compared with none"
    )
    found = registry.store.registered("models:/trec-tiny@champion", tmp_path / "there")
    assert (found / "kdrec.json").is_file()
    version = registry.store.ledger.client.get_model_version("trec-tiny", "5")
    assert len(version.description) < 5000
    with pytest.raises(StoreError, match=r"has no models:/trec-tiny@chief; its versions are models:/trec-tiny/1,"):
        registry.store.registered("models:/trec-tiny@chief", tmp_path)
    with pytest.raises(BadArgument, match="is written models:/NAME@ALIAS"):
        registry.store.registered("models:trec-tiny", tmp_path)


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
