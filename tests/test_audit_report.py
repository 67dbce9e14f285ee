from __future__ import annotations

from dataclasses import replace

import pytest

from kdrec.audit_report import audit_text
from kdrec.recommend.scorecard import Difference, Effects, Estimate, Forecast, Scorecard
from kdrec.report import to_text

CARD = Scorecard(
    n_tasks=13,
    n_cells=39,
    n_trials=1234,
    regret={
        "suggested": Estimate(mean=0.212, se=0.05),
        "always default": Estimate(mean=0.451, se=0.11),
        "random": Estimate(mean=0.9, se=float("nan")),
    },
    over_default={
        "suggested": Difference(mean=0.239, se=0.08, lo90=0.1, hi90=0.38),
        "random": Difference(mean=-0.45, se=0.1, lo90=-0.6, hi90=-0.3),
    },
    effects=Effects(
        n=400,
        coverage80=Estimate(mean=0.823, se=0.02),
        coverage90=Estimate(mean=0.9, se=0.01),
        width80=1.31,
        width90=1.68,
    ),
    gains=(
        Forecast(
            trials=4,
            n=39,
            forecast=0.2,
            realised=0.15,
            bias=Estimate(mean=0.05, se=0.03),
            coverage80=Estimate(mean=0.81, se=0.04),
        ),
    ),
)


def flat(card: Scorecard, width: int = 100) -> str:
    text = to_text(audit_text(card), width=width)
    assert all(len(line) <= width for line in text.splitlines())
    return " ".join(text.split())


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_verdict_comes_first_in_plain_words_and_numbers_follow(width: int) -> None:
    text = flat(replace(CARD, regret={k: v for k, v in CARD.regret.items() if k != "random"}), width)
    assert text.startswith(
        "On this history suggestions lost 0.21 points to the best measured configuration; "
        "always taking the default lost 0.45."
    )
    assert "suggested 0.21 ± 0.05 +0.24 +0.10 to +0.38" in text
    assert "always default 0.45 ± 0.11" in text
    assert "80 % intervals held 82 % ± 2 (mean width 1.31 points)" in text
    assert "4 +0.20 +0.15 +0.05 ± 0.03 81 % ± 4" in text


def test_rows_stand_from_the_best_to_the_worst_and_an_unknown_error_is_left_out() -> None:
    text = flat(CARD)
    assert text.index("suggested 0.21") < text.index("always default 0.45") < text.index("random 0.90")
    assert "nan" not in text
    assert "random 0.90 -0.45" in text


def test_gains_left_out_are_said() -> None:
    assert "were not measured (--quick)" in flat(replace(CARD, gains=()))


@pytest.mark.parametrize(
    ("over", "said"),
    [
        (Difference(mean=0.2, se=0.1, lo90=0.05, hi90=0.4), "They beat the default by 0.20 points"),
        (Difference(mean=-0.2, se=0.1, lo90=-0.4, hi90=-0.1), "They were worse than the default by 0.20 points"),
        (Difference(mean=0.1, se=0.1, lo90=-0.1, hi90=0.3), "That they beat the default is not certain: +0.10 points"),
        (Difference(mean=0.0, se=0.0, lo90=0.0, hi90=0.0), "They never left the default"),
    ],
)
def test_the_difference_from_the_default_is_put_in_words(over: Difference, said: str) -> None:
    assert said in with_difference(over).verdict


def with_difference(over: Difference) -> Scorecard:
    return replace(CARD, over_default={**CARD.over_default, "suggested": over})


def test_a_history_too_small_says_so_and_counts() -> None:
    text = flat(Scorecard(n_tasks=1, n_cells=2, n_trials=12))
    assert text.startswith("This history cannot be audited: leaving one task out needs 3 tasks")
    assert "here is 1 such task." in text
    assert "12 trials; 2 pairs of 1 task" in text


def test_trials_that_come_with_kdrec_are_counted_apart() -> None:
    assert "12 trials (9 of them come with kdrec);" in flat(
        Scorecard(n_tasks=1, n_cells=2, n_trials=12, n_shipped_trials=9)
    )
