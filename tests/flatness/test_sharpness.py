"""Average and worst rises of the loss against closed forms, and their invariance."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor, nn

from deeprelax.flatness import sharpness
from deeprelax.flatness.loss import BatchedLoss
from deeprelax.flatness.sharpnesses import AVERAGE, KINDS, Sharpness, measured, scales
from deeprelax.optim import reestimate_batchnorm

from .problems import batch_losses, network, quadratic


def test_scales() -> None:
    net, batches = network()
    loss = BatchedLoss(batch_losses(net, batches), net.parameters())
    weight, bias = net[0].weight, net[0].bias  # type: ignore[index]
    filters = scales(loss, "filter")
    assert torch.allclose(filters[:9], weight[0].norm().expand(9))  # type: ignore[index, operator]
    assert torch.equal(filters[45:50], bias.abs())  # type: ignore[operator]
    assert torch.equal(scales(loss, "absolute")[:45], weight.abs().flatten())  # type: ignore[operator]


@pytest.mark.parametrize("kind", AVERAGE)
def test_average_in_its_interval(kind: str) -> None:
    """tr(A S)/2, in 367 to 393 of 400 seeds; an interval that holds in 95 % fails here by chance once in 440."""
    _, x, a = quadratic(80)
    x = nn.Parameter(x.detach().view(8, 10))
    loss = BatchedLoss(lambda: x.flatten() @ a @ x.flatten() / 2, [x])
    expected = float((a.diagonal() * (0.3 * scales(loss, KINDS[kind].scale)).square()).sum() / 2)
    found = [measured(loss, kind, 0.3, samples=40, seed=seed) for seed in range(400)]
    assert 367 <= sum(each.low <= expected <= each.high for each in found if each.low and each.high) <= 393
    assert {each.n for each in found} == {40}


def test_one_step_of_sam() -> None:
    """rho norm(g) + rho^2 g'Ag/(2 g'g)."""
    loss, x, a = quadratic(30)
    g = a @ x.detach()
    expected = 0.4 * g.norm() + 0.16 * (g @ a @ g) / (2 * g @ g)
    assert sharpness(loss, [x], "sam", 0.4).value == pytest.approx(float(expected), rel=1e-8)


@pytest.mark.parametrize("at", [1.0, 0.0])
def test_worst_in_a_ball(at: float) -> None:
    """(mu I - A) e = g with norm(e) = rho and mu over the largest eigenvalue; at the minimum the top eigenvector."""
    loss, x, a = quadratic(12, at=at)
    values, vectors = torch.linalg.eigh(a)
    g = vectors.T @ (a @ x.detach())
    rho = 0.4
    expected = rho**2 * float(values[-1]) / 2
    if at:
        top = float(values[-1])
        mu = brentq(lambda m: float((g / (m - values)).norm()) - rho, top + 1e-9, top + 1e3, xtol=1e-15, rtol=1e-15)
        e = g / (mu - values)
        expected = float(g @ e + (values * e.square()).sum() / 2)
    found = sharpness(loss, [x], "ball", rho, steps=3000)
    assert found.value == pytest.approx(expected, rel=1e-8)
    assert found.converged
    assert sharpness(loss, [x], "ball", rho, steps=1).value <= found.value


def rise(a: Tensor, g: Tensor, kind: str, rho: float, steps: int = 20) -> Sharpness:
    """Of g'e + e'Ae/2 around weights of 1, where the adaptive measures are the plain ones."""
    x = nn.Parameter(torch.ones(len(g), dtype=g.dtype))
    return sharpness(lambda: g @ (x - 1) + (x - 1) @ a @ (x - 1) / 2, [x], kind, rho, steps=steps)


def test_worst_where_the_loss_falls_along_its_gradient() -> None:
    """A = diag(-10, 1): up the gradient f soon falls, and beside it rises to the edge of the ball, in many steps."""
    a, g = torch.diag(torch.tensor([-10.0, 1.0])).double(), torch.tensor([0.5, 0.01]).double()
    found = rise(a, g, "ball", 2.0)
    assert found.value > 0.0125 - 1e-6  # 0.5^2/20, the maximum along the first axis
    assert not found.converged
    found = rise(a, g, "ball", 2.0, steps=400)
    mu = brentq(lambda m: float((g / (m - a.diagonal())).norm()) - 2, 1 + 1e-9, 100, xtol=1e-15, rtol=1e-15)
    e = g / (mu - a.diagonal())
    assert found.value == pytest.approx(float(g @ e + e @ a @ e / 2), rel=1e-8)
    assert found.converged


def test_worst_in_a_box() -> None:
    """f falls towards (0.9, 0.9), where its gradient leads, and is largest at (-0.9, 0.9)."""
    found = rise(torch.tensor([[-1.0, -4.0], [-4.0, -1.0]]).double(), torch.tensor([1, 1.1]).double(),
                 "adaptive_linf", 0.9)  # fmt: skip
    assert (found.value, found.converged) == (pytest.approx(2.52, rel=1e-8), True)
    vertices = 0.9 * torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 8)
    parts = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        root = torch.randn(8, 8, generator=generator, dtype=torch.float64)
        a, g = (root + root.T) / 2, torch.randn(8, generator=generator, dtype=torch.float64)
        a.diagonal().abs_()  # convex along each axis, so that the maximum is at a vertex
        found = rise(a, g, "adaptive_linf", 0.9)
        best = float((vertices @ g + ((vertices @ a) * vertices).sum(1) / 2).max())
        assert found.value <= best * (1 + 1e-12)
        parts.append(found.value / best)
    assert sorted(parts)[10] > 0.9  # a local maximum each


@pytest.mark.parametrize("kind", ["sam", "ball", "adaptive_l2", "adaptive_linf"])
def test_worst_in_single_precision_at_no_gradient(kind: str) -> None:
    a = torch.diag(torch.arange(1.0, 5.0))
    found = rise(a, torch.zeros(4), kind, 0.5, steps=200).value
    assert found == pytest.approx({"sam": 0.0, "adaptive_linf": 0.125 * 10}.get(kind, 0.125 * 4), rel=1e-5)
    assert rise(torch.zeros(4, 4), torch.zeros(4), kind, 0.5).value == 0


def test_worst_relative_to_the_weights() -> None:
    """At the minimum w, rho^2/2 times: sum A_ii w_i^2 in the box, for diagonal A; the top of WAW in the ball."""
    _, x, a = quadratic(12)
    w = x.detach().clone()
    ball = sharpness(lambda: (x - w) @ a @ (x - w) / 2, [x], "adaptive_l2", 0.3, steps=3000)
    top = torch.linalg.eigvalsh(torch.diag(w) @ a @ torch.diag(w))[-1]
    assert ball.value == pytest.approx(0.09 * float(top) / 2, rel=1e-8)
    diagonal = a.diagonal().abs()
    box = sharpness(lambda: (diagonal * (x - w).square()).sum() / 2, [x], "adaptive_linf", 0.3)
    assert box.value == pytest.approx(0.09 / 2 * float((diagonal * w.square()).sum()), rel=1e-8)


def test_scalar_network_of_two_layers() -> None:
    """(ab - 1)^2/2: at (3, 1/3) it is as sharp as at (1, 1), relative to the weights, and sharper in a ball."""
    found = {}
    for a, b in ((1.0, 1.0), (3.0, 1 / 3)):
        one, two = (nn.Parameter(torch.tensor(value, dtype=torch.float64)) for value in (a, b))

        def loss(one: Tensor = one, two: Tensor = two) -> Tensor:
            return (one * two - 1).square() / 2

        found[a] = [sharpness(loss, [one, two], kind, 0.1).value for kind in ("adaptive_l2", "adaptive_linf", "ball")]
    assert found[1.0][:2] == pytest.approx(found[3.0][:2], rel=1e-8)
    assert found[3.0][2] > 2 * found[1.0][2]


@pytest.mark.parametrize("kind", KINDS)
def test_a_filter_before_batch_norm_scaled_by_ten(kind: str) -> None:
    """The function is the same; what says that it is invariant is so to 1e-4, and what does not, is not."""
    net, batches = network()
    losses, parameters = batch_losses(net, batches), list(net.parameters())
    images = [torch.cat([images for images, _ in batches])]
    reestimate_batchnorm(net, images)
    before = sharpness(losses, parameters, kind)
    with torch.no_grad():
        net[0].weight[1] *= 10  # type: ignore[index, operator]
        net[0].bias[1] *= 10  # type: ignore[index, operator]
    reestimate_batchnorm(net, images)
    after = sharpness(losses, parameters, kind)
    assert after.invariant == KINDS[kind].invariant
    assert (after.value == pytest.approx(before.value, rel=1e-4)) == after.invariant


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_as_before(kind: str) -> None:
    net, batches = network()
    before = [p.detach().clone() for p in net.parameters()]
    state = torch.get_rng_state()
    first = sharpness(batch_losses(net, batches), net.parameters(), kind, samples=3, steps=3)
    assert all(torch.equal(p, start) for p, start in zip(net.parameters(), before, strict=True))
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert sharpness(batch_losses(net, batches), net.parameters(), kind, samples=3, steps=3) == first


def test_bad_arguments_get_a_sentence() -> None:
    loss, x, _ = quadratic(3)
    for keywords, message in (
        ({"kind": "flat"}, "no sharpness 'flat': take one of isotropic"),
        ({"size": 0.0}, "size=0.0 is out of range"),
        ({"samples": 1}, "samples=1"),
    ):
        with pytest.raises(ValueError, match=message):
            sharpness(loss, [x], **keywords)  # type: ignore[arg-type]
