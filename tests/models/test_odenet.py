"""Depth as time: orders of the solvers, gradients against closed forms, conservation of H and of p.dx."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deeprelax.models import OdeNet
from deeprelax.models.integrators import SOLVERS, integrate
from deeprelax.pde.experiments.hamiltonian_depth import AlongDepth, along_depth, near_identity

STEPS = (4, 8, 16, 32, 64)
ORDERS = {"euler": 1, "midpoint": 2, "rk4": 4}


def network(**options: Any) -> OdeNet:
    """Small, in double precision; x moves about as far as it is long."""
    torch.manual_seed(1)
    return OdeNet(1, 12, 10, width=8, **options).double()


def followed(net: OdeNet, steps: int | None = None) -> AlongDepth:
    draw = torch.Generator().manual_seed(1)
    images, labels = torch.randn(6, 1, 12, 12, generator=draw, dtype=torch.float64), torch.arange(6)

    def loss(last: Tensor) -> Tensor:
        return nn.functional.cross_entropy(net.head(last), labels, reduction="sum")

    return along_depth(net, images, loss, steps)


def linear(size: int = 5) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    a, x = (torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in ((size, size), (3, size)))
    return a.requires_grad_(), x.requires_grad_()


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_solver_has_its_order_on_an_equation_with_time_in_it(solver: str) -> None:
    """dx/dt = -2 t x^2 from x = 1 is 1/(1 + t^2): 1/2 at t = 1."""
    x = torch.ones(1, dtype=torch.float64)
    errors = [abs(integrate(lambda t, x: -2 * t * x**2, x, n, solver).item() - 0.5) for n in (32, 64, 128)]
    for coarse, fine in pairwise(errors):
        assert np.log2(coarse / fine) == pytest.approx(ORDERS[solver], abs=0.15)


def test_gradients_of_a_linear_equation_are_those_of_the_matrix_exponential() -> None:
    """By x and by A, of |x(1)|^2; order 4 in the steps, and under 1e-6 at 64."""
    a, x = linear()

    def gradients(end: Callable[[], Tensor]) -> Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad((end() ** 2).sum(), (a, x))])

    exact = gradients(lambda: x @ torch.linalg.matrix_exp(a).T)
    errors = [
        ((gradients(lambda n=n: integrate(lambda t, y: y @ a.T, x, n)) - exact).norm() / exact.norm()).item()
        for n in (16, 32, 64)
    ]
    assert errors[-1] < 1e-6
    for coarse, fine in pairwise(errors):
        assert coarse / fine == pytest.approx(16, rel=0.15)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_hamiltonian_is_kept_to_the_order_of_the_solver_where_f_has_no_time(solver: str) -> None:
    drifts = [followed(network(solver=solver, time=False), n).drift for n in STEPS]
    assert drifts[0] > 1e-4
    for coarse, fine in pairwise(drifts):
        assert coarse / fine == pytest.approx(2 ** ORDERS[solver], rel=0.2), drifts


@pytest.mark.parametrize("options", [{"time": True}, {"time": False, "knots": 3}])
def test_the_hamiltonian_is_not_kept_where_f_has_time(options: dict[str, Any]) -> None:
    """Else the test above could not fail. Finer steps do not help: the drift is that of the equation."""
    net = network(**{"steps": 4, **options})
    with torch.no_grad():
        for knot, draw in zip(net.field.knots, (0.0, 0.3, 0.6), strict=False):
            for weight in knot.values():
                weight += draw * torch.randn_like(weight)
    drifts = [followed(net, n).drift for n in STEPS]
    assert min(drifts) > 0.01
    assert drifts[-1] == pytest.approx(drifts[-2], rel=0.02)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("steps", [1, 4, 64])
def test_p_dx_is_constant_through_depth(solver: str, steps: int) -> None:
    """To rounding, at any step, with time in f: backward is the exact adjoint of the steps."""
    found = followed(network(solver=solver), steps)
    assert found.pairing_drift < 1e-12
    assert np.abs(found.pairing).max() > 1e-3  # not because it is 0


def test_momenta_are_gradients_and_what_is_conserved_is_p_f() -> None:
    """By hand: L at x(1) + a small part of f is L + that part of H(1)."""
    net = network(time=False)
    found = followed(net, 4)
    draw = torch.Generator().manual_seed(1)
    images, labels = torch.randn(6, 1, 12, 12, generator=draw, dtype=torch.float64), torch.arange(6)
    with torch.no_grad():
        x = integrate(net.field, net.stem(images), 4)
        f = net.field(1.0, x)
        ends = [nn.functional.cross_entropy(net.head(x + step * f), labels, reduction="none") for step in (1e-5, -1e-5)]
    np.testing.assert_allclose((ends[0] - ends[1]).numpy() / 2e-5, found.hamiltonian[:, -1], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.speed[:, -1], f.flatten(1).norm(dim=1).numpy(), rtol=1e-12)


def test_near_identity_layers_tend_to_their_equation_as_one_over_their_number() -> None:
    distances = near_identity(np.array([64, 128, 256, 512]))
    assert distances[0] > 1e-3
    for coarse, fine in pairwise(distances):
        assert np.log2(coarse / fine) == pytest.approx(1, abs=0.1)


def test_knots_are_weights_that_are_linear_in_time() -> None:
    net = network(steps=4, knots=3)
    for j, knot in enumerate(net.field.knots):
        nn.init.constant_(knot["shift2"], float([1, 3, -5][j]))
    for t, value in [(0.0, 1.0), (0.25, 2.0), (0.5, 3.0), (0.75, -1.0), (1.0, -5.0)]:
        torch.testing.assert_close(net.field.weights(t)["shift2"], torch.full((8,), value, dtype=torch.float64))
    with pytest.raises(ValueError, match="knots=3 must be at most steps=2, for else some weights are never used"):
        network(knots=3)
    shared, several = network(steps=4), network(steps=4, knots=4)  # equal at first, so the same function
    images = torch.randn(2, 1, 12, 12, dtype=torch.float64)
    torch.testing.assert_close(shared(images), several(images))


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_weight_has_a_gradient_and_time_is_seen(solver: str) -> None:
    """With as many knots as steps: DDP and the optimizers want a gradient of every parameter."""
    net = network(solver=solver, steps=3, knots=3)
    images = torch.randn(4, 1, 12, 12, dtype=torch.float64)
    nn.functional.cross_entropy(net(images), torch.arange(4)).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())
    x = torch.randn(2, 8, 3, 3, dtype=torch.float64)
    assert not torch.equal(net.field(0.0, x), net.field(1.0, x))
    still = network(time=False)
    assert torch.equal(still.field(0.0, x), still.field(1.0, x))


def test_no_image_acts_on_another() -> None:
    net = network()
    images = torch.randn(3, 1, 12, 12, dtype=torch.float64)
    torch.testing.assert_close(net(images)[1:2], net(images[1:2]))


@pytest.mark.parametrize(("choice", "name"), [("euler", "euler"), ("midpoint", "midpoint"), ("rk4", "dopri5")])
def test_states_and_gradients_are_torchdiffeqs(choice: str, name: str) -> None:
    """Euler and midpoint step by step, to rounding; fine RK4 against its adaptive method and its adjoint equation."""
    oracle = pytest.importorskip("torchdiffeq", reason="torchdiffeq is not installed: pip install -e '.[rivals]'")
    net = network(solver=choice)
    start = torch.randn(2, 8, 3, 3, dtype=torch.float64, requires_grad=True)
    steps = 64 if name == "dopri5" else 5
    times = torch.linspace(0, 1, 2 if name == "dopri5" else 6, dtype=torch.float64)

    class Field(nn.Module):
        """Its t is a tensor, ours a number."""

        def __init__(self) -> None:
            super().__init__()
            self.field = net.field

        def forward(self, t: Tensor, x: Tensor) -> Tensor:
            return net.field(float(t.detach()), x)

    solve = oracle.odeint_adjoint if name == "dopri5" else oracle.odeint
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if name == "dopri5" else {}
    ends = [
        integrate(net.field, start, steps, choice),
        solve(Field(), start, times, method=name, **tolerance)[-1],
    ]
    exact = 1e-12 if name != "dopri5" else 1e-6
    torch.testing.assert_close(ends[0], ends[1], rtol=exact, atol=exact)
    wanted = [start, *net.field.parameters()]
    gradients = [torch.autograd.grad((end**2).sum(), wanted) for end in ends]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=exact, atol=exact * float(other.abs().max()) + exact)
