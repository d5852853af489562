"""The objective: next batch, loss, gradient, count."""

from __future__ import annotations

import torch
from torch import nn

from deeprelax.training.objective import Autocast, Loss, Objective
from tests.images import CPU, classification, random_images


def test_the_objective_is_a_function_of_its_count() -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    task = classification(random_images(), 64, seed=3)
    loss = Loss(task, net, Autocast("float32", CPU))
    objective = Objective(loss, task)
    losses = [objective().item() for _ in range(4)]
    assert objective.evaluations == 4
    assert len(set(losses)) == 4
    again = Objective(loss, task)
    again.counts = 2, 2
    torch.rand(7)
    assert again().item() == losses[2]


def test_a_fixed_objective_is_one_function_and_counts_all_the_same() -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    task = classification(random_images(), 64, seed=3)
    loss = Loss(task, net, Autocast("float32", CPU))
    first = Objective(loss, task)().item()
    fixed = Objective(loss, task, fixed=True)
    values = []
    for _ in range(4):
        torch.rand(7)
        values.append(fixed().item())
    assert values == [first] * 4
    assert fixed.evaluations == 4


def test_again_is_the_same_function_and_counts_one_more_evaluation() -> None:
    """Images, augmentation, dropout alike; batch norm's statistics stay those of the first pass."""
    net = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    task = classification(random_images(), 64, seed=3, augment="flip_crop")
    loss = Loss(task, net, Autocast("float32", CPU))
    plain = Objective(loss, task)
    expected = [plain().item() for _ in range(3)]
    objective, found = Objective(loss, task), []
    for _ in range(3):
        found.append(objective().item())
        gradients, buffers = [[p.grad.clone() for p in net.parameters()]], [b.clone() for b in net.buffers()]
        torch.rand(7)
        assert objective.again().item() == found[-1]
        gradients.append([p.grad for p in net.parameters()])
        assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
        assert all(torch.equal(a, b) for a, b in zip(buffers, net.buffers(), strict=True))
    assert found == expected
    assert objective.counts == (6, 3)
    assert task.spent(2) == 4  # what schedules go by: gradients taken before the last batch was drawn
    resumed = Objective(loss, task)
    resumed.counts = 4, 2
    assert resumed().item() == expected[2]
