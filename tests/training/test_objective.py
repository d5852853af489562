"""The objective: next batch, loss, gradient, count."""

from __future__ import annotations

import torch
from torch import nn

from deeprelax.data.batches import Batches, Images
from deeprelax.data.images import Split
from deeprelax.data.normalize import fit
from deeprelax.training.objective import Objective

CPU = torch.device("cpu")


def images(n: int = 2345, channels: int = 1) -> Images:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, channels, 4, 4), dtype=torch.uint8, generator=generator)
    return Images(Split(pixels, torch.randint(3, (n,), generator=generator)), fit("mean_std", pixels), CPU)


def network() -> nn.Module:
    return nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))


def test_the_objective_is_a_function_of_its_count() -> None:
    net = network()
    objective = Objective(net, Batches(images(), 64, 3), 3, "float32")
    losses = [objective().item() for _ in range(4)]
    assert objective.evaluations == 4
    assert len(set(losses)) == 4
    again = Objective(net, Batches(images(), 64, 3), 3, "float32")
    again.evaluations = 2
    torch.rand(7)
    assert again().item() == losses[2]
