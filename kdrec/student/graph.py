"""A student as an ONNX graph, in fp32 and in int8: written by PyTorch's own exporter, checked by the logits it gives.

Needs the extra `onnx`. int8 is dynamic: weights are stored in 8 bits, activations quantised as they come, so nothing is
calibrated.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from kdrec import heads
from kdrec.student.passes import Forward

FP32: Final = "model.onnx"
INT8: Final = "model.int8.onnx"
TOLERANCE: Final = 1e-3
"""Largest difference of a logit that the graph may have from the model."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A graph on disk and its passes."""

    path: Path
    forward: Forward


class _Logits(torch.nn.Module):
    """A model that takes tensors in a fixed order and gives the logits of its head."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        return heads.logits_of(
            self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        )


def export(model: Any, path: Path) -> Graph:
    """Write a model as a graph with any batch size and any length."""
    ids_BL = torch.ones((2, 7), dtype=torch.int64)
    mask_BL = torch.ones_like(ids_BL)
    mask_BL[1, 5:] = 0  # so that masking is in the graph
    any_size = dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)
    with _quiet():
        program = torch.onnx.export(
            _Logits(model).eval(),
            (ids_BL, mask_BL, torch.zeros_like(ids_BL)),
            dynamo=True,
            dynamic_shapes=(any_size,) * 3,
            input_names=["input_ids", "attention_mask", "token_type_ids"],
            output_names=["logits"],
            verbose=False,
        )
        assert program is not None, "the dynamo exporter returns the program"
        program.save(str(path), external_data=False)
    return Graph(path=path, forward=_forward_of(path))


def quantise(graph: Graph, path: Path) -> Graph:
    """Write a graph with its weights in int8."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(graph.path, path, weight_type=QuantType.QInt8)
    return Graph(path=path, forward=_forward_of(path))


def _forward_of(path: Path) -> Forward:
    """Passes of a graph on the CPU, with as many threads as PyTorch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = {node.name for node in session.get_inputs()}  # a model without types of tokens has no use for them

    def forward(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        ids_BL = inputs["input_ids"]
        given = {"token_type_ids": torch.zeros_like(ids_BL), **inputs}
        (logits,) = session.run(None, {name: tensor.numpy() for name, tensor in given.items() if name in names})
        return torch.from_numpy(logits)

    return forward


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' advice to developers from the user; errors pass."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
