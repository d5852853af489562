"""The solvers against closed forms, against each other, and their orders of convergence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d, grey_erosion

from deeprelax.pde.experiments.smooth import relaxations
from deeprelax.pde.problems.functions import Problem, absolute, cosine, double_well, ellipse, quadratic, rastrigin
from deeprelax.pde.problems.rough import rough
from deeprelax.pde.solvers.cole_hopf import local_entropy
from deeprelax.pde.solvers.fokker_planck import generator
from deeprelax.pde.solvers.godunov import cfl_step, godunov
from deeprelax.pde.solvers.grid import axis, coordinates, observed_order, spacing_of, with_margin
from deeprelax.pde.solvers.heat import heat
from deeprelax.pde.solvers.hopf_lax import hopf_lax, minimisers, proximal_points

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("time", [1e-4, 0.03, 0.7, 100.0])
@pytest.mark.parametrize("values", ["smooth", "random", "excluded"])
def test_the_lower_envelope_is_the_minimum_over_all_grid_points(time: float, values: str) -> None:
    x, dx = axis(-2, 3, 301), 5 / 300
    f = np.sin(3 * x) + x**2 / 4 if values == "smooth" else RNG.normal(size=301)
    if values == "excluded":
        f[RNG.random(301) < 0.5] = np.inf
    table = f + (x[:, None] - x) ** 2 / (2 * time)
    np.testing.assert_allclose(hopf_lax(f, dx, time), table.min(axis=1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(table[range(301), minimisers(f, dx, time)], table.min(axis=1), rtol=1e-12, atol=1e-12)
    assert (np.diff(minimisers(f, dx, time)) >= 0).all()


def test_the_lower_envelope_in_two_dimensions_is_scipys_grey_erosion() -> None:
    f, each, time = RNG.normal(size=(41, 30)), (0.1, 0.25), 0.4
    z = np.ix_(0.1 * np.arange(-40, 41), 0.25 * np.arange(-29, 30))
    expected = grey_erosion(
        f, footprint=np.ones((81, 59)), structure=-(z[0] ** 2 + z[1] ** 2) / (2 * time), mode="constant", cval=1e9
    )
    np.testing.assert_allclose(hopf_lax(f, each, time), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("problem", "time"), [(double_well(), 0.5), (double_well(), 3.0), (quadratic(), 2.0)])
def test_hopf_lax_has_second_order_and_its_stated_error(problem: Problem, time: float) -> None:
    assert problem.hopf_lax is not None
    curvature = 11.0 if problem.name == "double_well" else 2.0  # sup f'' on [-2, 2] and anywhere
    spacing, error = [], []
    for n in (129, 257, 513, 1025):
        x = axis(*problem.domain, n)
        spacing.append(spacing_of(x))
        difference = hopf_lax(problem.line(x), spacing[-1], time) - problem.hopf_lax(x[None], time)
        error.append(difference.max())
        assert difference.min() > -1e-13
        assert error[-1] <= 0.5 * (curvature + 1 / time) * (spacing[-1] / 2) ** 2 + 1e-13
    assert observed_order(spacing, error) == pytest.approx(2, abs=0.1)


def test_hopf_lax_of_the_absolute_value_is_hubers_function_in_two_dimensions_too() -> None:
    problem, x, time = absolute(2), axis(-2, 2, 81), 0.6
    assert problem.hopf_lax is not None
    points = coordinates(x, x)
    difference = hopf_lax(problem.value(points), 0.05, time) - problem.hopf_lax(points, time)
    assert difference.min() > -1e-13
    assert difference.max() <= 2 * 0.5 / time * 0.025**2  # two axes; the kink at 0 is a grid point


def test_proximal_points_solve_the_cubic() -> None:
    problem, time = double_well(), 3.0  # beyond t = 1 the prox jumps at 0
    y, x = axis(-3, 3, 601), axis(-2.013, 1.987, 50)
    prox = proximal_points(problem.slope, y, problem.line(y), x, time)
    np.testing.assert_allclose(prox**3 + (1 / time - 1) * prox - x / time, 0, atol=1e-12)
    assert (np.sign(prox) == np.sign(x)).all()


@pytest.mark.parametrize("problem", [double_well(), quadratic(), rastrigin(1), rastrigin(2), double_well(2)])
def test_heat_reaches_the_closed_form_to_rounding(problem: Problem) -> None:
    assert problem.heat is not None
    time, temperature = 0.3, 0.2
    x = axis(*problem.domain, 101)
    longer, inner = with_margin(x, 9.5 * math.sqrt(time * temperature))
    d = problem.dimension
    smoothed = heat(problem.value(coordinates(*[longer] * d)), spacing_of(x), time, temperature)[(inner,) * d]
    np.testing.assert_allclose(smoothed, problem.heat(coordinates(*[x] * d), time * temperature), rtol=0, atol=1e-11)


def test_heat_of_the_absolute_value_has_second_order() -> None:
    problem, spacing, error = absolute(), [], []
    assert problem.heat is not None
    for n in (65, 129, 257, 513):
        x = axis(-2, 2, n)
        longer, inner = with_margin(x, 4.0)
        spacing.append(spacing_of(x))
        smoothed = heat(np.abs(longer), spacing[-1], 0.5, 0.3)[inner]
        error.append(np.abs(smoothed - problem.heat(x[None], 0.15)).max())
    assert observed_order(spacing, error) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("time", [0.05, 0.4])
def test_an_ellipse_keeps_its_closed_forms(time: float) -> None:
    """A rotated quadratic is not separable: u has the term T/2 log det(I + tA)."""
    problem, temperature = ellipse(2), 0.3
    x = axis(-1.5, 1.5, 61)
    longer, inner = with_margin(x, 3.5)
    f, points, cut = problem.value(coordinates(longer, longer)), coordinates(x, x), (inner, inner)
    assert problem.heat is not None
    assert problem.hopf_lax is not None
    assert problem.local_entropy is not None
    u = local_entropy(f, 0.05, time, temperature)[cut]
    np.testing.assert_allclose(u, problem.local_entropy(points, time, temperature), rtol=0, atol=1e-9)
    smoothed = heat(f, 0.05, time, temperature)[cut]
    np.testing.assert_allclose(smoothed, problem.heat(points, time * temperature), rtol=0, atol=1e-9)
    above = hopf_lax(f, 0.05, time)[cut] - problem.hopf_lax(points, time)
    assert above.min() > -1e-12
    assert above.max() <= 2 * 0.5 * (8 + 1 / time) * 0.025**2
    a = np.array([[8 * math.cos(0.5) ** 2 + math.sin(0.5) ** 2, 7 * math.sin(0.5) * math.cos(0.5)], [0.0, 0.0]])
    a[1] = a[0, 1], 9 - a[0, 0]
    at = np.array([0.7, -0.4])
    inverse = np.linalg.inv(np.eye(2) + time * a)
    exact = 0.5 * at @ a @ inverse @ at + temperature / 2 * math.log(np.linalg.det(np.eye(2) + time * a))
    assert problem.local_entropy(at, time, temperature) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("temperature", [0.3, 0.02, 0.0])
def test_the_figures_relaxations_are_the_integrals_and_the_minimum(temperature: float) -> None:
    times, problem = [0.05, 0.4], rough()
    x, f, u = relaxations(problem, times, temperature, 301)
    np.testing.assert_allclose(f, problem.line(x), atol=1e-12)
    y = axis(-9, 9, 18_001)
    fine, at = problem.line(y), np.array([0, 17, 140, 222, 300])
    for i, t in enumerate(times):
        cost = fine + (x[at, None] - y) ** 2 / (2 * t)
        np.testing.assert_allclose(u["hj"][i, at], cost.min(axis=1), rtol=0, atol=0.5 * (430 + 1 / t) * 0.01**2)
        if temperature == 0:
            np.testing.assert_array_equal(u["heat"][i], f)
            np.testing.assert_array_equal(u["viscous_hj"][i], u["hj"][i])
            continue
        z = -((x[at, None] - y) ** 2) / (2 * t * temperature)
        density = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(u["heat"][i, at], density @ fine, rtol=0, atol=1e-5)
        lowest = cost.min(axis=1, keepdims=True)
        norm = 0.001 / math.sqrt(2 * math.pi * t * temperature)
        sums = np.exp(-(cost - lowest) / temperature).sum(axis=1) * norm
        # f'' jumps at the edge of the domain; and at the low temperature the coarse grid does not resolve exp(-f/T)
        tolerance = 1e-5 if temperature > 0.1 else 0.5 * 430 * 0.01**2
        exact = lowest[:, 0] - temperature * np.log(sums)
        np.testing.assert_allclose(u["viscous_hj"][i, at], exact, rtol=0, atol=tolerance)


def test_the_rough_function_is_the_one_that_is_stated() -> None:
    x = np.array([-3.0, -1.23, -0.16, 0.0, 1.3, 2.71])
    known = [8.68472896, -0.27117357, -1.94963681, 0.3002395, 3.27579342, 6.18196057]
    np.testing.assert_allclose(rough().line(x), known, rtol=0, atol=1e-8)
    knots = np.linspace(-3, 3, 500)
    noise = rough().line(knots) - knots**2 - 1.5 * np.sin(2 * np.pi * knots)
    assert noise.std() == pytest.approx(0.3, rel=1e-12)
    white = np.random.default_rng(42).standard_normal(500)
    assert np.corrcoef(noise, gaussian_filter1d(white, 4, mode="mirror"))[0, 1] == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(rough().slope(np.array([-3.0, 3.0])), [-6 + 3 * np.pi, 6 + 3 * np.pi], atol=1e-12)
    np.testing.assert_allclose(rough(2).value(np.array([[0.0], [1.3]])), known[3] + known[4], atol=1e-7)


@pytest.mark.parametrize("temperature", [0.0, 0.2])
def test_godunov_has_first_order(temperature: float) -> None:
    problem, time, spacing, error = cosine(), 0.8, [], []
    assert problem.local_entropy is not None
    for n in (32, 64, 128, 256):
        x = np.linspace(-1, 1, n, endpoint=False)
        spacing.append(2 / n)
        if temperature:
            exact = problem.local_entropy(x[None], time, temperature)
        else:
            fine = np.linspace(-3, 3, 24 * 512 + 1)
            exact = hopf_lax(problem.line(fine), 6 / (24 * 512), time)[8 * 512 : 16 * 512][:: 8 * 512 // n]
        error.append(np.abs(godunov(problem.line(x), 2 / n, time, temperature, periodic=True) - exact).max())
    assert observed_order(spacing[-3:], error[-3:]) == pytest.approx(1, abs=0.15)


def test_godunov_in_two_dimensions_is_the_sum_of_lines_and_keeps_bounds() -> None:
    x = np.linspace(-1, 1, 48, endpoint=False)
    problem = cosine(2)
    f = problem.value(coordinates(x, x))
    u = godunov(f, 2 / 48, 0.3, 0.05, periodic=True)
    line = godunov(cosine().line(x), 2 / 48, 0.3, 0.05, periodic=True)
    # the two runs have time steps of their own, so they agree to the order of the scheme only
    assert np.abs(u - (line[:, None] + line)).max() < 0.01
    assert f.min() - 1e-12 <= u.min()
    assert u.max() <= f.max() + 1e-12
    with pytest.raises(ValueError, match="courant"):
        godunov(f, 2 / 48, 0.3, courant=1.5)
    assert cfl_step(np.abs(x), 2 / 48, 0.0) == pytest.approx(2 / 48)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hopf_lax(np.zeros(5), 0.1, -1.0), "time must be"),
        (lambda: hopf_lax(np.full(5, np.nan), 0.1, 1.0), "no NaN"),
        (lambda: hopf_lax(np.full(5, np.inf), 0.1, 1.0), "at least one finite"),
        (lambda: local_entropy(np.array([0.0, -np.inf, 1.0]), 0.1, 1.0, 1.0), "finite, or"),
        (lambda: godunov(np.array([0.0, np.inf, 1.0]), 0.1, 1.0), "f must be finite: no NaN"),
        (lambda: heat(np.array([0.0, np.inf, 1.0]), 0.1, 1.0, 1.0), "f must be finite: no NaN"),
        (lambda: generator(np.array([0.0, np.inf, 1.0]), 0.1, 1.0), "f must be finite: no NaN"),
        (lambda: heat(np.zeros((5, 5)), (0.1,), 1.0, 1.0), "each of the 2 axes"),
        (lambda: local_entropy(np.zeros(5), 0.0, 1.0, 1.0), "spacing"),
        (lambda: local_entropy(np.zeros(5), 0.1, 1.0, 1.0, "fft"), "method"),
        (lambda: generator(np.zeros(5), 0.1, 0.0), "diffusivity"),
        (lambda: spacing_of(np.array([0.0, 1.0, 3.0])), "equidistant"),
    ],
)
def test_bad_arguments_are_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]
