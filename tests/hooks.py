"""What tests do to a run from inside, through the objective's public hook: end it, spoil it, send it a signal."""

from __future__ import annotations

import math
from collections.abc import Callable, Container

import pytest
from torch import Tensor

from deeprelax.training.objective import Objective

Action = Callable[[Objective], object]


def before_each(patch: pytest.MonkeyPatch, action: Action) -> None:
    """Call `action` before every evaluation of every objective, as long as the patch holds."""
    patch.setattr(Objective, "before_each", [*Objective.before_each, action])


def before(patch: pytest.MonkeyPatch, evaluation: int, action: Action) -> None:
    """Call `action` before the evaluation of this number; the first one has number 0."""
    before_each(patch, lambda objective: action(objective) if objective.evaluations == evaluation else None)


def interrupt_at(patch: pytest.MonkeyPatch, evaluation: int) -> None:
    """Ctrl-C before this evaluation."""

    def interrupt(objective: Objective) -> None:
        raise KeyboardInterrupt

    before(patch, evaluation, interrupt)


def spoil(
    patch: pytest.MonkeyPatch,
    evaluations: Container[int] = range(10**9),
    *,
    seeds: Container[int] = range(10**9),
    layer: Callable[[Objective], object] | None = None,
) -> None:
    """NaN in the loss, or in the output of a layer, at these evaluations of these seeds."""
    placed: list[object] = []

    def nan(module: object, inputs: object, output: Tensor) -> Tensor:
        return output * math.nan

    def place(objective: Objective) -> None:
        while placed:
            placed.pop().remove()  # type: ignore[attr-defined]
        if objective.evaluations in evaluations and objective.seed in seeds:
            module = objective.loss if layer is None else layer(objective)
            placed.append(module.register_forward_hook(nan))  # type: ignore[attr-defined]

    before_each(patch, place)
