"""Students in MLflow's model registry: a version each, found by the fingerprint of its trial, and two aliases.

`champion` is the version of highest validation score among those of the same task content, `default` the best of those
taught with the safe default; ties go to the earlier version. A version of another content of the task is compared with
none: its scores are of other rows.
"""

from __future__ import annotations

import logging
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from filelock import FileLock

from kdrec.errors import BadArgument, StoreError
from kdrec.tracking.ledger import Ledger
from kdrec.tracking.runs import FINGERPRINT, base_tags, key_of

CHAMPION: Final = "champion"
DEFAULT: Final = "default"
TASK: Final = "kdrec.task_fingerprint"
SCORE: Final = "kdrec.val_score"
IS_DEFAULT: Final = "kdrec.is_default"
DESCRIPTION_LIMIT: Final = 4800
"""MLflow keeps 5,000 characters of a version's description in its tables."""
FOLDER: Final = "model"
CARD: Final = "README.md"
"""Of the files beside a model, the one that a later card replaces."""
_URI: Final = re.compile(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A student to register.

    `components` are model and tokenizer of a transformers pipeline of the kind `pipeline`, whose inputs are the columns
    `inputs`; None where transformers has no pipeline: the version then holds the folder as it is. Of all files in
    `folder`, those named in `beside` stand beside the model in MLflow's form.
    """

    name: str
    fingerprint: str
    task_fingerprint: str
    val_score: float
    is_default: bool
    tags: Mapping[str, str]
    card: str
    folder: Path
    pipeline: str | None
    inputs: tuple[str, ...]
    components: Mapping[str, Any]
    requirements: Sequence[str]
    beside: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Version:
    """A registered version and the aliases that it has now."""

    name: str
    number: int
    aliases: tuple[str, ...]
    is_new: bool


def register(ledger: Ledger, experiment_id: str, entry: Entry) -> Version:
    """Register a student, or find its version, which then gets the card, the files beside it and the aliases of now.

    A version with a graph that this entry lacks keeps its card: that one tells of the graph.
    """
    with FileLock(ledger.home.folder("locks") / f"model-{key_of(entry.name)[:16]}.lock"):
        known = _versions(ledger, entry.name)
        found = next((one for one in known if one.tags.get(FINGERPRINT) == entry.fingerprint), None)
        number = int(found.version) if found else _create(ledger, experiment_id, entry)
        if found is None or _completed(ledger, found.run_id, entry):
            with ledger.asking("describing a model"):
                ledger.client.update_model_version(entry.name, str(number), described(entry.card))
        aliases = _aliases(ledger, entry)
    own = tuple(alias for alias, holder in aliases.items() if holder == number)
    return Version(name=entry.name, number=number, aliases=own, is_new=found is None)


def described(card: str) -> str:
    r"""What MLflow shows of a card: its tables show Markdown as it is written, and have the name of its title already.

    >>> described("# my_reviews-tiny\n\ntiny distilled from minilm")
    'tiny distilled from minilm'
    """
    title, _, rest = card.partition("\n")
    return (rest.lstrip() if title.startswith("# ") and rest.strip() else card)[:DESCRIPTION_LIMIT]


def downloaded(ledger: Ledger, uri: str, folder: Path) -> Path:
    """Files of a registered version, by ``models:/NAME@ALIAS`` or ``models:/NAME/NUMBER``.

    Raises
    ------
    BadArgument
        For another form of URI.
    StoreError
        When there is no such version, or its files are not there.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    form = _URI.fullmatch(uri)
    if not form:
        raise BadArgument(f"a registered model is written models:/NAME@ALIAS or models:/NAME/NUMBER, got {uri!r}")
    name, alias, number = form.groups()
    try:
        if alias:
            number = str(ledger.client.get_model_version_by_alias(name, alias).version)
        with ledger.asking("finding a model"):
            source = ledger.client.get_model_version_download_uri(name, number)
    except (MlflowException, StoreError):
        known = [f"models:/{name}/{one.version}" for one in _versions(ledger, name)]
        with ledger.asking("listing models"):
            names = sorted(one.name for one in ledger.client.search_registered_models(max_results=100))
        near = f"; its versions are {', '.join(known)}" if known else f"; known are {', '.join(names)}" if names else ""
        raise StoreError(f"the registry has no {uri}{near}") from None
    with ledger.asking("fetching a model"):
        return Path(
            download_artifacts(artifact_uri=source, dst_path=str(folder), tracking_uri=ledger.home.tracking_uri)
        )


def _versions(ledger: Ledger, name: str) -> list[Any]:
    """All versions of a name, the earliest first."""
    if "'" in name:
        return []
    with ledger.asking("reading versions of a model"):
        found = list(ledger.client.search_model_versions(f"name = '{name}'", max_results=1000))
    return sorted(found, key=lambda one: int(one.version))


def _create(ledger: Ledger, experiment_id: str, entry: Entry) -> int:
    """Number of a new version, whose files are artifacts of a run of its own."""
    note = described(entry.card)
    run_id = ledger.create(
        experiment_id, base_tags("student", "completed", entry.name, note, entry.fingerprint) | dict(entry.tags)
    )
    with TemporaryDirectory() as place, ledger.asking("storing a model"):
        folder = Path(place) / FOLDER
        if entry.pipeline is None:
            shutil.copytree(entry.folder, folder)
        else:
            _save(entry, run_id, folder)
            for name in entry.beside:
                shutil.copy2(entry.folder / name, folder / name)
        ledger.client.log_artifacts(run_id, str(folder), FOLDER)
    ledger.end(run_id, "FINISHED")
    with ledger.asking("registering a model"):
        if not ledger.client.search_registered_models(f"name = '{entry.name}'"):
            ledger.client.create_registered_model(entry.name)
        source = f"{ledger.client.get_run(run_id).info.artifact_uri}/{FOLDER}"
        made = ledger.client.create_model_version(entry.name, source, run_id, tags=_tags(entry))
    return int(made.version)


def _completed(ledger: Ledger, run_id: str, entry: Entry) -> bool:
    """Put what a version lacks of the files `beside` there, and the card of now; False where the version has more."""
    with ledger.asking("completing a model"):
        held = {Path(file.path).name for file in ledger.client.list_artifacts(run_id, FOLDER)}
        if any(name.endswith(".onnx") for name in held.difference(entry.beside)):
            return False
        for name in entry.beside:
            if name not in held or name == CARD:
                ledger.client.log_artifact(run_id, str(entry.folder / name), FOLDER)
    return True


def _save(entry: Entry, run_id: str, folder: Path) -> None:
    """MLflow's own form: what `pyfunc.load_model` and `mlflow models predict` read, with nothing asked of a hub."""
    with _quiet():
        from huggingface_hub import ModelCard
        from mlflow import transformers
        from mlflow.models import Model, ModelSignature
        from mlflow.types import ColSpec, Schema

        words = entry.pipeline == "token-classification"
        # MLflow breaks on a text in which nothing is tagged, so every piece is; a long text is cut, as in training
        options: dict[str, Any] = {"ignore_labels": []} if words else {"truncation": True}
        outputs = [ColSpec("string")] if words else [ColSpec("string", "label"), ColSpec("double", "score")]
        transformers.save_model(
            transformers_model=dict(entry.components),
            path=str(folder),
            task=entry.pipeline,
            mlflow_model=Model(run_id=run_id, artifact_path=FOLDER),
            signature=ModelSignature(
                inputs=Schema([ColSpec("string", name) for name in entry.inputs]), outputs=Schema(outputs)
            ),
            pip_requirements=list(entry.requirements),
            model_card=ModelCard(entry.card, ignore_metadata_errors=True),  # else MLflow asks the Hub for one
            model_config=options,
        )


def _tags(entry: Entry) -> dict[str, str]:
    own = {
        FINGERPRINT: entry.fingerprint,
        TASK: entry.task_fingerprint,
        SCORE: repr(entry.val_score),
        IS_DEFAULT: str(entry.is_default).lower(),
    }
    return {**entry.tags, **own}


def _aliases(ledger: Ledger, entry: Entry) -> dict[str, int]:
    """Give the aliases to the best versions of this content of the task; who holds which."""
    same = [one for one in _versions(ledger, entry.name) if one.tags.get(TASK) == entry.task_fingerprint]
    groups = {CHAMPION: same, DEFAULT: [one for one in same if one.tags.get(IS_DEFAULT) == "true"]}
    holders = {}
    for alias, group in groups.items():
        if group:
            best = max(group, key=lambda one: float(one.tags.get(SCORE, "-inf")))
            holders[alias] = int(best.version)
            with ledger.asking("naming a model"):
                ledger.client.set_registered_model_alias(entry.name, alias, str(best.version))
    return holders


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's advice about licences and requirements from the user's screen; errors pass."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "mlflow.transformers", "huggingface_hub.repocard")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
