"""Laws of the site: it builds without a warning, every link leads somewhere, and what it says can be done can be."""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import subprocess
import sys
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest
import typer

from kdrec.catalog import read_folder
from kdrec.cli import app
from kdrec.question import read_features

REPOSITORY = Path(__file__).parent.parent
DOCS = REPOSITORY / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
    "embed": "src",
}
"""Where a browser fetches from without being asked; of `link` it depends on what it is for."""
FETCHED_LINKS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest"}


class Html(HTMLParser):
    """What a page links to, what it loads, and which places in it can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.classes: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        self.places.update(value for name in ("id", "name") if (value := named.get(name)))
        self.classes.update(named.get("class", "").split())
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        if tag in LOADED and named.get(LOADED[tag]):
            self.loads.append(named[LOADED[tag]])
        if tag == "link" and FETCHED_LINKS.intersection(named.get("rel", "").split()):
            self.loads.append(named["href"])
        self.loads += re.findall(r"url\(['\"]?([^'\")]+)", named.get("style", ""))


class Site:
    """A built site."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def pages(self) -> dict[Path, Html]:
        """Every page but that of a missing one, which stands at no place of its own."""
        return {path: Html(path) for path in sorted(self.root.rglob("*.html")) if path.name != "404.html"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site, built once; a warning of mkdocs is an error (with --quiet it would not be seen)."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(words, cwd=REPOSITORY, env=quiet, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return Site(folder)


@pytest.fixture(scope="module")
def weave() -> ModuleType:
    """The hook of the site, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("weave", DOCS / "weave.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_built_and_every_link_and_anchor_leads_somewhere(site: Site) -> None:
    assert len(site.pages) == len(PAGES)
    broken, followed = [], 0
    for path, page in site.pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path not in ("", ".") else path
            target = target / "index.html" if target.is_dir() else target
            place = unquote(parts.fragment)
            known = site.pages[target].places if target in site.pages else set()
            followed += 1
            if not target.is_file() or (place and place not in {*known, "__top"}):
                broken.append(f"{path.relative_to(site.root)}: {link}")
    assert followed > 1000
    assert not broken


def test_no_page_loads_anything_from_another_host(site: Site) -> None:
    foreign = [
        f"{path.relative_to(site.root)}: {what}"
        for path, page in site.pages.items()
        for what in page.loads
        if urlsplit(what).netloc
        or not (urlsplit(what).scheme == "data" or (path.parent / urlsplit(what).path).is_file())
    ]
    assert not foreign
    # Material's own script fetches diagrams' and repositories' code where a page has one.
    assert not [path for path, page in site.pages.items() if {"mermaid", "md-source"} & page.classes]
    sheets = list(site.root.rglob("*.css"))
    assert len(sheets) > 2
    for sheet in sheets:
        text = sheet.read_text(encoding="utf-8")
        assert not re.findall(r"url\(\s*['\"]?(?:https?:)?//[^)]*\)|@import[^;]*;", text), sheet
    for figure in site.root.rglob("*.svg"):
        assert not re.findall(r"""(?:href|src)=["'](?:https?:)?//[^"']*""", figure.read_text(encoding="utf-8")), figure


def test_every_command_has_its_place_in_the_reference(site: Site) -> None:
    places = site.pages[site.root / "reference" / "commands.html"].places
    assert {"kdrec", "kdrec-suggest", "kdrec-history-import"} <= places
    assert {f"kdrec-{name}" for name in typer.main.get_command(app).commands} <= places


def test_every_picture_has_words_for_those_who_do_not_see_it(site: Site) -> None:
    pictures = [found for page in PAGES for found in re.findall(r"!\[(.*?)\]\(", page.read_text(encoding="utf-8"))]
    assert pictures
    assert all(len(words.split()) > 5 for words in pictures)


def fences(page: Path, *languages: str) -> list[str]:
    return re.findall(rf"```(?:{'|'.join(languages)})\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("pages", [[REPOSITORY / "README.md"], PAGES], ids=["README", "docs"])
def test_the_pages_name_only_commands_and_options_that_exist(pages: list[Path]) -> None:
    blocks = [block for page in pages for block in fences(page, "sh", "bash", "shell", "console")]
    asked = [
        words[1:] for line in "".join(blocks).splitlines() if (words := line.split("#")[0].split())[:1] == ["kdrec"]
    ]
    assert len(asked) > 10
    for words in asked:
        command = typer.main.get_command(app)
        rest = list(words)
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]
        assert not hasattr(command, "commands"), f"kdrec {' '.join(words)}"
        known = {option for param in command.params for option in param.opts}
        assert {word.split("=")[0] for word in rest if word.startswith("--")} <= known, f"kdrec {' '.join(words)}"


def test_the_pages_name_only_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    texts = [page.read_text(encoding="utf-8") for page in [REPOSITORY / "README.md", *PAGES]]
    named = {found for text in texts for found in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)}
    assert {"run", "test", "docs"} <= named <= targets


def test_the_example_of_the_python_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = fences(DOCS / "reference" / "python.md", "python")
    exec(compile(code, "python.md", "exec"), {})
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "t_ll ce alpha=0.5 tau=1/1 stop"
    assert len(shown) > 4


def test_the_model_card_of_the_guide_is_one(tmp_path: Path) -> None:
    (card,) = fences(DOCS / "guides" / "no-hub.md", "toml")
    (tmp_path / "inhouse.toml").write_text(card)
    assert list(read_folder(tmp_path)) == ["inhouse", "inhouse-small"]


def test_every_interval_of_an_answer_is_one_that_the_replication_found() -> None:
    answers = " ".join((DOCS / "faq.md").read_text(encoding="utf-8").split())
    found = " ".join((DOCS / "replication.md").read_text(encoding="utf-8").split())
    quoted = re.findall(r"([+-]\d+\.\d+)(?: points)? \((([+-]\d+\.\d+) to ([+-]\d+\.\d+))\)", answers)
    assert len(quoted) > 15
    missing = [
        f"{mean} ({ends})"
        for mean, ends, *_ in quoted
        if not re.search(
            rf"(?<![\d.]){re.escape(mean)}(?: points)? (?:\({re.escape(ends)}\)|\| {re.escape(ends)} \|)", found
        )
    ]
    assert not missing


def test_a_part_of_a_file_ends_where_the_next_of_its_level_begins(weave: ModuleType) -> None:
    part = weave.part_of("README.md", "With a Prefect server")
    assert part.startswith("```sh\nprefect server start")
    assert "### Past one machine" in part
    assert "## See the runs" not in part
    assert "# a CSV" in weave.part_of("README.md", "Ask"), "a comment in a fence is no heading"


def test_a_part_that_is_gone_is_refused_by_its_name(weave: ModuleType) -> None:
    with pytest.raises(Exception, match=r"README.md has no section 'Nonesuch'"):
        weave.part_of("README.md", "Nonesuch")


def test_links_of_the_root_lead_from_where_the_text_is_shown(weave: ModuleType) -> None:
    text = "[a](docs/recommender.md#audit) [b](CHANGELOG.md) [c](https://x.org) [Apache](LICENSE) [d](#here)"
    shown = "[a](../recommender.md#audit) [b](../changelog.md) [c](https://x.org) Apache [d](#here)"
    assert weave.relinked(text, "guides/csv.md") == shown


OWN_FILES = {"my_reviews.csv", "more.csv", "questions.csv"}
"""What the README calls files of the reader's own."""


def test_a_command_of_the_readme_reads_what_is_here_or_what_one_before_it_wrote() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    own = re.search(r"((?:`[\w.]+`(?:, | and )?)+) stand for files of yours", text)
    assert own is not None
    assert set(re.findall(r"`([\w.]+)`", own[1])) == OWN_FILES
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines() if line.startswith("kdrec ")]
    written, n_read = set(OWN_FILES), 0
    for words in map(str.split, lines):
        for before, word in itertools.pairwise(words):
            if Path(word).suffix not in (".csv", ".json", ".toml", ".png"):
                continue
            if before in ("--study", "--out", "--plot", "export"):
                written.add(word)
            else:
                n_read += 1
                assert word in written or (REPOSITORY / word).is_file(), " ".join(words)
    assert len(lines) > 15
    assert n_read > 5
    read_features(REPOSITORY / "examples" / "new_task.json")
