"""Where parameters take a limit, an optimizer is another one: torch.optim.SGD, a chain without its average."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from deeprelax.optim import SGD, EntropySGD, HamiltonJacobi, Heat, Relaxation
from deeprelax.optim.hyperparameters import scoped_gamma

from .problems import Batches, descend, network, same, weights


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("make", [SGD, HamiltonJacobi, Heat])
def test_limits_equal_torch_sgd_bit_for_bit(
    make: Callable[..., Relaxation], momentum: float, nesterov: bool, dtype: torch.dtype
) -> None:
    limit = {SGD: {}, HamiltonJacobi: {"inner_steps": 1}, Heat: {"sigma": 0.0, "samples": 1}}[make]
    nets = network(dtype), network(dtype)
    rule = {"lr": 0.05, "momentum": momentum, "nesterov": nesterov and momentum > 0, "weight_decay": 1e-2}
    ours, reference = make(nets[0].parameters(), **rule, **limit), torch.optim.SGD(nets[1].parameters(), **rule)
    closures = Batches(nets[0], ours), Batches(nets[1], reference)
    for _ in range(20):
        ours.step(closures[0])
        reference.step(closures[1])
    assert same(weights(nets[0]), weights(nets[1]))


def test_entropy_sgd_of_one_step_is_sgd_to_rounding() -> None:
    nets = network(), network()
    ours = EntropySGD(
        nets[0].parameters(), lr=1.0, gamma=math.inf, inner_steps=1, inner_lr=0.05, averaging=0.0,
        inner_momentum=0.0, temperature=0.0, weight_decay=1e-2,
    )  # fmt: skip
    reference = torch.optim.SGD(nets[1].parameters(), lr=0.05, weight_decay=1e-2)
    closures = Batches(nets[0], ours), Batches(nets[1], reference)
    for _ in range(20):
        ours.step(closures[0])
        reference.step(closures[1])
    for a, b in zip(weights(nets[0]), weights(nets[1]), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)


def test_proximal_hj_is_the_chain_of_entropy_sgd_at_temperature_and_averaging_zero() -> None:
    nets = network(torch.float32), network(torch.float32)
    common = {"lr": 0.5, "gamma": 2.0, "momentum": 0.5, "scoping": 0.1, "weight_decay": 1e-2}
    proximal = HamiltonJacobi(nets[0].parameters(), solver="proximal", averaging=0.5, **common)
    chain = EntropySGD(nets[1].parameters(), temperature=0.0, averaging=0.0, **common)
    closures = Batches(nets[0], proximal), Batches(nets[1], chain)
    for _ in range(5):
        proximal.step(closures[0])
        chain.step(closures[1])
        assert same(weights(nets[0]), weights(nets[1]))
    assert proximal.evaluations == chain.evaluations == 20
    assert proximal.memory() == chain.memory()


def test_a_chain_without_averaging_is_the_average_that_forgets_at_once_without_its_memory() -> None:
    """mu <- lerp(mu, y, 1) is y bit for bit."""
    mu, y = (torch.randn(1000, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert torch.equal(torch.lerp(mu * 1e6, y, 1.0), y)
    sizes = []
    for averaging in (0.0, 0.75):
        p = nn.Parameter(torch.ones(1000))
        optimizer = EntropySGD([p], averaging=averaging)
        descend(optimizer, lambda p=p: p.square().sum())
        sizes.append(optimizer.memory() // p.nbytes)
    assert sizes[1] - sizes[0] == 1


@pytest.mark.parametrize("solver", [None, "fixed_point", "proximal"])
def test_scoping_shrinks_gamma_and_the_smaller_gamma_is_used(solver: str | None) -> None:
    def make(p: nn.Parameter, **keywords: float) -> Relaxation:
        common = {"lr": 0.0, "momentum": 0.0, "inner_steps": 4, **keywords}
        return (
            EntropySGD([p], temperature=0.0, **common)
            if solver is None
            else HamiltonJacobi([p], solver=solver, **common)
        )

    p = nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64))
    scoped = make(p, gamma=0.6, scoping=0.25)
    for k in range(4):
        assert scoped_gamma(scoped.param_groups[0]) == pytest.approx(0.6 / 1.25**k)
        assert scoped.scalars()["gamma"] == scoped_gamma(scoped.param_groups[0])
        fixed = make(p, gamma=0.6 / 1.25**k)
        for optimizer in (scoped, fixed):
            descend(optimizer, lambda: p.pow(4).sum())
        assert scoped.direction_norm().item() == pytest.approx(fixed.direction_norm().item(), rel=1e-13)


@pytest.mark.parametrize("solver", [None, "fixed_point", "proximal"])
def test_scoping_may_go_on_for_ever(solver: str | None) -> None:
    p = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = EntropySGD([p]) if solver is None else HamiltonJacobi([p], solver=solver)
    optimizer.param_groups[0].update(scoping=1.0, outer_steps=5000)
    assert optimizer.scalars()["gamma"] == 0.0
    descend(optimizer, lambda: p.square().sum())
    assert torch.isfinite(p).all()
