"""A classifier has the layers and weights that its card names, a head of its seed, and nothing from a pickle."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_models import KINDS, card_of, encoded, keyword_split, task_of, write_encoder
from transformers import AutoModelForSequenceClassification

from kdrec import catalog, encoder, engine, sources
from kdrec.encoder import build, check_same_tokenizer, source_hash, weights_of
from kdrec.errors import CorruptFile, MismatchError, SourceError
from kdrec.home import Home
from kdrec.objective import kd_loss
from kdrec.types import KDConfig

SPLIT = keyword_split(30)
THREE = task_of(3)


@pytest.fixture(autouse=True)
def forget_weights():
    """Each test reads its own folder."""
    encoder._pretrained.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
def test_layers_kept_are_those_of_the_source(tmp_path: Path, kind: str):
    folder = write_encoder(tmp_path / "m", kind, layers=4)
    made = build(card_of(layers=(1, 3)), folder, THREE, (SPLIT,), seed=0).full_state()
    source = load_file(folder / "model.safetensors")
    for student, teacher in ((0, 1), (1, 3)):
        names = [name for name in source if name.startswith(f"encoder.layer.{teacher}.")]
        assert len(names) == 16
        for name in names:
            kept = name.replace(f"layer.{teacher}.", f"layer.{student}.")
            assert torch.equal(made[f"{kind}.{kept}"], source[name])
    for name in (name for name in source if name.startswith("embeddings.")):
        assert torch.equal(made[f"{kind}.{name}"], source[name])
    assert not any("layer.2." in name for name in made)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_head_depends_on_the_seed_alone(tmp_path: Path, kind: str, n_classes: int):
    """Two classes are how transformers' own fresh head looks: it must not be taken for pretrained."""
    folder = write_encoder(tmp_path / "m", kind)
    split = keyword_split(30, n_classes=n_classes)

    def state(seed: int) -> dict[str, torch.Tensor]:
        encoder._pretrained.cache_clear()
        torch.rand(seed + 1)  # whatever was drawn before
        return build(card_of(), folder, task_of(n_classes), (split,), seed=seed).full_state()

    a, same, other = state(0), state(0), state(1)
    assert all(torch.equal(a[name], same[name]) for name in a)
    differing = {name for name in a if not torch.equal(a[name], other[name])}
    assert differing == {name for name in a if name.startswith("classifier") and name.endswith("weight")}


def test_building_draws_nothing_from_the_global_generator(tmp_path: Path):
    folder = write_encoder(tmp_path / "m")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build(card_of(), folder, THREE, (SPLIT,), seed=0)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_full_state_is_the_ordinary_model(tmp_path: Path, kind: str):
    """transformers itself, given these weights, computes the same logits from unmapped tokens."""
    folder = write_encoder(tmp_path / "m", kind)
    made = build(card_of(), folder, THREE, (SPLIT,), seed=0)
    assert len(made.used_ids) < 70
    logits = engine.predict(made.model, made, SPLIT, engine.make_accelerator(device="cpu"))
    ordinary = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)
    ordinary.load_state_dict(made.full_state())
    for row in (0, 7, 29):
        tokens = SPLIT.input_ids_T[SPLIT.offsets_N1[row] : SPLIT.offsets_N1[row + 1]]
        with torch.no_grad():
            expected = ordinary.eval()(torch.from_numpy(tokens.astype(np.int64))[None]).logits[0]
        np.testing.assert_allclose(logits[row], expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_load_full_state_is_the_inverse_of_full_state(tmp_path: Path, kind: str):
    folder = write_encoder(tmp_path / "m", kind)
    a = build(card_of(), folder, THREE, (SPLIT,), seed=0)
    with torch.no_grad():
        for parameter in a.model.parameters():
            parameter.add_(torch.randn_like(parameter))
    more = encoded([[*range(20, 100)][:50]], [0])
    b = build(card_of(), folder, THREE, (SPLIT, more), seed=1)
    b.load_full_state(a.full_state())
    state = b.full_state()
    assert all(torch.equal(state[name], tensor) for name, tensor in a.full_state().items())


@pytest.mark.parametrize("distance", ["ce", "mse"])
def test_a_student_with_the_teachers_own_weights_has_no_soft_loss(tmp_path: Path, distance: str):
    folder = write_encoder(tmp_path / "m")
    accelerator = engine.make_accelerator(device="cpu")
    teacher = build(card_of(), folder, THREE, (SPLIT,), seed=0)
    student = build(card_of(layers=(0, 1)), folder, THREE, (SPLIT,), seed=1)
    student.load_full_state(teacher.full_state())
    logits = [torch.from_numpy(engine.predict(one.model, one, SPLIT, accelerator)) for one in (student, teacher)]
    config = KDConfig(alpha=1, distance=distance, tau_t=2, tau_s=2)
    sums = kd_loss(*logits, torch.from_numpy(SPLIT.labels_U), config)
    assert abs(sums.kl.item()) < 1e-5
    if distance == "mse":
        assert sums.total.item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_stored_in_half_precision_are_trained_in_float32(tmp_path: Path, dtype: torch.dtype):
    """Also the embeddings that come back into the full matrix keep what training gave them."""
    folder = write_encoder(tmp_path / "m", dtype=dtype)
    assert json.loads((folder / "config.json").read_text())["dtype"] in ("float16", "bfloat16")
    made = build(card_of(), folder, THREE, (SPLIT,), seed=0)
    assert {parameter.dtype for parameter in made.model.parameters()} == {torch.float32}
    with torch.no_grad():
        made.model.get_input_embeddings().weight.add_(1e-5)
    full = made.full_state()
    assert {tensor.dtype for tensor in full.values() if tensor.is_floating_point()} == {torch.float32}
    assert torch.equal(full[made.embedding_name][made.used_ids], made.model.get_input_embeddings().weight)


def test_labels_of_the_task_are_those_of_the_model(tmp_path: Path):
    model = build(card_of(), write_encoder(tmp_path / "m"), THREE, (SPLIT,), seed=0).model
    assert model.config.id2label == {0: "label 0", 1: "label 1", 2: "label 2"}
    assert model.config.label2id == {"label 0": 0, "label 1": 1, "label 2": 2}


def test_another_tokenizer_is_refused(tmp_path: Path):
    a, b = write_encoder(tmp_path / "a"), write_encoder(tmp_path / "b")
    assert len(check_same_tokenizer(a, b)) == 64
    text = (b / "tokenizer.json").read_text()
    (b / "tokenizer.json").write_text(text.replace('"w7"', '"v7"'))
    with pytest.raises(MismatchError, match="teacher and student must share a tokenizer"):
        check_same_tokenizer(a, b)


def test_pickled_weights_are_refused(tmp_path: Path):
    folder = write_encoder(tmp_path / "m")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(SourceError, match="holds no safetensors weights; other formats can run code and are refused"):
        build(card_of(), folder, THREE, (SPLIT,), seed=0)


def test_damaged_weights_are_one_sentence(tmp_path: Path):
    folder = write_encoder(tmp_path / "m")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CorruptFile, match="the weights in m cannot be read: ") as error:
        build(card_of(), folder, THREE, (SPLIT,), seed=0)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path):
    folder = write_encoder(tmp_path / "m")
    (folder / "config.json").unlink()
    with pytest.raises(SourceError, match=r"m holds no config\.json"):
        build(card_of(), folder, THREE, (SPLIT,), seed=0)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '"bert"',
        "{}",
        '{"model_type": "no-such-model", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}',
        '{"model_type": "bert", "hidden_size": "32"}',
        '{"model_type": "bert", "num_hidden_layers": [2]}',
        '{"model_type": "bert", "vocab_size": -1}',
        '{"model_type": "clip"}',
    ],
)
def test_a_configuration_that_is_none_is_one_sentence_and_its_code_never_runs(tmp_path: Path, content: str):
    folder = write_encoder(tmp_path / "m")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (folder / "config.json").write_text(content)
    with pytest.raises(SourceError, match=r"the config\.json of model 'tiny-random' "):
        build(card_of(), folder, THREE, (SPLIT,), seed=0)
    assert not (tmp_path / "ran").exists()


def test_the_code_of_a_checkpoint_of_a_known_kind_never_runs(tmp_path: Path):
    folder = write_encoder(tmp_path / "m")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    names = {name: f"evil.{name}" for name in ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification")}
    config = {**json.loads((folder / "config.json").read_text()), "auto_map": names}
    (folder / "config.json").write_text(json.dumps(config))
    assert type(build(card_of(), folder, THREE, (SPLIT,), seed=0).model).__module__.startswith("transformers.")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (card_of(layers=(0, 5)), r"keeps 2 layers \[0, 5\] of hidden size 32, but its source has 4 of hidden size 32"),
        (card_of(n_layers=3), r"keeps 3 layers \[0, 1, 2, 3\]"),
        (card_of(n_layers=6), "but its source has 4"),
        (dataclasses.replace(card_of(n_layers=4), hidden_size=48), "of hidden size 48, but"),
    ],
)
def test_a_card_that_does_not_fit_its_source_is_refused(tmp_path: Path, card: catalog.ModelCard, words: str):
    with pytest.raises(MismatchError, match=words):
        build(card, write_encoder(tmp_path / "m", layers=4), THREE, (SPLIT,), seed=0)


def test_an_encoder_without_some_weights_is_refused(tmp_path: Path):
    from safetensors.torch import save_file

    folder = write_encoder(tmp_path / "m")
    state = load_file(folder / "model.safetensors")
    del state["encoder.layer.1.output.dense.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MismatchError, match="lacks 1 weights of its encoder, such as bert"):
        build(card_of(), folder, THREE, (SPLIT,), seed=0)


def test_tokens_beyond_the_vocabulary_are_refused(tmp_path: Path):
    split = encoded([[5, 120]], [0])
    with pytest.raises(MismatchError, match="the tokenizer makes ids up to 120, but the vocabulary of model"):
        build(card_of(), write_encoder(tmp_path / "m"), THREE, (split,), seed=0)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_the_hash_of_a_source_sees_every_file(tmp_path: Path, file: str):
    folder = write_encoder(tmp_path / "m")
    before = source_hash(folder)
    assert source_hash(folder) == before
    (folder / "README.md").write_text("not part of it")
    assert source_hash(folder) == before
    (folder / file).write_bytes((folder / file).read_bytes() + b" ")
    assert source_hash(folder) != before


def test_weights_of_is_a_copy(tmp_path: Path):
    model = build(card_of(), write_encoder(tmp_path / "m"), THREE, (SPLIT,), seed=0).model
    copied = weights_of(model)
    with torch.no_grad():
        model.classifier.weight.add_(1)
    assert not torch.equal(copied["classifier.weight"], model.classifier.weight)


def test_real_minilm_keeps_its_own_layers_and_pooler(shared_home: Home):
    """The student `base` of the card, against the bytes of the published file."""
    card = catalog.card("base")
    folder = sources.resolve(card.source, shared_home)
    made = build(card, folder, THREE, (encoded([[101, 2054, 2003, 102]], [0]),), seed=0)
    source = load_file(folder / "model.safetensors")
    state = made.full_state()
    assert made.used_ids.tolist() == [0, 101, 102, 2003, 2054]
    for student, teacher in enumerate(card.layers or ()):
        for part in ("attention.self.query.weight", "output.LayerNorm.bias", "intermediate.dense.weight"):
            assert torch.equal(
                state[f"bert.encoder.layer.{student}.{part}"], source[f"encoder.layer.{teacher}.{part}"].float()
            )
    assert torch.equal(state["bert.pooler.dense.weight"], source["pooler.dense.weight"].float())
    assert torch.equal(
        state["bert.embeddings.word_embeddings.weight"], source["embeddings.word_embeddings.weight"].float()
    )
