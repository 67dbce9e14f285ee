"""The processes that train one model together, as torchrun starts them: the main one leads, the others follow.

Main alone takes locks, asks the store, reads and fills caches, searches and records. The others wait for its next
order, do their part of that one training, and wait again. An order is plain data, sent as JSON, nothing is pickled. A
process that ends before its time ends all: torchrun sees to it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final

import torch
from torch import distributed

from kdrec import engine
from kdrec.errors import KdrecError
from kdrec.types import KDConfig, Training

PATIENCE: Final = timedelta(days=365)
"""How long an order is waited for: main may stand at a lock while another study makes the teacher."""


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """One fine-tuning run of the teacher."""

    training: Training


@dataclass(frozen=True, kw_only=True)
class AskTeacher:
    """One pass of the teacher's checkpoint over a split of the student's, `train` or `transfer`, for its logits."""

    checkpoint: str
    split: str


@dataclass(frozen=True, kw_only=True)
class Distil:
    """One trial; `checkpoint` are the teacher's weights, None where labels alone teach."""

    config: KDConfig
    training: Training
    checkpoint: str | None
    fingerprint: str


Order = FineTune | AskTeacher | Distil
_ORDERS: Final[dict[str, Any]] = {kind.__name__: kind for kind in (FineTune, AskTeacher, Distil)}
_NOUNS: Final[dict[str, Any]] = {"training": Training, "config": KDConfig}


class Ranks:
    """The processes of a training: this one alone, or those that torchrun started."""

    def __init__(self, group: Any = None) -> None:
        self._group = group

    @classmethod
    def join(cls) -> Ranks:
        """Meet the others, if torchrun started any.

        Raises
        ------
        KdrecError
            They are more than the GPUs of this machine, or Accelerate does not see them.
        """
        here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
        if 0 < gpus < here:
            raise KdrecError(f"each process trains on a GPU of its own: {here} were started, and {gpus} GPUs are here")
        started, seen = int(os.environ.get("WORLD_SIZE", "1")), engine.make_accelerator().num_processes
        if started != seen:
            raise KdrecError(f"torchrun started {started} processes, and Accelerate sees {seen}: unset its variables")
        # orders travel beside the gradients, through a group that no GPU waits in
        return cls(distributed.new_group(backend="gloo", timeout=PATIENCE) if started > 1 else None)

    @property
    def is_main(self) -> bool:
        """Whether this process leads."""
        return self._group is None or distributed.get_rank() == 0

    def call(self, order: Order) -> None:
        """Have the others do their part of what main is about to train."""
        self._send(json.dumps([type(order).__name__, asdict(order)]).encode())

    def orders(self) -> Iterator[Order]:
        """What main calls for, until it dismisses."""
        while content := self._receive():
            kind, values = json.loads(content)
            yield _ORDERS[kind](**{key: _NOUNS[key](**v) if key in _NOUNS else v for key, v in values.items()})

    def dismiss(self) -> None:
        """Let the others go."""
        self._send(b"")

    def leave(self) -> None:
        """Part in peace, after the last order."""
        if self._group is not None:
            distributed.destroy_process_group()

    def _send(self, content: bytes) -> None:
        if self._group is None:
            return
        distributed.broadcast(torch.tensor([len(content)]), src=0, group=self._group)
        if content:
            distributed.broadcast(torch.frombuffer(bytearray(content), dtype=torch.uint8), src=0, group=self._group)

    def _receive(self) -> bytes:
        size = torch.zeros(1, dtype=torch.int64)
        distributed.broadcast(size, src=0, group=self._group)
        content = torch.zeros(int(size), dtype=torch.uint8)
        if len(content):
            distributed.broadcast(content, src=0, group=self._group)
        return content.numpy().tobytes()
