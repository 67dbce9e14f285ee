"""A student in a folder, in transformers' form: configuration, safetensors, tokenizer, and what it is.

The shortcuts of training are undone (`kdrec.lean`): the whole vocabulary is back, every layer computes all positions.
Nothing is believed of a folder that is opened: weights are safetensors, no code of it runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import transformers
from tokenizers import Tokenizer
from transformers.utils import logging

import kdrec
from kdrec import encoder
from kdrec.errors import BadArgument, CorruptFile, MismatchError
from kdrec.sources import atomic_folder
from kdrec.student.facts import FILE, Facts
from kdrec.student.order import Order
from kdrec.tasks import family
from kdrec.trial import Taught

COMPONENTS: Final = "components/tokenizer"
"""Where MLflow's transformers flavour keeps a tokenizer; the model itself is in `model`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Saved:
    """An opened student."""

    facts: Facts
    model: Any
    tokenizer_file: Path
    weights_file: Path

    @property
    def pad_id(self) -> int:
        """Padding token."""
        return int(self.model.config.pad_token_id)

    def tokenizer(self) -> Any:
        """Its tokenizer as transformers has them."""
        made = Tokenizer.from_file(str(self.tokenizer_file))
        return _dressed(made, self.model.config, self.facts, self.tokenizer_file.parent)


def facts_of(taught: Taught, order: Order, name: str) -> Facts:
    """What a taught student says of itself."""
    bench, best = taught.place.bench, taught.best
    task, train = bench.task, bench.task.train
    assert best.val_score is not None, "a student that can be taken home has a score"
    return Facts(
        name=name,
        task=task.name,
        task_fingerprint=task.fingerprint,
        family=task.family,
        metric=task.metric,
        labels=task.labels,
        max_length=bench.max_length,
        may_be_none=task.family == "qa" and any(len(train.labels_of(row)) == 0 for row in range(len(train))),
        student=taught.place.student.name,
        config=taught.config,
        seed=best.seed,
        fingerprint=best.fingerprint,
        teacher=bench.teacher_card.name,
        teacher_checkpoint=taught.teacher_checkpoint,
        why=order.why,
        val_score=best.val_score,
        kdrec=kdrec.__version__,
    )


def check_place(folder: Path) -> None:
    """Refuse a folder that holds something else than a student: it would be replaced."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise BadArgument(f"{folder} is no folder; name one for the student")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / FILE).is_file():
        raise BadArgument(f"{folder} holds other files, which a student would replace; name a new folder")


@contextmanager
def being_saved(folder: Path, taught: Taught, facts: Facts) -> Iterator[Path]:
    """Write a student, and lend the folder for what belongs beside it; it takes its place when the block ends well."""
    check_place(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = taught.place
    model = encoder.whole(place.student, place.folder, place.bench.task, taught.state)
    _rename(model, facts)
    with atomic_folder(folder) as new:
        with _quiet():
            model.save_pretrained(new)
        _write_tokenizer(place.folder, model.config, facts, new)
        (new / FILE).write_text(facts.to_json(), encoding="utf-8")
        yield new


def opened(folder: Path) -> Saved:
    """Open a student that was saved here, or registered: MLflow puts model and tokenizer into folders of their own.

    Raises
    ------
    SourceError, CorruptFile, MismatchError
        When it is none, or is damaged.
    """
    facts = Facts.read(folder)
    registered = (folder / "model" / "config.json").is_file()
    where = folder / "model" if registered else folder
    tokenizer = (folder / COMPONENTS if registered else folder) / "tokenizer.json"
    if not tokenizer.is_file():
        raise CorruptFile(f"the student in {folder} has no tokenizer.json")
    try:
        with _quiet():
            model, report = encoder.HEADS[family(facts.family).head].from_pretrained(
                where,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except Exception as error:  # each of transformers' configurations raises errors of its own
        raise CorruptFile(f"the student in {folder} cannot be read: {str(error).splitlines()[0]:.200}") from None
    if tuple(model.config.id2label[at] for at in range(model.config.num_labels)) != facts.labels:
        raise MismatchError(f"the labels in the config.json of {folder} are not those of its {FILE}")
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise CorruptFile(f"the student in {folder} lacks {len(missing)} of its weights, such as {missing[0]}")
    _rename(model, facts)
    return Saved(facts=facts, model=model.eval(), tokenizer_file=tokenizer, weights_file=where / "model.safetensors")


def _rename(model: Any, facts: Facts) -> None:
    """Call a model by a name that is no place on this machine, nor one that MLflow would ask a hub for."""
    model.name_or_path = model.config.name_or_path = f"kdrec:{facts.name}"


def _write_tokenizer(source: Path, config: Any, facts: Facts, folder: Path) -> None:
    """The tokenizer as students read by it: no padding of its own, words apart where the family reads words."""
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    family(facts.family).prepare(tokenizer)
    _dressed(tokenizer, config, facts, source).save_pretrained(folder)


def _dressed(tokenizer: Tokenizer, config: Any, facts: Facts, source: Path) -> Any:
    """A tokenizer with what transformers' pipelines ask of it: lengths, inputs, roles of special tokens."""
    names = ["input_ids", "attention_mask"]
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=facts.max_length,
        model_input_names=[*names, "token_type_ids"] if getattr(config, "type_vocab_size", 1) > 1 else names,
        **_special_tokens(source, tokenizer, config),
    )


def _special_tokens(source: Path, tokenizer: Tokenizer, config: Any) -> dict[str, str]:
    """Roles of special tokens, where the source names them; batches need the padding."""
    try:
        named = json.loads((source / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        named = {}
    made = {"pad_token": str(tokenizer.id_to_token(config.pad_token_id))}
    for role in ("unk_token", "cls_token", "sep_token", "mask_token", "bos_token", "eos_token"):
        word = named.get(role) if isinstance(named, dict) else None
        word = word.get("content") if isinstance(word, dict) else word
        if isinstance(word, str) and tokenizer.token_to_id(word) is not None:
            made[role] = word
    return made


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no words of transformers."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
