"""Methods with replicas: exact answers on quadratics, what becomes of replicas, bugs of public code that ours lack."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deeprelax.optim import SGD, ElasticSGD, EntropySGD, Parle, ReplicatedSGD
from deeprelax.optim.replicas import Replicated

from .problems import Batches, identical, network, same, weights

LAMBDAS = torch.tensor([0.05, 0.4, 1.0, 3.0], dtype=torch.float64)
TOLERANCE = 1e-13  # of some ten roundings at numbers of size 1
METHODS = pytest.mark.parametrize("make", [Parle, ElasticSGD, ReplicatedSGD])
PLAIN = {"momentum": 0.0, "weight_decay": 0.0}


class Bowl:
    """f = 1/2 sum lam x^2, with f(x) - pull . x for the gradients of a step that is to drive replicas apart."""

    def __init__(self, make: Callable[..., Replicated], **keywords: Any) -> None:
        self.x = nn.Parameter(torch.tensor([1.0, -0.7, 0.4, 0.9], dtype=torch.float64))
        self.optimizer = make([self.x], **{**PLAIN, **keywords})
        self.pulls: list[Tensor] = []

    def closure(self) -> Tensor:
        self.optimizer.zero_grad()
        loss = 0.5 * (LAMBDAS * self.x.square()).sum()
        if self.pulls:
            loss = loss - self.pulls.pop(0) @ self.x
        loss.backward()
        return loss

    def apart(self) -> None:
        """A step whose gradients differ between replicas."""
        generator = torch.Generator().manual_seed(1)
        shape = (self.optimizer.evaluations, len(LAMBDAS))
        self.pulls = list(torch.randn(shape, generator=generator, dtype=torch.float64))
        self.optimizer.step(self.closure)
        assert (self.replicas().std(0) > 1e-3).all()

    def replicas(self) -> Tensor:
        """(n, 4)."""
        return torch.stack([self.optimizer.state[self.x][f"replica_{a}"] for a in range(self.optimizer.replicas)])

    def stepped(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mean and deviations of the replicas before a step, and after it; the parameters are the mean."""
        found = []
        for _ in range(2):
            mean = self.replicas().mean(0)
            torch.testing.assert_close(self.x.detach(), mean, rtol=0, atol=TOLERANCE)
            found += [mean, self.replicas() - mean]
            if len(found) == 2:
                self.optimizer.step(self.closure)
        return found[0], found[1], found[2], found[3]


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=TOLERANCE)


def chain_bias(steps: int, h: float, a: float, spring: float) -> Tensor:
    """q of the average of a chain on each curvature, whose mean is prox + q (x - prox)."""
    r = 1 - h * (LAMBDAS + spring)
    return a**steps + (1 - a) * r * (a**steps - r**steps) / (a - r)


@pytest.mark.parametrize("scoping", [0.0, 0.25])
def test_parle_on_a_quadratic_contracts_mean_and_deviations_as_computed(scoping: float) -> None:
    """Mean 1 - lr G, deviations 1 - lr G - lr/rho, G = (1 - q) gamma lam/(1 + gamma lam) the chain's gain."""
    lr, steps, h, a = 0.3, 6, 0.17, 0.75
    values = {"lr": lr, "inner_steps": steps, "inner_lr": h, "averaging": a, "inner_momentum": 0.0}
    bowl = Bowl(Parle, **values, gamma=5.0, rho=2.0, gamma_min=3.5, rho_min=0.1, scoping=scoping)
    bowl.apart()
    for k in (1, 2):
        gamma, rho = max(5.0 / (1 + scoping) ** k, 3.5), 2.0 / (1 + scoping) ** k
        gain = (1 - chain_bias(steps, h, a, 1 / gamma)) * gamma * LAMBDAS / (1 + gamma * LAMBDAS)
        mean, deviations, mean_after, deviations_after = bowl.stepped()
        close(mean_after, (1 - lr * gain) * mean)
        close(deviations_after, (1 - lr * gain - lr / rho) * deviations)


def test_elastic_sgd_on_a_quadratic_is_a_matrix_of_mean_and_centre() -> None:
    """[[1 - lr lam - a, a], [n a, 1 - n a]] of (mean, centre); deviations 1 - lr lam - a."""
    lr, rate = 0.3, 0.6
    bowl = Bowl(ElasticSGD, lr=lr, moving_rate=rate, replicas=4)
    bowl.apart()
    for _ in range(3):
        centre = bowl.optimizer.state[bowl.x]["centre"].clone()
        mean, deviations, mean_after, deviations_after = bowl.stepped()
        close(mean_after, (1 - lr * LAMBDAS - rate / 4) * mean + rate / 4 * centre)
        close(bowl.optimizer.state[bowl.x]["centre"], rate * mean + (1 - rate) * centre)
        close(deviations_after, (1 - lr * LAMBDAS - rate / 4) * deviations)


def test_replicated_sgd_on_a_quadratic_contracts_as_computed_and_its_decay_is_that_of_sgd() -> None:
    """Mean 1 - lr (lam + c), deviations 1 - lr (lam + c + 2 g): the decay c is not multiplied by n."""
    lr, decay, g, scoping = 0.3, 0.2, 0.15, 0.5
    bowl = Bowl(ReplicatedSGD, lr=lr, weight_decay=decay, coupling=g, scoping=scoping)
    bowl.apart()
    for k in (1, 2):
        mean, deviations, mean_after, deviations_after = bowl.stepped()
        close(mean_after, (1 - lr * (LAMBDAS + decay)) * mean)
        close(deviations_after, (1 - lr * (LAMBDAS + decay + 2 * g * (1 + scoping) ** k)) * deviations)


def test_the_pull_of_replicated_sgd_is_the_gradient_of_its_loss() -> None:
    """g sum_a |x_a - mean|^2, of which each x_a is a part of the mean, too."""
    bowl = Bowl(ReplicatedSGD, lr=1.0, coupling=0.3, scoping=0.0)
    bowl.apart()
    copies = bowl.replicas().clone().requires_grad_()
    loss = 0.5 * (LAMBDAS * copies.square()).sum() + 0.3 * (copies - copies.mean(0)).square().sum()
    loss.backward()
    before = bowl.replicas().clone()
    bowl.optimizer.step(bowl.closure)
    assert copies.grad is not None
    close(bowl.replicas(), before - copies.grad)


# Three mistakes of the authors' code of Parle -------------------------------------------------------------------------


def parle(**keywords: Any) -> Bowl:
    bowl = Bowl(Parle, **{"lr": 0.5, "inner_steps": 4, "scoping": 0.0, **keywords})
    bowl.apart()
    return bowl


def test_the_average_of_a_chain_begins_anew_in_each_step() -> None:
    """All replicas put into the minimum have d = 0, whatever the chains of the step before have seen."""
    bowl = parle()
    with torch.no_grad():
        bowl.x.zero_()
        for a in range(3):
            bowl.optimizer.state[bowl.x][f"replica_{a}"].zero_()
    bowl.optimizer.step(bowl.closure)
    assert torch.equal(bowl.x, torch.zeros_like(bowl.x))
    assert bowl.optimizer.direction_norm() == 0


def test_a_step_starts_from_the_replica_and_not_from_the_end_of_its_chain() -> None:
    """At lr 0 neither replicas nor mean move."""
    bowl = parle()
    for group in bowl.optimizer.param_groups:
        group["lr"] = 0.0
    replicas, x = bowl.replicas().clone(), bowl.x.detach().clone()
    bowl.optimizer.step(bowl.closure)
    assert torch.equal(bowl.replicas(), replicas)
    assert torch.equal(bowl.x, x)
    assert bowl.optimizer.direction_norm() > 0.01


@pytest.mark.parametrize("tensors", [1, 7])
def test_scoping_counts_outer_steps_whatever_the_number_of_tensors(tensors: int) -> None:
    params = [nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(tensors)]
    optimizer = Parle(params, inner_steps=3, gamma=100.0, rho=2.0, scoping=0.1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = sum(p.square().sum() for p in params)
        loss.backward()
        return loss

    for k in range(4):
        found = optimizer.scalars()
        assert (found["gamma"], found["rho"]) == (pytest.approx(100 / 1.1**k), pytest.approx(2 / 1.1**k))
        optimizer.step(closure)


# Limits ---------------------------------------------------------------------------------------------------------------


def ends(pairs: list[tuple[Callable[..., Any], dict[str, Any]]], steps: int = 5) -> list[list[Tensor]]:
    found = []
    for make, keywords in pairs:
        net = network()
        optimizer = make(net.parameters(), **keywords)
        batches = Batches(net, optimizer)
        for _ in range(steps):
            optimizer.step(batches)
        found.append(weights(net))
    return found


def test_one_replica_is_entropy_sgd_or_sgd_bit_for_bit() -> None:
    shared = {"lr": 0.3, "momentum": 0.9, "weight_decay": 1e-2}
    chain = {"inner_steps": 3, "gamma": 5.0, "scoping": 0.0, "temperature": 1e-4, "seed": 2}
    assert same(*ends([(Parle, {**shared, **chain, "replicas": 1}), (EntropySGD, {**shared, **chain})]))
    for make in (ReplicatedSGD, ElasticSGD):
        off = {"moving_rate": 0.0} if make is ElasticSGD else {}
        assert same(*ends([(make, {**shared, **off, "replicas": 1}), (SGD, shared)]))


def test_parle_of_one_step_without_a_spring_is_replicated_sgd() -> None:
    """Of rate lr h, and coupling 1/(2 rho h), to rounding; the special case that the authors name."""
    h, rho = 0.25, 2.0
    without = {"gamma": math.inf, "inner_steps": 1, "averaging": 0.0, "inner_momentum": 0.0, "scoping": 0.0}
    one = {"lr": 0.4, "inner_lr": h, "rho": rho, "momentum": 0.9, **without}
    two = {"lr": 0.4 * h, "coupling": 1 / (2 * rho * h), "scoping": 0.0, "momentum": 0.9, "weight_decay": 0.0}
    a, b = ends([(Parle, one), (ReplicatedSGD, two)])
    for p, q in zip(a, b, strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-13)


# Replicas as state ----------------------------------------------------------------------------------------------------


@METHODS
def test_the_parameters_are_the_mean_of_the_replicas(make: Callable[..., Replicated]) -> None:
    net = network()
    optimizer = make(net.parameters(), momentum=0.9)
    batches = Batches(net, optimizer)
    for _ in range(10):
        optimizer.step(batches)
    apart = 0.0
    for p in net.parameters():
        replicas = [optimizer.state[p][f"replica_{a}"] for a in range(3)]
        torch.testing.assert_close(p.detach(), torch.stack(replicas).mean(0), rtol=0, atol=1e-14)
        apart += float((replicas[0] - replicas[1]).norm())
    assert apart > 1e-3


@METHODS
@pytest.mark.parametrize("failure", ["not finite", "raises"])
def test_a_step_that_fails_leaves_the_replicas_as_they_were(make: Callable[..., Replicated], failure: str) -> None:
    net = network()
    optimizer = make(net.parameters())
    batches = Batches(net, optimizer)
    optimizer.step(batches)
    before, x, calls = copy.deepcopy(optimizer.state_dict()["state"]), weights(net), batches.calls

    def failing() -> Tensor:
        loss = batches()
        if batches.calls == calls + optimizer.evaluations:  # the last replica's last gradient
            if failure == "raises":
                raise RuntimeError("here")
            next(net.parameters()).grad.fill_(math.nan)  # type: ignore[union-attr]
        return loss

    if failure == "raises":
        with pytest.raises(RuntimeError, match="here"):
            optimizer.step(failing)
    else:
        optimizer.step(failing)
        assert optimizer.nonfinite_steps() == (1, 1)
    assert same(x, weights(net))
    assert identical(before, optimizer.state_dict()["state"])


@METHODS
def test_batches_follow_replica_after_replica(make: Callable[..., Replicated]) -> None:
    """Replicas that are far apart tell by their gradients whose turn it is."""
    p = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = make([p], lr=1e-9)
    places: list[float] = []

    def closure() -> Tensor:
        places.append(round(float(p.detach())))
        optimizer.zero_grad()
        loss = 1e-9 * p.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    for a in range(3):
        optimizer.state[p][f"replica_{a}"].fill_(10.0 * (a - 1))
    places.clear()
    optimizer.step(closure)
    each = optimizer.evaluations // 3
    assert places == [*[-10] * each, *[0] * each, *[10] * each]


def test_a_state_dict_of_another_number_of_replicas_is_refused() -> None:
    p = nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match="it has another replicas"):
        ReplicatedSGD([p], replicas=2).load_state_dict(ReplicatedSGD([p], replicas=3).state_dict())
    with pytest.raises(ValueError, match="replicas must be the same in all parameter groups"):
        ReplicatedSGD([{"params": [p], "replicas": 2}])
