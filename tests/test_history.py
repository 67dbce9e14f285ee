"""Laws of the local history: what is synced is what is loaded, damage is never used, tables return to the bit."""

from __future__ import annotations

import csv
import re
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdrec import history
from kdrec.errors import BadArgument, CorruptFile, DataError, KdrecError, NoHistory, StoreError
from kdrec.history.columns import COLUMNS, NEEDED_COLUMNS
from kdrec.home import Home
from kdrec.types import (
    FAMILIES,
    HISTORY_COLUMNS,
    SCHEMA_2_COLUMNS,
    History,
    KDConfig,
    Settings,
    TaskFeatures,
    Trial,
    history_columns,
)

KNOB_COLUMNS = ("alpha", "distance", "teacher", "tau_t", "tau_s", "scale_soft_loss")
FEATURES = TaskFeatures(
    task="trec", family="sentence", n_train=3000, n_classes=6, label_entropy=1.6331, mean_tokens=11.5
)
TRIAL = Trial(
    features=FEATURES,
    student="small",
    config=KDConfig(tau_t=4.0),
    seed=0,
    status="completed",
    val_score=86.1,
    val_loss=0.1 + 0.2,
    test_score=None,
    seconds=31.25,
    run_id="a" * 32,
    fingerprint="f" * 64,
)


def numbered(count: int, **changes: object) -> list[Trial]:
    return [replace(TRIAL, seed=n, run_id=f"run{n}", fingerprint=f"print{n}", **changes) for n in range(count)]  # type: ignore[arg-type]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(root=tmp_path / "home", tracking_uri=f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}")


# ---------------------------------------------------------------------------------------------- any finished trial

names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
scores = st.none() | st.floats(0, 100)
losses = st.none() | st.floats(0, allow_infinity=False, allow_nan=False)
counts = st.none() | st.integers(1, 2**63 - 1)
flags = st.none() | st.booleans()
temperatures = st.floats(0, exclude_min=True, allow_infinity=False)


@st.composite
def finished_trials(draw: st.DrawFn) -> Trial:
    n_train = draw(counts)
    features = TaskFeatures(
        task=draw(names),
        family=draw(st.none() | st.sampled_from(FAMILIES)),
        n_train=n_train,
        n_classes=draw(st.none() | st.integers(1, n_train or 9)),
        label_entropy=draw(losses),
        mean_tokens=draw(losses),
        teacher_score=draw(scores),
        teacher_nll=draw(losses),
        teacher_ece=draw(st.none() | st.floats(0, 1)),
        student_params=draw(counts),
        teacher_params=draw(counts),
        n_transfer=draw(st.none() | st.integers(0, 2**63 - 1)),
        transfer_entropy=draw(losses),
        teacher_still_improving=draw(flags),
        data=draw(st.none() | st.from_regex("[0-9a-f]{16}", fullmatch=True)),
    )
    config = KDConfig(
        alpha=draw(st.floats(0, 1)),
        distance=draw(st.sampled_from(("ce", "mse"))),
        teacher=draw(st.sampled_from(("t_hs", "t_ll", "t_llg"))),
        tau_t=draw(temperatures),
        tau_s=draw(temperatures),
        scale_soft_loss=draw(st.sampled_from(("none", "tau_t*tau_s"))),
    )
    status = draw(st.sampled_from(("completed", "diverged")))
    return Trial(
        features=features,
        student=draw(names),
        config=config,
        seed=draw(st.integers(0, 2**63 - 1)),
        status=status,
        val_score=draw(st.floats(0, 100) if status == "completed" else scores),
        val_loss=draw(losses),
        test_score=draw(scores),
        seconds=draw(st.floats(0, allow_infinity=False)),
        run_id=draw(st.just("") | names),
        fingerprint=draw(st.just("") | names),
        learning_rate=draw(st.none() | temperatures),
        epochs=draw(losses),
        n_steps=draw(st.none() | st.integers(0, 2**63 - 1)),
        still_improving=draw(flags),
    )


histories = st.lists(finished_trials(), min_size=1, max_size=5, unique_by=(lambda t: t.run_id or id(t), lambda t: t.fingerprint or id(t)))  # fmt: skip # noqa: E501
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def distinct(trials: list[Trial]) -> History:
    return History(tuple(dict.fromkeys(trials)))


@quick
@given(trials=histories, ending=st.sampled_from((".csv", ".parquet")))
def test_a_table_read_back_is_the_history_that_was_written(tmp_path: Path, trials: list[Trial], ending: str) -> None:
    path = tmp_path / f"history{ending}"
    history.write_table(distinct(trials), path)
    assert history.read_table(path) == distinct(trials)


@quick
@given(trials=histories)
def test_what_is_synced_is_what_is_loaded(home: Home, trials: list[Trial]) -> None:
    history.sync(home, lambda since: (trials, "1"), full=True)
    assert history.load(home) == distinct(trials)


# --------------------------------------------------------------------------------------------------- foreign knobs

knob_values = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(["kl", "mse", "a,b", 'x"y', "True"])
foreign_configs = st.fixed_dictionaries(
    {"loss": knob_values}, optional={"lr": knob_values, "batch size": knob_values, "seed": knob_values}
).map(lambda knobs: Settings.of(**knobs))
foreign_histories = st.lists(
    st.builds(lambda trial, config: replace(trial, config=config), finished_trials(), foreign_configs),
    min_size=1,
    max_size=5,
    unique_by=(lambda t: t.run_id or id(t), lambda t: t.fingerprint or id(t)),
)
FOREIGN = replace(TRIAL, config=Settings.of(lr=1e-3, loss="kl"), run_id="foreign", fingerprint="")


@quick
@given(trials=foreign_histories, ending=st.sampled_from((".csv", ".parquet")))
def test_a_table_of_foreign_knobs_read_back_is_what_was_written(
    tmp_path: Path, trials: list[Trial], ending: str
) -> None:
    path = tmp_path / f"foreign{ending}"
    history.write_table(distinct(trials), path)
    assert history.read_table(path) == distinct(trials)


@quick
@given(trials=foreign_histories)
def test_foreign_trials_that_are_kept_are_loaded(home: Home, trials: list[Trial]) -> None:
    home.history_db.unlink(missing_ok=True)
    history.sync(home, lambda since: (trials, "1"), full=True)
    assert history.load(home) == distinct(trials)


def foreign_table(path: Path, *rows: dict[str, str], drop: tuple[str, ...] = KNOB_COLUMNS) -> Path:
    """A CSV as another tool would make it: named knobs where kdrec's own would stand."""
    base = {name: "" for name in HISTORY_COLUMNS if name not in drop}
    base |= {"task": "trec", "student": "small", "status": "completed", "val_score": "86.1", "seconds": "30"}
    with path.open("w", newline="", encoding="utf-8") as stream:
        more = dict.fromkeys(name for row in rows for name in row if name not in base)
        writer = csv.DictWriter(stream, [*base, *more])
        writer.writeheader()
        writer.writerows(base | {"seed": str(seed)} | row for seed, row in enumerate(rows))
    return path


def test_a_foreign_table_has_numbers_words_and_knobs_that_do_not_apply(tmp_path: Path) -> None:
    first = {"knob.lr": "1e-3", "knob.loss": "kl", "knob.tau": "2"}
    second = {"knob.lr": "1", "knob.loss": "mse", "knob.tau": ""}
    configs = [trial.config for trial in history.read_table(foreign_table(tmp_path / "h.csv", first, second))]
    assert configs == [Settings.of(lr=0.001, loss="kl", tau=2), Settings.of(lr=1, loss="mse")]


def test_a_foreign_table_is_written_with_its_knobs_where_kdrecs_own_would_stand(tmp_path: Path) -> None:
    history.write_table(History((FOREIGN,)), tmp_path / "h.csv")
    header = (tmp_path / "h.csv").read_text().splitlines()[0].split(",")
    assert tuple(header) == history_columns([FOREIGN.config])
    at = header.index("teacher_params") + 1
    assert header[at : at + 3] == ["knob.loss", "knob.lr", "seed"]


@pytest.mark.parametrize(
    ("row", "drop", "sentence"),
    [
        (
            {"knob.lr": "1", "alpha": "1"},
            KNOB_COLUMNS,
            "h.csv has both alpha and knob.lr: the columns alpha, distance, teacher, tau_t, tau_s or columns called "
            "knob.NAME were expected",
        ),
        (
            {"lr": "1"},
            KNOB_COLUMNS,
            "h.csv names no knobs: the columns alpha, distance, teacher, tau_t, tau_s or columns called knob.NAME were "
            "expected, got lr",
        ),
        ({"knob.lr": "1", "lr": "1"}, KNOB_COLUMNS, "h.csv has an unknown column 'lr'"),
        ({"knob.lr": "nan"}, KNOB_COLUMNS, "h.csv, line 2: knob lr must be a finite number or a word, got 'nan'"),
        ({"knob.lr": ""}, KNOB_COLUMNS, "h.csv, line 2: a configuration needs at least one knob, got none"),
        ({"knob.lr": "1", "val_score": "nan"}, KNOB_COLUMNS, "h.csv, line 2, column 'val_score': a finite number was"),
        ({"knob.lr": "1", "val_score": "101"}, KNOB_COLUMNS, "h.csv, line 2: val_score must be in [0, 100], got 101.0"),
    ],
)
def test_a_table_of_both_kinds_of_knobs_or_of_neither_is_refused(
    tmp_path: Path, row: dict[str, str], drop: tuple[str, ...], sentence: str
) -> None:
    path = foreign_table(tmp_path / "h.csv", row, drop=drop)
    with pytest.raises(DataError) as caught:
        history.read_table(path)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_imports_that_would_put_different_knobs_side_by_side_are_refused_and_change_nothing(home: Home) -> None:
    assert history.add(home, History((FOREIGN,))) == 1
    other = replace(FOREIGN, features=TaskFeatures(task="other"), run_id="other", config=Settings.of(lr=1, size=2))
    for wrong in (TRIAL, other):
        with pytest.raises(DataError, match=r"cannot stand beside those of this history, because .*--history FILE"):
            history.add(home, History((wrong,)))
    assert history.load(home).trials == (FOREIGN,)


def test_a_history_of_both_kinds_is_written_to_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="have to turn the same knobs"):
        history.write_table(History((TRIAL, FOREIGN)), tmp_path / "h.csv")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------------- sync


def test_a_home_without_a_history_loads_an_empty_one(home: Home) -> None:
    assert history.load(home) == History()
    assert not home.history_db.exists()


def test_each_sync_passes_on_the_watermark_of_the_last_and_counts_only_new_rows(home: Home) -> None:
    asked: list[str | None] = []

    def fetch(since: str | None) -> tuple[list[Trial], str]:
        asked.append(since)
        return numbered(2 if since is None else 3), str(len(asked))

    assert [history.sync(home, fetch) for _ in range(3)] == [2, 1, 0]
    assert asked == [None, "1", "2"]
    assert history.load(home).trials == tuple(numbered(3))


def test_a_full_sync_forgets_rows_that_left_the_store_and_keeps_imported_ones(home: Home) -> None:
    history.add(home, History((replace(TRIAL, student="base"),)))
    assert history.sync(home, lambda since: (numbered(3), "1")) == 3
    assert history.sync(home, lambda since: (numbered(2), "2"), full=True) == 0
    assert history.load(home).trials == (replace(TRIAL, student="base"), *numbered(2))


def test_failed_trials_never_reach_history(home: Home) -> None:
    failed = replace(TRIAL, status="failed", val_score=None)
    assert history.sync(home, lambda since: ([failed], "1")) == 0
    assert history.load(home) == History()


def test_a_fingerprint_or_a_run_is_kept_once(home: Home) -> None:
    twins = [TRIAL, replace(TRIAL, run_id="other"), replace(TRIAL, fingerprint="")]
    assert history.sync(home, lambda since: (twins, "1")) == 1
    assert history.add(home, History((replace(TRIAL, val_score=1.0),))) == 0
    assert history.load(home).trials == (TRIAL,)


def test_another_store_is_another_history_and_imports_stay(home: Home) -> None:
    history.sync(home, lambda since: ([TRIAL], "9"))
    history.add(home, History((replace(TRIAL, run_id="", fingerprint="", seed=7),)))
    elsewhere = replace(home, tracking_uri="http://127.0.0.1:9")
    assert [trial.seed for trial in history.load(elsewhere)] == [7]
    asked = []
    history.sync(elsewhere, lambda since: (asked.append(since) or [], "1"))
    assert asked == [None]
    assert [trial.seed for trial in history.load(elsewhere)] == [7]


def test_a_sync_that_fails_changes_nothing(home: Home) -> None:
    history.sync(home, lambda since: ([TRIAL], "1"))
    before = home.history_db.read_bytes()

    def fetch(since: str | None) -> tuple[list[Trial], str]:
        raise StoreError("no tracking store answers")

    with pytest.raises(StoreError):
        history.sync(home, fetch)
    assert home.history_db.read_bytes() == before


def test_concurrent_syncs_lose_nothing(home: Home) -> None:
    code = """
import sys
from kdrec import history
from kdrec.home import Home
from tests.test_history import numbered
home, worker = Home(__import__("pathlib").Path(sys.argv[1]), sys.argv[2]), int(sys.argv[3])
for n in range(5):
    history.sync(home, lambda since: ([numbered(20)[worker * 5 + n]], "1"))
"""
    root = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", code, str(home.root), home.tracking_uri]
    workers = [subprocess.Popen([*command, str(n)], cwd=root) for n in range(4)]
    assert [worker.wait(timeout=120) for worker in workers] == [0] * 4
    assert sorted(trial.seed for trial in history.load(home)) == list(range(20))


# ----------------------------------------------------------------------------------------------------------- marker


def test_a_local_store_counts_as_changed_after_every_write_and_only_then(home: Home) -> None:
    assert not history.changed(home)  # neither store nor history
    database = sqlite3.connect(home.folder() / "mlflow.db")
    database.execute("CREATE TABLE runs (id)")
    database.commit()
    assert history.changed(home)
    for _ in range(3):
        history.sync(home, lambda since: ([], "1"))
        marker = history.store_marker(home)
        assert not history.changed(home)
        assert not history.changed(home, marker)
        database.execute("INSERT INTO runs VALUES (1)")
        database.commit()
        assert history.changed(home)
        assert history.changed(home, marker)
    database.close()


def test_a_write_in_the_write_ahead_log_counts_as_a_change(home: Home) -> None:
    database = sqlite3.connect(home.folder() / "mlflow.db")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE runs (id)")
    database.commit()
    history.sync(home, lambda since: ([], "1"))
    database.execute("INSERT INTO runs VALUES (1)")
    database.commit()
    assert history.changed(home)
    database.close()


def test_a_server_always_counts_as_changed(home: Home) -> None:
    server = replace(home, tracking_uri="http://127.0.0.1:9")
    history.sync(server, lambda since: ([TRIAL], "1"))
    assert history.changed(server)


# ----------------------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("damage", ["empty", "half", "text", "one digit of a score", "one letter"])
def test_a_damaged_file_is_refused_when_loading_and_made_anew_by_a_sync(home: Home, damage: str) -> None:
    history.sync(home, lambda since: (numbered(50), "7"))
    data = home.history_db.read_bytes()
    score = memoryview(data).obj.index(bytes.fromhex("40558666"))  # 86.1 as a double, big endian
    other = {
        "empty": b"",
        "half": data[: len(data) // 2],
        "text": b"history",
        "one digit of a score": data[: score + 3] + b"\x67" + data[score + 4 :],
        "one letter": data.replace(b"print17", b"print18", 1),
    }[damage]
    assert other != data
    home.history_db.write_bytes(other)
    with pytest.raises(CorruptFile, match=r"is damaged and was not used; `kdrec history sync` makes it anew"):
        history.load(home)
    asked = []
    assert history.sync(home, lambda since: (asked.append(since) or numbered(50), "8")) == 50
    assert asked == [None]
    assert history.load(home).trials == tuple(numbered(50))
    assert home.history_db.with_suffix(".damaged").read_bytes() == other


def test_a_file_of_a_newer_form_is_refused_and_left_alone(home: Home) -> None:
    history.sync(home, lambda since: ([TRIAL], "1"))
    with sqlite3.connect(home.history_db) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    newer = home.history_db.read_bytes()
    for door in (history.load, history.changed, lambda home: history.sync(home, lambda since: ([], "1"))):
        with pytest.raises(StoreError, match="is of form 99, and this kdrec knows forms up to 3; update kdrec"):
            door(home)
    assert home.history_db.read_bytes() == newer


def test_ten_thousand_rows_load_quickly_and_without_mlflow_or_pandas(home: Home) -> None:
    history.sync(home, lambda since: (numbered(10_000), "1"))
    code = """
import sys, time
from pathlib import Path
from kdrec import history
from kdrec.home import Home
home = Home(Path(sys.argv[1]), sys.argv[2])
history.changed(home)
started = time.process_time()
loaded = history.load(home)
print(len(loaded), time.process_time() - started, *{"mlflow", "pandas", "torch", "pyarrow"} & sys.modules.keys())
"""
    command = [sys.executable, "-c", code, str(home.root), home.tracking_uri]
    out = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    ).stdout.split()
    assert out[0] == "10000"
    assert float(out[1]) < 1.0  # 0.15-0.2 s on a quiet core
    assert out[2:] == []


# ----------------------------------------------------------------------------------------------------------- tables


def table(path: Path, *, drop: str = "", rename: tuple[str, str] = ("", ""), **cells: str) -> Path:
    """A CSV of two rows, made by the csv module alone; `cells` replaces values in the second."""
    row = {name: "" for name in HISTORY_COLUMNS} | {
        **{"task": "trec", "student": "small", "alpha": "0.5", "distance": "ce", "teacher": "t_ll", "tau_t": "1"},
        **{"tau_s": "1", "seed": "0", "status": "completed", "val_score": "86.1", "seconds": "30"},
    }
    header = [rename[1] if name == rename[0] else name for name in HISTORY_COLUMNS if name != drop]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        for each in (row, row | {"seed": "1"} | cells):
            writer.writerow([value for name, value in each.items() if name != drop])
    return path


def test_a_table_made_elsewhere_is_read_with_its_types(tmp_path: Path) -> None:
    path = table(tmp_path / "h.csv", n_train="3000.0", n_classes="6", val_loss="5e-1", seed="+3")
    first, second = history.read_table(path)
    assert first.features == TaskFeatures(task="trec")
    assert (second.features.n_train, second.features.n_classes, second.val_loss, second.seed) == (3000, 6, 0.5, 3)
    assert isinstance(second.features.n_train, int)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("val_score", "86,1", "a finite number was expected, got '86,1'"),
        ("val_score", "nan", "a finite number was expected, got 'nan'"),
        ("val_loss", "inf", "a finite number was expected, got 'inf'"),
        ("val_loss", "1e999", "a finite number was expected, got '1e999'"),
        ("tau_t", "1_0", "a finite number was expected, got '1_0'"),
        ("seed", "0.5", "a whole number was expected, got '0.5'"),
        ("n_train", "9" * 19, "a whole number was expected, got '9999999999999999999'"),
        ("n_steps", "12.5", "a whole number was expected, got '12.5'"),
        ("still_improving", "true", "a whole number was expected, got 'true'"),
        ("transfer_entropy", "nan", "a finite number was expected, got 'nan'"),
        ("seconds", "", "a finite number was expected, got an empty cell"),
        ("task", "", "a text was expected, got an empty cell"),
    ],
)
def test_a_bad_cell_is_refused_with_column_line_and_value(
    tmp_path: Path, column: str, value: str, expected: str
) -> None:
    path = table(tmp_path / "h.csv", **{column: value})
    with pytest.raises(DataError, match=rf"^h\.csv, line 3, column '{column}': {re.escape(expected)}$"):
        history.read_table(path)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("val_score", "100.5"),
        ("alpha", "1.5"),
        ("tau_s", "0"),
        ("seed", "-1"),
        ("status", "done"),
        ("family", "image"),
        ("still_improving", "2"),
        ("teacher_still_improving", "-1"),
        ("n_transfer", "-5"),
        ("data", "0123"),
        ("epochs", "-1"),
    ],
)
def test_a_value_out_of_range_is_refused_with_column_line_and_value(tmp_path: Path, column: str, value: str) -> None:
    with pytest.raises(DataError, match=rf"^h\.csv, line 3: {column} must be .*, got '?{re.escape(value)}"):
        history.read_table(table(tmp_path / "h.csv", **{column: value}))


def test_a_line_is_counted_in_the_file_also_after_a_cell_of_several_lines(tmp_path: Path) -> None:
    path = table(tmp_path / "h.csv", task="a\nb\nc")
    path.write_text(path.read_text() + "x,y\n")
    with pytest.raises(DataError, match=r"^h\.csv, line 6: 34 cells were expected, as in the header, got 2$"):
        history.read_table(path)


def test_the_columns_that_came_later_may_be_absent_and_all_others_are_needed(tmp_path: Path) -> None:
    for column in ("scale_soft_loss", "fingerprint", *SCHEMA_2_COLUMNS):
        assert len(history.read_table(table(tmp_path / "h.csv", drop=column))) == 2
    for column in NEEDED_COLUMNS:
        with pytest.raises(DataError, match=f"lacks the column {column}$"):
            history.read_table(table(tmp_path / "h.csv", drop=column))


def test_a_misspelled_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^h\.csv lacks the column val_score; is it 'valscore'\?$"):
        history.read_table(table(tmp_path / "h.csv", rename=("val_score", "valscore")))
    with pytest.raises(DataError, match=r"unknown column 'fingerprnt'; did you mean 'fingerprint'\?$"):
        history.read_table(table(tmp_path / "h.csv", rename=("fingerprint", "fingerprnt")))


def test_a_table_without_a_usable_row_is_no_history(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_text(",".join(HISTORY_COLUMNS) + "\n")
    with pytest.raises(NoHistory, match="holds no usable row"):
        history.read_table(path)
    history.write_table(History((replace(TRIAL, status="failed"),)), path)
    with pytest.raises(NoHistory, match="holds no usable row"):
        history.read_table(path)


def test_rows_that_are_one_trial_are_kept_once(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    bare = replace(TRIAL, run_id="", fingerprint="")
    history.write_table(History((TRIAL, replace(TRIAL, run_id="b"), bare, bare, replace(bare, seed=1))), path)
    assert history.read_table(path).trials == (TRIAL, bare, replace(bare, seed=1))


def test_files_that_are_no_tables_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("täsk".encode("latin-1"))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "quote.csv").write_text(",".join(HISTORY_COLUMNS) + '\n"trec')
    for name, error, words in (
        ("latin.csv", DataError, "must be UTF-8 text; byte 1 is not"),
        ("bad.parquet", CorruptFile, "cannot be read as Parquet"),
        ("empty.csv", DataError, "lacks the columns task, family"),
        ("quote.csv", DataError, "line 2: not a CSV row"),
        ("latn.csv", DataError, "did you mean 'latin.csv'"),
        ("history.xlsx", BadArgument, "a history is a .csv or .parquet file"),
    ):
        with pytest.raises(error, match=words) as caught:
            history.read_table(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "cell",
    [
        pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")),
        pa.array([2**30], pa.date32()),
        pa.array([2**62], pa.timestamp("us")),
        pa.array([1], pa.timestamp("us", "No/Where")),
    ],
    ids=lambda cell: str(cell.type),
)
def test_a_parquet_cell_that_python_cannot_hold_is_refused(tmp_path: Path, cell: pa.Array) -> None:
    history.write_table(History((TRIAL,)), tmp_path / "h.parquet")
    table = pq.read_table(tmp_path / "h.parquet")
    pq.write_table(table.set_column(table.column_names.index("task"), "task", cell), tmp_path / "h.parquet")
    with pytest.raises(CorruptFile, match=r"^h\.parquet cannot be read as Parquet: "):
        history.read_table(tmp_path / "h.parquet")


@pytest.mark.parametrize("trial", [TRIAL, FOREIGN], ids=["own", "foreign"])
def test_a_damaged_sign_in_a_number_is_refused_and_never_read_as_white_space(tmp_path: Path, trial: Trial) -> None:
    path = tmp_path / "h.csv"
    history.write_table(History((replace(trial, seconds=31.257),)), path)
    good = path.read_bytes()
    for before, after in ((b"31.257", b"31.25\x1e"), (b"0.001", b"0.00\x1f"), (b"31.257", b"\x1c1.257")):
        path.write_bytes(good.replace(before, after))
        if after in path.read_bytes():
            with pytest.raises(DataError, match="number"):
                history.read_table(path)
    path.write_bytes(good.replace(b"31.257", b" 31.257 "))
    assert history.read_table(path).trials[0].seconds == 31.257


def test_a_table_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(KdrecError, match="there is no folder"):
        history.write_table(History((TRIAL,)), tmp_path / "absent" / "h.csv")
    with pytest.raises(BadArgument, match=r"\.csv or \.parquet"):
        history.write_table(History((TRIAL,)), tmp_path / "h.xlsx")
    assert list(tmp_path.iterdir()) == []


# --------------------------------------------------------------------------------------------------------- document


def test_the_document_lists_the_columns_in_order_with_their_types() -> None:
    text = (Path(__file__).parents[1] / "docs" / "history-schema.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)` \| (\w+) \|[^|]*\| (yes|no) \|", text, re.MULTILINE)
    assert listed == [(c.name, c.kind, "yes" if c.optional else "no") for c in COLUMNS]
    assert tuple(name for name, _, _ in listed) == HISTORY_COLUMNS
    assert "| `knob.NAME` | number or word |" in text
    assert all(f"`{name}`" in text for name in KNOB_COLUMNS)
