"""What a learning-rate range test suggests, on curves whose lowest point is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deeprelax.reporting.rates import Curve, has_diverged, window

RATES = list(np.geomspace(1e-6, 10, 100))


def test_the_window_is_odd_and_a_twentieth() -> None:
    assert [window(steps) for steps in (10, 30, 60, 100, 119, 1000)] == [3, 3, 3, 5, 5, 51]


def test_the_mean_around_each_step_and_fewer_at_the_ends() -> None:
    curve = Curve([1, 2, 3, 4], [0.0, 3.0, 6.0, 30.0], 3, None)
    assert curve.smoothed == pytest.approx([1.5, 3, 13, 18])
    assert Curve([1, 2], [1.0, 3.0], 5, None).smoothed == pytest.approx([2, 2])


@pytest.mark.parametrize(
    ("losses", "diverged"),
    [
        ([2.0, 2, 2, 2], False),
        ([2.0, 2, 2], False),  # not more than a window
        ([2.0, 2, 2, 9], True),
        ([2.0, 2, 2, 1, 1, 1, 3, 3, 3], False),
        ([2.0, 2, 2, 1, 1, 1, 5, 5, 5], True),
        ([-9.0, -9, -9, -8, -8, -8], False),  # a loss may be negative
        ([-9.0, -9, -9, -20, -20, -20, 3, 3, 3], True),
        ([1.0, 1, 1, 1e-8, 1e-8, 1e-8, 1e-3, 1e-3, 1e-3], False),  # far above its minimum, not above its start
    ],
)
def test_when_a_loss_has_diverged(losses: list[float], diverged: bool) -> None:
    assert has_diverged(losses, 3) is diverged


def bowl(rate: float) -> float:
    """A loss of 2 that falls from 1e-3 on, is lowest at 0.1 and explodes behind it."""
    return 2 - 1.5 * math.exp(-(math.log10(rate / 0.1) ** 2)) + rate**3


def test_a_tenth_of_the_rate_at_the_minimum() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 100)
    curve = Curve(RATES, [bowl(rate) + n for rate, n in zip(RATES, noise, strict=True)], 5, 3.0)
    assert curve.problem == ""
    assert curve.suggestion is not None
    assert 0.005 < curve.suggestion < 0.02
    assert curve.summary().endswith(", diverges at 3")


@pytest.mark.parametrize(
    ("losses", "diverged", "message"),
    [
        ([1 + k**2 for k in range(100)], None, "the loss rises from 1e-06 on: lower --from"),
        ([1.0, 2.0], 1e-5, "the loss rises from 1e-06 on: lower --from"),
        ([10 - rate for rate in RATES], None, "the loss still falls at 10: raise --to"),
        (list(np.random.default_rng(1).normal(2, 0.1, 100)), None, "no rate from 1e-06 to 10 lowers the loss by more "
         "than its batches differ: raise --to, --steps or batch_size"),
    ],
)  # fmt: skip
def test_why_there_is_no_suggestion(losses: list[float], diverged: float | None, message: str) -> None:
    curve = Curve(RATES[: len(losses)], losses, 5, diverged)
    assert (curve.problem, curve.suggestion) == (message, None)
