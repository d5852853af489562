"""Lookahead, SNOO and DiLoCo: nested optimizers of torch, and their closed forms, in double precision."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deeprelax.optim import SNOO, DiLoCo, EntropySGD, Lookahead

from .problems import (
    Batches,
    descend,
    direction,
    matrix_function,
    network,
    quadratic_loss,
    random_quadratic,
    same,
    weights,
)

ALL = pytest.mark.parametrize("make", [Lookahead, SNOO, DiLoCo])


def nested(net: nn.Module, rounds: int, values: dict[str, Any]) -> None:
    """An optimizer of torch for y within one for x, whose gradient is x - y."""
    x = [p.detach().clone().requires_grad_() for p in net.parameters()]
    outer = torch.optim.SGD(x, values["lr"], values["momentum"], nesterov=values["momentum"] > 0)
    batches, inner = Batches(net, outer), None
    for _ in range(rounds):
        if inner is None or values["inner_state"] == "reset":
            if values["inner"] == "adamw":
                inner = torch.optim.AdamW(net.parameters(), values["inner_lr"], weight_decay=0.0)
            else:
                inner = torch.optim.SGD(net.parameters(), values["inner_lr"], values["inner_momentum"], nesterov=True)
        for _ in range(values["inner_steps"]):
            net.zero_grad()
            batches()
            inner.step()
        for start, y in zip(x, net.parameters(), strict=True):
            start.grad = start.detach() - y.detach()
        outer.step()
        with torch.no_grad():
            for start, y in zip(x, net.parameters(), strict=True):
                y.copy_(start)


@pytest.mark.parametrize(
    ("inner", "inner_state"), [(None, None), *itertools.product(("momentum", "adamw"), ("reset", "keep"))]
)
@ALL
def test_it_is_two_nested_optimizers_of_torch(
    make: type[Lookahead], inner: str | None, inner_state: str | None
) -> None:
    """As it comes, and with every inner rule and state: weights of 5 outer steps to 1e-12."""
    given = {} if inner is None else {"inner": inner, "inner_state": inner_state}
    nets = network(), network()
    optimizer = make(nets[0].parameters(), inner_steps=4, **given)
    batches = Batches(nets[0], optimizer)
    for _ in range(5):
        optimizer.step(batches)
    nested(nets[1], 5, optimizer.defaults)
    for ours, theirs in zip(weights(nets[0]), weights(nets[1]), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@ALL
def test_published_values_are_the_defaults(make: type[Lookahead]) -> None:
    published = {
        Lookahead: (0.8, 0.0, 5, "momentum", "reset"),
        SNOO: (0.68, 0.37, 28, "momentum", "keep"),
        DiLoCo: (0.7, 0.9, 500, "adamw", "keep"),
    }
    values = make(network().parameters()).defaults
    assert tuple(values[key] for key in ("lr", "momentum", "inner_steps", "inner", "inner_state")) == published[make]


@ALL
def test_it_is_entropy_sgd_without_spring_average_and_noise(make: type[Lookahead]) -> None:
    nets = network(), network()
    optimizer = make(nets[0].parameters(), inner_steps=4)
    shared = set(optimizer.defaults) & set(EntropySGD(nets[1].parameters()).defaults) - {"outer_steps"}
    values = {key: optimizer.defaults[key] for key in shared}
    without = {"gamma": float("inf"), "averaging": 0.0, "temperature": 0.0}
    relaxed = EntropySGD(nets[1].parameters(), **values, **without)
    batches = [Batches(net, each) for net, each in zip(nets, (optimizer, relaxed), strict=True)]
    for _ in range(4):
        optimizer.step(batches[0])
        relaxed.step(batches[1])
    assert same(weights(nets[0]), weights(nets[1]))


@ALL
def test_the_direction_on_a_quadratic(make: type[Lookahead]) -> None:
    """d = (1 - r^L)(x - x*), r = 1 - h lambda, without inner momentum."""
    a, minimum, x = random_quadratic()
    found = direction(
        make, torch.from_numpy(x), quadratic_loss(a, minimum), inner_steps=7, inner_lr=0.2, inner_momentum=0.0,
        inner="momentum",
    )  # fmt: skip
    expected = matrix_function(a, lambda curvature: 1 - (1 - 0.2 * curvature) ** 7) @ (x - minimum)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.37, 0.9])
@pytest.mark.parametrize(("inner_lr", "steps"), [(0.9, 5), (0.05, 10)])
def test_it_is_stable_up_to_the_bound_and_no_further(momentum: float, inner_lr: float, steps: int) -> None:
    """lr (1 - r^L) < 2 (1 + m)/(1 + 2 m) at curvature 1: five percent below x shrinks, five above it grows."""
    gain = 1 - (1 - inner_lr) ** steps
    bound = 2 * (1 + momentum) / (1 + 2 * momentum) / gain
    for share, grows in ((0.95, False), (1.05, True)):
        p = nn.Parameter(torch.ones(1, dtype=torch.float64))
        optimizer = SNOO(
            [p], lr=share * bound, momentum=momentum, inner_steps=steps, inner_lr=inner_lr, inner_momentum=0.0
        )
        sizes = []
        for _ in range(150):
            descend(optimizer, lambda p=p: p.square().sum() / 2)
            sizes.append(abs(p.item()))
        assert (max(sizes[-20:]) > 3 * max(sizes[50:70])) == grows
        assert (max(sizes[-20:]) < max(sizes[50:70]) / 3) != grows


def test_the_published_outer_rate_is_stable_at_every_curvature() -> None:
    """0.7 with 0.9: the bound is 1.357 at the least, for a gain of 1."""
    curvatures = torch.linspace(0.02, 1, 30, dtype=torch.float64)
    p = nn.Parameter(torch.ones(30, dtype=torch.float64))
    optimizer = DiLoCo([p], inner="momentum", inner_lr=1.0, inner_steps=10, inner_momentum=0.0)
    for _ in range(600):
        descend(optimizer, lambda: (curvatures * p.square()).sum() / 2)
    assert p.abs().max() < 1e-9


def test_workers_of_other_data_do_not_meet_in_the_minimum_of_their_mean() -> None:
    """Of lam_w (x - c_w)^2/2: x ends in sum G_w c_w/sum G_w, G = 1 - r^L, not in sum lam_w c_w/sum lam_w."""
    lam, centre, steps, h = torch.tensor([0.05, 1.5]), torch.tensor([3.0, 1.0]), 17, 0.1
    places = [nn.Parameter(torch.zeros(1, dtype=torch.float64)) for _ in lam]
    workers = [DiLoCo([p], inner="momentum", inner_lr=h, inner_steps=steps, inner_momentum=0.0) for p in places]

    def work(w: int) -> None:
        descend(workers[w], lambda: (lam[w].double() / 2 * (places[w] - centre[w]).square()).sum())

    def average(mine: list[torch.Tensor]) -> None:
        """Worker 1 takes its step where worker 0 has its d and waits."""

        def both(others: list[torch.Tensor]) -> None:
            for a, b in zip(mine, others, strict=True):
                a.add_(b).div_(2)
                b.copy_(a)

        workers[1].reduce_direction = both
        work(1)

    workers[0].reduce_direction = average
    for _ in range(600):
        work(0)
    gain = 1 - (1 - h * lam.double()) ** steps
    assert torch.equal(*places)
    assert places[0].item() == pytest.approx((gain * centre).sum().item() / gain.sum().item(), abs=1e-12)
    assert abs(places[0].item() - ((lam * centre).sum() / lam.sum()).item()) > 0.05
