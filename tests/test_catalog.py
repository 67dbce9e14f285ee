"""Laws of `kdrec.catalog` and of the cards it ships."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoModel

from kdrec import catalog
from kdrec.errors import BadArgument
from kdrec.home import Home
from kdrec.sources import resolve
from kdrec.types import ModelCard

TEACHER = """
[teacher]
name = "big"
source = "file:big"
licence = "MIT"
n_layers = 4
hidden_size = 8
n_params = 400
max_length = 64
"""


def read(folder: Path, text: str, name: str = "cards.toml") -> tuple[ModelCard, ...]:
    (folder / name).write_text(text, encoding="utf-8")
    return catalog.read_file(folder / name)


def test_shipped_students_and_teachers_are_those_of_the_design() -> None:
    names = {teacher.name: [s.name for s in catalog.students(teacher.name)] for teacher in catalog.teachers()}
    assert names == {
        "minilm": ["base", "small", "tiny"],
        "bert-base": ["bert-small", "bert-mini", "bert-tiny"],
        "roberta-base": ["distilroberta"],
    }
    assert {card.name for card in (*catalog.teachers(), *catalog.students())} == set(catalog.cards())


def test_students_come_from_the_largest_to_the_smallest_and_below_their_teacher() -> None:
    for teacher in catalog.teachers():
        sizes = [teacher.n_params, *(student.n_params for student in catalog.students(teacher.name))]
        assert sizes == sorted(sizes, reverse=True)
        assert len(set(sizes)) == len(sizes)


def test_every_shipped_source_is_pinned_or_comes_from_the_hub() -> None:
    for card in catalog.cards().values():
        assert re.fullmatch(
            r"pypi:[\w.-]+==[\w.]+#sha256=[0-9a-f]{64}!.+|hub:[\w.-]+/[\w.-]+(@[0-9a-f]{40})?", card.source
        )


def test_minilm_students_are_cut_from_their_teacher() -> None:
    teacher = catalog.card("minilm")
    for name, layers in (("base", 3), ("small", 2), ("tiny", 1)):
        student = catalog.card(name)
        assert (student.source, student.hidden_size, student.licence) == (teacher.source, 384, "Apache-2.0")
        assert student.layers is not None
        assert len(student.layers) == student.n_layers == layers


@pytest.mark.network
def test_parameters_of_the_minilm_cards_are_those_of_the_model(home: Home) -> None:
    folder = resolve(catalog.card("minilm").source, home)
    for name in ("minilm", "base", "small", "tiny"):
        card = catalog.card(name)
        config = AutoConfig.from_pretrained(folder)
        assert (config.hidden_size, config.max_position_embeddings) == (card.hidden_size, card.max_length)
        assert card.layers is not None or config.num_hidden_layers == card.n_layers
        config.num_hidden_layers = card.n_layers
        assert sum(weights.numel() for weights in AutoModel.from_config(config).parameters()) == card.n_params


@pytest.mark.parametrize("name", ["bert-base", "bert-small", "bert-mini", "bert-tiny", "roberta-base", "distilroberta"])
def test_parameters_of_the_hub_cards_are_those_of_their_published_shape(name: str) -> None:
    card = catalog.card(name)
    words, positions, kinds = (50265, 514, 1) if "roberta" in name else (30522, 512, 2)
    h = card.hidden_size
    embeddings = (words + positions + kinds) * h + 2 * h
    layer = 4 * (h * h + h) + (h * 4 * h + 4 * h) + (4 * h * h + h) + 2 * 2 * h
    assert card.n_params == embeddings + card.n_layers * layer + (h * h + h)


@pytest.mark.parametrize(("wrong", "near"), [("minilmm", "minilm"), ("bert-smal", "bert-small"), ("tinny", "tiny")])
def test_an_unknown_name_is_refused_with_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(BadArgument, match=f"unknown model '{wrong}'; did you mean '{near}'"):
        catalog.card(wrong)


def test_students_of_a_student_are_refused() -> None:
    with pytest.raises(BadArgument, match="'small' is a student, not a teacher"):
        catalog.students("small")


def test_a_cut_student_has_everything_else_from_its_teacher(tmp_path: Path) -> None:
    _, student = read(tmp_path, TEACHER + "[students.half]\nlayers = [0, 3]\nn_params = 200")
    assert student == ModelCard(
        name="half",
        role="student",
        teacher="big",
        source="file:big",
        licence="MIT",
        n_layers=2,
        hidden_size=8,
        n_params=200,
        max_length=64,
        layers=(0, 3),
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[teachers]", "unknown key 'teachers'; did you mean 'teacher'"),
        ("x = ", "cards.toml is not a TOML file"),
        ("", "the table \\[teacher\\] is missing"),
        ("teacher = 3", "\\[teacher\\]: a table was expected, got 3"),
        (TEACHER + "n_param = 3", "\\[teacher\\]: unknown key 'n_param'; did you mean 'n_params'"),
        (TEACHER.replace("hidden_size = 8", ""), "\\[teacher\\]: the key 'hidden_size' is missing"),
        (TEACHER.replace("n_layers = 4", 'n_layers = "4"'), "n_layers must be a whole number"),
        (TEACHER.replace('"MIT"', "3"), "licence must be a text, got 3"),
        (TEACHER + "[students]\nsmall = 3", "\\[students.small\\]: a table was expected"),
        (TEACHER + "[students.s]\nn_params = 3", "a source of its own or the layers it keeps"),
        (TEACHER + "[students.s]\nlayers = [0, 4]\nn_params = 3", "layers must be in 0..3, got \\[0, 4\\]"),
        (TEACHER + "[students.s]\nlayers = [3, 0]\nn_params = 3", "layers must be n_layers = 2 rising indices"),
        (TEACHER + "[students.s]\nlayers = 2\nn_params = 3", "layers must be a list of whole numbers, got 2"),
        (TEACHER + '[students.s]\nlayers = ["0"]\nn_params = 3', "layers must be a list of whole numbers"),
        (TEACHER + "[students.s]\nlayers = [0]", "\\[students.s\\]: the key 'n_params' is missing"),
        (TEACHER.replace("file:big", " "), "source must be a text, got ' '"),
        (TEACHER.replace("MIT", ""), "licence must be a text, got ''"),
        (TEACHER + '[students.s]\nsource = "file:x"\nn_params = 3', "the key 'licence' is missing"),
        (TEACHER + "[students.s]\nlayer = [0]\nn_params = 3", "unknown key 'layer'; did you mean 'layers'"),
        (TEACHER + '[students."a/b"]\nlayers = [0]\nn_params = 3', "model must be a name"),
    ],
)
def test_a_card_file_that_is_not_as_it_should_be_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(BadArgument, match=sentence) as refused:
        read(tmp_path, text)
    assert str(refused.value).startswith("cards.toml")


@pytest.mark.parametrize("value", ["[" * 5000, "9" * 5000, "0x" + "f" * 5000, "1" + "0" * 30], ids=lambda v: v[:4])
def test_what_toml_cannot_keep_exactly_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(BadArgument, match=r"^cards\.toml is not a TOML file: ") as refused:
        read(tmp_path, TEACHER.replace("n_params = 400", f"n_params = {value}"))
    assert len(str(refused.value)) < 300


def test_one_name_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text(TEACHER)
    with pytest.raises(BadArgument, match=r"b.toml: a model called 'big' is in another file already"):
        catalog.read_folder(tmp_path)


def test_a_folder_without_cards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match="no model cards"):
        catalog.read_folder(tmp_path)


def test_reading_the_cards_loads_no_heavy_library() -> None:
    program = (
        "import sys, kdrec.catalog; kdrec.catalog.cards()\n"
        "print([m for m in ('torch', 'transformers', 'pandas', 'mlflow', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
