from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from running import REPOSITORY

from flows.command import main


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.study", *words], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('tasks = ["trek"]', "unknown task 'trek'; did you mean 'trec'?"),
        ('tasks = ["trec"]\nstudents = ["smal"]', "unknown model 'smal'; did you mean 'small'?"),
        ('tasks = ["trec"]\nsearhc = "full"', "study.toml: unknown key 'searhc'; did you mean 'search'?"),
    ],
)
def test_a_wrong_study_gets_one_sentence_and_exit_code_2_and_leaves_nothing(
    tmp_path: Path, line: str, sentence: str
) -> None:
    file, home = tmp_path / "study.toml", tmp_path / "home"
    students = "" if "students" in line else '\nstudents = ["tiny"]'
    file.write_text(f'name = "wrong"\n{line}{students}\n', encoding="utf-8")
    done = command(str(file), "--home", str(home))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [f"kdrec: {sentence}"]
    assert not home.exists()


def test_an_unknown_study_exits_with_2(tmp_path: Path) -> None:
    done = command("quickstrat", "--home", str(tmp_path))
    assert done.returncode == 2
    assert "did you mean 'quickstart'?" in done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--workers", "0"], "argument --workers: a whole number of at least 1 was expected, got '0'"),
        (["--minutes", "-1"], "argument --minutes: a number of minutes above 0 was expected, got '-1'"),
        (["--minutes"], "argument --minutes: expected one argument"),
        (["--minuets", "1\x1b[2J"], "unrecognized arguments: --minuets 1\\u001b[2J"),
    ],
)
def test_wrong_words_get_one_sentence_and_exit_code_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["quickstart", *words])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"kdrec: {sentence}; see python -m flows.study --help\n"


@pytest.mark.parametrize(
    ("setting", "address", "sentence"),
    [
        (
            "KDREC_TRACKING_URI",
            "http://ada:secret@127.0.0.1:9",
            "no tracking store answers at http://***@127.0.0.1:9",
        ),
        (
            "PREFECT_API_URL",
            "http://ada:secret@127.0.0.1:9/api",
            "no Prefect server answers at http://***@127.0.0.1:9",
        ),
    ],
)
def test_an_address_where_nothing_answers_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, address: str, sentence: str
) -> None:
    monkeypatch.setenv(setting, address)
    done = command("quickstart", "--home", str(tmp_path / "home"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert sentence in done.stderr
    assert "secret" not in done.stderr


def test_a_server_that_does_not_start_quotes_the_end_of_its_log_of_this_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.server import EmbeddedServer
    from kdrec.errors import KdrecError

    (tmp_path / "server.log").write_text("an error of last year\n", encoding="utf-8")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "sqlite+aiosqlite:////nowhere/at-all/prefect.db")
    server = EmbeddedServer(tmp_path)
    with pytest.raises(KdrecError) as refused:
        server.wait_until_ready()
    server.stop()
    assert "unable to open database file" in str(refused.value)
    assert "last year" not in str(refused.value)
