"""How long work took, without the time in which its process was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

PAUSE_SECONDS: Final = 5.0
"""A shorter lap is counted as it is."""

IDLE: Final = 0.02
"""Of a lap in which a process was stopped, it has computed less than this share; on a busy machine it gets more."""


class Stopwatch:
    """Seconds of work: of laps that are read often, those in which the process was stopped count what it computed.

    Parameters
    ----------
    seconds : float
        What was worked before, as a checkpoint tells.
    clock, computed : callable
        Seconds of the wall clock, and of the processor; both only grow.
    """

    def __init__(
        self,
        seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        computed: Callable[[], float] = time.process_time,
    ) -> None:
        self.seconds, self._clock, self._computed = seconds, clock, computed
        self._at, self._had = clock(), computed()

    def lap(self) -> float:
        """Seconds of work until now."""
        at, had = self._clock(), self._computed()
        gone, worked = at - self._at, had - self._had
        self.seconds += worked if gone > PAUSE_SECONDS and worked < IDLE * gone else gone
        self._at, self._had = at, had
        return self.seconds
