"""ModelCard -> an initialised classifier: the card's encoder, the layers it keeps, a fresh head for the task's family.

Serves the teacher (all layers) and the students (cut from the teacher's pretrained weights, or of their own source).
Weights come from safetensors only; no code of a checkpoint is ever run.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)
from transformers.utils import logging

from kdrec import lean
from kdrec.errors import CorruptFile, MismatchError, SourceError
from kdrec.sources import sha256_file
from kdrec.tasks import family
from kdrec.types import Encoded, Ints, ModelCard, Task

HEADS: Final[dict[str, Any]] = {
    "sequence_classification": AutoModelForSequenceClassification,
    "token_classification": AutoModelForTokenClassification,
    "question_answering": AutoModelForQuestionAnswering,
}
"""transformers' class for each head that a family names."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """A model ready to train, and the vocabulary it speaks.

    `model` takes token ids mapped through `vocabulary_V`; `full_state` undoes that for everyone else.
    """

    model: Any
    vocabulary_V: Ints
    used_ids: Ints
    pad_id: int
    embedding_name: str
    folder: Path

    def full_state(self, state: dict[str, torch.Tensor] | None = None) -> dict[str, torch.Tensor]:
        """Weights of the ordinary transformers model, on the CPU, with the whole vocabulary."""
        state = state or weights_of(self.model)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        pretrained = _pretrained(str(self.folder), sha256_file(self.folder / "config.json"))
        return lean.expand_vocabulary(state, self.embedding_name, pretrained[self.embedding_name], self.used_ids)

    def load_full_state(self, state: dict[str, torch.Tensor]) -> None:
        """Take over weights of the ordinary transformers model (the inverse of `full_state`)."""
        rows = state[self.embedding_name][torch.from_numpy(self.used_ids)]
        self.model.load_state_dict({**state, self.embedding_name: rows})


def source_hash(folder: Path) -> str:
    """Hash of an encoder's configuration, tokenizer and weights: what a card's source really is."""
    digest = hashlib.sha256()
    for path in sorted([folder / "config.json", folder / "tokenizer.json", *folder.glob("*.safetensors")]):
        digest.update(sha256_file(path).encode())
    return digest.hexdigest()


def build(card: ModelCard, folder: Path, task: Task, splits: tuple[Encoded, ...], *, seed: int) -> Classifier:
    """Initialise the encoder of `card` from `folder` with the head that the family of `task` has.

    Parameters
    ----------
    card : ModelCard
        Says which layers are kept.
    folder : pathlib.Path
        Verified local folder with `config.json` and safetensors weights.
    task : Task
        Gives labels, in the order of the logits.
    splits : tuple of Encoded
        All splits the model will see: they say which token embeddings it needs.
    seed : int
        Seed of the head's initial weights.
    """
    model = _initialised(card, folder, task, seed)
    config = model.config
    _load_pretrained(model, card, folder)
    used_ids = _used_ids(splits, card, config)
    embedding = model.get_input_embeddings()
    name = next(key for key, module in model.named_modules() if module is embedding) + ".weight"
    vocabulary_V = lean.compact_vocabulary(model, used_ids)
    lean.read_at_places_only(model)
    return Classifier(
        model=model,
        vocabulary_V=vocabulary_V,
        used_ids=used_ids,
        pad_id=int(vocabulary_V[config.pad_token_id]),
        embedding_name=name,
        folder=folder,
    )


def whole(card: ModelCard, folder: Path, task: Task, state: dict[str, torch.Tensor]) -> Any:
    """The ordinary transformers model with the weights of `Classifier.full_state`, in eval mode: every shortcut undone.

    Parameters are those of `build`.
    """
    model = _initialised(card, folder, task, seed=0)
    model.load_state_dict(state)
    return model.eval()


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    """Copy of a model's weights on the CPU."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}


def check_same_tokenizer(teacher: Path, student: Path) -> str:
    """Hash of the tokenizer both share; teacher logits mean nothing for a student that reads other tokens."""
    hashes = [sha256_file(folder / "tokenizer.json") for folder in (teacher, student)]
    if hashes[0] != hashes[1]:
        raise MismatchError(
            "teacher and student must share a tokenizer, but their tokenizer.json differ "
            f"({hashes[0][:12]} and {hashes[1][:12]})"
        )
    return hashes[0]


def _initialised(card: ModelCard, folder: Path, task: Task, seed: int) -> Any:
    """A model of random weights with the head of the task's family."""
    config = _config(card, folder)
    config.num_labels = len(task.labels)
    config.id2label = dict(enumerate(task.labels))
    config.label2id = {label: index for index, label in enumerate(task.labels)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return HEADS[family(task.family).head].from_config(config, dtype=torch.float32, trust_remote_code=False)


def _config(card: ModelCard, folder: Path) -> Any:
    """Configuration of the source, cut to the layers that the card keeps."""
    if not (folder / "config.json").exists():
        raise SourceError(f"{folder.name} holds no config.json, so it is no encoder that model {card.name!r} could be")
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        found = config.num_hidden_layers, config.hidden_size, config.vocab_size, config.pad_token_id
    except Exception as error:  # each of transformers' configurations raises errors of its own
        raise SourceError(f"the config.json of model {card.name!r} cannot be used: {error!s:.200}") from None
    if not all(type(value) is int and value >= 0 for value in found[:3]):
        raise SourceError(f"the config.json of model {card.name!r} must count layers, hidden size and vocabulary")
    kept = tuple(range(config.num_hidden_layers)) if card.layers is None else card.layers
    if kept[-1] >= config.num_hidden_layers or len(kept) != card.n_layers or config.hidden_size != card.hidden_size:
        raise MismatchError(
            f"model {card.name!r} keeps {card.n_layers} layers {list(kept)} of hidden size {card.hidden_size}, but its "
            f"source has {config.num_hidden_layers} of hidden size {config.hidden_size}"
        )
    if config.pad_token_id is None:
        raise MismatchError(f"the source of model {card.name!r} names no padding token")
    config.num_hidden_layers = card.n_layers
    return config


def _used_ids(splits: tuple[Encoded, ...], card: ModelCard, config: Any) -> Ints:
    """Token ids of the splits, and all up to the padding: RoBERTa counts positions from the padding's own index."""
    upto_pad = np.arange(config.pad_token_id + 1)
    used = np.unique(np.concatenate([upto_pad, *(np.unique(split.input_ids_T) for split in splits)]))
    if used[-1] >= config.vocab_size or used[0] < 0:
        raise MismatchError(
            f"the tokenizer makes ids up to {used[-1]}, but the vocabulary of model {card.name!r} has "
            f"{config.vocab_size} rows"
        )
    return used.astype(np.int64)


def _load_pretrained(model: Any, card: ModelCard, folder: Path) -> None:
    """Copy the pretrained encoder into `model`, layer by kept layer; the head stays as initialised."""
    pretrained = _pretrained(str(folder), sha256_file(folder / "config.json"))
    kept = card.layers or tuple(range(card.n_layers))
    encoder = [name for name in model.state_dict() if name.startswith(f"{model.base_model_prefix}.")]
    sources = {name: _source_name(name, kept) for name in encoder}
    state = {name: pretrained[source] for name, source in sources.items() if source in pretrained}
    missing = [name for name in encoder if name not in state and ".pooler." not in name]
    if missing:
        raise MismatchError(
            f"the source of model {card.name!r} lacks {len(missing)} weights of its encoder, such as {missing[0]}"
        )
    model.load_state_dict(state, strict=False)


def _source_name(name: str, kept: tuple[int, ...]) -> str:
    parts = name.split(".")
    for at, part in enumerate(parts):
        if part == "layer" and at + 1 < len(parts) and parts[at + 1].isdigit():
            parts[at + 1] = str(kept[int(parts[at + 1])])
            break
    return ".".join(parts)


@lru_cache(maxsize=2)
def _pretrained(folder: str, _config_hash: str) -> dict[str, torch.Tensor]:
    """Weights in fp32 that the files of `folder` really hold, by their transformers names, read once per process.

    What transformers makes up for a missing weight (a head, a pooler) comes from a generator not ours: left out.
    """
    name = Path(folder).name
    if not list(Path(folder).glob("*.safetensors")):
        raise SourceError(f"{name} holds no safetensors weights; other formats can run code and are refused")
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # it would report the new head of every model, which is what we want
    try:
        with torch.random.fork_rng(devices=[]):
            model, report = AutoModelForSequenceClassification.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except (SafetensorError, OSError) as error:
        raise CorruptFile(f"the weights in {name} cannot be read: {str(error).splitlines()[0]}") from None
    finally:
        logging.set_verbosity(verbosity)
    made_up = set(report["missing_keys"])
    return {key: tensor.detach() for key, tensor in model.state_dict().items() if key not in made_up}
