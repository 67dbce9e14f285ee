from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from running import REPOSITORY

from flows.life import alive, is_gone
from kdrec.home import Home


def test_a_sign_of_life_ends_with_its_holder_however_that_ends(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    assert not is_gone(home, "never seen")
    with alive(home, "one"):
        assert not is_gone(home, "one")
    assert not is_gone(home, "one"), "an orderly end is told by Prefect"
    program = (
        "import os; from kdrec.home import Home; from flows.life import alive\n"
        f"with alive(Home.at({str(home.root)!r}), 'two'): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, timeout=60).returncode == 9
    assert is_gone(home, "two")
