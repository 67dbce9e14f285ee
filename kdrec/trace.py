"""The trace of a teacher: every evaluated checkpoint of its fine-tuning, and which of them students learn from.

`select` is a pure function of the recorded trace. No weights are loaded here, so that what only reads traces needs no
training library; `teacher` makes them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from kdrec import autotune
from kdrec.schedule import still_improving
from kdrec.sources import atomic_write, remove, sha256_file
from kdrec.space import Aliases, aliases_of
from kdrec.types import TEACHERS, Candidate, FineTuning, TeacherChoice

TRACE: Final = "trace.json"
"""File of a teacher's folder that holds its candidates."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The checkpoints a student may learn from; often one and the same."""

    t_ll: Candidate
    t_hs: Candidate
    t_llg: Candidate
    still_improving: bool | None = None
    """Whether the run of t_hs still improved when it ended; None where that cannot be told."""
    ending: str = ""
    """Why that run ended (`FineTuning`); empty where it was not recorded."""

    def of(self, choice: TeacherChoice) -> Candidate:
        """The chosen candidate."""
        return {"t_ll": self.t_ll, "t_hs": self.t_hs, "t_llg": self.t_llg}[choice]

    def warning(self, task: str) -> str:
        """What to say of a teacher that was still improving when it stopped."""
        ended, advice = {
            "cap": ("it reached the most steps allowed", "allow it more steps"),
            "length": ("its epochs ended", "leave epochs out of [teacher], or give it more"),
        }.get(self.ending, ("it ended", "train it longer"))
        return f"the teacher of {task} was still improving when {ended} ({self.t_hs.score:.1f} on validation): {advice}"

    def checkpoint(self, choice: TeacherChoice) -> str:
        """SHA-256 of the chosen weights."""
        return self.of(choice).checkpoint

    @property
    def checkpoints(self) -> frozenset[str]:
        """SHA-256 of all weights that are chosen."""
        return frozenset(map(self.checkpoint, TEACHERS))

    @property
    def aliases(self) -> Aliases:
        """Which choices are the same weights."""
        return aliases_of({choice: self.checkpoint(choice) for choice in TEACHERS})


def select(trace: Sequence[Candidate], runs: Sequence[FineTuning] = ()) -> Selection:
    """Choose from a trace: t_ll has the lowest validation loss, t_hs the highest validation score.

    t_llg, the guarded one, has the lowest loss among candidates whose score is within one standard error of the
    highest: loss alone may pick a checkpoint from long before the score has risen. Ties go to the earlier candidate.
    Where any candidate has no standard error, as in traces of earlier versions, t_llg is t_ll. `runs` are the finished
    fine-tuning runs, which tell whether the teacher was still improving.
    """
    t_ll, t_hs = min(trace, key=lambda c: c.loss), max(trace, key=lambda c: c.score)
    t_llg = t_ll
    if is_guarded(trace) and t_hs.score_se is not None:
        floor = t_hs.score - t_hs.score_se
        t_llg = min((c for c in trace if c.score >= floor), key=lambda c: c.loss)
    made = next((run for run in runs if (run.learning_rate, run.seed) == (t_hs.learning_rate, t_hs.seed)), None)
    chosen = Selection(t_ll=t_ll, t_hs=t_hs, t_llg=t_llg)
    return chosen if made is None else replace(chosen, still_improving=made.still_improving, ending=made.ending)


def is_guarded(trace: Sequence[Candidate]) -> bool:
    """Whether the standard error of every score is known, so that t_llg is one of its own."""
    return all(candidate.score_se is not None for candidate in trace)


def may_be_chosen(trace: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Candidates that `select` chooses from this trace or may choose from a longer one that begins with it.

    t_hs and t_ll can only lose their place, but the score that t_llg must reach moves both ways: any candidate may be
    next of which no other has at least its score and a lower loss (or an equal one, and came earlier).
    """
    if not trace:
        return ()
    chosen = select(trace)
    kept = {id(chosen.t_ll), id(chosen.t_hs)}
    if is_guarded(trace):
        highest = -math.inf
        for candidate in sorted(trace, key=lambda c: c.loss):  # stable: of equal losses the earlier first
            if candidate.score > highest:
                kept.add(id(candidate))
                highest = candidate.score
    return tuple(candidate for candidate in trace if id(candidate) in kept)


@dataclass(kw_only=True)
class Trace:
    """What a teacher's folder records: candidates and runs that are finished, and candidates of a run at work."""

    candidates: list[Candidate] = field(default_factory=list)
    runs: list[FineTuning] = field(default_factory=list)
    unfinished: list[Candidate] = field(default_factory=list)
    complete: bool = False
    """Whether no run follows, so that the weights that it selects are all that is wanted."""

    def wanted(self) -> frozenset[str]:
        """SHA-256 of the weights that are selected, or may yet be."""
        known = [*self.candidates, *self.unfinished]
        if self.complete and known:
            return select(known).checkpoints
        return frozenset(candidate.checkpoint for candidate in may_be_chosen(known))

    def as_runs(self) -> list[autotune.Run]:
        """The finished runs, each with its best evaluation."""
        made = []
        for run in self.runs:
            own = [c for c in self.candidates if (c.learning_rate, c.seed) == (run.learning_rate, run.seed)]
            best = max(own, key=lambda c: (c.score, -c.loss), default=None)
            made.append(
                autotune.Run(
                    learning_rate=run.learning_rate,
                    seed=run.seed,
                    n_steps=run.n_steps,
                    score=None if best is None else best.score,
                    loss=None if best is None else best.loss,
                    seconds=run.seconds,
                )
            )
        return made


def recorded_trace(folder: Path) -> Trace:
    """The trace as `folder` has it, its weights not looked at; a damaged one is none."""
    try:
        return parse_trace((folder / TRACE).read_bytes())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Trace()


def parse_trace(content: bytes) -> Trace:
    """A trace; what is damaged or none raises one of the errors caught above.

    A trace of an older kdrec has a number in the place of its runs, and every rate with every seed was run.
    """
    record = json.loads(content)
    if record.pop("sha256") != record_hash(record):
        raise ValueError("content and recorded hash differ")
    candidates = [Candidate(**row) for row in record["candidates"]]
    if "runs" not in record:
        return Trace(candidates=candidates, runs=_older_runs(candidates, int(record["finished_runs"])), complete=True)
    return Trace(
        candidates=candidates,
        runs=[FineTuning(**row) for row in record["runs"]],
        unfinished=[Candidate(**row) for row in record["unfinished"]],
        complete=bool(record["complete"]),
    )


def _older_runs(candidates: Sequence[Candidate], n_done: int) -> list[FineTuning]:
    """Runs of a trace that recorded their number alone; one that left no candidate diverged at once."""
    groups = dict.fromkeys((candidate.learning_rate, candidate.seed) for candidate in candidates)
    runs = []
    for rate, seed in groups:
        own = [c for c in candidates if (c.learning_rate, c.seed) == (rate, seed)]
        rising = still_improving([c.score for c in own])
        runs.append(
            FineTuning(
                learning_rate=rate,
                seed=seed,
                n_steps=own[-1].step,
                ending="length",
                still_improving=rising,
                seconds=0.0,
            )
        )
    lost = FineTuning(learning_rate=0.0, seed=0, n_steps=0, ending="diverged", still_improving=None, seconds=0.0)
    return (runs + [lost] * n_done)[:n_done]


def read_trace(folder: Path) -> Trace:
    """The trace of a folder; a damaged one, or one whose weights are gone or changed, counts as none."""
    record = recorded_trace(folder)
    for checkpoint in record.wanted():
        path = folder / f"{checkpoint}.safetensors"
        if not path.is_file() or sha256_file(path) != checkpoint:
            remove(path)
            return Trace()
    return record


def write_trace(folder: Path, trace: Trace) -> None:
    """Write the trace in one atomic step."""
    record: dict[str, Any] = {
        "finished_runs": len(trace.runs),
        "candidates": [asdict(candidate) for candidate in trace.candidates],
        "runs": [asdict(run) for run in trace.runs],
        "unfinished": [asdict(candidate) for candidate in trace.unfinished],
        "complete": trace.complete,
    }
    record["sha256"] = record_hash(record)
    atomic_write(folder / TRACE, json.dumps(record, indent=1).encode(), over_folder=True)


def record_hash(record: dict[str, Any]) -> str:
    """SHA-256 of a record without its own hash."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
