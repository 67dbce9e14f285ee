"""`python -m kdrec` is the command `kdrec`."""

from __future__ import annotations

from kdrec.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
