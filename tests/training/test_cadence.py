"""Budgets, and when something is due."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from deeprelax.errors import UserError
from deeprelax.records import checkpoint
from deeprelax.training.cadence import Budget
from tests.hooks import before_each
from tests.quick import train

Compose = Callable[..., DictConfig]


@pytest.mark.parametrize(("cost", "expected"), [(0.0, [6, 12, 18, 24, 30, 36, 37]), (0.105, [6, 17, 28, 37])])
def test_checkpoints_by_the_clock_take_one_percent_at_most(
    cost: float, expected: list[int], compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    clock = [0.0]
    save = checkpoint.save

    def save_slowly(directory: Path, state: dict[str, Any]) -> None:
        saved.append(state["evaluations"])
        clock[0] += cost
        save(directory, state)

    monkeypatch.setattr(checkpoint, "save", save_slowly)
    before_each(monkeypatch, lambda objective: clock.append(clock.pop() + 1.0))  # an evaluation takes a second
    monkeypatch.setattr("deeprelax.training.cadence.time.monotonic", lambda: clock[0])
    train(compose, tmp_path, "optimizer=sgd", "train.evaluate_every=100", "train.checkpoint_seconds=5.5")
    assert saved == expected


def test_budget_is_the_same_for_every_optimizer_to_within_a_step() -> None:
    assert Budget(5, 60_000, 128, 1).evaluations == 2343
    assert Budget(5, 60_000, 128, 20).outer_steps == 117
    assert Budget(0.001, 1000, 128, 20).outer_steps == 1
    assert Budget(3, 100, 50, 1).passes(6) == 3.0
    assert [Budget(epochs, 100, 1, 1).evaluations for epochs in (0.29, 0.57, 1.1)] == [29, 57, 110]


def test_a_budget_of_steps_that_differ_in_length_is_spent_to_the_last_that_fits() -> None:
    budget = Budget(10, 100, 10, 26, least=2)
    assert (budget.evaluations, budget.taken) == (100, 100)
    assert [n for n in range(95, 102) if budget.spent(n, 0)] == [99, 100, 101]
    assert not budget.spent(0, 1000)
    alike = Budget(10, 100, 10, 26)
    assert alike.taken == 78
    assert [n for n in range(5) if alike.spent(0, n)] == [3, 4]
    with pytest.raises(UserError, match=r"epochs=0\.1 allows 1 gradient evaluation, and a step of this"):
        Budget(0.1, 100, 10, 26, least=2)


def test_crosses_fires_once_for_each_multiple() -> None:
    budget = Budget(10, 1437, 128, 7)
    tenth = Budget(50, 1000, 100, 1)
    assert [n for n in range(1, 21) if tenth.crosses(0.3, n, n - 1)] == [3, 6, 9, 12, 15, 18]
    fired = [n for n in range(1, 17) if budget.crosses(2, 7 * n, 7 * n - 7)]
    assert [math.floor(budget.passes(7 * n) / 2) for n in fired] == [1, 2, 3, 4]
    assert not any(budget.crosses(None, n, n - 1) for n in range(20))


def test_crosses_goes_by_the_evaluations_that_a_step_took() -> None:
    budget = Budget(10, 100, 10, 26)  # steps of at most 26; ten evaluations are a pass
    ends = [0, 4, 9, 11, 12, 30, 31, 40]
    fired = [now for before, now in itertools.pairwise(ends) if budget.crosses(1, now, before)]
    assert fired == [11, 30, 40]  # 31 - 26 would have it that 31 and 12 cross a multiple, too
