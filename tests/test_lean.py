"""The shortcuts are exact: the same function, the same gradients, the same trained weights as the ordinary model."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import KINDS, VOCABULARY, config_of, keyword_split
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    ElectraConfig,
)

from kdrec import heads, lean
from kdrec.batches import collate, plan
from kdrec.engine import _decay_groups
from kdrec.objective import kd_loss
from kdrec.types import BASELINE_CONFIG


def a_model(kind: str, *, layers: int = 2, dropout: float = 0.0, head: Any = AutoModelForSequenceClassification) -> Any:
    config = config_of(kind, layers=layers, dropout=dropout)
    config.num_labels = 2 if head is AutoModelForQuestionAnswering else 3
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = head.from_config(config)
        for parameter in model.parameters():
            if parameter.ndim == 2:
                torch.nn.init.normal_(parameter, std=0.2)
    return model


def inputs_of(kind: str, lengths: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Tokens 10..59, padded on the right with the padding token of the kind."""
    pad = {"bert": 0, "roberta": 1}[kind]
    rng = np.random.default_rng(0)
    ids = torch.full((len(lengths), max(lengths)), pad)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.from_numpy(rng.integers(10, 60, length))
    return {"input_ids": ids, "attention_mask": (ids != pad).long()}


HEADS = {"tokens": AutoModelForTokenClassification, "qa": AutoModelForQuestionAnswering}


@pytest.mark.parametrize("masked", ["ragged", "full"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", KINDS)
def test_places_read_equal_the_full_model_in_values_and_gradients(kind: str, head: str, layers: int, masked: str):
    """Some places of every example, in any number, batch after batch; the rest of the last layer is not missed."""
    full = a_model(kind, layers=layers, head=HEADS[head]).eval()
    short = copy.deepcopy(full)
    assert lean.read_at_places_only(short)
    for seed, lengths in enumerate([MASKS[masked], (2, 5)]):
        rng = np.random.default_rng(seed)
        places = [np.sort(rng.permutation(n)[: rng.integers(1, n + 1)]) for n in lengths]
        counts_B = torch.tensor([len(some) for some in places])
        places_R = torch.from_numpy(np.concatenate(places))
        inputs = inputs_of(kind, lengths)
        a = heads.at_places(heads.logits_of(full(**inputs)), counts_B, lean.aim(full, counts_B, places_R))
        at_R = lean.aim(short, counts_B, places_R)
        output = heads.logits_of(short(**inputs))
        assert output.shape[1] == counts_B.max()
        b = heads.at_places(output, counts_B, at_R)
        assert a.std() > 0.05, "the comparison means nothing where all logits are alike"
        torch.testing.assert_close(b, a, rtol=1e-6, atol=1e-6)
        for logits in (a, b):
            logits.square().sum().backward()
    for (name, p), (other, q) in zip(full.named_parameters(), short.named_parameters(), strict=True):
        assert name == other
        torch.testing.assert_close(q.grad, p.grad, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


MASKS = {"ragged": (9, 3, 1, 6), "full": (7, 7, 7)}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("masked", ["ragged", "full", "none"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_first_token_shortcut_equals_the_full_model_in_values_and_gradients(
    kind: str, layers: int, masked: str, attention: str
):
    full = a_model(kind, layers=layers).eval()
    full.set_attn_implementation(attention)
    short = copy.deepcopy(full)
    assert lean.read_at_places_only(short)
    inputs = inputs_of(kind, MASKS.get(masked, (7, 7, 7)))
    if masked == "none":
        del inputs["attention_mask"]
    a, b = full(**inputs).logits, short(**inputs).logits
    assert a.std() > 0.05, "the comparison means nothing where all logits are alike"
    torch.testing.assert_close(b, a, rtol=1e-6, atol=1e-6)
    for logits in (a, b):
        logits.square().sum().backward()
    for (name, p), (other, q) in zip(full.named_parameters(), short.named_parameters(), strict=True):
        assert name == other
        torch.testing.assert_close(q.grad, p.grad, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("kind", KINDS)
def test_first_token_shortcut_drops_out_as_much_as_the_full_model(kind: str):
    """Dropout draws other numbers, so the mean over many draws is what must agree."""
    full = a_model(kind, layers=1, dropout=0.2).train()
    short = copy.deepcopy(full)
    lean.read_at_places_only(short)
    inputs = {name: tensor.expand(2000, -1) for name, tensor in inputs_of(kind, (6,)).items()}
    torch.manual_seed(0)
    with torch.no_grad():
        a, b = (model(**inputs).logits for model in (full, short))
    assert not torch.equal(a, b)
    error = a.std(0) / 2000**0.5
    assert ((a.mean(0) - b.mean(0)).abs() < 5 * error).all()
    torch.testing.assert_close(a.std(0), b.std(0), rtol=0.1, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_shortcuts_rename_no_weight_and_last_layer_alone_is_cut(kind: str):
    full = a_model(kind)
    names = list(full.state_dict())
    shapes = {name: tensor.shape for name, tensor in full.state_dict().items()}
    lean.read_at_places_only(full)
    lean.compact_vocabulary(full, np.arange(60))
    assert list(full.state_dict()) == names
    differing = [name for name, tensor in full.state_dict().items() if tensor.shape != shapes[name]]
    assert differing == [f"{kind}.embeddings.word_embeddings.weight"]
    assert full.base_model(**inputs_of(kind, (7, 7))).last_hidden_state.shape == (2, 1, 32)


def test_a_model_of_an_unknown_kind_is_left_as_it_is():
    config = ElectraConfig(
        vocab_size=20, hidden_size=8, embedding_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    electra = AutoModelForSequenceClassification.from_config(config)
    assert not lean.read_at_places_only(electra)
    assert electra.base_model(torch.ones(2, 5, dtype=torch.int64)).last_hidden_state.shape == (2, 5, 8)
    bert = a_model("bert")
    assert lean.read_at_places_only(bert)
    assert not lean.read_at_places_only(bert), "a cut layer is not cut again"


@pytest.mark.parametrize("kind", KINDS)
def test_compact_vocabulary_computes_the_same_function(kind: str):
    full = a_model(kind).eval()
    inputs = inputs_of(kind, (9, 3, 1, 6))
    compact = copy.deepcopy(full)
    index_V = lean.compact_vocabulary(compact, np.unique(np.concatenate([[0, 1, 2], inputs["input_ids"].unique()])))
    assert (index_V == -1).sum() > 50
    renamed = {**inputs, "input_ids": torch.from_numpy(index_V)[inputs["input_ids"]]}
    assert torch.equal(compact(**renamed).logits, full(**inputs).logits)


@pytest.mark.parametrize("kind", KINDS)
def test_compact_vocabulary_trains_exactly_as_the_full_one(kind: str):
    """40 steps of AdamW with decay, warm-up and clipping: all weights of the expanded model are the full model's."""
    split, pad = keyword_split(64), {"bert": 0, "roberta": 1}[kind]
    used = np.unique(np.concatenate([[0, 1, 2], split.input_ids_T]))
    full, compact = a_model(kind), a_model(kind)
    name = f"{kind}.embeddings.word_embeddings.weight"
    pretrained = full.state_dict()[name].clone()
    index_V = lean.compact_vocabulary(compact, used)

    def train(model: Any, pad_id: int, vocabulary_V: np.ndarray | None) -> dict[str, torch.Tensor]:
        optimizer = torch.optim.AdamW(_decay_groups(model, 0.1), lr=3e-3, fused=True)
        for rows in plan(split.lengths_N, 8, n_steps=5 * -(-len(split) // 8), seed=0):
            batch = collate(split, rows, pad_id=pad_id, vocabulary_V=vocabulary_V)
            logits = model(**batch.inputs()).logits
            kd_loss(logits, None, batch.labels_U, BASELINE_CONFIG).total.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return model.state_dict()

    expected = train(full, pad, None)
    state = lean.expand_vocabulary(train(compact, int(index_V[pad]), index_V), name, pretrained, used)
    assert set(state) == set(expected)
    for key, tensor in expected.items():
        torch.testing.assert_close(state[key], tensor, rtol=1e-4, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}")
    unused = np.setdiff1d(np.arange(VOCABULARY), used)
    assert torch.equal(expected[name][unused], pretrained[unused]), "a row without a gradient stays where it was"
    assert torch.equal(state[name][unused], pretrained[unused])
    assert (expected[name][used[3:]] - pretrained[used[3:]]).abs().min(dim=1).values.max() > 1e-3


def test_expanding_leaves_the_pretrained_matrix_as_it_is():
    full_VH = torch.arange(8.0).reshape(4, 2)
    state = lean.expand_vocabulary({"e": torch.full((2, 2), -1.0), "x": full_VH}, "e", full_VH, np.array([1, 3]))
    assert state["e"].tolist() == [[0, 1], [-1, -1], [4, 5], [-1, -1]]
    assert full_VH[1].tolist() == [2, 3]
