"""What the tests of training share: encoders of a few thousand random weights on disk, and splits made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel
from transformers import logging as transformers_logging

from kdrec.metrics import Grader, grade_classes
from kdrec.signals import TeacherSignal
from kdrec.types import Encoded, Ints, ModelCard, Split, Task

VOCABULARY = 120
KINDS = ("bert", "roberta")

transformers_logging.disable_progress_bar()


def config_of(kind: str, *, layers: int = 2, dropout: float = 0.0) -> BertConfig | RobertaConfig:
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
    }
    if kind == "roberta":
        return RobertaConfig(
            **sizes, max_position_embeddings=66, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2
        )
    return BertConfig(**sizes, max_position_embeddings=64, pad_token_id=0)


def write_encoder(
    folder: Path, kind: str = "bert", *, layers: int = 2, dropout: float = 0.0, dtype: torch.dtype = torch.float32
) -> Path:
    """An encoder with random weights, large enough that its layers matter, and a tokenizer, as safetensors."""
    folder.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = {"bert": BertModel, "roberta": RobertaModel}[kind](config_of(kind, layers=layers, dropout=dropout))
        for parameter in model.parameters():
            if parameter.ndim == 2:
                torch.nn.init.normal_(parameter, std=0.2)
    model.to(dtype).save_pretrained(folder)
    words = {f"w{index}": index for index in range(VOCABULARY)}
    Tokenizer(WordLevel(words, unk_token="w3")).save(str(folder / "tokenizer.json"))
    return folder


def card_of(*, layers: tuple[int, ...] | None = None, n_layers: int = 2, name: str = "tiny-random") -> ModelCard:
    return ModelCard(
        name=name,
        role="teacher",
        source="file:nowhere",
        licence="none",
        n_layers=n_layers if layers is None else len(layers),
        hidden_size=32,
        n_params=1,
        max_length=64,
        layers=layers,
    )


def encoded(
    rows: Sequence[Sequence[int]], labels: Sequence[int], *, ids: Sequence[int] | None = None, types: bool = False
) -> Encoded:
    """A split of these token ids; example ids neither rise nor start at 0, so that none is mistaken for a position."""
    ids = ids or [(index * 7919) % 100_003 + 5 for index in range(len(rows))]
    lengths = [len(row) for row in rows]
    flat = np.concatenate([np.asarray(row, dtype=np.int32) for row in rows])
    return Encoded(
        input_ids_T=flat,
        token_type_ids_T=(np.arange(len(flat)) % 2).astype(np.int8) if types else None,
        offsets_N1=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels_U=np.asarray(labels, dtype=np.int64),
        ids_N=np.asarray(ids, dtype=np.int64),
        n_truncated=0,
        fingerprint=f"split-{len(rows)}-{int(flat.sum())}",
    )


def keyword_split(n: int, *, n_classes: int = 3, seed: int = 0) -> Encoded:
    """Rows of 3 to 12 tokens whose label is told by one token among them: what a tiny model can learn."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n)
    rows = []
    for label in labels:
        row = rng.integers(20, 60, rng.integers(3, 13))
        row[0], row[rng.integers(1, len(row))] = 0, 10 + label
        rows.append(row.tolist())
    return encoded(rows, labels.tolist(), ids=rng.permutation(10 * n)[:n].tolist())


def task_of(n_classes: int, name: str = "toy") -> Task:
    split = Split(texts=(("a",), ("b",)), labels_U=np.array([0, 1]), ids_N=np.array([0, 1]))
    return Task(
        name=name,
        family="sentence",
        labels=tuple(f"label {index}" for index in range(n_classes)),
        metric="accuracy",
        train=split,
        validation=split,
        test=split,
        fingerprint=f"{name}-{n_classes}",
    )


def accuracy_on(split: Encoded) -> Grader:
    """Grade logits of this split by the share of right classes."""
    return partial(grade_classes, "accuracy", labels_N=split.labels_U)


def signal_for(split: Encoded, n_classes: int, *, seed: int = 1) -> TeacherSignal:
    """A teacher that mostly agrees with the labels; its rows are stored in another order than the split's."""
    rng = np.random.default_rng(seed)
    logits_NC = rng.normal(0, 1, (len(split), n_classes)).astype(np.float32)
    logits_NC[np.arange(len(split)), split.labels_U] += 3
    order: Ints = rng.permutation(len(split))
    return TeacherSignal(key="hand-made", ids_N=split.ids_N[order], logits_RC=logits_NC[order])
