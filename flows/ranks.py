"""A teacher or a cell given to several processes that train each model together: torchrun, started and listened to.

What they make is in the home and the store; only how far they are, and why they were refused, comes back from here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import tomli_w

from kdrec import catalog
from kdrec.errors import KdrecError
from kdrec.home import Home
from kdrec.studies import Study

ENTRY: Final = ("-m", "kdrec.trial")
"""What each process runs."""

LAST_WORDS: Final = 60
"""Lines that are shown of processes that end in a defect."""


Tell = Callable[[int, int, str, bool], None]
"""Hears what is done and expected, a message, and whether that is a notice."""


def train(study: Study, task: str, model: str, home: Home, number: int, tell: Tell) -> None:
    """Have `number` processes make a teacher, or search the cell of a student.

    However this process ends, they end too: they watch their input, which it holds open.

    Raises
    ------
    KdrecError
        What they were refused with.
    RuntimeError
        One of them ended in another way; the text is what they said last. What was finished is kept.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "study.toml"
        file.write_text(tomli_w.dumps(study.to_dict()), encoding="utf-8")
        words = [*ENTRY, str(file), task, model, "--home", str(home.root), "--json"]
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(number)]
        process = subprocess.Popen(
            [*command, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "KDREC_TRACKING_URI": home.tracking_uri},
            start_new_session=True,  # Ctrl-C is for those who stop the study, and would make torchrun talk
        )
        with process:
            _listen(process, f"{task}/{model}" if catalog.card(model).teacher else f"{task} teacher", tell)


def _listen(process: subprocess.Popen[str], part: str, tell: Tell) -> None:
    """Pass progress of a part on until the processes end, and raise what they were refused with.

    A cell's processes tell of their teacher too, which the study has heard of.
    """
    refused, said = "", deque[str](maxlen=LAST_WORDS)
    assert process.stdout is not None
    for line in process.stdout:
        try:
            content = json.loads(line)
            refused = content.get("error", refused)
            if content.get("part") == part:
                tell(content["done"], content["expected"], content["message"], content["notice"])
        except (ValueError, AttributeError, KeyError):  # what libraries have to say
            said.append(line)
    if process.wait() and refused:
        raise KdrecError(refused)
    if process.returncode:
        raise RuntimeError(f"torchrun ended with {process.returncode}:\n{''.join(said)}")
