"""Weave into pages of the site what is written elsewhere: parts of README and its like, and the help of every command.

A page says where: `<!-- weave: README.md#Two commands -->` takes a section without its heading, `<!-- weave:
CHANGELOG.md -->` a whole file, `<!-- weave: commands -->` the reference of the command line, made from the program
itself. So no text stands twice, and none goes stale. mkdocs calls `on_page_markdown` (`hooks` in mkdocs.yml).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer
from mkdocs.exceptions import PluginError

ROOT: Final = Path(__file__).parent.parent
WEAVE: Final = re.compile(r"^<!-- weave: (?P<file>[\w./-]+)(?:#(?P<section>[^\n]+?))? -->$", re.MULTILINE)
LINK: Final = re.compile(r"\[([^\]\n]+)\]\((?!https?:|#)([^)\s]+)\)")
PAGES: Final = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "README.md": "index.md"}
"""Files at the root that are pages of the site, and where."""
NO_PAGES: Final = ("LICENSE",)
"""Files that are none: their name is shown without a link."""
UNTOLD: Final = frozenset({"--help", "--install-completion", "--show-completion"})
"""Options that every command has."""


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in what a page asks for; called by mkdocs for every page."""
    here = page.file.src_uri

    def woven(asked: re.Match[str]) -> str:
        if asked["file"] == "commands":
            return commands()
        return relinked(part_of(asked["file"], asked["section"]), here)

    return WEAVE.sub(woven, markdown)


def part_of(file: str, section: str | None = None) -> str:
    """The text of a file at the root, or of the section under one of its headings."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    if section is None:
        return "\n".join(lines)
    level, kept, inside = 0, [], False
    for line, depth in zip(lines, _depths(lines), strict=True):
        if inside and 0 < depth <= level:
            break
        if inside:
            kept.append(line)
        elif depth and line.lstrip("# ") == section:
            level, inside = depth, True
    if not inside:
        raise PluginError(f"{file} has no section {section!r}, which a page of the site shows")
    return "\n".join(kept).strip()


def _depths(lines: list[str]) -> Iterator[int]:
    """How deep a heading each line is; 0 for text, and for what a fence holds."""
    fenced = False
    for line in lines:
        fenced ^= line.startswith("```")
        heading = re.match(r"#+ ", line)
        yield len(heading[0]) - 1 if heading and not fenced else 0


def relinked(text: str, page: str) -> str:
    """Links from the root of the repository as links from a page."""

    def moved(link: re.Match[str]) -> str:
        words, (path, hash_sign, anchor) = link[1], link[2].partition("#")
        if path in NO_PAGES:
            return words
        place = PAGES.get(path) or path.removeprefix("docs/")
        return f"[{words}]({posixpath.relpath(place, posixpath.dirname(page) or '.')}{hash_sign}{anchor})"

    return LINK.sub(moved, text)


def commands() -> str:
    """Every command with its arguments and options, as the program itself knows them."""
    from kdrec.cli import app

    program = typer.main.get_command(app)
    return "\n\n".join(_told("kdrec", program, typer.Context(program), 2))


def _told(words: str, command: Any, context: typer.Context, depth: int) -> Iterator[str]:
    yield f"{'#' * depth} {words}"
    yield command.help
    yield f"```console\n$ {' '.join([words, *command.collect_usage_pieces(context)])}\n```"
    params = [param for param in command.get_params(context) if not UNTOLD.intersection(param.opts)]
    options = [record for param in params if (record := param.get_help_record(context))]
    if options:
        yield "\n".join(f"- `{name}`{f': {said}' if said else ''}" for name, said in options)
    for name in getattr(command, "commands", {}):
        yield from _told(f"{words} {name}", command.commands[name], context, depth + 1)
