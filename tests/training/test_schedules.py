"""The learning rate as a function of the passes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deeprelax.optim import SGD
from deeprelax.training.schedules import make_schedule, set_lr


def test_schedules() -> None:
    step = make_schedule("step", [2.0, 4.0], 0.1, 5)
    assert [step(p) for p in (0, 1.99, 2, 3.9, 4)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    cosine = make_schedule("cosine", [], 0.1, 10)
    assert [cosine(p) for p in (0, 5, 10, 12)] == pytest.approx([1, 0.55, 0.1, 0.1])
    assert make_schedule("constant", [], 1.0, 10)(7) == 1


def test_set_lr_is_relative_to_the_initial_lr_of_each_group() -> None:
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = SGD([{"params": [a]}, {"params": [b], "lr": 0.4}], lr=0.2)
    for factor in (0.5, 0.1):
        set_lr(optimizer, factor)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.2 * factor, 0.4 * factor])
