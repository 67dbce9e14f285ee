from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy

from kdrec.errors import BadArgument
from kdrec.home import Home, sqlite_uri

ODD = (
    "feature%2Flogin",
    "a?b",
    "a#b c",
    "%41",
    "100%",
    "q'\"q",
    "é中",
    "new\nline",
    "tab\there",
    "a&b=c;d@e:f",
    "[x]",
    ":memory:",
)


def test_every_folder_of_a_home_is_its_owners_alone(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    made = home.folder("sources", "wheels")
    for folder in (made, made.parent, home.root):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert home.folder("sources", "wheels") == made


def test_the_environment_places_the_home_and_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDREC_HOME", str(tmp_path / "mine"))
    assert Home.from_env().root == tmp_path / "mine"
    assert Home.from_env().store_file == tmp_path / "mine" / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert Home.from_env().store_file is None
    monkeypatch.setenv("KDREC_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    assert Home.from_env().store_file == tmp_path / "other.db"


def test_the_environment_says_what_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Home.at(tmp_path).shared is None
    monkeypatch.setenv("KDREC_SHARED", "s3://bucket/kdrec")
    assert Home.at(tmp_path).shared == Home.from_env().shared == "s3://bucket/kdrec"


def test_the_text_of_a_home_shows_no_password() -> None:
    home = Home(root=Path("/x"), tracking_uri="http://ada:s3cret@host", shared="sftp://ada:s3cret@host/x")
    assert "s3cret" not in f"{home} {home!r}"


def test_without_a_word_the_home_is_beside_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Home.from_env().root == tmp_path / ".kdrec"


@pytest.mark.parametrize("name", ODD)
def test_any_path_that_the_system_allows_is_a_home_whose_store_is_inside(tmp_path: Path, name: str) -> None:
    home = Home.at(tmp_path / name)
    home.folder()
    engine = sqlalchemy.create_engine(home.tracking_uri)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE t (x INTEGER)"))
    engine.dispose()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert home.store_file == tmp_path / name / "mlflow.db"
    with sqlite3.connect(home.store_file) as database:
        assert database.execute("SELECT count(*) FROM t").fetchone() == (0,)
    database.close()


@pytest.mark.parametrize("name", ODD)
def test_mlflow_makes_no_folder_beside_an_odd_home(tmp_path: Path, name: str) -> None:
    from mlflow.store.db.utils import _make_parent_dirs_if_sqlite

    home = Home.at(tmp_path / name)
    home.folder()
    _make_parent_dirs_if_sqlite(home.tracking_uri)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_uri_of_a_plain_path_is_as_it_was_and_two_odd_homes_have_two_stores(tmp_path: Path) -> None:
    assert Home.at(tmp_path).tracking_uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert Home.at(tmp_path / "a?b").store_file != Home.at(tmp_path / "a?c").store_file
    assert sqlite_uri(Path("/a/p.db"), "aiosqlite") == "sqlite+aiosqlite:////a/p.db"


def test_artifacts_of_an_odd_home_are_found_where_mlflow_looks_for_them(tmp_path: Path) -> None:
    from mlflow.utils.file_utils import local_file_uri_to_path

    for name in ODD:
        artifacts = Home.at(tmp_path / name).artifacts
        assert local_file_uri_to_path(artifacts.as_uri()) == str(artifacts)


@pytest.mark.parametrize(
    ("root", "sentence"),
    [
        (os.fsdecode(b"/srv/\xff"), "the home must be a path of UTF-8 text, got '/srv/\\udcff'"),
        ("~nobody-here/x", "the home '~nobody-here/x' is no path: "),
        ("a\0b", "the home 'a\\x00b' is no path: "),
    ],
)
def test_what_no_uri_can_hold_is_refused_before_anything_is_made(root: str, sentence: str) -> None:
    with pytest.raises(BadArgument) as refused:
        Home.at(root)
    assert str(refused.value).startswith(sentence)
