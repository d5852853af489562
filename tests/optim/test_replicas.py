"""Methods with replicas: their limits, and what becomes of replicas as state."""

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

METHODS = pytest.mark.parametrize("make", [Parle, ElasticSGD, ReplicatedSGD])


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
