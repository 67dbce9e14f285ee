"""One probe: `python -m kdrec.doctor PROBE` prints its lines as JSON; what it raises becomes a line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from kdrec.doctor import machine, services
from kdrec.doctor.line import Line, broken
from kdrec.errors import KdrecError
from kdrec.home import Home
from kdrec.tracking import redacted

PROBES: Final[dict[str, Callable[[Home], list[Line]]]] = {
    "packages": machine.packages,
    "gpu": machine.gpu,
    "home": machine.home,
    "disk": machine.disk,
    "store": services.store,
    "shared": services.shared,
    "prefect": services.prefect,
    "hub": machine.hub,
    "clock": services.clock,
}


def main(name: str) -> str:
    """Lines of a probe as one line of JSON, whatever happens."""
    try:
        lines = PROBES[name](Home.from_env())
    except KdrecError as error:
        lines = [broken(name, str(error), "put right what it says")]
    except Exception as error:
        words = " ".join(str(error).split())[:300]
        lines = [broken(name, redacted(f"{type(error).__name__}: {words}"), f"see: python -m kdrec.doctor {name}")]
    return json.dumps([asdict(line) for line in lines])


if __name__ == "__main__":
    sys.stdout.write(f"{main(sys.argv[1])}\n")
