"""Where parameters take a limit, an optimizer is another one: torch.optim.SGD, a chain without its average."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from deeprelax.optim import SGD, AdamW, EntropySGD, HamiltonJacobi, Heat, Relaxation
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adamw_and_heat_without_noise_equal_torch_adamw_bit_for_bit(dtype: torch.dtype) -> None:
    rule = {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6}
    made: list[Callable[..., Relaxation]] = [
        lambda p: AdamW(p, **rule, weight_decay=0.1),
        lambda p: Heat(p, sigma=0.0, outer="adamw", decoupled_weight_decay=0.1, **rule),
        lambda p: HamiltonJacobi(p, inner_steps=1, outer="adamw", decoupled_weight_decay=0.1, **rule),
    ]
    for make in made:
        nets = network(dtype), network(dtype)
        ours, reference = make(nets[0].parameters()), torch.optim.AdamW(nets[1].parameters(), **rule, weight_decay=0.1)
        closures = Batches(nets[0], ours), Batches(nets[1], reference)
        for _ in range(20):
            ours.step(closures[0])
            reference.step(closures[1])
        assert same(weights(nets[0]), weights(nets[1]))
        states = [[o.state[p] for p in net.parameters()] for o, net in zip((ours, reference), nets, strict=True)]
        assert all(
            set(a) == set(b) and all(torch.equal(a[key], b[key]) for key in b) for a, b in zip(*states, strict=True)
        )


def test_adamw_takes_the_groups_of_torch() -> None:
    """Weights with decay, the rest without: the usual two groups."""
    nets = network(), network()
    optimizers = []
    for make, net in ((AdamW, nets[0]), (torch.optim.AdamW, nets[1])):
        params = list(net.parameters())
        groups = [{"params": [p for p in params if p.ndim > 1]}, {"params": [p for p in params if p.ndim < 2]}]
        optimizers.append(make([groups[0], {**groups[1], "weight_decay": 0.0}], lr=0.01, weight_decay=0.3))
    closures = [Batches(net, optimizer) for net, optimizer in zip(nets, optimizers, strict=True)]
    for _ in range(5):
        for optimizer, closure in zip(optimizers, closures, strict=True):
            optimizer.step(closure)
    assert same(weights(nets[0]), weights(nets[1]))


def stepped(optimizer: Relaxation, p: nn.Parameter, slope: float, steps: int = 1) -> float:
    """p after steps on the loss slope * p, whose gradient is constant."""
    for _ in range(steps):
        descend(optimizer, lambda: (slope * p).sum())
    return p.item()


def test_decoupled_decay_acts_in_the_inner_rule_if_that_is_adamw_else_in_the_outer() -> None:
    """With no gradient: x (1 - lr c) by the outer rule, x (1 - lr (1 - (1 - h c)^L)) by the inner."""
    lr, h, c, steps = 0.5, 0.1, 0.3, 4
    keywords = {"lr": lr, "inner_lr": h, "inner_steps": steps, "averaging": 0.0, "gamma": math.inf, "temperature": 0.0}
    inner = {"inner": "adamw", "inner_eps": 1e-8}
    for rule, factor in [({}, 1 - lr * c), (inner, 1 - lr * (1 - (1 - h * c) ** steps))]:
        p = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
        optimizer = EntropySGD([p], decoupled_weight_decay=c, **keywords, **rule)
        assert stepped(optimizer, p, 0.0) == pytest.approx(2.0 * factor, rel=1e-14)


@pytest.mark.parametrize("inner_state", ["reset", "keep"])
def test_inner_adamw_on_a_constant_gradient(inner_state: str) -> None:
    """y_L = q x - sign(g) (1 - q)/c with q = (1 - h c)^L, whatever the betas, at eps 0 and without a spring."""
    h, c, steps = 0.1, 0.3, 7
    q = (1 - h * c) ** steps
    for betas in [(0.9, 0.999), (0.3, 0.5)]:
        p = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
        optimizer = EntropySGD(
            [p], lr=1.0, gamma=math.inf, inner_steps=steps, inner_lr=h, averaging=0.0, inner="adamw",
            inner_betas=betas, inner_eps=0.0, inner_state=inner_state, decoupled_weight_decay=c,
        )  # fmt: skip
        x = 2.0
        for _ in range(3):
            x = q * x - (1 - q) / c
            assert stepped(optimizer, p, 0.7) == pytest.approx(x, rel=1e-14)


def test_outer_adamw_does_not_depend_on_the_scale_of_d() -> None:
    """At eps 0 the steps for a loss and for a thousand times that loss are the same."""
    ends = []
    for scale in (1.0, 1024.0):  # a power of 2, so that nothing is rounded otherwise
        p = nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64))
        optimizer = HamiltonJacobi([p], gamma=0.1 / scale, outer="adamw", eps=0.0)
        for _ in range(5):
            descend(optimizer, lambda p=p, scale=scale: scale * p.pow(4).sum())
        ends.append(p.detach().clone())
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-13, atol=0)


def test_the_spring_within_the_moments_keeps_the_proximal_point() -> None:
    """y ends at argmin f(y) + |x - y|^2/(2 gamma) under AdamW's preconditioner, too, for the moments see the spring."""
    a, gamma = torch.tensor([3.0, 0.2], dtype=torch.float64), 2.0
    x = torch.tensor([1.0, -2.0], dtype=torch.float64)
    p = nn.Parameter(x.clone())
    optimizer = HamiltonJacobi(
        [p], lr=1.0, gamma=gamma, solver="proximal", inner_steps=3000, inner="adamw", inner_lr=0.05,
        inner_betas=(0.5, 0.9), inner_eps=0.1,
    )  # fmt: skip
    descend(optimizer, lambda: 0.5 * (a * p.square()).sum())
    torch.testing.assert_close(p.detach(), x / (1 + gamma * a), rtol=0, atol=1e-12)


def test_kept_momentum_makes_a_chain_without_spring_and_average_one_run_of_sgd() -> None:
    """With lr 1, two outer steps of 3 are 6 steps of SGD with that momentum; reset, they are not."""
    ends = {}
    for inner_state in ("keep", "reset"):
        nets = network(), network()
        ours = EntropySGD(
            nets[0].parameters(), lr=1.0, gamma=math.inf, inner_steps=3, inner_lr=0.05, averaging=0.0,
            temperature=0.0, inner_state=inner_state,
        )  # fmt: skip
        sgd = torch.optim.SGD(nets[1].parameters(), lr=0.05, momentum=0.9, nesterov=True)
        closures = Batches(nets[0], ours), Batches(nets[1], sgd)
        for _ in range(2):
            ours.step(closures[0])
        for _ in range(6):
            sgd.step(closures[1])
        pairs = zip(weights(nets[0]), weights(nets[1]), strict=True)
        ends[inner_state] = max((a - b).abs().max().item() for a, b in pairs)
    assert ends["keep"] < 1e-14
    assert ends["reset"] > 1e-3
