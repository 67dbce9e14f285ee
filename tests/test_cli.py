from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from kdrec import catalog, history, question, tasks
from kdrec.cli import main
from kdrec.errors import BadArgument
from kdrec.home import Home
from kdrec.studies import Study
from kdrec.tracking import Store
from kdrec.types import BASELINE_CONFIG, DEFAULT_CONFIG, History, KDConfig, TaskFeatures, Training, Trial

HEAVY = {"torch", "transformers", "mlflow", "prefect", "pandas"}
Captured = pytest.CaptureFixture[str]
CONFIGS = (BASELINE_CONFIG, DEFAULT_CONFIG, KDConfig(distance="mse"), KDConfig(tau_t=4), KDConfig(tau_t=4, alpha=1))
NO_TASK = "a suggestion needs a task, a CSV, TSV, JSONL or Parquet file, or --features FILE.json"
TEACHER = "'minilm' is a teacher, a student was expected; its students are base, small, tiny"
NO_FILE = "--text and --label name columns of a file, got 'trec'"
NO_COST = "the cost of a trial: no completed trial of this history says how long it took"
TRUST = "trust_default must be one of low, medium, high,"
NO_METRIC = (
    "the metric of task 'new' is not known here: a history does not record it, and scores are of each task's main "
    "metric; leave --metric out"
)
NO_ROWS = (
    "a study cannot be written for 'new': its rows are not known here; name a task of the catalogue, a file, or --like "
    "a study that has its [data]"
)
COLUMNS = "a file needs --text COL and --label COL to say which columns of x.csv to read"
KEYS = ["task", "student", "config", "is_default", "gain", "next", "stop", "reason", "evidence", "audit"]


def features(task: str, n_classes: int = 6) -> TaskFeatures:
    return TaskFeatures(
        task=task,
        family="sentence",
        n_train=3000,
        n_classes=n_classes,
        label_entropy=1.5,
        mean_tokens=12.0,
        teacher_score=90.0,
        teacher_nll=0.3,
        teacher_ece=0.05,
        student_params=15_615_360,
        teacher_params=22_713_216,
    )


def trials(task: str, *, student: str = "small") -> list[Trial]:
    return [
        Trial(
            features=features(task),
            student=student,
            config=config,
            seed=0,
            status="completed",
            val_score=80.0 + place,
            val_loss=0.6 - place / 20,
            test_score=79.0 + place,
            seconds=20.0,
            run_id=f"{task}-{place}",
            fingerprint=f"{task}-{student}-{place}",
        )
        for place, config in enumerate(CONFIGS)
    ]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """An exported history of two tasks."""
    path = tmp_path / "past.csv"
    history.write_table(History((*trials("one"), *trials("two"))), path)
    return path


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """A user's own CSV with two classes."""
    rows = [f'"review number {i} is {"good" if i % 3 else "bad"}",{5 if i % 3 else 1}' for i in range(90)]
    path = tmp_path / "my_reviews.csv"
    path.write_text("\n".join(["review,stars", *rows, ""]), encoding="utf-8")
    return path


def run(*words: object, home: Home | None = None) -> int:
    return main([*(["--home", str(home.root)] if home else []), *map(str, words)])


def refused(capsys: Captured, *words: object, home: Home | None = None) -> str:
    """The one sentence with which words are refused."""
    assert run(*words, home=home) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err.strip()


def process(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-m", "kdrec", *words], capture_output=True, text=True, env=environment, timeout=120
    )


def modules_after(*words: str) -> tuple[int, str, set[str]]:
    """Exit code, standard output and loaded modules of a fresh process that ran these words."""
    ending = "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    script = f"import sys; from kdrec.cli import main; code = main({list(words)}); {ending}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    loaded = set(done.stderr.split())
    assert "kdrec.cli" in loaded, done.stderr
    return done.returncode, done.stdout, loaded


@pytest.mark.parametrize(
    ("word", "code"), [("--help", 0), ("sugest", 2), ("--version", 0), ("tasks", 0), ("models", 0)]
)
def test_help_and_a_wrong_word_load_nothing_heavy(word: str, code: int) -> None:
    got, _, loaded = modules_after(word)
    assert got == code
    assert not HEAVY & loaded


@pytest.mark.parametrize("word", ["--help", "sugest"])
def test_help_and_a_wrong_word_answer_in_half_a_second(word: str) -> None:
    def seconds() -> float:
        """Processor time of one call: its wall time on a machine that does nothing else."""
        child = subprocess.Popen(
            [sys.executable, "-m", "kdrec", word], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_utime + usage.ru_stime

    assert min(seconds() for _ in range(5)) < 0.5


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["sugest"], "unknown command 'sugest'; did you mean 'suggest'?"),
        (["history", "shw"], "unknown command 'shw'; did you mean 'show'?"),
        (["suggest", "--studnt", "small"], "unknown option '--studnt'; did you mean '--student'?"),
        (["suggest", "trec"], "missing option '--student'; see 'kdrec suggest --help'"),
        (["suggest", "--student", "small"], NO_TASK),
        (["suggest", "--student", "smal", "trec"], "unknown student 'smal'; did you mean 'small'?"),
        (["suggest", "--student", "minilm", "trec"], TEACHER),
        (["suggest", "--student", "small", "trek"], "unknown task 'trek'; did you mean 'trec'?"),
        (["suggest", "--student", "small", "gone.csv", "--text", "a", "--label", "b"], "no file at gone.csv"),
        (["suggest", "--student", "small", "x.csv"], COLUMNS),
        (["suggest", "--student", "tiny", "trec", "--text", "a"], NO_FILE),
        (["fetch", "trek"], "unknown task or model 'trek'; did you mean 'trec'?"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_exit_code_2(
    words: list[str], sentence: str, capsys: Captured, home: Home
) -> None:
    assert refused(capsys, *words, home=home) == sentence


def test_a_number_that_is_none_is_refused_in_a_sentence(capsys: Captured, home: Home) -> None:
    assert "'--budget'" in refused(capsys, "suggest", "trec", "--student", "small", "--budget", "many", home=home)
    said = refused(capsys, "suggest", "one", "--student", "small", "--features", "no.json", home=home)
    assert said == "no features file at no.json"


def test_json_has_the_documented_keys_and_nothing_else_on_standard_output(
    table: Path, capsys: Captured, home: Home
) -> None:
    assert run("suggest", "one", "--student", "small", "--history", table, "--json", home=home) == 0
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert list(answer) == KEYS
    assert [gain["trials"] for gain in answer["gain"]] == [1, 2, 4, 8, "all"]
    assert all(list(gain) == ["trials", "mean", "lo80", "hi80", "lo90", "hi90"] for gain in answer["gain"])
    assert len(answer["next"]) == 8
    assert all(list(trial) == ["config", "worth"] for trial in answer["next"])
    assert said.err == ""


def test_budget_says_how_many_trials_are_named_and_one_seed_gives_one_answer(
    table: Path, capsys: Captured, home: Home
) -> None:
    words = ("suggest", "one", "--student", "small", "--history", table, "--json", "--budget", "3", "--seed", "7")
    answers = []
    for _ in range(2):
        assert run(*words, home=home) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]
    assert len(json.loads(answers[0])["next"]) == 3


def test_a_task_by_its_features_alone_needs_no_data(table: Path, tmp_path: Path, capsys: Captured, home: Home) -> None:
    path = tmp_path / "task.json"
    path.write_text(json.dumps({"family": "sentence", "n_train": 500, "n_classes": 2}))
    assert run("suggest", "--features", path, "--student", "small", "--history", table, "--json", home=home) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "new-task"
    path.write_text(json.dumps({"n_clases": 2}))
    assert "did you mean 'n_classes'?" in refused(
        capsys, "suggest", "--features", path, "--student", "small", home=home
    )
    path.write_text("[1]")
    assert "one JSON object" in refused(capsys, "suggest", "--features", path, "--student", "small", home=home)
    path.write_text('{"task": "a"}')
    said = refused(capsys, "suggest", "b", "--features", path, "--student", "small", home=home)
    assert "describes the task 'a', not 'b'" in said


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"n_clases": 2}', "did you mean 'n_classes'?"),
        ("[1]", "must hold one JSON object of features"),
        ("{", "is not a JSON file"),
        ('{"n_train": ' + "9" * 5000 + "}", "is not a JSON file: Exceeds the limit"),
        ("[" * 5000, "is not a JSON file that can be read: nested too deeply"),
        ('{"task": "a"}', "describes the task 'a', not 'b'"),
    ],
)
def test_features_that_are_none_are_refused(
    content: str, sentence: str, tmp_path: Path, capsys: Captured, home: Home
) -> None:
    path = tmp_path / "task.json"
    path.write_text(content)
    assert sentence in refused(capsys, "suggest", "b", "--features", path, "--student", "small", home=home)


def test_a_users_own_file_is_answered_for(reviews: Path, capsys: Captured, home: Home) -> None:
    words = ("suggest", reviews, "--text", "review", "--label", "stars", "--student", "small", "--history", "none")
    assert run(*words, home=home) == 0
    text = capsys.readouterr().out
    assert "my_reviews, student small: start with" in text
    assert "80 % interval" in text
    assert "Behind this: no trials" in text


def test_a_file_without_the_column_is_refused_with_the_nearest(reviews: Path, capsys: Captured, home: Home) -> None:
    words = ("suggest", reviews, "--text", "reviw", "--label", "stars", "--student", "small")
    assert "did you mean 'review'?" in refused(capsys, *words, home=home)


def test_features_of_a_known_task_come_from_its_history() -> None:
    past = History(tuple(trials("one")))
    found = question.features_of(question.Asked(task="one"), "small", past, Home.at("nowhere"))
    assert found == features("one")


def test_a_task_of_the_history_may_be_called_like_a_file() -> None:
    past, nowhere = History(tuple(trials("glue/rte.tsv"))), Home.at("nowhere")
    assert question.features_of(question.Asked(task="glue/rte.tsv"), "small", past, nowhere) == features("glue/rte.tsv")
    with pytest.raises(BadArgument, match="a file needs --text COL and --label COL"):
        question.features_of(question.Asked(task="glue/rte"), "small", past, nowhere)


def test_another_teachers_measures_are_not_taken_for_ones_own() -> None:
    past = History(tuple(trials("one")))
    found = question.features_of(question.Asked(task="one"), "distilroberta", past, Home.at("nowhere"))
    assert found.teacher_score is None
    assert found.n_classes == 6
    assert found.teacher_params is not None
    assert found.teacher_params > 100_000_000


def test_export_and_import_are_inverses(table: Path, tmp_path: Path, capsys: Captured, home: Home) -> None:
    assert run("history", "import", table, home=home) == 0
    assert capsys.readouterr().out == "10 new; the history holds 10 trials of 2 tasks and 1 student\n"
    again = tmp_path / "again.parquet"
    assert run("history", "export", again, home=home) == 0
    assert history.read_table(again) == history.read_table(table)
    assert run("history", "import", again, home=home) == 0
    assert "0 new" in capsys.readouterr().out


def test_show_prints_a_table_or_json(table: Path, capsys: Captured, home: Home) -> None:
    run("history", "import", table, home=home)
    capsys.readouterr()
    assert run("history", "show", "--limit", "2", home=home) == 0
    text = capsys.readouterr().out
    assert "84.00" in text
    assert "the last 2 are shown" in text
    assert run("history", "show", "--json", home=home) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [Trial.from_row(row) for row in rows] == list(history.read_table(table))


def test_a_name_in_a_history_cannot_speak_to_the_terminal(tmp_path: Path, capsys: Captured, home: Home) -> None:
    name = "a\x1b[2J\x9b1mb\x00\rc"
    history.write_table(History(tuple(trials(name))), tmp_path / "odd.csv")
    run("history", "import", tmp_path / "odd.csv", home=home)
    capsys.readouterr()
    assert run("history", "show", "--limit", "1", home=home) == 0
    said = capsys.readouterr().out
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", said)
    assert "[2J" in said
    assert run("history", "show", "--json", home=home) == 0
    said = capsys.readouterr().out
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", said)
    assert {row["task"] for row in json.loads(said)} == {name}


def test_a_truncated_history_is_refused_and_not_used(table: Path, capsys: Captured, home: Home) -> None:
    run("history", "import", table, home=home)
    capsys.readouterr()
    home.history_db.write_bytes(home.history_db.read_bytes()[:4000])
    assert "damaged" in refused(capsys, "history", "import", table, home=home)


def test_a_question_without_a_store_creates_none(table: Path, home: Home, capsys: Captured) -> None:
    run("history", "import", table, home=home)
    assert run("suggest", "one", "--student", "small", home=home) == 0
    assert not (home.root / "mlflow.db").exists()


def test_the_store_is_opened_when_something_is_new_and_only_then(home: Home, capsys: Captured) -> None:
    store = Store.open(home)
    experiment = store.experiment("study")
    cell = store.open_cell(experiment, "one/small", features("one"), "note")
    for trial in trials("one"):
        run_id = store.start_trial(
            experiment,
            cell,
            config=trial.config,
            student=trial.student,
            features=trial.features,
            seed=trial.seed,
            fingerprint=trial.fingerprint,
            training=Training(),
        )
        store.finish_trial(run_id, trial)
    assert run("history", "sync", home=home) == 0
    assert capsys.readouterr().out == "5 new; the history holds 5 trials of 1 task and 1 student\n"
    assert run("history", "sync", "--json", home=home) == 0
    assert json.loads(capsys.readouterr().out) == {"new": 0, "trials": 5, "tasks": 1, "students": 1}
    code, out, loaded = modules_after("--home", str(home.root), "suggest", "one", "--student", "small", "--json")
    assert code == 0
    assert json.loads(out)["evidence"]["n_own_trials"] == 4, "the baseline is no distillation trial"
    assert not HEAVY & loaded


def test_an_unreachable_server_is_one_sentence_without_its_password(
    capsys: Captured, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDREC_TRACKING_URI", "http://ada:secret@127.0.0.1:9")
    said = refused(capsys, "suggest", "trec", "--student", "small", home=home)
    assert "no tracking store answers" in said
    assert "secret" not in said


def test_a_home_that_cannot_be_made_is_one_sentence(tmp_path: Path, table: Path, capsys: Captured) -> None:
    (tmp_path / "file").write_text("in the way")
    said = refused(capsys, "--home", tmp_path / "file" / "home", "history", "import", table)
    assert f"{tmp_path / 'file'} must be a folder of the kdrec home, and a file is there" in said


@pytest.mark.parametrize("words", [["tasks"], ["models"], ["history", "show"], ["--help"]])
def test_pages_have_no_colour_codes_under_no_color_and_fit_a_narrow_screen(words: list[str], home: Home) -> None:
    done = process("--home", str(home.root), *words, NO_COLOR="1", COLUMNS="60", FORCE_COLOR="1")
    assert done.returncode == 0, done.stderr
    plain = re.sub(r"\x1b\[(?:[0-3];?)*m", "", done.stdout)  # bold and dim are no colours
    assert "\x1b" not in plain
    assert max(map(len, plain.splitlines())) <= 60


def test_tasks_and_models_are_data_too(capsys: Captured) -> None:
    assert run("tasks", "--json") == 0
    assert {"trec", "sms_spam", "vader_tweets"} <= {row["task"] for row in json.loads(capsys.readouterr().out)}
    assert run("models", "--json") == 0
    assert {"minilm", "small", "tiny"} <= {row["name"] for row in json.loads(capsys.readouterr().out)}


def test_a_reader_that_leaves_early_is_no_error(table: Path, home: Home) -> None:
    command = f"{sys.executable} -m kdrec models --json | head -c 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[0\n"
    assert done.stderr == ""


SLOW = """
import sys, time
from kdrec import cli, history

def slowly(home, found):
    print("at work", flush=True)
    time.sleep(60)

history.add = slowly
sys.exit(cli.main())
"""


def test_an_interrupt_ends_with_130_and_no_traceback(home: Home, table: Path) -> None:
    words = ["--home", str(home.root), "history", "import", str(table)]
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "at work\n"
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert said == ""


def test_the_shell_can_complete_commands() -> None:
    done = process(_KDREC_COMPLETE="complete_bash", COMP_WORDS="kdrec su", COMP_CWORD="1")
    assert done.stdout.split() == ["suggest"]


def test_python_m_kdrec_is_the_same_program() -> None:
    assert process("--version").stdout.startswith("kdrec ")
    done = process("sugest")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "unknown command 'sugest'; did you mean 'suggest'?\n")


@pytest.mark.network
def test_fetch_brings_a_task_and_a_model_verified(capsys: Captured, home: Home) -> None:
    assert run("fetch", "trec", "small", home=home) == 0
    task, model = capsys.readouterr().out.splitlines()
    assert task.startswith("trec: ")
    assert task.endswith("6 labels")
    assert (Path(model.removeprefix("small: ")) / "tokenizer.json").is_file()


@pytest.mark.network
def test_tokens_are_counted_once_the_teachers_tokenizer_is_here(home: Home, reviews: Path) -> None:
    asked = question.Asked(task=str(reviews), text=("review",), label="stars")
    question.resolve(question.catalog.card("minilm").source, home)
    found = question.features_of(asked, "small", History(), home)
    assert found.mean_tokens is not None
    assert 5 <= found.mean_tokens <= 10, "five words, a number in pieces, and two special tokens"
    assert found.student_params == 15_615_360


def answer_of(capsys: Captured, home: Home, *words: object) -> dict[str, object]:
    assert run("suggest", *words, "--json", home=home) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_hours_name_as_many_trials_as_fit(table: Path, capsys: Captured, home: Home) -> None:
    words = ("one", "--student", "small", "--history", table)
    answer = answer_of(capsys, home, *words, "--hours", 100 / 3600)
    assert len(answer["next"]) == 4, "all past trials took 20 s, and an expectation is a little above the middle"
    assert answer_of(capsys, home, *words, "--hours", 0.001)["stop"] is True
    assert run("suggest", *words, "--hours", 0.001, home=home) == 0
    assert "No trial fits into 0.001 hours" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--hours", "1", "--budget", "3"], "one budget is enough: give budget or hours, not both"),
        (["--hours", "1", "--history", "none"], f"a budget in hours needs {NO_COST}; give a budget of trials"),
        (["--trial-price", "1", "--hour-price", "1"], "one price is enough: give trial_price or hour_price, not both"),
        (["--trust-default", "hihg"], f"{TRUST} got 'hihg'; did you mean 'high'?"),
        (["--metric", "macrof1"], "unknown metric 'macrof1'; did you mean 'macro_f1'?"),
        (["--metric", "f1"], "unknown metric 'f1'; known are accuracy, macro_f1, span_f1, squad_f1"),
        (["--metric", "accuracy"], NO_METRIC),
        (["--like", "x.toml"], "--like says how the trials of a study are trained: it needs --study FILE.toml"),
        (["--study", "next.toml"], NO_ROWS),
    ],
)  # fmt: skip
def test_terms_that_cannot_be_met_are_one_sentence(
    words: list[str], sentence: str, table: Path, tmp_path: Path, capsys: Captured, home: Home
) -> None:
    path = tmp_path / "task.json"
    path.write_text(json.dumps({"task": "new", "family": "sentence", "n_train": 500, "n_classes": 2}))
    past = [] if "--history" in words else ["--history", table]
    assert refused(capsys, "suggest", "--features", path, "--student", "small", *past, *words, home=home) == sentence
    assert not Path("next.toml").exists()


def test_the_metric_of_a_file_is_known_stated_and_held_to(reviews: Path, capsys: Captured, home: Home) -> None:
    words = (reviews, "--text", "review", "--label", "stars", "--student", "small", "--history", "none")
    assert answer_of(capsys, home, *words, "--metric", "accuracy")["evidence"]["metric"] == "accuracy"  # type: ignore[index]
    assert run("suggest", *words, home=home) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "in points of the task's score (accuracy, 0-100):" in said
    assert said.startswith("my_reviews.csv was read as 90 rows of texts with a label: 'review' with 'stars', scored by")
    assert "Its 2 labels, with their rows: '5' (60), '1' (30)." in said
    read = answer_of(capsys, home, *words)["read"]
    assert (read["n_rows"], read["metric"], read["labels"][1]) == (90, "accuracy", {"name": "1", "count": 30})  # type: ignore[index]
    said = refused(capsys, "suggest", *words, "--metric", "macro_f1", home=home)
    assert said == "the scores of task 'my_reviews' are accuracy, and a history holds no macro_f1 of it"


def test_the_metric_of_a_catalogue_task_in_the_history_is_the_catalogues(tmp_path: Path, home: Home) -> None:
    past = History(tuple(trials("sms_spam")))
    found = question.understand(question.Asked(task="sms_spam"), "small", past, home)
    assert found.metric == "macro_f1"
    question.check_metric("macro_f1", found)


def test_trials_already_made_on_the_task_count(table: Path, tmp_path: Path, capsys: Captured, home: Home) -> None:
    """The history says that tau_t = 4 is better by a point; ten seeds of the task's own say that it is worse by 20."""
    before = answer_of(capsys, home, "one", "--student", "small", "--history", table)
    own = [
        replace(
            trial,
            seed=seed,
            run_id=f"{trial.run_id}-{seed}",
            fingerprint="",
            val_score=80.0 - 20 * hot,
            test_score=None,
        )
        for trial in trials("one")[1:]
        for hot in [trial.config.tau_t == 4]
        for seed in range(10)
    ]
    path = tmp_path / "more.csv"
    history.write_table(History((*own, *trials("two"))), path)
    after = answer_of(capsys, home, "one", "--student", "small", "--history", path)
    assert after["config"]["tau_t"] != 4  # type: ignore[index]
    assert (before["evidence"]["n_own_trials"], after["evidence"]["n_own_trials"]) == (4, 40)  # type: ignore[index]
    assert after["evidence"]["cost"]["n_own_trials"] == 40  # type: ignore[index]


def test_an_answer_is_handed_to_a_study_that_runs_exactly_it(
    reviews: Path, tmp_path: Path, capsys: Captured, home: Home
) -> None:
    path = tmp_path / "next.toml"
    words = (reviews, "--text", "review", "--label", "stars", "--student", "small", "--history", "none", "--budget", 3)
    answer = answer_of(capsys, home, *words, "--study", path)
    study = Study.load(path)
    wanted = [answer["config"], *(trial["config"] for trial in answer["next"])]  # type: ignore[attr-defined]
    assert [asdict(config) for config in study.configs] == wanted
    assert (study.tasks, study.students, study.search) == (("my_reviews",), ("small",), "listed")
    assert study.data["my_reviews"].path == str(reviews)
    assert "is there already" in refused(capsys, "suggest", *words, "--study", path, home=home)
    other = tmp_path / "other.toml"
    assert run("suggest", *words, "--study", other, home=home) == 0
    assert f"python -m flows.study {other}" in capsys.readouterr().out


def test_what_changes_the_history_answers_in_json_and_nothing_else(
    table: Path, tmp_path: Path, capsys: Captured, home: Home
) -> None:
    size = {"trials": 10, "tasks": 2, "students": 1}
    out = tmp_path / "out.csv"
    for words, answer in {
        ("import", table): {"new": 10, **size},
        ("export", out): {"file": str(out), **size},
    }.items():
        assert run("history", *words, "--json", home=home) == 0
        said = capsys.readouterr()
        assert json.loads(said.out) == answer
        assert said.err == ""


def test_fetched_things_are_listed_in_json(home: Home, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question, "fetch", lambda names, home: iter([(name, "70 rows") for name in names]))
    assert run("fetch", "trec", "minilm", "--json", home=home) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"name": "trec", "came": "70 rows"},
        {"name": "minilm", "came": "70 rows"},
    ]


@pytest.mark.parametrize(
    "words",
    [
        ("suggest", "trek", "--student", "small"),
        ("audit", "--history", "gone.csv"),
        ("history", "import", "gone.csv"),
        ("history", "export", "out.json"),
        ("fetch", "trek"),
    ],
)
def test_with_json_too_a_mistake_is_one_sentence_on_standard_error(
    words: tuple[str, ...], capsys: Captured, home: Home
) -> None:
    assert refused(capsys, *words, "--json", home=home)


def test_every_command_that_answers_has_json_and_the_help_has_the_exit_codes(capsys: Captured) -> None:
    for words in (
        *(["suggest"], ["audit"], ["tasks"], ["models"], ["doctor"], ["gc"], ["fetch"]),
        *(["history", word] for word in ("show", "sync", "import", "export")),
    ):
        assert run(*words, "--help") == 0
        assert "--json" in capsys.readouterr().out, words
    assert run("--help") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "Exit codes: 0 done, 2 something has to be put right (one sentence on standard error), 130 interrupted." in said
    )


def test_in_a_pipe_a_row_of_a_list_is_one_line_and_on_a_screen_it_fits(
    table: Path, capsys: Captured, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert run("history", "import", table, home=home) == 0
    capsys.readouterr()
    n_tasks, n_models = len(tasks.known()), len(catalog.cards())
    for words, n_rows in {("tasks",): n_tasks, ("models",): n_models, ("history", "show"): 10 + 1}.items():
        assert run(*words, home=home) == 0
        assert len(capsys.readouterr().out.splitlines()) == 2 + n_rows, words  # a head and a rule
    monkeypatch.setenv("COLUMNS", "60")
    assert run("tasks", home=home) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 60
