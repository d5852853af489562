"""Which evaluation is the best, and when patience ends."""

from __future__ import annotations

import pytest

from deeprelax.tasks.metric import Metric
from deeprelax.training.best import Best
from deeprelax.training.cadence import Budget


def seen(values: list[float], metric: Metric, patience: float | None = None) -> tuple[Best, list[int]]:
    """After evaluations with these validation scores, one a pass of 10 gradients; and when the weights were kept."""
    kept: list[int] = []
    best = Best("score", metric, Budget(100, 10, 1, 1), kept.append, patience)
    for k, value in enumerate(values, 1):
        best.see({"test": {"score": -value}, "validation": {"score": value}}, 10 * k)
        if best.ended:
            break
    return best, kept


@pytest.mark.parametrize(
    ("metric", "at"), [(Metric(), 20), (Metric(smaller_is_better=False), 30)], ids=["smaller", "larger"]
)
def test_the_best_is_by_the_metrics_direction_and_of_equal_ones_the_first(metric: Metric, at: int) -> None:
    best, kept = seen([3.0, 1.0, 5.0, 1.0, 5.0, 2.0], metric)
    assert (best.found["evaluations"], best.found["passes"]) == (at, at / 10)
    assert kept == ([10, 20] if at == 20 else [10, 30])
    assert best.found["scores"]["test"]["score"] == (-1.0 if at == 20 else -5.0)


def test_patience_counts_from_the_best() -> None:
    values = [5.0, 4.0, 4.5, 3.0, 3.0, 3.5, 3.1, 0.0]
    assert [seen(values, Metric(), patience)[0].ended for patience in (None, 4.0, 3.0)] == [False, False, True]
    assert seen(values, Metric(), 4.0)[0].found["evaluations"] == 80
    assert seen(values, Metric(), 3.0)[0].found["evaluations"] == 40


def test_less_than_an_outer_step_under_it_will_do() -> None:
    """Evaluations at passes 1.12, 2.08, 3.04: patience 1 ends at the second one without an improvement of 0.96."""
    best = Best("error", Metric(), Budget(6, 200, 32, 1), patience=1.0)
    for evaluations, error in ((7, 5.0), (13, 5.0)):
        best.see({"validation": {"error": error}}, evaluations)
    assert best.ended
