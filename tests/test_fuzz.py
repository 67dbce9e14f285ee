"""Whatever a file holds, reading it gives a truly valid value or one sentence: never a traceback, never a wrong guess.

Good files are changed at random by a seeded generator, so every run tries the same ones. `KDREC_FUZZ_CASES=5000` tries
more of each.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import math
import os
import random
import traceback
import types
import typing
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w
from mutations import VALUES, changed_bytes, changed_text, changed_tree
from safetensors.numpy import save
from test_history import FOREIGN, TRIAL
from test_studies import FULL

from kdrec import catalog, history, question, tasks
from kdrec.errors import KdrecError
from kdrec.examples import Encoded, Reading, Task
from kdrec.home import Home
from kdrec.signals import TeacherSignal, _content_hash
from kdrec.studies import Study
from kdrec.tasks import token_store
from kdrec.types import History, KDConfig, ModelCard, Settings, TaskFeatures, Trial

CASES = int(os.environ.get("KDREC_FUZZ_CASES", "40"))
FIRST = int(os.environ.get("KDREC_FUZZ_FIRST", "0"))
ROOT = Path(__file__).parents[1]
JSON_VALUES = tuple(v for v in VALUES if type(v) in (str, int, float, bool, list, dict) and v != 1 << 20000)


def search(
    kind: str, change: Callable[[random.Random], Any], read: Callable[[Any], Any], check: Callable[..., None]
) -> None:
    """Try `CASES` changed files of a kind; those that broke the law are in the failure, each with its number."""
    broken: dict[str, str] = {}
    refused = 0
    for case in range(FIRST, FIRST + CASES):
        made = change(random.Random(f"{kind} {case}"))
        try:
            check(read(made), made)
        except KdrecError as error:
            refused += 1
            if not (0 < len(str(error)) < 3000 and str(error).isprintable()):
                broken.setdefault("no sentence", f"{case}: {str(error)[:300]!r} ({len(str(error))} letters)")
        except Exception as error:
            at = traceback.extract_tb(error.__traceback__)[-1]
            broken.setdefault(f"{type(error).__name__} in {at.name}", f"{case}: {str(error)[:300]}")
    assert not broken, f"{kind}: {broken}"
    assert refused, f"no {kind} was refused: nothing was tried"


def is_a(value: Any, hint: Any) -> bool:
    """Whether a value is what an annotation says, to its leaves; a float is finite, and no bool is a number."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin is typing.Literal:
        return isinstance(value, str) and value in inner
    if origin in (typing.Union, types.UnionType):
        return any(is_a(value, one) for one in inner)
    if origin is tuple and inner[1:] == (...,):
        return isinstance(value, tuple) and all(is_a(item, inner[0]) for item in value)
    if origin is tuple:
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(is_a, value, inner))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(is_a(k, inner[0]) and is_a(v, inner[1]) for k, v in value.items())
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return isinstance(value, hint) and all(
            is_a(getattr(value, f.name), hints[f.name]) for f in dataclasses.fields(hint)
        )
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


# --------------------------------------------------------------------------------------------------- studies, cards

STUDIES = [FULL, *(path.read_text("utf-8") for path in sorted((ROOT / "flows" / "studies").glob("*.toml")))]
LISTED = """
name = "l"
tasks = ["trec"]
students = ["small"]
search = "listed"
[[configs]]
alpha = 0.5
tau_t = 4
[[configs]]
distance = "mse"
"""
SUGGESTED = 'name = "s"\ntasks = ["trec"]\nstudents = ["small"]\nsearch = "suggested"\ntrial_price = 0.1\nbatch = 2\n'
SUGGESTED += 'trust_default = "high"\n'


def toml_of(rng: random.Random, texts: list[str]) -> bytes:
    """A TOML file with its values, its words or its bytes changed."""
    import tomllib

    text = rng.choice(texts)
    match rng.randrange(4):
        case 0 | 1:
            try:
                return tomli_w.dumps(changed_tree(rng, tomllib.loads(text))).encode("utf-8", "surrogatepass")
            except (AttributeError, TypeError, ValueError):  # the root became no table, or a number too long to write
                return changed_text(rng, text).encode("utf-8", "surrogatepass")
        case 2:
            return changed_text(rng, text).encode("utf-8", "surrogatepass")
        case _:
            return changed_bytes(rng, text.encode())


def test_any_study_file_is_a_study_or_a_sentence(tmp_path: Path) -> None:
    import tomllib

    def read(data: bytes) -> Study:
        (tmp_path / "s.toml").write_bytes(data)
        return Study.load(tmp_path / "s.toml")

    def check(study: Study, data: bytes) -> None:
        assert is_a(study, Study), study
        assert Study.from_dict(study.to_dict()) == study
        given, kept = tomllib.loads(data.decode()), study.to_dict()
        for key, value in given.items():
            if key == "data":
                continue
            assert contains(kept.get(key), value), f"{key} = {value!r} became {kept.get(key)!r}"
        for cell in study.cells():
            for seed in study.seeds:
                study.training_for(cell).resolved(seed=seed, learning_rate=1.0)

    search("study", lambda rng: toml_of(rng, [*STUDIES, LISTED, SUGGESTED]), read, check)


def contains(kept: Any, given: Any) -> bool:
    """Whether all that a file gave is in what was made of it, up to 1 and 1.0; empty tables may be left out."""
    if isinstance(given, dict):
        return (kept is None and not given) or all(contains(kept.get(key), value) for key, value in given.items())
    if isinstance(given, list):
        if not given:
            return kept in (None, [])
        return isinstance(kept, list) and len(kept) == len(given) and all(map(contains, kept, given))
    return type(given) in (type(kept), int) and kept == given


def test_any_card_file_is_cards_or_a_sentence(tmp_path: Path) -> None:
    texts = [path.read_text("utf-8") for path in sorted((ROOT / "models").glob("*.toml"))]

    def read(data: bytes) -> tuple[ModelCard, ...]:
        (tmp_path / "c.toml").write_bytes(data)
        return catalog.read_file(tmp_path / "c.toml")

    def check(cards: tuple[ModelCard, ...], _: bytes) -> None:
        assert is_a(cards, tuple[ModelCard, ...]), cards
        assert [card.role for card in cards] == ["teacher"] + ["student"] * (len(cards) - 1)
        for card in cards:
            assert card.source
            assert card.layers is None or len(card.layers) == card.n_layers

    search("card", lambda rng: toml_of(rng, texts), read, check)


# --------------------------------------------------------------------------------------------------------- histories

TRIALS = [replace(TRIAL, seed=n, run_id=f"run{n}", fingerprint=f"print{n}", test_score=50.5 + n) for n in range(4)]
TRIALS.append(replace(TRIAL, status="diverged", val_score=None, val_loss=None, run_id="d", fingerprint=""))
OTHERS = [replace(FOREIGN, run_id=f"run{n}", config=Settings.of(lr=10.0**-n, loss="kl")) for n in range(1, 4)]


def check_history(past: History, path: Path) -> None:
    for trial in past:
        assert is_a(trial, Trial), trial
        assert isinstance(trial.config, (KDConfig, Settings))
        assert trial.status in ("completed", "diverged")
    if len({type(trial.config) for trial in past}) == 1:
        for ending in (".csv", ".parquet"):
            history.write_table(past, path.with_suffix(f".again{ending}"))
            assert history.read_table(path.with_suffix(f".again{ending}")) == past


def means(cell: str, value: Any) -> bool:
    """Whether a cell of a CSV file says this value, by another reading of it than ours."""
    if value is None:
        return not cell.strip()
    if isinstance(value, str):
        return cell == value or (not cell and value == "none")  # no factor is the default
    try:
        return float(cell) == value
    except ValueError:
        return False


@pytest.mark.parametrize("trials", [TRIALS, OTHERS], ids=["own", "foreign"])
def test_any_history_csv_is_a_history_or_a_sentence(tmp_path: Path, trials: list[Trial]) -> None:
    path, base = tmp_path / "h.csv", tmp_path / "base.csv"
    history.write_table(History(tuple(trials)), base)
    good = base.read_bytes()

    def change(rng: random.Random) -> bytes:
        if rng.random() < 0.5:
            return changed_bytes(rng, good)
        if rng.random() < 0.5:
            return changed_text(rng, good.decode()).encode("utf-8", "surrogatepass")
        rows = changed_tree(rng, list(csv.reader(io.StringIO(good.decode(), newline=""))), JSON_VALUES)
        text = io.StringIO(newline="")
        csv.writer(text).writerows(row if isinstance(row, list) else [row] for row in rows if isinstance(rows, list))
        return text.getvalue().encode("utf-8", "surrogatepass")

    def read(data: bytes) -> History:
        path.write_bytes(data)
        return history.read_table(path)

    def check(past: History, data: bytes) -> None:
        check_history(past, path)
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
        for trial in past:
            flat = {k: "" if v is None and k in ("run_id", "fingerprint") else v for k, v in trial.to_row().items()}
            assert any(all(means(row[name], flat[name]) for name in row if name in flat) for row in rows), trial

    search("history.csv", change, read, check)


def not_utf8(length: int) -> Any:
    """A column of texts that are none."""
    offsets = pa.py_buffer(np.arange(length + 1, dtype="<i4"))
    return pa.StringArray.from_buffers(length, offsets, pa.py_buffer(b"\xff" * length))


def any_column(rng: random.Random, length: int) -> Any:
    """A column of a type and values that a history does not have."""
    made = (
        lambda: pa.array([None] * length),
        lambda: pa.array([rng.random() < 0.5 for _ in range(length)]),
        lambda: pa.array([b"\xff"] * length),
        lambda: pa.array([rng.randrange(2**64) for _ in range(length)], pa.uint64()),
        lambda: pa.array([rng.choice((math.nan, math.inf, -math.inf, -1.0, 0.0, 1e300)) for _ in range(length)]),
        lambda: pa.array([rng.choice(("", "nan", "1e999", "a\nb", "\x1b[2J", "1")) for _ in range(length)]),
        lambda: pa.array([[1]] * length),
        lambda: pa.array([{"a": 1}] * length),
        lambda: pa.array([2**62] * length, pa.timestamp("us")),
        lambda: pa.array([2**62] * length, pa.timestamp("ns")),
        lambda: pa.array([2**30] * length, pa.date32()),
        lambda: pa.array(["a"] * length).dictionary_encode(),
        lambda: not_utf8(length),
        lambda: pa.array([1] * length, pa.timestamp("us", "No/Where")),
    )
    return rng.choice(made)()


def changed_parquet(rng: random.Random, good: bytes) -> bytes:
    """A Parquet file with columns of other types, names, numbers or order, or with some of its bytes changed."""
    if rng.random() < 0.5:
        return changed_bytes(rng, good)
    table = pq.read_table(io.BytesIO(good))
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(table.num_columns)
        name = table.column_names[at]
        match rng.randrange(5):
            case 0:
                table = table.remove_column(at)
            case 1:
                names = [*table.column_names]
                names[at] = rng.choice((rng.choice(names), "a\nb", "\x1b[2J", f"{name}x", "knob.x", "a.b", ""))
                table = table.rename_columns(names)
            case _:
                table = table.set_column(at, name, any_column(rng, len(table)))
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


@pytest.mark.parametrize("trials", [TRIALS, OTHERS], ids=["own", "foreign"])
def test_any_history_parquet_is_a_history_or_a_sentence(tmp_path: Path, trials: list[Trial]) -> None:
    path = tmp_path / "h.parquet"
    history.write_table(History(tuple(trials)), path)
    good = path.read_bytes()

    def read(data: bytes) -> History:
        path.write_bytes(data)
        return history.read_table(path)

    search("history.parquet", lambda rng: changed_parquet(rng, good), read, lambda past, _: check_history(past, path))


def test_any_bytes_of_the_synced_history_are_the_history_or_a_sentence(tmp_path: Path) -> None:
    home = Home(root=tmp_path, tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    history.add(home, History(tuple(TRIALS)))
    good, kept = home.history_db.read_bytes(), history.load(home)

    def read(data: bytes) -> History:
        home.history_db.write_bytes(data)
        history.changed(home)
        return history.load(home)

    def check(past: History, _: bytes) -> None:
        assert past == kept

    search("history.sqlite", lambda rng: changed_bytes(rng, good), read, check)


# ---------------------------------------------------------------------------------------------------------- features


def changed_json(rng: random.Random, value: Any) -> bytes:
    if rng.random() < 0.6:
        return json.dumps(changed_tree(rng, value, JSON_VALUES)).encode()
    text = json.dumps(value)
    return (
        changed_text(rng, text).encode("utf-8", "surrogatepass")
        if rng.random() < 0.6
        else changed_bytes(rng, text.encode())
    )


def test_any_features_file_is_features_or_a_sentence(tmp_path: Path) -> None:
    good = {name: value for name, value in dataclasses.asdict(TRIAL.features).items() if value is not None}

    def read(data: bytes) -> TaskFeatures:
        (tmp_path / "f.json").write_bytes(data)
        return question.read_features(tmp_path / "f.json", None)

    def check(features: TaskFeatures, _: bytes) -> None:
        assert is_a(features, TaskFeatures), features

    search("features", lambda rng: changed_json(rng, good), read, check)


# ------------------------------------------------------------------------------------------------------------ caches

ENCODED = Encoded(
    input_ids_T=np.arange(9, dtype=np.int32),
    token_type_ids_T=None,
    offsets_N1=np.array([0, 4, 9]),
    labels_U=np.array([1, 0, 1]),
    ids_N=np.array([7, 8]),
    n_truncated=0,
    fingerprint="key",
    reading=Reading(
        axis="classes",
        places_R=np.array([1, 2, 1]),
        offsets_N1=np.array([0, 2, 3]),
        rows_N=np.array([0, 1]),
        origin_R2=np.array([[0, 1], [1, 2], [0, 1]]),
    ),
)


def test_any_token_file_is_tokens_or_refused_though_its_hash_be_right(tmp_path: Path) -> None:
    path = tmp_path / "key.tokens"
    token_store.write(path, ENCODED)
    good = path.read_bytes()
    begins = 40 + int.from_bytes(good[32:40], "little")
    header, arrays = json.loads(good[40:begins]), good[begins:]

    def change(rng: random.Random) -> bytes:
        if rng.random() < 0.2:
            return changed_bytes(rng, good)
        if rng.random() < 0.2:
            body = changed_bytes(rng, good[32:])
        else:
            made = changed_json(rng, header)
            body = len(made).to_bytes(8, "little") + made + arrays
        return hashlib.sha256(body).digest() + body

    def read(data: bytes) -> Encoded:
        path.unlink()
        path.write_bytes(data)
        return token_store.read(path, "key")

    def check(encoded: Encoded, _: bytes) -> None:
        assert encoded.fingerprint == "key"
        assert is_a((encoded.n_truncated, encoded.n_lost), tuple[int, int])
        offsets = encoded.offsets_N1
        assert offsets[0] == 0
        assert offsets[-1] == len(encoded.input_ids_T)
        assert (encoded.lengths_N >= 0).all()
        assert len(encoded) == len(offsets) - 1
        assert encoded.input_ids_T.dtype == np.int32
        assert encoded.unit_offsets_N1[-1] == len(encoded.labels_U)
        if encoded.reading is not None:
            assert encoded.reading.offsets_N1[-1] == len(encoded.reading.places_R) == len(encoded.reading.origin_R2)

    search("tokens", change, read, check)


def test_any_file_of_logits_is_logits_or_refused_though_its_hash_be_right(tmp_path: Path) -> None:
    path = tmp_path / "logits"
    tensors = {
        "ids": np.array([5, 3, 9]),
        "logits": np.arange(8, dtype=np.float32).reshape(4, 2),
        "counts": np.array([1, 2, 1]),
    }
    dtypes = ("<i8", "<i4", "<f4", "<f8", "|b1", "|u1", "<f2")

    def change(rng: random.Random) -> bytes:
        made = dict(tensors)
        for _ in range(rng.randint(1, 2)):
            name = rng.choice(list(made))
            match rng.randrange(4):
                case 0:
                    made[name] = made[name].astype(rng.choice(dtypes))
                case 1:
                    made[name] = made[name][: rng.randrange(3)]
                case 2:
                    made[name] = made[name].reshape(rng.choice(((-1, 1), (1, -1), (-1,))))
                case _:
                    made[name] = rng.choice((made[name] - 3, made[name] * 0, made[name] - np.inf)).astype(
                        made[name].dtype
                    )
        known = [made[name] for name in ("ids", "logits", "counts") if name in made]
        data = save(made, metadata={"key": "key", "sha256": _content_hash("key", *known)})
        return changed_bytes(rng, data) if rng.random() < 0.3 else data

    def read(data: bytes) -> TeacherSignal:
        path.write_bytes(data)
        return TeacherSignal.load(path, key="key")

    def check(signal: TeacherSignal, _: bytes) -> None:
        assert signal.ids_N.dtype == np.int64
        assert np.isfinite(signal.lookup(signal.ids_N)).all()
        assert signal.logits_RC.shape == signal.lookup(signal.ids_N).shape

    with np.errstate(invalid="ignore", over="ignore"):
        search("logits", change, read, check)


# ------------------------------------------------------------------------------------------------------- a user's own

REVIEWS = [(f"review {n} is {n % 7} of 7", ("good", "bad", "so so")[n % 3]) for n in range(60)]
TAGGED = [{"words": [f"w{n}", "in", "Rome"], "tags": ["O", "O", "B-LOC"]} for n in range(60)]
ASKED = [
    {"q": f"where {n}?", "c": f"it is {n} in Rome", "a": {"text": ["Rome"], "answer_start": [len(f"it is {n} in ")]}}
    for n in range(60)
]


def check_task(task: Task, _: bytes) -> None:
    assert len(task.labels) >= 2
    for split in (task.train, task.validation, task.test):
        assert len(split)
        assert all(isinstance(text, str) and text.strip() for texts in split.texts for text in texts)
        assert (split.labels_U >= 0).all()
        if task.family != "qa":
            assert (split.labels_U < len(task.labels)).all()


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_any_delimited_file_is_a_task_or_a_sentence(tmp_path: Path, ending: str) -> None:
    path, comma = tmp_path / f"own{ending}", "\t" if ending == ".tsv" else ","
    good = "\n".join(comma.join(row) for row in [("text", "label"), *REVIEWS]) + "\n"

    def change(rng: random.Random) -> bytes:
        if rng.random() < 0.5:
            return changed_bytes(rng, good.encode())
        return changed_text(rng, good).encode("utf-8", "surrogatepass")

    def read(data: bytes) -> Task:
        path.write_bytes(data)
        return tasks.load_file(path, text="text", label="label")

    def check(task: Task, data: bytes) -> None:
        check_task(task, data)
        if ending == ".csv":
            header, *rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")) if row]
            at = [[name.strip() for name in header].index(name) for name in ("text", "label")]
            wanted = Counter((row[at[0]], row[at[1]]) for row in rows)
            splits = (task.train, task.validation, task.test)
            found = Counter((t[0], task.labels[y]) for s in splits for t, y in zip(s.texts, s.labels_U, strict=True))
            assert {(t, y.strip()) for t, y in wanted} == set(found)
            assert wanted.total() == found.total()

    search(f"own{ending}", change, read, check)


JSONL = {
    "label": ([{"text": text, "label": label} for text, label in REVIEWS], "text", "label"),
    "tags": (TAGGED, "words", "tags"),
    "answers": (ASKED, ("q", "c"), "a"),
}


@pytest.mark.parametrize("kind", JSONL)
def test_any_jsonl_file_is_a_task_or_a_sentence(tmp_path: Path, kind: str) -> None:
    rows, text, label = JSONL[kind]

    def change(rng: random.Random) -> bytes:
        lines = [json.dumps(row).encode() for row in rows]
        for _ in range(rng.randint(1, 2)):
            at = rng.choice((0, rng.randrange(len(lines))))
            lines[at] = changed_json(rng, rows[at])
        return b"\n".join(lines)

    def read(data: bytes) -> Task:
        (tmp_path / "own.jsonl").write_bytes(data)
        return tasks.load_file(tmp_path / "own.jsonl", text=text, label=label)

    search(f"own.jsonl {kind}", change, read, check_task)


def test_any_conll_file_is_a_task_or_a_sentence(tmp_path: Path) -> None:
    good = "\n\n".join(
        "\n".join(f"{w} x {t}" for w, t in zip(row["words"], row["tags"], strict=True)) for row in TAGGED
    )

    def change(rng: random.Random) -> bytes:
        if rng.random() < 0.5:
            return changed_bytes(rng, good.encode())
        return changed_text(rng, good).encode("utf-8", "surrogatepass")

    def read(data: bytes) -> Task:
        (tmp_path / "own.conll").write_bytes(data)
        return tasks.load_file(tmp_path / "own.conll", text="tokens", label="tags")

    search("own.conll", change, read, check_task)


@pytest.mark.parametrize("kind", JSONL)
def test_any_parquet_file_is_a_task_or_a_sentence(tmp_path: Path, kind: str) -> None:
    rows, text, label = JSONL[kind]
    sink = io.BytesIO()
    table = pa.Table.from_pylist(rows)
    features = {"label": {"names": ["a", "b"], "_type": "ClassLabel"}, "tags": {"feature": {"names": ["O", "B-LOC"]}}}
    plain = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(table.replace_schema_metadata(plain), sink)
    good = sink.getvalue()

    def read(data: bytes) -> Task:
        (tmp_path / "own.parquet").write_bytes(data)
        return tasks.load_file(tmp_path / "own.parquet", text=text, label=label)

    search(f"own.parquet {kind}", lambda rng: changed_parquet(rng, good), read, check_task)
