"""From what the head of a model gives to the units of a loss: one class an example, one a word, one place a window.

A head is read at *places*: the first position of an example, or those that the split's `Reading` names. Nothing else
of its output reaches a loss, a cache or a score, so padding, special tokens and continuation pieces cannot.
"""

from __future__ import annotations

from typing import Any

import torch


def logits_of(output: Any) -> torch.Tensor:
    """Logits of a transformers head: (B, C) of a sequence, (B, L, C) of tokens; start and end of an answer are C."""
    if hasattr(output, "start_logits"):
        return torch.stack((output.start_logits, output.end_logits), dim=-1)
    logits: torch.Tensor = output.logits
    return logits


def at_places(logits: torch.Tensor, counts_B: torch.Tensor | None, places_R: torch.Tensor | None) -> torch.Tensor:
    """Logits (R, C) at the places of a batch, those of one example in a row.

    Parameters
    ----------
    logits : torch.Tensor
        (B, C), which is all there is; or (B, L, C).
    counts_B, places_R : torch.Tensor or None
        How many places each example has, and their positions in `logits` (`kdrec.lean.aim`); None where the head is
        read once an example.
    """
    if counts_B is None or places_R is None:
        return logits
    examples_R = torch.repeat_interleave(torch.arange(len(counts_B), device=logits.device), counts_B)
    return logits[examples_R, places_R]


def over_positions(logits_RC: torch.Tensor, counts_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Units whose classes are the places of their example: logits (U, K) padded to the longest, and what is no padding.

    The C columns of one example (start, end) are neighbours: U = B * C.
    """
    n_columns = logits_RC.shape[1]
    inside_BK = torch.arange(int(counts_B.max()), device=logits_RC.device)[None, :] < counts_B[:, None]
    padded_BKC = logits_RC.new_zeros((*inside_BK.shape, n_columns))
    padded_BKC[inside_BK] = logits_RC
    return padded_BKC.transpose(1, 2).flatten(0, 1), inside_BK.repeat_interleave(n_columns, dim=0)
