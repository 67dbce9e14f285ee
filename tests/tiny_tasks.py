"""One small task of each family in a language of ninety pieces, and a tokenizer and an encoder that speak it.

Every task can be learned by a few thousand weights: a word tells the label, tag or answer. Words such as `w7s` have two
pieces, so that continuation pieces are there to be mistaken for words.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordPiece
from transformers import BertConfig, BertModel

from kdrec.tasks.rows import Row, Rows
from kdrec.tasks.splits import make_task
from kdrec.types import Family, ModelCard, Task

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = tuple(f"w{at}" for at in range(60))
PIECES = (*SPECIAL, *WORDS, "##s", "##x")
METRICS = {"sentence": "accuracy", "pair": "accuracy", "tokens": "span_f1", "qa": "squad_f1"}
LABELS = {
    "sentence": ("no", "yes"),
    "pair": ("other", "same"),
    "tokens": ("B-A", "B-B", "I-A", "O"),
    "qa": ("start", "end"),
}


def write_speaker(folder: Path, *, layers: int = 2, dropout: float = 0.0) -> Path:
    """An encoder with random weights that reads this language, with its tokenizer."""
    folder.mkdir(parents=True)
    config = BertConfig(
        vocab_size=len(PIECES),
        hidden_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=96,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        max_position_embeddings=64,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        BertModel(config).save_pretrained(folder)
    tokenizer = Tokenizer(WordPiece({piece: at for at, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(name, PIECES.index(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def speaker_card(*, layers: int = 2) -> ModelCard:
    return ModelCard(
        name="speaker",
        role="teacher",
        source="file:nowhere",
        licence="none",
        n_layers=layers,
        hidden_size=48,
        n_params=1,
        max_length=64,
    )


def rows_of(family: Family, n: int, *, seed: int = 0) -> tuple[Row, ...]:
    """`n` different rows."""
    rng = np.random.default_rng(seed)
    make = {"sentence": _sentence, "pair": _pair, "tokens": _tokens, "qa": _qa}[family]
    rows: dict[tuple[str, ...], Row] = {}
    while len(rows) < n:
        row = make(rng)
        rows[row.texts] = row
    return tuple(rows.values())


def task_of(family: Family, *, train: int = 60, test: int = 20, seed: int = 0) -> Task:
    """A task of this family; about a seventh of `train` rows become the validation split."""
    rows = rows_of(family, train + test, seed=seed)
    data = Rows(labels=LABELS[family], train=rows[test:], test=rows[:test])
    return make_task(family, data, family=family, metric=METRICS[family], licence="none")


def _filler(rng: np.random.Generator, n: int) -> list[str]:
    return [WORDS[at] + ("", "s", "sx")[rng.integers(3)] for at in rng.integers(20, 60, n)]


def _sentence(rng: np.random.Generator) -> Row:
    words = _filler(rng, int(rng.integers(2, 9)))
    yes = bool(rng.integers(2))
    words[rng.integers(len(words))] = "w1" if yes else "w2"
    return Row(texts=(" ".join(words),), label="yes" if yes else "no")


def _pair(rng: np.random.Generator) -> Row:
    first, second = (_filler(rng, int(rng.integers(2, 7))) for _ in range(2))
    same = bool(rng.integers(2))
    first[0], second[0] = "w3", "w1" if same else "w2"
    return Row(texts=(" ".join(first), " ".join(second)), label="same" if same else "other")


def _tokens(rng: np.random.Generator) -> Row:
    """`w1` begins an A and `w2` goes on with it, `w3` is a B."""
    words, tags = _filler(rng, int(rng.integers(3, 10))), ["O"] * 10
    at = int(rng.integers(len(words) - 1))
    if rng.integers(2):
        words[at : at + 2], tags[at : at + 2] = ["w1s", "w2"], ["B-A", "I-A"]
    else:
        words[at], tags[at] = "w3", "B-B"
    return Row(texts=tuple(words), tags=tuple(tags[: len(words)]))


def _qa(rng: np.random.Generator) -> Row:
    """The answer is the one word of ten that is no filler."""
    words = _filler(rng, int(rng.integers(3, 12)))
    at = int(rng.integers(len(words)))
    words[at] = WORDS[int(rng.integers(1, 4))]
    start = len(" ".join([*words[:at], ""]))
    return Row(texts=("w5 w6s", " ".join(words)), spans=((start, start + len(words[at])),))
