from __future__ import annotations

from pathlib import Path

import pytest

from kdrec.home import Home


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
