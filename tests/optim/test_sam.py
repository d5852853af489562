"""Sharpness-aware minimisation against its closed forms, in double precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from deeprelax.optim import ASAM, MSAM, SAM

from .problems import Batches, descend, direction, network, quadratic_loss, random_quadratic, same, weights


@pytest.mark.parametrize("groups", [1, 2])
def test_sam_on_a_quadratic(groups: int) -> None:
    """d = g + rho A g/|g|, g = A (x - x*): the norm is over all tensors, of all groups."""
    a, minimum, x = random_quadratic()
    f, matrix = quadratic_loss(a, minimum), torch.from_numpy(a)
    g = matrix @ (torch.from_numpy(x) - torch.from_numpy(minimum))
    expected = g + 0.3 * matrix @ g / g.norm()
    start = torch.from_numpy(x)
    if groups == 1:
        found = direction(SAM, start, f, rho=0.3)
    else:
        parts = [nn.Parameter(part.clone()) for part in (start[:2], start[2:])]
        descend(SAM([{"params": [p]} for p in parts], lr=1.0, momentum=0.0, rho=0.3), lambda: f(torch.cat(parts)))
        found = start - torch.cat([p.detach() for p in parts])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("lr", "curvature", "rho"), [(0.1, 1.0, 0.05), (0.5, 2.5, 0.3), (0.9, 0.1, 2.0)])
def test_sam_ends_in_a_cycle_of_two_points(lr: float, curvature: float, rho: float) -> None:
    """In one dimension no rate converges: x = +- lr lambda rho/(2 - lr lambda), in turn."""
    p = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer, seen = SAM([p], lr=lr, rho=rho, momentum=0.0), list[float]()
    for _ in range(600):
        descend(optimizer, lambda: curvature / 2 * p.square().sum())
        seen.append(p.item())
    amplitude = lr * curvature * rho / (2 - lr * curvature)
    assert seen[-1] == pytest.approx(-seen[-2], rel=1e-12)
    assert abs(seen[-1]) == pytest.approx(amplitude, rel=1e-12)


def test_a_radius_of_0_is_sgd_bit_for_bit() -> None:
    nets = network(), network()
    optimizer = SAM(nets[0].parameters(), rho=0.0, weight_decay=0.01)
    reference = torch.optim.SGD(nets[1].parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    batches = Batches(nets[0], optimizer), Batches(nets[1], reference)
    for _ in range(4):
        optimizer.step(batches[0])
        reference.step(batches[1])
    assert same(weights(nets[0]), weights(nets[1]))
    assert optimizer.evaluations == 2


@pytest.mark.parametrize("make", [SAM, ASAM])
def test_a_gradient_of_0_moves_nothing(make: type[SAM]) -> None:
    p = nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = make([p])
    descend(optimizer, lambda: (p - 1).square().sum())
    assert torch.equal(p, torch.ones_like(p))
    assert optimizer.nonfinite_steps() == (0, 0)


def places(make: type[SAM], weights: list[float], rho: float) -> tuple[Tensor, Tensor]:
    """y - x relative to x, of a loss of the weights' product, and that loss there."""
    params = [nn.Parameter(torch.tensor([w], dtype=torch.float64)) for w in weights]
    seen: list[tuple[Tensor, Tensor]] = []

    def loss() -> Tensor:
        f = (params[0] * params[1] - 1).square().sum() / 2
        seen.append((torch.cat([p.detach().clone() for p in params]), f.detach()))
        return f

    descend(make(params, rho=rho), loss)
    (x, _), (y, f) = seen
    return (y - x) / x, f


def test_asam_moves_by_rho_in_units_of_the_weights_whatever_the_layers_scale() -> None:
    """|e/x| = rho; x + e is the same function for (c w1, w2/c). SAM's is another."""
    relative, f = places(ASAM, [0.8, -1.5], 0.3)
    assert relative.norm().item() == pytest.approx(0.3, rel=1e-12)
    for c in (10.0, 0.03):
        scaled, same_f = places(ASAM, [c * 0.8, -1.5 / c], 0.3)
        torch.testing.assert_close(scaled, relative, rtol=1e-12, atol=0)
        torch.testing.assert_close(same_f, f, rtol=1e-12, atol=0)
    assert abs(places(SAM, [8.0, -0.15], 0.3)[1] - places(SAM, [0.8, -1.5], 0.3)[1]) > 0.1


def test_asam_does_not_move_a_weight_that_is_0() -> None:
    """As biases are at first: the others go all of the way."""
    p, seen = nn.Parameter(torch.tensor([0.0, 2.0], dtype=torch.float64)), list[Tensor]()

    def loss() -> Tensor:
        seen.append(p.detach().clone())
        return 3.0 * p.sum()

    descend(ASAM([p], rho=0.3), loss)
    assert seen[1].tolist() == [0.0, pytest.approx(2.0 + 0.3 * 2.0, rel=1e-14)]


def test_the_norm_of_half_precision_gradients_does_not_overflow() -> None:
    p = nn.Parameter(torch.zeros(100_000, dtype=torch.float16))
    places: list[Tensor] = []

    def loss() -> Tensor:
        places.append(p.detach().double())
        return (1000.0 * p.float()).sum()

    descend(SAM([p], lr=1e-3, rho=1.0), loss)
    torch.testing.assert_close(places[1].norm().item(), 1.0, rtol=0.02, atol=0)  # rho/norm(g) is a half, too


def test_momentum_sam_without_a_radius_is_sgd_bit_for_bit() -> None:
    nets = network(), network()
    optimizer = MSAM(nets[0].parameters(), rho=0.0, weight_decay=0.01)
    reference = torch.optim.SGD(nets[1].parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    batches = Batches(nets[0], optimizer), Batches(nets[1], reference)
    for _ in range(5):
        optimizer.step(batches[0])
        reference.step(batches[1])
    assert same(weights(nets[0]), weights(nets[1]))
    assert optimizer.evaluations == 1


def test_momentum_sam_on_a_quadratic() -> None:
    """d = A (x - x* - rho v/|v|), the norm over all tensors of all groups; downhill, and x between steps."""
    a, minimum, x = random_quadratic()
    f, matrix, x_star = quadratic_loss(a, minimum), torch.from_numpy(a), torch.from_numpy(minimum)
    parts = [nn.Parameter(part.clone()) for part in (torch.from_numpy(x)[:2], torch.from_numpy(x)[2:])]
    optimizer = MSAM([{"params": [p]} for p in parts], lr=0.05, momentum=0.9, nesterov=False, rho=0.3)
    values: list[float] = []

    def loss() -> Tensor:
        found = f(torch.cat(parts))
        values.append(found.item())
        return found

    def now() -> Tensor:
        return torch.cat([p.detach() for p in parts]).clone()

    def velocity() -> Tensor:
        return torch.cat([optimizer.state[p]["momentum_buffer"] for p in parts]).clone()

    descend(optimizer, loss)
    torch.testing.assert_close(velocity(), matrix @ (torch.from_numpy(x) - x_star), rtol=1e-12, atol=1e-12)
    for _ in range(3):
        start, v = now(), velocity()
        descend(optimizer, loss)
        d = velocity() - 0.9 * v
        torch.testing.assert_close(d, matrix @ (start - x_star - 0.3 * v / v.norm()), rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(now(), start - 0.05 * velocity(), rtol=1e-12, atol=1e-12)
        assert values[-1] < f(start).item()


def test_momentum_sam_without_momentum_is_sgd_whatever_it_was_before() -> None:
    """The velocity that was left leads nowhere: on x^2/2 the weights shrink by 1 - lr a step, and end at 0."""
    p, still = (nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(2))
    optimizer = MSAM([{"params": [p]}, {"params": [still], "momentum": 0.0}], lr=0.5, rho=0.3)
    for _ in range(3):
        descend(optimizer, lambda: (p.square().sum() + still.square().sum()) / 2)
    assert torch.equal(still, torch.full_like(still, 0.5**3))  # of a group that never had momentum
    optimizer.param_groups[0]["momentum"] = 0.0
    x = p.detach().clone()
    descend(optimizer, lambda: (p.square().sum() + still.square().sum()) / 2)
    torch.testing.assert_close(p.detach(), 0.5 * x, rtol=1e-14, atol=0)
    assert not optimizer.starts_away
