"""What one home offers another finds, on a folder as on an object store; what is refused is never in its place."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from kdrec.doctor import services
from kdrec.errors import BadArgument, CorruptFile
from kdrec.home import Home
from kdrec.shelf import Shelf

NAME = f"logits/{'0a' * 32}.safetensors"
CONTENT = bytes(range(256)) * 40_000  # more than one block


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "shelf").mkdir()
    return f"file://{tmp_path}/shelf"


@pytest.fixture(params=["folder", "bucket"])
def url(request: pytest.FixtureRequest) -> str:
    """A shelf of each kind."""
    found: str = request.getfixturevalue(request.param)
    return found if request.param == "folder" else f"{found}/team/kdrec"


def shelf_at(url: str, said: list[str] | None = None) -> Shelf:
    home = Home(root=Path("/nowhere"), tracking_uri="sqlite:///x.db", shared=url)
    return Shelf.of(home, (said if said is not None else []).append)


def accept(path: Path) -> bytes:
    return path.read_bytes()


def refuse(path: Path) -> None:
    raise CorruptFile("it is not what it should be")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "made"
    path.write_bytes(CONTENT)
    return path


def test_what_one_home_offers_another_finds(url: str, made: Path, tmp_path: Path) -> None:
    said: list[str] = []
    assert shelf_at(url, said).fetch(NAME, tmp_path / "got", most_bytes=len(CONTENT), check=accept) is None
    shelf_at(url, said).offer(NAME, made)
    assert shelf_at(url, said).fetch(NAME, tmp_path / "got", most_bytes=len(CONTENT), check=accept) == CONTENT
    assert (tmp_path / "got").read_bytes() == CONTENT
    assert shelf_at(url, said).read(NAME, most_bytes=len(CONTENT)) == CONTENT
    assert shelf_at(url, said).probe() is None
    assert not said
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]


def test_what_is_refused_is_not_in_its_place_and_is_replaced_by_what_is_made_anew(
    url: str, made: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"wrong")
    shelf_at(url).offer(NAME, wrong)
    shelf = shelf_at(url, said)
    assert shelf.fetch(NAME, tmp_path / "got", most_bytes=5, check=refuse) is None
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"made", "wrong"}
    assert said == [
        f"{NAME} on the shared shelf {url} is refused, and made anew: it is not what it should be",
    ]
    shelf_at(url).offer(NAME, made)
    assert shelf_at(url).read(NAME, most_bytes=5) == b"wrong", "this shelf has refused nothing"
    shelf.offer(NAME, made)
    assert shelf_at(url).read(NAME, most_bytes=len(CONTENT)) == CONTENT


def test_a_file_larger_than_it_may_be_is_refused(folder: str, made: Path, tmp_path: Path) -> None:
    said: list[str] = []
    shelf_at(folder).offer(NAME, made)
    assert shelf_at(folder, said).fetch(NAME, tmp_path / "got", most_bytes=len(CONTENT) - 1, check=accept) is None
    assert not (tmp_path / "got").exists()
    assert "it is larger than" in said[0]


def test_the_doctor_says_whether_the_shelf_can_be_written_to_and_leaves_nothing_there(
    folder: str, tmp_path: Path
) -> None:
    home = Home(root=tmp_path, tracking_uri="sqlite:///x.db", shared=folder)
    [line] = services.shared(home)
    assert (line.state, line.found) == ("ok", f"{folder} can be written to and read")
    assert not list((tmp_path / "shelf").iterdir())
    [line] = services.shared(replace(home, shared=None))
    assert (line.state, line.found) == ("ok", "KDREC_SHARED is not set: nothing is shared with other homes")


@pytest.mark.parametrize(
    ("away", "reason"),
    [
        ("file:///nowhere/to/be/found", "there is no such folder; make it, or mount it"),
        ("s3://no-such-bucket/kdrec", "bucket does not exist"),
        ("s3://ada:s3cret@bucket/kdrec", "Invalid bucket name"),
    ],
)
def test_a_shelf_that_cannot_be_used_is_told_once_and_stops_nothing(
    away: str, reason: str, bucket: str, made: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    shelf = shelf_at(away, said)
    for _ in range(2):
        assert shelf.fetch(NAME, tmp_path / "got", most_bytes=9, check=accept) is None
        shelf.offer(NAME, made)
    [sentence] = said
    assert reason in sentence
    assert sentence.endswith("; going on with this home alone")
    assert shelf.is_away
    [line] = services.shared(Home(root=tmp_path, tracking_uri="sqlite:///x.db", shared=away))
    assert line.state == "broken"
    assert reason in line.found
    assert "s3cret" not in f"{sentence} {line} {shelf.name}"


def test_a_store_where_nothing_listens_is_given_up_within_seconds(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    said: list[str] = []
    assert shelf_at(bucket, said).read(NAME, most_bytes=9) is None
    assert "Could not connect" in said[0]


def test_no_name_leads_out_of_the_shelf(folder: str, made: Path) -> None:
    shelf = shelf_at(folder)
    for name in ("../made", "logits/../../made", "/etc/passwd", "made", f"teachers/{'g' * 64}/x.json", "logits/.x.y"):
        with pytest.raises(AssertionError, match="is no name of a file on a shelf"):
            shelf.read(name, most_bytes=9)
        with pytest.raises(AssertionError, match="is no name of a file on a shelf"):
            shelf.offer(name, made)


def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(folder: str, tmp_path: Path) -> None:
    (tmp_path / "shelf" / "logits").mkdir()
    os.mkfifo(tmp_path / "shelf" / NAME)
    said: list[str] = []
    assert shelf_at(folder, said).read(NAME, most_bytes=9) is None
    assert said[0].endswith("it is no file")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("team/kdrec", "must be a URL such as file:///FOLDER or s3://BUCKET/FOLDER, or an absolute path; got 'team/"),
        ("simplecache::s3://bucket/x", "must be a URL such as"),
        (
            "file://team/kdrec",
            "must name a folder, as in file:///FOLDER or s3://BUCKET/FOLDER; got 'file://team/kdrec'",
        ),
        ("s3://", "must name a folder"),
        ("s4://bucket/x", "begins with s4://, which nothing here speaks; known are abfs, file, gs, s3, sftp"),
        ("s4://ada:s3cret@bucket/x", "which nothing here speaks"),
    ],
)
def test_a_setting_that_is_no_place_is_one_sentence(wrong: str, sentence: str) -> None:
    with pytest.raises(BadArgument, match="KDREC_SHARED") as refused:
        shelf_at(wrong)
    assert sentence in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_an_absolute_path_is_a_shelf_too(folder: str, tmp_path: Path, made: Path) -> None:
    shelf_at(str(tmp_path / "shelf")).offer(NAME, made)
    assert (tmp_path / "shelf" / NAME).read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "shelf" / "logits").iterdir()] == [Path(NAME).name]
