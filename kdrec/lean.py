"""Work an encoder need not do, left out exactly: the model computes the same function, and cheaper.

Two shortcuts, both measured in `benchmarks/engine.py`:

* *compact vocabulary*: token embeddings that no example of the task uses receive no gradient, and without weight decay
  (`engine` has none on embeddings) AdamW leaves them where they are. So only the used rows are trained, clipped and
  stepped; `expand_vocabulary` puts them back into the full matrix.
* *places only*: a head reads the first position of the last layer (a label of the whole text), or the places of a
  `Reading` (words, a context), so that layer computes queries, its output projection and the feed-forward part there
  alone. A one-layer student of whole texts costs a fourth, one of words about two thirds.
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


class _ReadAtPlaces:
    """A BERT-like layer whose output is its positions `places_BP` only, shape (B, P, H); None: the first, (B, 1, H)."""

    places_BP: torch.Tensor | None = None

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any
    ) -> torch.Tensor:
        attention: Any = self.attention.self  # type: ignore[attr-defined]
        heads, size = attention.num_attention_heads, attention.attention_head_size

        def split(states: torch.Tensor) -> torch.Tensor:
            return states.view(*states.shape[:2], heads, size).transpose(1, 2)

        read_BPH = self._read(hidden_states)
        context = F.scaled_dot_product_attention(
            split(attention.query(read_BPH)),
            split(attention.key(hidden_states)),
            split(attention.value(hidden_states)),
            attn_mask=None if attention_mask is None else attention_mask[:, :, :1],  # one row for all: it hides padding
            dropout_p=attention.dropout.p if attention.training else 0.0,
        )
        context = context.transpose(1, 2).reshape(*read_BPH.shape)
        attended: torch.Tensor = self.attention.output(context, read_BPH)  # type: ignore[attr-defined]
        return self.output(self.intermediate(attended), attended)  # type: ignore[attr-defined, no-any-return]

    def _read(self, states_BLH: torch.Tensor) -> torch.Tensor:
        if self.places_BP is None:
            return states_BLH[:, :1]
        return states_BLH.gather(1, self.places_BP[:, :, None].expand(-1, -1, states_BLH.shape[2]))


class _ReadAtPlacesBertLayer(_ReadAtPlaces, BertLayer):  # type: ignore[misc]  # transformers is not typed
    pass


class _ReadAtPlacesRobertaLayer(_ReadAtPlaces, RobertaLayer):  # type: ignore[misc]
    pass


_CUT: dict[type, type] = {BertLayer: _ReadAtPlacesBertLayer, RobertaLayer: _ReadAtPlacesRobertaLayer}


def read_at_places_only(model: nn.Module) -> bool:
    """Let the last layer of an encoder compute what its head reads alone, where the layer's kind is known.

    The head then reads the first position, until `aim` says otherwise. Weights and their names are untouched. Returns
    whether the shortcut was taken.
    """
    layer = _last_layer(model)
    if type(layer) not in _CUT:
        return False
    layer.__class__ = _CUT[type(layer)]
    return True


def aim(model: nn.Module, counts_B: torch.Tensor | None, places_R: torch.Tensor | None) -> torch.Tensor | None:
    """Say which places of the next batch are read, and get their positions in the head's output.

    Parameters
    ----------
    model : torch.nn.Module
        The model itself, without a wrapper.
    counts_B, places_R : torch.Tensor or None
        How many places each example has, and their positions in it; None where a head is read once an example.

    Returns
    -------
    torch.Tensor or None
        Positions in the output, of shape (R,): `places_R`, or places counted from 0 where the last layer computes no
        other.
    """
    layer = _last_layer(model)
    if counts_B is None or places_R is None or not isinstance(layer, _ReadAtPlaces):
        return places_R
    order_BP = torch.arange(int(counts_B.max()), device=places_R.device).expand(len(counts_B), -1)
    inside_BP = order_BP < counts_B[:, None]
    layer.places_BP = torch.zeros_like(order_BP).masked_scatter(inside_BP, places_R)
    return order_BP[inside_BP]


def _last_layer(model: Any) -> Any:
    layers = getattr(getattr(model.base_model, "encoder", None), "layer", None)
    return layers[-1] if layers else None


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
