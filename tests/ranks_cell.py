"""`python -m kdrec.trial` for a teacher and a student of a few thousand weights, without dropout."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tiny_tasks import write_speaker

from kdrec import catalog
from kdrec.checkpoints import Checkpoint
from kdrec.trial.__main__ import main
from kdrec.types import ModelCard

CARDS = """
[teacher]
name = "teacher"
source = "file:{folder}"
licence = "none"
n_layers = 2
hidden_size = 48
n_params = 40000
max_length = 64

[students.student]
layers = [0]
n_params = 20000
"""


def write_cards(folder: Path) -> None:
    """The encoder, and the folder of its cards."""
    source = write_speaker(folder / "speaker")
    (folder / "cards").mkdir()
    (folder / "cards" / "speaker.toml").write_text(CARDS.format(folder=source), encoding="utf-8")


def cards_in(folder: Path) -> dict[str, ModelCard]:
    """These cards and no others."""
    return catalog.read_folder(folder / "cards")


if __name__ == "__main__":
    cards = cards_in(Path(os.environ["CARDS"]))
    catalog._shipped = lambda: cards
    Checkpoint.__init__.__kwdefaults__["every_seconds"] = 0.0  # so that a short trial leaves one
    sys.exit(main())
