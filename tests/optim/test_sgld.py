"""Langevin dynamics against the variances that it must have, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from deeprelax.optim import SGD, SGLD

from .problems import Batches, descend, network, same, weights

N = 100_000  # independent coordinates


def stationary(lr: float, curvature: float, temperature: float, steps: int, minimum: float = 0.0) -> torch.Tensor:
    """Chains on curvature (x - minimum)^2/2 from x = 0, one a coordinate."""
    p = nn.Parameter(torch.zeros(N, dtype=torch.float64))
    optimizer = SGLD([p], lr=lr, temperature=temperature, seed=2)
    for _ in range(steps):
        descend(optimizer, lambda: 0.5 * curvature * (p - minimum).square().sum())
    return p.detach()


@pytest.mark.parametrize(("lr", "curvature", "temperature"), [(0.1, 1.5, 0.3), (0.5, 2.0, 1e-4), (1.2, 1.0, 2.0)])
def test_stationary_variance(lr: float, curvature: float, temperature: float) -> None:
    """(T/lam)/(1 - lr lam/2), to five standard deviations of an estimate of it: wrong by chance once in 1.7 million."""
    steps = math.ceil(math.log(1e-9) / math.log(max(abs(1 - lr * curvature), 1e-3)))
    found = stationary(lr, curvature, temperature, steps).var().item()
    assert abs(found / ((temperature / curvature) / (1 - lr * curvature / 2)) - 1) < 5 * math.sqrt(2 / N)


def test_at_one_over_the_examples_it_is_the_posterior() -> None:
    """50 values of variance 1 and mean 3 under a flat prior: the posterior of their mean is N(3, 1/50).

    The mean loss is (x - 3)^2/2 and a constant. To five standard deviations, and lr/2 of the variance, which a smaller
    step would make smaller: each of both wrong by chance once in 1.7 million.
    """
    x, lr = stationary(0.05, 1.0, 1 / 50, 400, minimum=3.0), 0.05
    assert abs(x.mean().item() - 3) < 5 * math.sqrt(1 / 50 / (1 - lr / 2) / N)
    assert abs(x.var().item() * 50 - 1) < 5 * math.sqrt(2 / N) + lr / 2 / (1 - lr / 2)


def test_at_temperature_0_it_is_sgd_and_at_lr_0_nothing_moves() -> None:
    nets = network(), network()
    cold, sgd = SGLD(nets[0].parameters(), temperature=0.0), SGD(nets[1].parameters(), momentum=0.0)
    closures = Batches(nets[0], cold), Batches(nets[1], sgd)
    for _ in range(4):
        cold.step(closures[0])
        sgd.step(closures[1])
    assert same(weights(nets[0]), weights(nets[1]))
    hot = SGLD(nets[0].parameters(), lr=0.0, temperature=1.0)
    hot.step(Batches(nets[0], hot))
    assert same(weights(nets[0]), weights(nets[1]))
    assert hot.nonfinite_steps() == (0, 0)


def test_groups_have_noise_of_their_own_rates() -> None:
    """The displacement by noise has the variance 2 lr T. Five standard deviations: by chance once in 1.7 million."""
    a, b = (nn.Parameter(torch.zeros(N, dtype=torch.float64)) for _ in range(2))
    optimizer = SGLD([{"params": [a]}, {"params": [b], "lr": 0.4, "temperature": 0.5}], lr=0.1, temperature=0.2)
    descend(optimizer, lambda: 0.0 * (a.sum() + b.sum()))
    for p, variance in ((a, 2 * 0.1 * 0.2), (b, 2 * 0.4 * 0.5)):
        assert abs(p.var().item() / variance - 1) < 5 * math.sqrt(2 / N)


def test_momentum_is_refused_by_any_door() -> None:
    p, refused = nn.Parameter(torch.ones(2)), "momentum must be 0: with momentum the noise samples another law, not 0.5"
    with pytest.raises(ValueError, match=refused):
        SGLD([{"params": [p], "momentum": 0.5}])
    optimizer = SGLD([p])
    optimizer.param_groups[0]["momentum"] = 0.5
    with pytest.raises(ValueError, match=refused):
        descend(optimizer, p.sum)
