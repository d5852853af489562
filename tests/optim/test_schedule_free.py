"""Schedule-Free against the means of torch.optim.SGD's iterates, and against the rule as it was published."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deeprelax.optim import ScheduleFree

from .problems import Batches, descend, network, quadratic_loss, random_quadratic, same, weights

A, MINIMUM, X = random_quadratic()
RATES = [0.1, 0.2, 0.3, 0.3, 0.05, 0.3, 0.3]  # a warm-up, and one that falls in between


@pytest.mark.parametrize("rates", [[0.1] * 20, [0.02 * (t + 1) for t in range(12)]])
def test_without_b_x_is_the_mean_of_the_iterates_of_sgd_by_their_squared_rates(rates: list[float]) -> None:
    """x_T = sum lr_t^2 z_t / sum lr_t^2, at a constant rate (z_1 + ... + z_T)/T; z of torch.optim.SGD, on a net."""
    nets = network(), network()
    ours = ScheduleFree(nets[0].parameters(), momentum=0.0, weight_decay=1e-2)
    sgd = torch.optim.SGD(nets[1].parameters(), lr=1.0, weight_decay=1e-2)
    closures, total = (Batches(nets[0], ours), Batches(nets[1], sgd)), 0.0
    mean = [torch.zeros_like(p) for p in weights(nets[1])]
    for rate in rates:
        for optimizer, closure in zip((ours, sgd), closures, strict=True):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step(closure)
        total += rate**2
        torch._foreach_add_(mean, weights(nets[1]), alpha=rate**2)
        for x, sums in zip(weights(nets[0]), mean, strict=True):
            torch.testing.assert_close(x, sums / total, rtol=0, atol=1e-13)
    assert not same(weights(nets[0]), weights(nets[1]))


def published(rates: list[float], b: float, beta: float | None, decay: float) -> np.ndarray:
    """Algorithm 1 of the paper on the quadratic, with RMSprop's scaling and decay at y if there is a beta."""
    x, z, v, total = X.copy(), X.copy(), np.zeros_like(X), 0.0
    for t, rate in enumerate(rates, start=1):
        y = (1 - b) * z + b * x
        g = A @ (y - MINIMUM)
        if beta is not None:
            v = beta * v + (1 - beta) * g**2
            g = g / (np.sqrt(v / (1 - beta**t)) + 1e-8)
        z = z - rate * (g + decay * y)
        total += rate**2
        x = (1 - rate**2 / total) * x + rate**2 / total * z
    return x


@pytest.mark.parametrize(
    ("keywords", "b", "beta", "decay"),
    [
        ({"momentum": 0.9}, 0.9, None, 0.0),
        ({"momentum": 0.4, "weight_decay": 0.2}, 0.4, None, 0.2),
        ({"outer": "adamw", "betas": (0.9, 0.99)}, 0.9, 0.99, 0.0),
        ({"outer": "adamw", "betas": (0.7, 0.9), "decoupled_weight_decay": 0.3}, 0.7, 0.9, 0.3),
    ],
)
def test_it_is_the_published_rule(keywords: dict[str, Any], b: float, beta: float | None, decay: float) -> None:
    p = nn.Parameter(torch.from_numpy(X.copy()))
    optimizer, f = ScheduleFree([p], **keywords), quadratic_loss(A, MINIMUM)
    for rate in RATES:
        optimizer.param_groups[0]["lr"] = rate
        descend(optimizer, lambda: f(p))
    np.testing.assert_allclose(p.detach().numpy(), published(RATES, b, beta, decay), rtol=0, atol=1e-13)


def test_the_published_defaults() -> None:
    p = nn.Parameter(torch.ones(1))
    assert ScheduleFree([p]).defaults.items() >= {"lr": 1.0, "momentum": 0.9}.items()
    assert ScheduleFree([p], outer="adamw").defaults.items() >= {"lr": 2.5e-3, "betas": (0.9, 0.999)}.items()


def test_gradients_are_taken_at_y_and_between_steps_the_weights_are_x() -> None:
    """There is nothing to switch: with a closure the weights are x after each step, and y while it is called."""
    p, b = nn.Parameter(torch.tensor([2.0], dtype=torch.float64)), 0.6
    optimizer, seen = ScheduleFree([p], lr=0.1, momentum=b), list[float]()
    x = z = 2.0
    for t in range(1, 6):

        def loss() -> torch.Tensor:
            seen.append(p.item())
            return p.pow(4).sum()

        descend(optimizer, loss)
        y = b * x + (1 - b) * z
        z -= 0.1 * 4 * y**3
        x += (z - x) / t
        assert seen[-1] == pytest.approx(y, rel=1e-14)
        assert p.item() == pytest.approx(x, rel=1e-14)
        assert optimizer.at_x


def test_a_loop_without_closures_begins_once_where_the_state_is_not_new() -> None:
    net = network()
    optimizer = ScheduleFree(net.parameters(), lr=0.1)
    batches = Batches(net, optimizer)
    batches()
    optimizer.step()  # from x = z there is nothing to move
    assert not optimizer.at_x
    with optimizer.swapped_to_x():
        kept = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
    resumed = ScheduleFree(net.parameters(), lr=0.1)
    net.load_state_dict(kept[0])
    resumed.load_state_dict(kept[1])
    batches()
    with pytest.raises(ValueError, match=r"of ScheduleFree is taken away from x: call optimizer\.begin"):
        resumed.step()


def test_a_parameter_that_a_loss_does_not_always_reach_has_a_mean_of_its_own() -> None:
    """That of the steps that it took part in: it ends where an optimizer of its own would have it."""
    often, seldom, alone = (nn.Parameter(torch.tensor([v], dtype=torch.float64)) for v in (1.0, 2.0, 2.0))
    both, single = ScheduleFree([often, seldom], lr=0.2), ScheduleFree([alone], lr=0.2)
    for step in range(6):
        descend(both, lambda step=step: often.pow(4).sum() + (seldom.pow(4).sum() if step % 3 else 0.0))
        if step % 3:
            descend(single, lambda: alone.pow(4).sum())
    torch.testing.assert_close(seldom, alone, rtol=1e-14, atol=0)
    assert both.state[seldom]["weight_sum"].item() == pytest.approx(4 * 0.2**2)


@pytest.mark.parametrize(("dtype", "moves"), [(torch.bfloat16, False), (torch.float32, True)])
def test_weights_of_16_bits_stall(dtype: torch.dtype, moves: bool) -> None:
    """At rate 1/1000 on a slope of 1: c (z - x) is 1/2000 at every step, and numbers below 1 are 1/256 apart."""
    p = nn.Parameter(torch.ones(1, dtype=dtype))
    optimizer = ScheduleFree([p], lr=1e-3)
    for _ in range(50):
        descend(optimizer, p.sum)
    assert (p.item() < 1) is moves
