"""A teacher is chosen from its trace alone, made once, believed only whole, and asked once for its logits."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny_models import card_of, keyword_split, task_of, write_encoder
from transformers import AutoModelForSequenceClassification

from kdrec import encoder, engine, teacher
from kdrec.errors import KdrecError
from kdrec.signals import TeacherSignal
from kdrec.teacher import Pupil, Teacher, fine_tune, live_logits, teacher_signal
from kdrec.trace import Trace, is_guarded, may_be_chosen, read_trace, record_hash, recorded_trace, select
from kdrec.training import identity_of
from kdrec.types import TEACHERS, Candidate, TeacherTraining, Training

CPU = engine.make_accelerator(device="cpu")
TRAINING = TeacherTraining(learning_rates=(3e-3, 1e-2), epochs=3, batch_size=8, evaluations_per_epoch=2)


def candidate(step: int, score: float, loss: float, checkpoint: str = "") -> Candidate:
    return Candidate(
        learning_rate=1e-4, seed=0, step=step, epoch=step / 10, score=score, loss=loss, ece=0.1, checkpoint=checkpoint
    )


@pytest.fixture(scope="module")
def pupil(tmp_path_factory: pytest.TempPathFactory) -> Pupil:
    folder = write_encoder(tmp_path_factory.mktemp("teacher") / "m", dropout=0.1)
    tokenizer = hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()
    return Pupil(
        card=card_of(),
        folder=folder,
        task=task_of(3),
        train=keyword_split(40),
        validation=keyword_split(60, seed=1),
        tokenizer=tokenizer,
    )


@pytest.fixture(scope="module")
def made(pupil: Pupil, tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    """A finished teacher, only read."""
    return fine_tune(pupil, TRAINING, tmp_path_factory.mktemp("made"), CPU)


# Selection


@pytest.mark.parametrize(
    ("ending", "sentence"),
    [
        ("cap", "it reached the most steps allowed (80.0 on validation): allow it more steps"),
        ("length", "its epochs ended (80.0 on validation): leave epochs out of [teacher], or give it more"),
        ("", "it ended (80.0 on validation): train it longer"),
    ],
)
def test_what_is_advised_for_a_teacher_that_still_improved_fits_how_it_ended(ending: str, sentence: str) -> None:
    chosen = replace(select([candidate(1, 80, 0.5)]), still_improving=True, ending=ending)
    assert chosen.warning("trec") == f"the teacher of trec was still improving when {sentence}"


@pytest.mark.parametrize(
    ("trace", "t_hs", "t_ll"),
    [
        ([(80, 0.5)], 0, 0),
        ([(80, 0.5), (85, 0.7), (84, 0.4)], 1, 2),
        ([(80, 0.5), (85, 0.4), (85, 0.4)], 1, 1),
        ([(85, 0.9), (80, 0.4), (85, 0.5), (70, 0.4)], 0, 1),
        ([(70, 0.5), (70, 0.5), (70, 0.5)], 0, 0),
    ],
    ids=["one", "two", "tie", "ties apart", "all equal"],
)
def test_selection_by_hand(trace: list[tuple[float, float]], t_hs: int, t_ll: int):
    """Highest score and lowest loss; between equals, the earlier."""
    candidates = [candidate(step, *measured, checkpoint=f"c{step}") for step, measured in enumerate(trace)]
    chosen = select(candidates)
    assert chosen.t_hs is candidates[t_hs]
    assert chosen.t_ll is candidates[t_ll]
    assert ("t_hs" in chosen.aliases) == (t_hs == t_ll)
    assert chosen.t_llg is chosen.t_ll, "a trace without standard errors knows no guard"
    assert chosen.checkpoint("t_hs") == f"c{t_hs}"
    assert chosen.checkpoint("t_ll") == f"c{t_ll}"


@pytest.mark.parametrize(
    ("trace", "t_llg"),
    [
        ([(13, 0.30, 1), (37, 0.35, 2), (36, 0.34, 2), (35.1, 0.33, 2), (34, 0.31, 2)], 3),
        ([(80, 0.5, 0), (85, 0.7, 0), (84, 0.4, 0)], 1),
        ([(80, 0.5, 9), (85, 0.7, 9), (84, 0.4, 9)], 2),
        ([(80, 0.5, 9), (85, 0.7, 4), (84, 0.6, 0), (81, 0.6, 9)], 2),
        ([(83, 0.5, 1), (85, 0.5, 2), (85, 0.5, 1)], 0),
        ([(70, 0.5, 0), (70, 0.5, 0)], 0),
    ],
    ids=["loss rises before the score", "no error is t_hs", "within is t_ll", "the best one's error", "ties", "equal"],
)
def test_guarded_selection_by_hand(trace: list[tuple[float, float, float]], t_llg: int):
    """Lowest loss among those within one standard error, the best one's, of the highest score."""
    candidates = [
        replace(candidate(step, score, loss), score_se=error) for step, (score, loss, error) in enumerate(trace)
    ]
    assert select(candidates).t_llg is candidates[t_llg]


def test_guarded_selection_is_t_ll_where_an_error_is_missing():
    trace = [replace(candidate(0, 13, 0.3), score_se=1.0), candidate(1, 37, 0.35)]
    assert select(trace).t_llg is trace[0]
    assert not is_guarded(trace)


measured = st.tuples(
    st.sampled_from([10.0, 20.0, 30.0, 40.0, 50.0]),
    st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]),
    st.one_of(st.sampled_from([0.0, 10.0, 20.0, 100.0]), st.none()),
)


@given(errors=st.booleans(), trace=st.lists(measured, min_size=1, max_size=12))
def test_what_is_selected_was_kept_from_when_it_was_seen(errors: bool, trace: list[tuple[float, float, float | None]]):
    """Whatever the trace, also where it begins without standard errors and goes on with them."""
    whole = [
        replace(candidate(step, score, loss), score_se=5.0 if errors and error is None else error)
        for step, (score, loss, error) in enumerate(trace)
    ]
    kept: set[Candidate] = set()
    for n in range(1, len(whole) + 1):
        wanted = set(may_be_chosen(whole[:n]))
        kept = (kept | {whole[n - 1]}) & wanted  # what was let go does not come back
        assert kept == wanted
        chosen = select(whole[:n])
        assert {chosen.t_ll, chosen.t_hs, chosen.t_llg} <= kept
    assert may_be_chosen(()) == ()


# Fine-tuning


class Interrupted(Exception):
    pass


class Scripted:
    """In place of a classifier: other weights at every evaluation."""

    def __init__(self) -> None:
        self.n = 0.0

    def full_state(self) -> dict[str, torch.Tensor]:
        return {"w": torch.tensor([self.n])}


@given(runs=st.lists(st.lists(measured, max_size=5), min_size=1, max_size=3).filter(any), stop=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_selected_weights_are_on_disk_at_every_moment(
    pupil: Pupil, tmp_path_factory: pytest.TempPathFactory, runs: list[list[tuple[float, float, Any]]], stop: int
):
    """Whatever is measured, and wherever the stage is interrupted once: at its end the selected and no others."""
    folder = tmp_path_factory.mktemp("any")
    training = TeacherTraining(learning_rates=tuple(1e-4 * (n + 1) for n in range(len(runs))))
    seen: list[Candidate] = []

    def scripted(pupil: Pupil, run: Training, accelerator: Any, checkpoint: Any) -> tuple[Any, Any]:
        made, number = Scripted(), training.learning_rates.index(run.learning_rate)

        def events() -> Any:
            for step, (score, loss, error) in enumerate(runs[number]):
                made.n = 100.0 * number + step
                yield engine.Evaluation(
                    step=step, epoch=step, score=score, loss=loss, ece=0.1, is_best=False, score_se=error
                )
            yield engine.Diverged(step=9, epoch=9, reason="the script is over")

        return made, events()

    def check(made: Candidate) -> None:
        if len(seen) == stop:
            seen.append(made)
            raise Interrupted
        seen.append(made)
        trace = [
            *recorded_trace(folder).candidates,
            *(one for one in seen[-5:] if one.learning_rate == made.learning_rate),
        ]
        assert {f"{checkpoint}.safetensors" for checkpoint in select(trace).checkpoints} <= {
            path.name for path in folder.iterdir()
        }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher, "fine_tuning", scripted)
        with suppress(Interrupted):
            fine_tune(pupil, training, folder, CPU, check)
        n_before = len(seen)
        done = fine_tune(pupil, training, folder, CPU, seen.append)
    assert len(seen) - n_before <= sum(map(len, runs))
    assert [(c.score, c.loss, c.score_se) for c in done.trace] == [one for run in runs for one in run]
    assert {path.stem for path in folder.glob("*.safetensors")} == select(done.trace).checkpoints
    for choice in TEACHERS:
        weights = load_file(done.weights(choice))["w"].item()
        place = [100 * number + step for number, run in enumerate(runs) for step in range(len(run))].index(int(weights))
        assert done.trace[place].checkpoint == done.selection.checkpoint(choice)


def test_trace_holds_every_evaluated_checkpoint_in_order(made: Teacher):
    steps = (2, 5, 7, 10, 12, 15)  # 5 an epoch, evaluated after the second and the fifth
    assert [(c.learning_rate, c.seed, c.step) for c in made.trace] == [
        (rate, 0, step) for rate in (3e-3, 1e-2) for step in steps
    ]
    assert [c.epoch for c in made.trace] == [c.step / 5 for c in made.trace]
    assert made.selection == select(made.trace, made.runs)
    assert "t_hs" not in made.selection.aliases, "what follows is about two checkpoints"


def test_only_selected_weights_are_on_disk_each_named_by_its_hash(made: Teacher):
    files = {path.name for path in made.folder.iterdir()}
    chosen = {made.selection.checkpoint(choice) for choice in TEACHERS}
    assert files == {"trace.json"} | {f"{checkpoint}.safetensors" for checkpoint in chosen}
    for choice in TEACHERS:
        data = made.weights(choice).read_bytes()
        assert hashlib.sha256(data).hexdigest() == made.selection.checkpoint(choice)


def test_saved_weights_have_the_score_and_loss_of_their_candidate(pupil: Pupil, made: Teacher):
    """Measured by transformers itself, example by example."""
    for choice, chosen in (("t_hs", made.selection.t_hs), ("t_ll", made.selection.t_ll)):
        model = AutoModelForSequenceClassification.from_pretrained(pupil.folder, num_labels=3).eval()
        model.load_state_dict(load_file(made.weights(choice)))
        split = pupil.validation
        losses, right = [], []
        for row, label in enumerate(split.labels_U.tolist()):
            tokens = split.input_ids_T[split.offsets_N1[row] : split.offsets_N1[row + 1]].astype(np.int64)
            with torch.no_grad():
                log_p = model(torch.from_numpy(tokens)[None]).logits[0].double().log_softmax(-1)
            losses.append(-log_p[label].item())
            right.append(int(log_p.argmax()) == label)
        assert np.mean(losses) == pytest.approx(chosen.loss, abs=1e-5)
        assert 100 * np.mean(right) == pytest.approx(chosen.score)


def test_a_finished_teacher_is_read_and_not_made_again(pupil: Pupil, made: Teacher):
    seen: list[Candidate] = []
    again = fine_tune(pupil, TRAINING, made.folder, CPU, seen.append)
    assert not seen
    assert again.trace == made.trace
    assert again.selection == made.selection


@pytest.mark.parametrize("after", [1, 6, 9])
def test_an_interrupted_stage_goes_on_with_the_next_run(pupil: Pupil, made: Teacher, tmp_path: Path, after: int):
    """Interrupted in the first run, at its last checkpoint, and within the second: the trace is the undisturbed one."""
    seen: list[Candidate] = []

    def stop(candidate: Candidate) -> None:
        seen.append(candidate)
        if len(seen) == after:
            raise Interrupted

    with pytest.raises(Interrupted):
        fine_tune(pupil, TRAINING, tmp_path, CPU, stop)
    rest: list[Candidate] = []
    done = fine_tune(pupil, TRAINING, tmp_path, CPU, rest.append)
    assert len(rest) == (6 if after == 9 else 12), "a finished run is not repeated"
    assert done.trace == made.trace
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in made.folder.iterdir()}


@pytest.mark.parametrize("after", [2, 7])
def test_a_run_of_unknown_length_goes_on_from_its_checkpoint(
    pupil: Pupil, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
):
    """Stopped between two evaluations, it trains the rest alone, to the same trace and the same weights."""
    training = TeacherTraining(learning_rates=(1e-2,), batch_size=8, patience=2, max_steps=200)
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    undisturbed = fine_tune(pupil, training, tmp_path / "whole", CPU)
    monkeypatch.setattr(teacher.Checkpoint, "due", lambda self: self.path is not None)
    seen: list[Candidate] = []

    def stop(candidate: Candidate) -> None:
        seen.append(candidate)
        if len(seen) == after:
            raise Interrupted

    with pytest.raises(Interrupted):
        fine_tune(pupil, training, tmp_path / "stopped", CPU, stop)
    rest: list[Candidate] = []
    done = fine_tune(pupil, training, tmp_path / "stopped", CPU, rest.append)
    assert [*seen[: after - 1], *rest] == list(undisturbed.trace), "the one whose checkpoint was not saved, once more"
    assert done.trace == undisturbed.trace
    assert done.selection == undisturbed.selection
    assert done.selection.ending in ("patience", "cap")
    assert {path.name for path in done.folder.iterdir()} == {path.name for path in undisturbed.folder.iterdir()}


def test_a_teacher_left_to_itself_climbs_a_ladder_and_says_how_each_run_ended(pupil: Pupil, tmp_path: Path):
    done = fine_tune(pupil, TeacherTraining(batch_size=8, patience=1, max_steps=30), tmp_path, CPU)
    rates = [run.learning_rate for run in done.runs]
    assert rates[:2] == [1e-4, 3e-4]
    assert len(rates) > 2, "the best of two lies at an end, and the ladder is widened there"
    assert all(run.n_steps <= 30 for run in done.runs)
    best = next(run for run in done.runs if run.learning_rate == done.selection.t_hs.learning_rate)
    assert (done.selection.ending, done.selection.still_improving) == (best.ending, best.still_improving)
    assert fine_tune(pupil, TeacherTraining(batch_size=8, patience=1, max_steps=30), tmp_path, CPU).runs == done.runs


def test_a_trace_of_an_older_kdrec_is_read_and_nothing_is_run_again(pupil: Pupil, made: Teacher, tmp_path: Path):
    folder = copied(made, tmp_path / "t")
    record = json.loads((folder / "trace.json").read_text())
    older = {"finished_runs": 2, "candidates": record["candidates"]}
    older["sha256"] = record_hash(older)
    (folder / "trace.json").write_text(json.dumps(older))
    seen: list[Candidate] = []
    again = fine_tune(pupil, TRAINING, folder, CPU, seen.append)
    assert not seen
    assert again.trace == made.trace
    assert [run.n_steps for run in again.runs] == [15, 15]


def copied(made: Teacher, folder: Path) -> Path:
    folder.mkdir()
    for path in made.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("damage", ["flipped weights", "truncated weights", "no weights", "flipped trace", "no trace"])
def test_a_damaged_teacher_is_rebuilt_to_the_same_bytes(pupil: Pupil, made: Teacher, tmp_path: Path, damage: str):
    folder = copied(made, tmp_path / "t")
    weights = folder / made.weights("t_hs").name
    {
        "flipped weights": lambda: flip(weights),
        "truncated weights": lambda: weights.write_bytes(weights.read_bytes()[:-1]),
        "no weights": weights.unlink,
        "flipped trace": lambda: flip(folder / "trace.json"),
        "no trace": (folder / "trace.json").unlink,
    }[damage]()
    again = fine_tune(pupil, TRAINING, folder, CPU)
    assert again.trace == made.trace
    assert weights.read_bytes() == made.weights("t_hs").read_bytes()


def test_no_changed_digit_of_a_trace_is_believed(made: Teacher, tmp_path: Path):
    """Scores decide which checkpoint teaches: one changed digit must not."""
    folder = copied(made, tmp_path / "t")
    whole = read_trace(folder)
    assert (whole.candidates, whole.runs) == (list(made.trace), list(made.runs))
    text = (folder / "trace.json").read_text()
    refused = 0
    digits = [at for at, character in enumerate(text) if character.isdigit()]
    for at in digits[:: max(1, len(digits) // 60)]:
        (folder / "trace.json").write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
        read = read_trace(folder)
        assert read in (Trace(), whole), "refused, or a digit too small to change the number"
        refused += read == Trace()
    assert refused > 50


@pytest.mark.parametrize("content", ["", "null", "[]", "3", '{"candidates": 3, "finished_runs": 1}', "{}"])
def test_a_trace_of_another_form_counts_as_none(tmp_path: Path, content: str):
    (tmp_path / "trace.json").write_text(content)
    assert read_trace(tmp_path) == Trace()


def test_a_run_that_diverges_keeps_the_others(pupil: Pupil, tmp_path: Path):
    training = replace(TRAINING, learning_rates=(1e30, 3e-3))
    done = fine_tune(pupil, training, tmp_path, CPU)
    assert {c.learning_rate for c in done.trace} == {3e-3}
    assert fine_tune(pupil, training, tmp_path, CPU).trace == done.trace


def test_a_teacher_whose_runs_all_diverge_is_one_sentence(pupil: Pupil, tmp_path: Path):
    with pytest.raises(KdrecError, match="every fine-tuning run of the teacher of 'toy' diverged"):
        fine_tune(pupil, replace(TRAINING, learning_rates=(1e30,)), tmp_path, CPU)
    assert json.loads((tmp_path / "trace.json").read_text())["finished_runs"] == 1


def test_the_key_of_a_teacher_sees_all_that_its_trace_depends_on(pupil: Pupil, tmp_path: Path):
    other = write_encoder(tmp_path / "m", layers=3)
    keys = [
        pupil.key(TRAINING),
        pupil.key(replace(TRAINING, epochs=4)),
        replace(pupil, card=card_of(layers=(0, 1))).key(TRAINING),
        replace(pupil, folder=other).key(TRAINING),
        replace(pupil, task=task_of(3, "other")).key(TRAINING),
        replace(pupil, tokenizer="0" * 64).key(TRAINING),
    ]
    assert len(set(keys)) == len(keys)
    assert pupil.key(TRAINING) == pupil.key(replace(TRAINING))


TRAINED_OF_OLD = {
    **{"learning_rates": (3e-3,), "seeds": (0, 1), "epochs": 12, "batch_size": 32, "max_length": 128},
    "evaluations_per_epoch": 2,
}
"""All that a teacher's training said at version 1 of an identity."""


def test_a_teacher_of_before_the_schema_grew_is_found_under_its_old_key(
    pupil: Pupil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest was written down by the last kdrec of schema 1."""
    monkeypatch.setattr(encoder, "source_hash", lambda folder: "source")
    old = TeacherTraining(**TRAINED_OF_OLD)
    assert (
        replace(pupil, tokenizer="0" * 64).key(old)
        == "119c679e47313f5ee20c921331cc018389e0dd48c51007c58ed075d607f0e876"
    )
    assert identity_of(old) == TRAINED_OF_OLD


def test_a_field_that_came_later_counts_only_where_it_is_not_at_its_default() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Grown(TeacherTraining):
        later: bool = False

    assert identity_of(Grown(**TRAINED_OF_OLD)) == TRAINED_OF_OLD
    assert identity_of(Grown(**TRAINED_OF_OLD, later=True)) == {**TRAINED_OF_OLD, "later": True}


# Logits


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Passes of a model over a split, each with whether the model was in training mode while it computed."""
    seen: list[bool] = []
    plain = engine.predict

    def counted(model: Any, *args: Any) -> Any:
        model.base_model.register_forward_pre_hook(lambda module, _: modes.append(module.training))
        modes: list[bool] = []
        logits = plain(model, *args)
        seen.append(any(modes))
        return logits

    monkeypatch.setattr(engine, "predict", counted)
    return seen


def test_cached_logits_are_the_live_ones(pupil: Pupil, made: Teacher, tmp_path: Path, passes: list[bool]):
    first = teacher_signal(pupil, made, "t_hs", tmp_path, CPU, 64)
    again = teacher_signal(pupil, made, "t_hs", tmp_path, CPU, 64)
    assert passes == [False], "one pass, in eval mode; the second call reads"
    live = live_logits(pupil, made.weights("t_hs"), CPU)
    assert live.dtype == np.float32
    for signal in (first, again):
        np.testing.assert_allclose(signal.lookup(pupil.train.ids_N), live, atol=1e-5)
    model = AutoModelForSequenceClassification.from_pretrained(pupil.folder, num_labels=3).eval()
    model.load_state_dict(load_file(made.weights("t_hs")))
    for row in range(0, 40, 7):
        tokens = pupil.train.input_ids_T[pupil.train.offsets_N1[row] : pupil.train.offsets_N1[row + 1]].astype(np.int64)
        with torch.no_grad():
            expected = model(torch.from_numpy(tokens)[None]).logits
        np.testing.assert_allclose(again.lookup(pupil.train.ids_N[[row]]), expected.numpy(), atol=1e-5)


def test_one_checkpoint_under_two_names_is_one_file_and_one_pass(
    pupil: Pupil, made: Teacher, tmp_path: Path, passes: list[bool]
):
    t_hs = made.selection.t_hs
    same = replace(made, selection=replace(made.selection, t_ll=t_hs))
    assert same.selection.aliases["t_hs"] == "t_ll"
    signals = [teacher_signal(pupil, same, choice, tmp_path, CPU, 64) for choice in ("t_ll", "t_hs")]
    assert signals[0].key == signals[1].key
    assert len(list(tmp_path.iterdir())) == len(passes) == 1


def test_two_checkpoints_are_two_files(pupil: Pupil, made: Teacher, tmp_path: Path):
    other = replace(made.selection.t_hs, checkpoint="f" * 64)
    apart = replace(made, selection=replace(made.selection, t_ll=other), folder=tmp_path / "t")
    copied(made, tmp_path / "t")
    weights = (tmp_path / "t" / f"{made.selection.t_hs.checkpoint}.safetensors").read_bytes()
    (tmp_path / "t" / f"{'f' * 64}.safetensors").write_bytes(weights)
    logits = tmp_path / "logits"
    logits.mkdir()
    keys = {teacher_signal(pupil, apart, choice, logits, CPU, 64).key for choice in ("t_hs", "t_ll")}
    keys.add(teacher_signal(pupil, apart, "t_hs", logits, CPU, 32).key)
    keys.add(teacher_signal(replace(pupil, tokenizer="x"), apart, "t_hs", logits, CPU, 64).key)
    assert len(keys) == len(list(logits.iterdir())) == 4


def test_damaged_logits_are_computed_again(pupil: Pupil, made: Teacher, tmp_path: Path, passes: list[bool]):
    first = teacher_signal(pupil, made, "t_ll", tmp_path, CPU, 64)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for at in (whole.index(first.key.encode()) + 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        again = teacher_signal(pupil, made, "t_ll", tmp_path, CPU, 64)
        assert np.array_equal(again.logits_RC, first.logits_RC)
        assert TeacherSignal.load(path, key=first.key).key == first.key
    path.write_bytes(whole[:50])
    teacher_signal(pupil, made, "t_ll", tmp_path, CPU, 64)
    assert len(passes) == 5


def test_live_logits_leave_no_model_in_the_accelerator(pupil: Pupil, made: Teacher):
    live_logits(pupil, made.weights("t_ll"), CPU)
    assert not CPU._models
