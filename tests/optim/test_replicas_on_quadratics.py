"""Methods with replicas on quadratics: exact answers, and mistakes of public code that ours lack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deeprelax.optim import ElasticSGD, Parle, ReplicatedSGD
from deeprelax.optim.replicas import Replicated

LAMBDAS = torch.tensor([0.05, 0.4, 1.0, 3.0], dtype=torch.float64)
TOLERANCE = 1e-13  # of some ten roundings at numbers of size 1
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
