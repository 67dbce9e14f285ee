"""Work an encoder need not do, left out exactly: the model computes the same function, and cheaper.

Two shortcuts, both measured in `benchmarks/engine.py`:

* *compact vocabulary*: token embeddings that no example of the task uses receive no gradient, and without weight decay
  (`engine` has none on embeddings) AdamW leaves them where they are. So only the used rows are trained, clipped and
  stepped; `expand_vocabulary` puts them back into the full matrix.
* *first token only*: a classification head reads the first position of the last layer, so that layer computes queries,
  its output projection and the feed-forward part for that position alone. A one-layer student costs a fourth.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers.models.bert.modeling_bert import BertLayer
from transformers.models.roberta.modeling_roberta import RobertaLayer

from kdrec.types import Ints


class _FirstToken:
    """A BERT-like layer whose output is its first position only, shape (B, 1, H)."""

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any
    ) -> torch.Tensor:
        attention: Any = self.attention.self  # type: ignore[attr-defined]
        heads, size = attention.num_attention_heads, attention.attention_head_size

        def split(states: torch.Tensor) -> torch.Tensor:
            return states.view(*states.shape[:2], heads, size).transpose(1, 2)

        first_B1H = hidden_states[:, :1]
        context = F.scaled_dot_product_attention(
            split(attention.query(first_B1H)),
            split(attention.key(hidden_states)),
            split(attention.value(hidden_states)),
            attn_mask=None if attention_mask is None else attention_mask[:, :, :1],
            dropout_p=attention.dropout.p if attention.training else 0.0,
        )
        context = context.transpose(1, 2).reshape(*first_B1H.shape)
        attended: torch.Tensor = self.attention.output(context, first_B1H)  # type: ignore[attr-defined]
        return self.output(self.intermediate(attended), attended)  # type: ignore[attr-defined, no-any-return]


class _FirstTokenBertLayer(_FirstToken, BertLayer):  # type: ignore[misc]  # transformers is not typed
    pass


class _FirstTokenRobertaLayer(_FirstToken, RobertaLayer):  # type: ignore[misc]
    pass


_FIRST_TOKEN: dict[type, type] = {BertLayer: _FirstTokenBertLayer, RobertaLayer: _FirstTokenRobertaLayer}


def read_first_token_only(model: nn.Module) -> bool:
    """Let the last layer of a sequence classifier compute its first position alone, where its kind is known.

    Weights and their names are untouched. Returns whether the shortcut was taken.
    """
    encoder: Any = getattr(model.base_model, "encoder", None)
    layers = getattr(encoder, "layer", None)
    if not layers or type(layers[-1]) not in _FIRST_TOKEN:
        return False
    layers[-1].__class__ = _FIRST_TOKEN[type(layers[-1])]
    return True


def compact_vocabulary(model: Any, used_ids: Ints) -> Ints:
    """Keep only the embedding rows `used_ids` (rising) in `model`.

    Returns
    -------
    numpy.ndarray
        New index of every old token id, shape (V,); -1 where the row was left out.
    """
    full: nn.Embedding = model.get_input_embeddings()
    index_V = np.full(full.num_embeddings, -1, dtype=np.int64)
    index_V[used_ids] = np.arange(len(used_ids))
    weight = full.weight.detach()[torch.from_numpy(used_ids)].clone()
    pad = None if full.padding_idx is None else int(index_V[full.padding_idx])
    model.set_input_embeddings(nn.Embedding(weight.shape[0], weight.shape[1], padding_idx=pad, _weight=weight))
    return index_V


def expand_vocabulary(
    state: dict[str, torch.Tensor], name: str, full_VH: torch.Tensor, used_ids: Ints
) -> dict[str, torch.Tensor]:
    """Weights of the full model: `state` with its compact embedding `name` scattered into the pretrained `full_VH`."""
    embedding_VH = full_VH.detach().clone()
    embedding_VH[torch.from_numpy(used_ids)] = state[name].to(embedding_VH.dtype).cpu()
    return {**state, name: embedding_VH}
