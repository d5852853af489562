"""Derivatives of a field against those of sympy, in both modes, with and without a graph."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable

import pytest
import sympy
import torch
from torch import Tensor, nn

from deeprelax.tasks.equations.derivatives import Field

MODES = pytest.mark.parametrize("forward", [False, True], ids=["reverse", "forward"])
POINTS = torch.rand(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
DIMS = [dims for order in range(4) for dims in itertools.combinations_with_replacement(range(3), order)]


class Polynomial(nn.Module):
    """A network of two layers with cubes between: t, x, y to two polynomials of degree 9."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.into, self.out = nn.Linear(3, 4, dtype=dtype), nn.Linear(4, 2, dtype=dtype)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        z: Tensor = self.out(self.into(x) ** 3)
        return z**3

    def symbolic(self, output: int) -> tuple[sympy.Expr, list[sympy.Symbol]]:
        symbols = list(sympy.symbols("t x y"))
        inside = [
            (sum(w * s for w, s in zip(row, symbols, strict=True)) + bias) ** 3
            for row, bias in zip(self.into.weight.tolist(), self.into.bias.tolist(), strict=True)
        ]
        weights = self.out.weight[output].tolist()
        return (sum(w * z for w, z in zip(weights, inside, strict=True)) + self.out.bias[output].item()) ** 3, symbols


@pytest.fixture
def network() -> Polynomial:
    return Polynomial()


@MODES
def test_derivatives_to_third_order_are_those_of_sympy(network: Polynomial, forward: bool) -> None:
    field = Field(network, POINTS, forward)
    assert torch.equal(field.u, network(POINTS))
    for output in (0, 1):
        expression, symbols = network.symbolic(output)
        derivatives = [expression.diff(*(symbols[i] for i in dims)) if dims else expression for dims in DIMS]
        there = sympy.lambdify(symbols, derivatives)
        expected = torch.tensor([there(*point) for point in POINTS.tolist()], dtype=torch.float64)
        for dims, column in zip(DIMS, expected.T, strict=True):
            for order in set(itertools.permutations(dims)):
                torch.testing.assert_close(field.d(output, *order), column, rtol=1e-11, atol=1e-11)


def some_loss(field: Field) -> Tensor:
    """Of every kind of term that an equation has."""
    return (field.d(0, 1, 1) + field.u[:, 1] * field.d(1, 0) - field.d(0) ** 2 + field.d(1, 2, 0)).square().mean()


@MODES
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_weights_gradient_is_that_of_finite_differences(forward: bool, dtype: torch.dtype) -> None:
    network, exact = Polynomial(dtype), Polynomial()
    exact.load_state_dict({name: value.double() for name, value in network.state_dict().items()})
    gradient = torch.autograd.grad(some_loss(Field(network, POINTS.to(dtype), forward)), list(network.parameters()))
    assert all(g.dtype == dtype for g in gradient)
    h, weights = 1e-5, list(exact.parameters())
    directions = [torch.randn_like(p) for p in weights]
    losses = []
    with torch.no_grad():
        for step in (h, -2 * h):
            torch._foreach_add_(weights, directions, alpha=step)
            losses.append(some_loss(Field(exact, POINTS.to(dtype).double(), forward)).item())
    slopes = [(g.double() * direction).sum() for g, direction in zip(gradient, directions, strict=True)]
    expected = (losses[0] - losses[1]) / (2 * h)
    assert sum(slopes).item() == pytest.approx(expected, rel=1e-4 if dtype == torch.float32 else 1e-7)


@MODES
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_a_graph_the_numbers_are_the_same(
    network: Polynomial, forward: bool, mode: Callable[[], torch.no_grad]
) -> None:
    expected = some_loss(Field(network, POINTS, forward))
    assert expected.requires_grad
    with mode():
        found = some_loss(Field(network, POINTS + 0, forward))
        later = Field(network, POINTS, forward).d(0, 1, 1)
    assert not found.requires_grad
    assert not later.requires_grad
    assert found.item() == expected.item()


@MODES
def test_what_does_not_depend_on_a_coordinate_has_derivative_zero(forward: bool) -> None:
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)

    def function(x: Tensor) -> Tensor:
        return torch.stack((x[:, 0] ** 2, weight.expand(len(x)), torch.ones_like(x[:, 0]), 3 * x[:, 1]), 1)

    field, zero = Field(function, POINTS, forward), torch.zeros(7, dtype=torch.float64)
    for dims in ((1,), (0, 1), (1, 1), (0, 0, 0)):
        assert torch.equal(field.d(0, *dims), zero)
    for output, dims in itertools.product((1, 2, 3), ((0,), (2, 2), (1, 1), (0, 1, 2))):
        assert torch.equal(field.d(output, *dims), zero)
    assert torch.equal(field.d(0, 0, 0), zero + 2)
    assert torch.equal(field.d(3, 1), zero + 3)


def test_reverse_mode_takes_one_backward_pass_of_a_function(
    network: Polynomial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """u, all first and all second derivatives of one output in three coordinates: a forward, four backward passes."""
    passes, grad = [], torch.autograd.grad

    def counted(*args: object, **keywords: object) -> object:
        passes.append(1)
        return grad(*args, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.autograd, "grad", counted)
    field = Field(network, POINTS)
    assert field.d(0).requires_grad
    for dims in ((0,), (1,), (2,)):
        field.d(0, *dims)
    assert (network.calls, len(passes)) == (1, 1)
    for dims in itertools.product(range(3), repeat=2):
        field.d(0, *dims)
    assert (network.calls, len(passes)) == (1, 4)


def test_forward_mode_keeps_what_lies_on_the_way(network: Polynomial) -> None:
    field = Field(network, POINTS, forward=True)
    field.d(0, 1, 1)
    calls = network.calls
    field.d(0, 1), field.d(1, 1, 1), field.d(0), field.u
    assert network.calls == calls


@MODES
def test_the_points_are_left_alone(network: Polynomial, forward: bool) -> None:
    field = Field(network, POINTS, forward)
    field.d(0, 1).sum().backward()
    assert field.points is POINTS
    assert POINTS.grad is None
    for dims in ((3,), (-1,), (0, 5)):
        with pytest.raises(IndexError, match="coordinates 0 to 2"):
            field.d(0, *dims)
    with pytest.raises(IndexError):
        field.d(2, 0)


def test_forward_mode_is_compiled_as_one_graph(network: Polynomial) -> None:
    """With backend aot_eager: the graph and its gradient, without code generation."""
    network.calls = 0

    def loss(points: Tensor) -> Tensor:
        return some_loss(Field(lambda x: network.out(network.into(x) ** 3) ** 3, points, forward=True))

    parameters = list(network.parameters())
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for found, expected in zip(
        torch.autograd.grad(compiled(POINTS), parameters), torch.autograd.grad(loss(POINTS), parameters), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("how", ["loss", "torch.compile(loss, backend='aot_eager')"])
def test_the_first_use_of_forward_mode_warns_of_nothing(how: str) -> None:
    """In a process of its own: torch warns once, of code of its own, and a user could do nothing about it."""
    code = (
        "import torch\n"
        "from deeprelax.tasks.equations.derivatives import Field\n"
        "def loss(p): return Field(torch.sin, p, True).d(0, 1, 1).sum()\n"
        f"({how})(torch.ones(2, 2))\n"
    )
    subprocess.run([sys.executable, "-W", "error::FutureWarning", "-c", code], check=True)
