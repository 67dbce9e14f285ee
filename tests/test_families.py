"""One contract for all families: what is taught, cached and scored does not depend on how a batch is made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_tasks import WORDS, rows_of, speaker_card, task_of, write_speaker

from kdrec import encoder, engine, heads, lean, tasks
from kdrec.batches import collate
from kdrec.errors import DataError, MismatchError
from kdrec.examples import joined
from kdrec.home import Home
from kdrec.objective import LossSums, kd_loss
from kdrec.signals import TeacherSignal
from kdrec.tasks.rows import Row, Rows
from kdrec.tasks.splits import make_task
from kdrec.tasks.transfer import bare_split
from kdrec.types import BASELINE_CONFIG, FAMILIES, UNLABELLED, Encoded, KDConfig, Split, Task, Training

CPU = engine.make_accelerator(device="cpu")
CONFIGS = [
    pytest.param(KDConfig(alpha=0.5, tau_t=2.0), False, id="ce"),
    pytest.param(KDConfig(alpha=0.5, distance="mse"), False, id="mse"),
    pytest.param(BASELINE_CONFIG, False, id="labels"),
    pytest.param(KDConfig(alpha=0.5, tau_t=2.0), True, id="ce, half without labels"),
]
each_config = pytest.mark.parametrize(("config", "bare"), CONFIGS)
LENGTH = 32
each_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder without dropout."""
    return write_speaker(tmp_path_factory.mktemp("speaker") / "m")


def encoded(task: Task, split: Split, folder: Path, home: Home, max_length: int = LENGTH) -> Encoded:
    return tasks.encode(split, task, folder / "tokenizer.json", max_length, home)


def taught(task: Task, folder: Path, home: Home, *, bare: bool) -> Encoded:
    """The training split; or of its rows every second one, and the others without their labels behind them."""
    if not bare:
        return encoded(task, task.train, folder, home)
    half, others = task.train.every(2), [Row(texts=texts) for texts in task.train.texts[1::2]]
    return joined(*(encoded(task, split, folder, home) for split in (half, bare_split(others, task.family))))


def some_of(split: Encoded, n: int) -> list[int]:
    """`n` examples from both ends of a split."""
    return [*range(n // 2), *range(len(split) - n // 2, len(split))]


def model_of(task: Task, split: Encoded, folder: Path, seed: int = 0) -> encoder.Classifier:
    made = encoder.build(speaker_card(), folder, task, (split,), seed=seed)
    made.model.eval()
    return made


def signal_of(task: Task, split: Encoded, folder: Path, seed: int) -> TeacherSignal:
    """What another head says of the split, as it would be cached."""
    teacher = model_of(task, split, folder, seed)
    counts = None if split.reading is None else split.reading.counts_N
    logits = engine.predict(teacher.model, teacher, split, CPU)
    return TeacherSignal(key="k", ids_N=split.ids_N, logits_RC=logits, counts_N=counts)


def loss_of(
    made: encoder.Classifier,
    split: Encoded,
    rows: list[int],
    config: KDConfig,
    signal: TeacherSignal,
    weight: float = 1.0,
) -> LossSums:
    """The loss of one batch, put together from the parts that the engine uses."""
    batch = collate(split, np.array(rows), pad_id=made.pad_id, vocabulary_V=made.vocabulary_V, signal=signal)
    places = lean.aim(made.model, batch.counts_B, batch.places_R)
    logits = heads.logits_of(made.model(**batch.inputs()))
    student, teacher, inside = heads.at_places(logits, batch.counts_B, places), batch.teacher_RC, None
    if split.reading is not None and split.reading.axis == "positions":
        student, inside = heads.over_positions(student, batch.counts_B)
        teacher, _ = heads.over_positions(teacher, batch.counts_B)
    return kd_loss(student, teacher, batch.labels_U, config, inside, weight)


def gradients(made: encoder.Classifier) -> torch.Tensor:
    grads = [p.grad.flatten() for p in made.model.parameters() if p.grad is not None]
    made.model.zero_grad()
    return torch.cat(grads)


@each_config
@each_family
def test_loss_ignores_padding(family, config, bare, folder, home):
    """A batch of examples of many lengths loses what its examples lose alone, where there is no padding."""
    task = task_of(family)
    split = taught(task, folder, home, bare=bare)
    made, signal = model_of(task, split, folder), signal_of(task, split, folder, 1)
    rows = some_of(split, 12)
    assert len(set(split.lengths_N[rows].tolist())) > 3
    together = loss_of(made, split, rows, config, signal)
    alone = [loss_of(made, split, [row], config, signal) for row in rows]
    assert together.units == sum(one.units for one in alone) == split.units_N[rows].sum()
    for name in ("total", "hard", "soft", "kl"):
        expected = sum(float(getattr(one, name).detach()) for one in alone)
        assert float(getattr(together, name).detach()) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@each_config
@each_family
def test_order_and_company_in_a_batch_do_not_change_the_gradient(family, config, bare, folder, home):
    task = task_of(family)
    split = taught(task, folder, home, bare=bare)
    made, signal = model_of(task, split, folder), signal_of(task, split, folder, 1)
    rows = some_of(split, 16)
    loss_of(made, split, rows, config, signal).total.backward()
    together = gradients(made)
    by_length = sorted(rows, key=lambda row: int(split.lengths_N[row]))
    for parts in ([rows[::-1]], [by_length[:5], by_length[5:]], [[row] for row in rows]):
        for part in parts:
            loss_of(made, split, part, config, signal).total.backward()
        torch.testing.assert_close(gradients(made), together, rtol=1e-4, atol=1e-5 * float(together.abs().max()))


@each_config
@each_family
def test_accumulated_micro_batches_train_as_the_big_batch(family, config, bare, folder, home):
    task = task_of(family)
    split, whole_split = taught(task, folder, home, bare=bare), encoded(task, task.train, folder, home)
    signal, grade = signal_of(task, split, folder, 1), tasks.grader(task, task.train, whole_split)

    def said(micro: int) -> np.ndarray[Any, Any]:
        made = model_of(task, split, folder)
        lesson = engine.Lesson(
            train=split, validation=whole_split, grade=grade, n_classes=len(task.labels), signal=signal
        )
        training = Training(
            learning_rate=1e-3, epochs=2, batch_size=16, gradient_accumulation_steps=micro, max_length=LENGTH
        )
        list(engine.fit(made, lesson, config, training, CPU))
        logits = engine.predict(made.model, made, split, CPU)
        return logits - logits.mean(0) if family == "qa" else logits  # a softmax over places sees no common shift

    # What is said, not weights: Adam makes steps of any noise where a gradient is 0, as that of a key's bias is.
    before = engine.predict((made := model_of(task, split, folder)).model, made, split, CPU)
    whole, accumulated = said(1), said(4)
    assert np.abs(whole - before).max() > 0.02
    np.testing.assert_allclose(accumulated, whole, atol=1e-3)


@pytest.mark.parametrize("distance", ["ce", "mse"])
@each_family
def test_rows_without_labels_lose_what_their_teacher_alone_would_have_them_lose(family, distance, folder, home):
    """That is what the same rows lose with their labels where alpha is 1; labelled rows lose as ever."""
    task = task_of(family)
    config, weight = KDConfig(alpha=0.3, distance=distance), 0.25
    half, others = task.train.every(2), [Row(texts=texts) for texts in task.train.texts[1::2]]
    labelled, whole = (encoded(task, split, folder, home) for split in (half, task.train))
    both = joined(labelled, encoded(task, bare_split(others, family), folder, home))
    assert both.units_N.sum() == whole.units_N.sum()
    assert (both.labels_U[: len(labelled.labels_U)] != UNLABELLED).all()
    assert (both.labels_U[len(labelled.labels_U) :] == UNLABELLED).all()
    made, teacher = model_of(task, whole, folder), model_of(task, whole, folder, 1)

    def loss(split: Encoded, config: KDConfig, weight: float = 1.0) -> float:
        counts = None if split.reading is None else split.reading.counts_N
        said = engine.predict(teacher.model, teacher, split, CPU)
        signal = TeacherSignal(key="k", ids_N=split.ids_N, logits_RC=said, counts_N=counts)
        return float(loss_of(made, split, list(range(len(split))), config, signal, weight).total.detach())

    alone = replace(config, alpha=1.0)
    expected = loss(labelled, config) + weight * (loss(whole, alone) - loss(labelled, alone))
    assert loss(both, config, weight) == pytest.approx(expected, rel=1e-4)


@each_family
def test_labels_alone_do_not_learn_from_rows_without(family, folder, home):
    task = task_of(family)
    split = taught(task, folder, home, bare=True)
    grade = tasks.grader(task, task.train, split)
    lesson = engine.Lesson(train=split, validation=split, grade=grade, n_classes=len(task.labels))
    with pytest.raises(MismatchError, match="learns from labels alone, and the lesson has rows without"):
        next(engine.fit(model_of(task, split, folder), lesson, BASELINE_CONFIG, Training(max_length=LENGTH), CPU))


@each_family
def test_a_student_with_the_weights_of_the_teacher_has_no_soft_loss(family, folder, home):
    task = task_of(family)
    split = encoded(task, task.train, folder, home)
    made, signal = model_of(task, split, folder, 1), signal_of(task, split, folder, 1)
    with torch.no_grad():
        same = [loss_of(made, split, [0, 3, 5], config, signal) for config in (KDConfig(), KDConfig(distance="mse"))]
        other = loss_of(made, split, [0, 3, 5], KDConfig(distance="mse"), signal_of(task, split, folder, 2))
    assert float(same[0].kl) == pytest.approx(0, abs=1e-5)
    assert float(same[1].soft) == pytest.approx(0, abs=1e-9)
    assert float(other.soft) > 1e-4


@each_family
def test_cached_logits_are_the_live_ones(family, folder, home, tmp_path):
    """What is stored, read back and looked up in another order is what the teacher says of these examples."""
    task = task_of(family)
    split = encoded(task, task.train, folder, home)
    signal = signal_of(task, split, folder, 1)
    signal.save(tmp_path / "s.safetensors")
    read = TeacherSignal.load(tmp_path / "s.safetensors", key="k")
    teacher, rows = model_of(task, split, folder, 1), np.array([7, 2, 11])
    batch = collate(split, rows, pad_id=teacher.pad_id, vocabulary_V=teacher.vocabulary_V, signal=read)
    places = lean.aim(teacher.model, batch.counts_B, batch.places_R)
    with torch.no_grad():
        live = heads.at_places(heads.logits_of(teacher.model(**batch.inputs())), batch.counts_B, places)
    torch.testing.assert_close(batch.teacher_RC, live, rtol=1e-5, atol=1e-5)
    n_places = len(split) if split.reading is None else len(split.reading.places_R)
    assert read.logits_RC.shape[0] == n_places < len(split.input_ids_T)  # no padded or special position is stored


@each_family
def test_a_split_comes_back_from_its_file_as_it_was_made(family, folder, home):
    task = task_of(family)
    made, read = (encoded(task, task.train, folder, home) for _ in range(2))
    for field in ("input_ids_T", "token_type_ids_T", "offsets_N1", "labels_U", "ids_N", "n_truncated", "n_lost"):
        np.testing.assert_array_equal(getattr(read, field), getattr(made, field))
    assert (made.reading is None) == (read.reading is None) == (family in ("sentence", "pair"))
    if made.reading is not None and read.reading is not None:
        assert read.reading.axis == made.reading.axis
        for field in ("places_R", "offsets_N1", "rows_N", "origin_R2"):
            np.testing.assert_array_equal(getattr(read.reading, field), getattr(made.reading, field))


@each_family
def test_a_teacher_fits_a_small_set_nearly_perfectly(family, folder, home):
    task = task_of(family, train=120)
    split = encoded(task, task.train, folder, home)
    made, grade = model_of(task, split, folder), tasks.grader(task, task.train, split)
    lesson = engine.Lesson(train=split, validation=split, grade=grade, n_classes=len(task.labels))
    training = Training(learning_rate=3e-3, epochs=30, batch_size=16, max_length=LENGTH)
    *_, finished = engine.fit(made, lesson, BASELINE_CONFIG, training, CPU)
    assert isinstance(finished, engine.Finished)
    assert finished.best.score > 97
    assert finished.best.loss < 0.1


def perfect(task: Task, split: Encoded) -> np.ndarray[Any, Any]:
    """Logits that are sure of every label that an example holds."""
    if split.reading is None or split.reading.axis == "classes":
        return 20 * np.eye(len(task.labels), dtype=np.float32)[split.labels_U]
    logits = np.zeros((len(split.reading.places_R), 2), np.float32)
    right_N2 = split.reading.offsets_N1[:-1, None] + split.labels_U.reshape(-1, 2)
    np.put_along_axis(logits, right_N2, 20.0, axis=0)
    return logits


@each_family
def test_sure_and_right_logits_have_a_perfect_grade(family, folder, home):
    task = task_of(family)
    split = encoded(task, task.test, folder, home)
    assert split.n_truncated == split.n_lost == 0
    grade = tasks.grader(task, task.test, split)(perfect(task, split))
    assert grade.score == 100
    assert grade.loss < 1e-3
    assert grade.ece < 1e-3
    wrong = tasks.grader(task, task.test, split)(-perfect(task, split))
    assert wrong.score < 60


@each_family
def test_a_grade_has_a_standard_error_where_it_is_asked_for_one(family, folder, home):
    """Of half-right logits: between that of rows all alike and that of a fair coin a row."""
    task = task_of(family)
    split = encoded(task, task.test, folder, home)
    logits = perfect(task, split)
    logits[::2] *= -1
    plain, found = (tasks.grader(task, task.test, split, with_error=error)(logits) for error in (False, True))
    assert plain.score_se is None
    assert (found.score, found.loss, found.ece) == (plain.score, plain.loss, plain.ece)
    assert found.score_se is not None
    assert 0 < found.score_se <= 100 * 0.5 / len(task.test) ** 0.5 * 1.2


@each_family
def test_truncation_is_counted_and_what_it_took_is_scored_as_missed(family, folder, home):
    task = task_of(family)
    whole, cut = (encoded(task, task.test, folder, home, length) for length in (LENGTH, 15))
    assert whole.n_truncated == 0 < cut.n_truncated
    grade = tasks.grader(task, task.test, cut)(perfect(task, cut))
    if family == "tokens":
        assert cut.n_lost == sum(len(words) for words in task.test.texts) - len(cut.labels_U) > 0
        assert grade.score < 100
    if family == "qa":  # windows overlap, and answers are short: none is lost
        assert len(cut) > len(whole) == len(task.test)
        assert cut.n_lost == 0
        assert grade.score == 100


def test_an_answer_longer_than_every_window_is_lost_and_counted(folder, home):
    words = " ".join(WORDS[20:45])
    rows = (*rows_of("qa", 40), Row(texts=("w5", words), spans=((0, len(words)),)))
    task = make_task(
        "qa", Rows(labels=("start", "end"), train=rows, test=rows), family="qa", metric="squad_f1", licence=""
    )
    split = encoded(task, task.test, folder, home, 16)
    assert split.n_lost == 1
    assert tasks.grader(task, task.test, split)(perfect(task, split)).score < 100


def test_a_word_is_read_at_its_first_piece_only(folder, home):
    """[CLS] w1 ##s w2 w30 ##s ##x [SEP]: three words, read at 1, 3 and 4."""
    row = Row(texts=("w1s", "w2", "w30sx"), tags=("B-A", "I-A", "O"))
    rows = Rows(labels=("B-A", "I-A", "O"), train=rows_of("tokens", 40), test=(row,))
    rows = replace(rows, labels=("B-A", "B-B", "I-A", "O"))
    task = make_task("t", rows, family="tokens", metric="span_f1", licence="")
    split = encoded(task, task.test, folder, home)
    assert split.lengths_N.tolist() == [8]
    assert split.reading.places_R.tolist() == [1, 3, 4]
    assert split.labels_U.tolist() == [0, 2, 3]


def test_an_answer_is_read_at_its_pieces_and_windows_overlap(folder, home):
    """Of [CLS] w5 [SEP] w40 w1s ... [SEP] the context and the first token are places; characters come back."""
    context = "w40 w1s w41 w42 w43 w44 w45 w46 w47 w48 w49 w50"
    row = Row(texts=("w5", context), spans=((4, 7),))
    rows = Rows(labels=("start", "end"), train=rows_of("qa", 40), test=(row,))
    task = make_task("q", rows, family="qa", metric="squad_f1", licence="")
    one = encoded(task, task.test, folder, home)
    assert one.reading.places_R.tolist() == [0, *range(3, 16)]
    assert one.labels_U.tolist() == [2, 3]
    assert one.reading.origin_R2[:4].tolist() == [[-1, -1], [0, 3], [4, 6], [6, 7]]
    several = encoded(task, task.test, folder, home, 13)  # nine tokens of context a window, three of them shared
    assert several.reading.rows_N.tolist() == [0, 0]
    assert len(set(several.ids_N.tolist())) == 2
    assert several.labels_U.tolist() == [2, 3, 0, 0]
    spans = np.split(several.reading.origin_R2, several.reading.offsets_N1[1:-1])
    assert [part[1:].min() for part in spans] == [0, context.index("w44")]


def test_no_answer_is_given_where_the_first_place_is_likelier_and_the_task_has_such_questions(folder, home):
    answered = rows_of("qa", 60)
    unanswered = tuple(replace(row, spans=()) for row in rows_of("qa", 60, seed=5))
    for train, expected in ((answered, 0.0), ((*answered, *unanswered), 100.0)):
        rows = Rows(labels=("start", "end"), train=train, test=unanswered[:10])
        task = make_task("q", rows, family="qa", metric="squad_f1", licence="")
        split = encoded(task, task.test, folder, home)
        assert tasks.grader(task, task.test, split)(perfect(task, split)).score == expected


def test_a_question_that_fills_the_window_is_refused_in_words(folder, home):
    row = Row(texts=(" ".join(WORDS[20:40]), "w1 w2"), spans=((0, 2),))
    rows = Rows(labels=("start", "end"), train=rows_of("qa", 40), test=(row,))
    task = make_task("q", rows, family="qa", metric="squad_f1", licence="")
    with pytest.raises(DataError, match=r"has 20 tokens, which leaves 0 of max_length = 16 for its context"):
        encoded(task, task.test, folder, home, 16)
