"""The porous-medium variant against its mean on a quadratic, where it diffuses and where it must not."""

from __future__ import annotations

import copy
import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deeprelax.optim import SGD, PorousMedium
from deeprelax.optim.porous_medium import PATIENCE
from deeprelax.optim.scratch import Noise

from .problems import Batches, direction, identical, network, quadratic_loss, random_quadratic, same, weights

A, MINIMUM, X = random_quadratic()
START, F = torch.from_numpy(X), quadratic_loss(A, MINIMUM)
N = len(X)


def repeating(optimizer: PorousMedium, p: nn.Parameter, f: object) -> Tensor:
    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = f(p)  # type: ignore[operator]
        loss.backward()
        return loss

    return optimizer.step(closure, again=closure)


def d_of(f: object, x: Tensor = START, **keywords: float) -> Tensor:
    p = nn.Parameter(x.clone())
    repeating(PorousMedium([p], lr=1.0, momentum=0.0, **keywords), p, f)
    return x - p.detach()


class Nodes:
    """In the place of draws: the 2N points +-sqrt(N) e_j, whose mean is that of N(0, I) for polynomials of degree 3."""

    def __init__(self) -> None:
        self.drawn = 0

    def fill(self, buffers: object) -> None:
        (flat,) = buffers.flats  # type: ignore[attr-defined]
        flat.zero_()
        flat[self.drawn // 2] = math.sqrt(N) * (1 if self.drawn % 2 else -1)
        self.drawn += 1


@pytest.mark.parametrize(("sigma", "strength", "bound"), [(0.3, 0.5, 300.0), (1.5, 0.2, 2000.0)])
def test_the_mean_direction_on_a_quadratic(
    sigma: float, strength: float, bound: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E d_i = lambda_i x_i (1 - (B h^2/N)(tr A/2 + lambda_i)), h = sigma |grad f(x)|: exact, for d averages a cubic."""
    nodes = Nodes()
    monkeypatch.setattr(PorousMedium, "noise", lambda self, i: nodes)
    d = d_of(F, sigma=sigma, strength=strength, bound=bound, samples=2 * N)
    assert nodes.drawn == 2 * N
    gradient = A @ (X - MINIMUM)
    s = strength * (sigma * np.linalg.norm(gradient)) ** 2 / N
    expected = gradient - s * (np.trace(A) / 2 * gradient + A @ gradient)
    assert np.abs(expected - gradient).max() > 0.05
    np.testing.assert_allclose(d.numpy(), expected, rtol=0, atol=1e-11 * bound)


def test_the_places_have_the_length_h_and_are_those_of_the_seed() -> None:
    """|y - x|/h is chi over sqrt(N): within 6 standard deviations of 1, wrong by chance once in 500 million."""
    n, sigma, seen = 20_000, 0.7, list[Tensor]()
    p = nn.Parameter(torch.ones(n, dtype=torch.float64))

    def f(p: Tensor) -> Tensor:
        seen.append(p.detach().clone())
        return 0.5 * p.square().mean()

    repeating(PorousMedium([p], sigma=sigma, samples=3, seed=1), p, f)
    h = sigma * math.sqrt(n) / n
    noise = Noise()
    noise.seed(1, 0, 0)
    for y in seen[1:]:
        z = torch.empty(n, dtype=torch.float64)
        noise.fill(type("Flat", (), {"flats": [z], "places": [()]})())  # type: ignore[arg-type]
        torch.testing.assert_close(y - 1, h / math.sqrt(n) * z, rtol=0, atol=1e-15)
        assert abs((y - 1).norm().item() / h - 1) < 6 / math.sqrt(2 * n)


def wavy(height: float) -> object:
    return lambda p: height + torch.cos(3 * p).sum() / 10


def test_above_the_bound_nothing_diffuses_backwards() -> None:
    """There d is the gradient, bit for bit; by the authors' rule, whose w is negative there, it is another."""
    x = torch.linspace(-1, 1, 5, dtype=torch.float64)
    gradient = direction(SGD, x, wavy(9.0))
    settings = {"sigma": 2.0, "bound": 3.0, "samples": 4}
    assert torch.equal(d_of(wavy(9.0), x, **settings), gradient)
    assert not torch.equal(d_of(wavy(1.0), x, **settings), gradient)  # of the same gradient


def test_where_a_place_is_above_the_bound_it_has_no_weight() -> None:
    """f jumps over the bound everywhere but at x: what is left of d is (1 - B w(x)) grad f(x)."""
    x = torch.tensor([0.2, -0.4], dtype=torch.float64)

    def f(p: Tensor) -> Tensor:
        return (p.sum() if torch.equal(p, x) else p.sum() + 100).add(1)

    d = d_of(f, x, sigma=0.5, bound=3.0, strength=0.5, samples=3)
    torch.testing.assert_close(d, torch.full_like(x, 1 - 0.5 * (3 - 0.8)), rtol=0, atol=1e-14)


def test_a_run_above_the_bound_is_told_of_once() -> None:
    p = nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = PorousMedium([p], samples=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in range(2 * PATIENCE):
            assert len(caught) == (step >= PATIENCE)
            repeating(optimizer, p, wavy(9.0))
    assert str(caught[0].message) == (
        "100 steps in a row had a loss above bound=3, where nothing diffuses: d is the gradient, for the price of 3; "
        "raise bound"
    )


def test_weight_decay_belongs_to_the_loss_at_every_place() -> None:
    c = 0.3
    inside = d_of(lambda p: F(p) + 0.5 * c * p.square().sum(), sigma=0.4, bound=90.0)
    torch.testing.assert_close(d_of(F, sigma=0.4, bound=90.0, weight_decay=c), inside, rtol=0, atol=1e-11)


def test_two_ranks_weigh_by_the_loss_of_the_whole_batch() -> None:
    """`reduce_loss` gives each the mean of their losses: d is that of a loss which is the mean."""
    settings = {"lr": 1.0, "momentum": 0.0, "sigma": 0.4, "bound": 90.0}
    p = nn.Parameter(START.clone())
    optimizer = PorousMedium([p], **settings)
    optimizer.reduce_loss = lambda loss: loss.sub_(7.0)
    repeating(optimizer, p, lambda p: F(p) + 7.0)
    torch.testing.assert_close(START - p.detach(), d_of(F, sigma=0.4, bound=90.0), rtol=0, atol=1e-12)


def test_a_loop_without_closures_says_the_loss() -> None:
    net = network()
    optimizer = PorousMedium(net.parameters(), samples=1)
    batches = Batches(net, optimizer)
    before, state = weights(net), copy.deepcopy(optimizer.state_dict())
    optimizer.loss = batches()
    optimizer.step()
    assert optimizer.same_batch()
    batches.again()
    with pytest.raises(ValueError, match=r"^PorousMedium goes by the loss .* sets optimizer\.loss = loss before each"):
        optimizer.step()
    assert same(before, weights(net))
    assert identical(state, optimizer.state_dict())


def test_a_first_parameter_without_numbers_changes_nothing() -> None:
    """As a rank has it where a parameter has fewer rows than there are ranks."""
    ends = []
    for empty in (False, True):
        p, none = nn.Parameter(START.clone()), nn.Parameter(torch.empty(0, 3, dtype=torch.float64))
        optimizer = PorousMedium([none, p] if empty else [p], sigma=0.4, bound=90.0)
        repeating(optimizer, p, lambda p, none=none: F(p) + none.sum())
        ends.append(p.detach())
    assert torch.equal(*ends)


@pytest.mark.parametrize(("dtype", "precision"), [(torch.float16, 2e-3), (torch.bfloat16, 1.6e-2)])
def test_a_norm_beyond_half_precision(dtype: torch.dtype, precision: float) -> None:
    """|grad f| = 300 sqrt(100,000) = 94,868, and float16 ends at 65,504: y - x = 300 sigma r to rounding."""
    n, seen = 100_000, list[Tensor]()
    p = nn.Parameter(torch.zeros(n, dtype=dtype))

    def f(p: Tensor) -> Tensor:
        seen.append(p.detach().double())
        return 300.0 * p.float().sum()

    repeating(PorousMedium([p], lr=1e-6, sigma=1e-3, samples=2, seed=1), p, f)
    noise = Noise()
    noise.seed(1, 0, 0)
    for y in seen[1:]:
        z = torch.empty(n, dtype=dtype)
        noise.fill(type("Flat", (), {"flats": [z], "places": [()]})())  # type: ignore[arg-type]
        torch.testing.assert_close(y, 0.3 * z.double(), rtol=precision, atol=1e-7)


def test_a_loss_may_be_a_number() -> None:
    ends = []
    for convert in (Tensor.detach, Tensor.item):
        net = network()
        optimizer = PorousMedium(net.parameters(), bound=9.0)
        batches = Batches(net, optimizer)
        for _ in range(2 * optimizer.evaluations):
            optimizer.loss = convert(batches.again() if optimizer.same_batch() else batches())
            optimizer.step()
        ends.append(weights(net))
    assert same(*ends)
