"""Each equation's exact solution: it solves the equation, and begins and ends where it should."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError

import mpmath
import pytest
import torch
from torch import Tensor

from deeprelax.tasks.equations.catalog import CATALOG, Burgers, Equation, ViscousHJ, equation
from deeprelax.tasks.equations.derivatives import Field

EACH = pytest.mark.parametrize("name", CATALOG)
COEFFICIENTS = [(name, value) for name, kind in CATALOG.items() for value in (kind.default, kind.lowest, kind.highest)]


def inside(problem: Equation, count: int = 200) -> Tensor:
    """Random points of the domain."""
    low, high = (torch.tensor(corner, dtype=torch.float64) for corner in (problem.low, problem.high))
    generator = torch.Generator().manual_seed(0)
    return low + (high - low) * torch.rand(count, len(low), generator=generator, dtype=torch.float64)


def at(problem: Equation, dim: int, value: float, count: int = 200) -> Tensor:
    """Random points of one face of the domain."""
    return inside(problem, count).index_fill(1, torch.tensor([dim]), value)


@pytest.mark.parametrize(("name", "coefficient"), COEFFICIENTS)
def test_the_residual_of_the_exact_solution_vanishes_in_both_modes(name: str, coefficient: float) -> None:
    problem = equation(name, coefficient)
    points = inside(problem)
    if name == "burgers":
        points[::2, 1] /= 100  # half of them in the shock
    reverse, forward = (problem.residual(Field(problem.exact, points, mode)) for mode in (False, True))
    assert reverse.shape == forward.shape == (200, len(problem.outputs))
    assert reverse.abs().max().item() < 1e-11
    assert forward.abs().max().item() < 1e-11


@EACH
def test_the_residual_of_another_function_does_not_vanish(name: str) -> None:
    """Of the solution plus a little that is smooth; a residual of zeros would pass the test above."""
    problem = equation(name)
    points = inside(problem)
    for output in range(len(problem.outputs)):
        hat = torch.eye(len(problem.outputs), dtype=torch.float64)[output]
        field = Field(lambda x, hat=hat: problem.exact(x) + 1e-3 * hat * (x**3).sum(1, keepdim=True), points)
        assert (problem.residual(field).abs().amax(0) > 1e-4).all()


@EACH
def test_the_residual_of_a_network_is_the_same_in_both_modes_and_its_gradient_too(name: str) -> None:
    problem = equation(name)
    torch.manual_seed(0)
    sizes = len(problem.inputs), len(problem.outputs)
    network = torch.nn.Sequential(torch.nn.Linear(sizes[0], 8), torch.nn.Tanh(), torch.nn.Linear(8, sizes[1])).double()
    found = [problem.residual(Field(network, inside(problem, 20), mode)) for mode in (False, True)]
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)
    reverse, forward = (
        torch.autograd.grad(r.square().sum(), list(network.parameters()), materialize_grads=True, allow_unused=True)
        for r in found
    )
    torch.testing.assert_close(reverse, forward, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "coefficient"), COEFFICIENTS)
def test_it_begins_as_its_docstring_says(name: str, coefficient: float) -> None:
    problem = equation(name, coefficient)
    points = at(problem, 0, 0.0)
    x, omega = points[:, 1], coefficient
    width = math.pi / 4

    def ground(x: Tensor) -> Tensor:
        return (omega / math.pi) ** 0.25 * torch.exp(-omega * x**2 / 2)

    def both(x: Tensor) -> Tensor:
        return ground(x) * (1 + (2 * omega) ** 0.5 * x) / 2**0.5

    begin = {
        "heat": lambda: torch.sin(math.pi * x),
        "convection": lambda: torch.sin(x),
        "reaction": lambda: torch.exp(-((x - math.pi) ** 2) / (2 * width**2)),
        "wave": lambda: torch.sin(math.pi * x) + torch.sin(coefficient * math.pi * x) / 2,
        "burgers": lambda: -torch.sin(math.pi * x),
        "viscous_hj": lambda: torch.cos(math.pi * x),
        "oscillator": lambda: both(x),
        "oscillator_2d": lambda: both(x) * ground(points[:, 2]),
    }[name]()
    expected = torch.stack((begin, torch.zeros_like(begin)), 1)[:, : len(problem.outputs)]
    torch.testing.assert_close(problem.exact(points), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "coefficient"), COEFFICIENTS)
def test_its_boundary_is_what_it_says(name: str, coefficient: float) -> None:
    problem = equation(name, coefficient)
    for dim in range(1, len(problem.inputs)):
        ends = [problem.exact(at(problem, dim, corner[dim])) for corner in (problem.low, problem.high)]
        if problem.boundary == "zero":
            assert max(end.abs().max().item() for end in ends) < 1e-12
        elif problem.boundary == "periodic":
            torch.testing.assert_close(*ends, rtol=0, atol=1e-12)
        elif coefficient == 1:
            assert 1e-6 < max(end.abs().max().item() for end in ends) < 1e-4


def test_the_wave_starts_at_rest() -> None:
    problem = equation("wave")
    assert problem.order_in_time == 2
    assert Field(problem.exact, at(problem, 0, 0.0)).d(0, 0).abs().max().item() < 1e-12


@pytest.mark.parametrize("kind", [Burgers, ViscousHJ])
@pytest.mark.parametrize("which", ["lowest", "default", "highest"])
def test_the_cole_hopf_solutions_are_the_integrals(kind: type[Burgers | ViscousHJ], which: str) -> None:
    """With 30 digits and nodes four to twenty times as dense, at points in and near the shock among others."""
    problem = kind(getattr(kind, which))
    burgers = kind is Burgers
    temperature = mpmath.mpf(2 * problem.coefficient if burgers else problem.coefficient)
    with mpmath.workdps(30):
        amplitude = 1 / mpmath.pi if burgers else mpmath.mpf(1)
        z = [mpmath.mpf(i) / 16 for i in range(-480, 481)]
        for t, x in [(0.02, 0.4), (0.33, 1e-3), (0.5, -0.01), (1.0, 0.003), (1.0, 0.7)]:
            phases = [mpmath.pi * (x + mpmath.sqrt(temperature * t) * node) for node in z]
            weights = [
                mpmath.exp(-(node**2) / 2 - amplitude * mpmath.cos(phase) / temperature)
                for node, phase in zip(z, phases, strict=True)
            ]
            if burgers:
                tilted = sum(w * mpmath.sin(phase) for w, phase in zip(weights, phases, strict=True))
                expected = -tilted / sum(weights)
            else:
                expected = -temperature * mpmath.log(sum(weights) / 16 / mpmath.sqrt(2 * mpmath.pi))
            found = problem.exact(torch.tensor([[t, x]], dtype=torch.float64)).item()
            assert abs(found - expected) < 1e-13


@pytest.mark.parametrize("name", ["burgers", "viscous_hj"])
def test_points_in_many_chunks_are_those_one_by_one(name: str) -> None:
    problem = equation(name)
    points = inside(problem, 20_000)
    some = torch.tensor([0, 9_000, 19_999])
    torch.testing.assert_close(problem.exact(points)[some], problem.exact(points[some]), rtol=0, atol=1e-14)
    assert problem.exact(points[:0]).shape == (0, 1)


@pytest.mark.parametrize("name", ["oscillator", "oscillator_2d"])
@pytest.mark.parametrize("omega", [0.5, 1.0, 3.0])
def test_the_oscillators_norm_is_one_at_all_times(name: str, omega: float) -> None:
    """By the trapezoidal rule on a box that leaves out under 1e-20."""
    problem = equation(name, omega)
    axis = torch.linspace(-12, 12, 201, dtype=torch.float64)
    space = torch.cartesian_prod(*[axis] * (len(problem.inputs) - 1)).reshape(-1, len(problem.inputs) - 1)
    for t in (0.0, 0.4, 1.5):
        density = problem.exact(torch.cat((torch.full((len(space), 1), t), space), 1)).square().sum(1)
        norm = density.sum().item() * 0.12 ** space.shape[1]
        assert norm == pytest.approx(1, abs=1e-12)


def test_the_oscillator_swings() -> None:
    """<x> = cos(omega t) / sqrt(2 omega) for this superposition, as a pendulum's (Ehrenfest)."""
    problem = equation("oscillator", 2.0)
    x = torch.linspace(-12, 12, 401, dtype=torch.float64)
    for t in (0.0, 0.4, 1.5):
        density = problem.exact(torch.stack((torch.full_like(x, t), x), 1)).square().sum(1)
        assert (density * x).sum().item() * 0.06 == pytest.approx(math.cos(2 * t) / 2, abs=1e-12)


@EACH
def test_single_precision_is_kept_and_near(name: str) -> None:
    problem = equation(name)
    points = inside(problem)
    found = problem.exact(points.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), problem.exact(points.float().double()), rtol=0, atol=2e-5)


@EACH
def test_the_catalogue_describes_each(name: str) -> None:
    problem = equation(name)
    kind = type(problem)
    assert problem == kind(kind.default)
    assert problem.coefficient == kind.default
    assert problem.name == name
    assert len(problem.low) == len(problem.high) == len(problem.inputs)
    assert "\n" not in problem.description
    assert len(problem.description) < 120
    assert f" {kind.symbol}" in problem.description
    with pytest.raises(FrozenInstanceError):
        problem.coefficient = 2.0  # type: ignore[misc]


@EACH
@pytest.mark.parametrize("wrong", ["below", "above", math.nan, math.inf, True, "1"])
def test_a_coefficient_out_of_range_is_refused(name: str, wrong: float | str) -> None:
    kind = CATALOG[name]
    value = {"below": kind.lowest - 0.01, "above": kind.highest * 1.01}.get(str(wrong), wrong)
    with pytest.raises(ValueError, match=f"coefficient {kind.symbol} of {name} must be an? .* from .* to "):
        equation(name, value)  # type: ignore[arg-type]


def test_the_waves_coefficient_is_whole() -> None:
    assert equation("wave", 2) == equation("wave", 2.0)
    with pytest.raises(ValueError, match=r"an integer from 1 to 20, not 2\.5"):
        equation("wave", 2.5)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'burger' \(did you mean burgers\?\): choose one of heat, convection"):
        equation("burger")
