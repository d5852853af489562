"""Mixed random weight perturbation against its limits and a closed form, in double precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from deeprelax.optim import MRWP, SGD, Heat, Relaxation

from .problems import Batches, descend, direction, network, same, weights


@pytest.mark.parametrize(("mixing", "limit"), [(0.0, SGD), (1.0, Heat)])
def test_its_limits_are_sgd_and_heat_bit_for_bit(mixing: float, limit: type[Relaxation]) -> None:
    """On one function, for they take a gradient a step where it takes two, of two mini-batches."""
    nets = network(), network()
    mixed = MRWP(nets[0].parameters(), sigma=0.1, mixing=mixing, seed=3, weight_decay=0.01)
    own = {"sigma": 0.1, "seed": 3} if limit is Heat else {}
    other = limit(nets[1].parameters(), weight_decay=0.01, **own)
    x = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    for _ in range(4):
        for net, optimizer in zip(nets, (mixed, other), strict=True):
            descend(optimizer, lambda net=net: net(x).square().mean())
    assert same(weights(nets[0]), weights(nets[1]))


def test_the_mean_direction_on_a_quartic() -> None:
    """E d = 4 x^3 + 12 a sigma^2 x on sum x^4: the mean of 200,000 numbers within five of its deviations.

    Its chance to fail is 6e-7, were the seed drawn anew.
    """
    x, sigma, a, n = 0.7, 0.4, 0.3, 200_000
    d = direction(
        MRWP, torch.full((n,), x, dtype=torch.float64), lambda p: p.pow(4).sum(), sigma=sigma, mixing=a,
        filter_normalized=False,
    )  # fmt: skip
    expected = 4 * x**3 + 12 * a * sigma**2 * x
    assert abs(d.mean().item() - expected) < 5 * d.std().item() / n**0.5
    assert abs(d.mean().item() - 4 * x**3) > 50 * d.std().item() / n**0.5


def test_the_two_gradients_are_of_two_mini_batches() -> None:
    net = network()
    optimizer = MRWP(net.parameters())
    batches = Batches(net, optimizer)
    places: list[list[Tensor]] = []

    def closure() -> Tensor:
        places.append(weights(net))
        return batches()

    x = weights(net)
    optimizer.step(closure)
    assert (batches.calls, optimizer.evaluations, optimizer.batches) == (2, 2, 2)
    assert same(places[0], x)
    assert not same(places[1], x)


def by_closure(optimizer: MRWP, batches: Callable[[], Tensor]) -> None:
    optimizer.step(batches)


def by_calls(optimizer: MRWP, batches: Callable[[], Tensor]) -> None:
    optimizer.begin()
    for _ in range(optimizer.evaluations_here):
        batches()
        optimizer.step()


@pytest.mark.parametrize("step", [by_closure, by_calls])
def test_two_that_take_one_gradient_each_have_its_direction_as_their_mean(step: Callable[..., None]) -> None:
    found: list[Tensor] = []
    for rank in (None, 0, 1):
        net = network()
        optimizer = MRWP(net.parameters(), sigma=0.1, mixing=0.7, seed=3, weight_decay=0.01)
        batches = Batches(net, optimizer)
        if rank is not None:
            optimizer.divide(rank, 2)
            batches.calls = rank
        optimizer.reduce_direction = lambda tensors: found.append(torch.cat([t.flatten() for t in tensors[:-1]]))
        step(optimizer, batches)
    whole, first, second = found
    torch.testing.assert_close((first + second) / 2, whole, rtol=0, atol=1e-13)
    assert not torch.allclose(first, second)


def test_who_takes_the_second_gradient_begins_away_from_x_and_three_cannot_share_two() -> None:
    net = network()
    optimizer = MRWP(net.parameters())
    optimizer.divide(1, 2)
    Batches(net, optimizer)()
    with pytest.raises(ValueError, match=r"optimizer\.begin\(\)"):
        optimizer.step()
    with pytest.raises(ValueError, match=r"^parts=2 cannot be divided equally among 3 ranks$"):
        optimizer.divide(0, 3)


def test_the_perturbed_place_is_in_proportion_to_each_filter() -> None:
    """|y - x| of a filter over sigma |filter| is a chi of its size: a mean of 0.99 sqrt(64), 64 numbers a filter."""
    weight = nn.Parameter(torch.ones(400, 64, dtype=torch.float64) * torch.logspace(-2, 2, 400).double()[:, None])
    seen: list[Tensor] = []

    def loss() -> Tensor:
        seen.append(weight.detach().clone())
        return weight.sum()

    descend(MRWP([weight], sigma=0.1), loss)
    relative = (seen[1] - seen[0]).norm(dim=1) / (0.1 * seen[0].norm(dim=1))
    # the deviation of a chi of 64 is 0.706, of this mean 0.035: five of them, a chance to fail of 6e-7 for a new seed
    assert relative.mean().item() == pytest.approx(64**0.5 * (1 - 1 / 256), abs=5 * 0.706 / 400**0.5)
