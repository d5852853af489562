"""Local entropy by the Cole-Hopf formula: closed forms, both methods, residual, gradient and moments."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr

from deeprelax.pde.problems.functions import Problem, cosine, quadratic
from deeprelax.pde.problems.rough import rough
from deeprelax.pde.problems.wells import Wells
from deeprelax.pde.solvers import cole_hopf
from deeprelax.pde.solvers.cole_hopf import gibbs_moments, local_entropy, local_entropy_gradient
from deeprelax.pde.solvers.grid import axis, coordinates, observed_order, second_difference, spacing_of, with_margin
from deeprelax.pde.solvers.hopf_lax import hopf_lax

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("method", ["convolution", "log_sum_exp"])
@pytest.mark.parametrize("problem", [cosine(), Wells().problem(), cosine(2), Wells(dimension=2).problem()])
def test_cole_hopf_reaches_the_closed_form_to_rounding(problem: Problem, method: str) -> None:
    assert problem.local_entropy is not None
    assert problem.softness is not None
    time, temperature, d = 0.35, problem.softness, problem.dimension
    x = axis(*problem.domain, 241 if d == 1 else 81)
    longer, inner = with_margin(x, 9 * math.sqrt(time * temperature))
    if problem.name == "two_wells":  # exp(-f/T) of the sharp well must be resolved: its width is sqrt(T/60) = 0.05
        longer, inner = with_margin(axis(-3, 3, 241 if d == 1 else 181), 0.9)
        x = longer[inner]
    value = problem.value(coordinates(*[longer] * d))
    if np.ptp(value) / temperature > 600 and method == "convolution":
        pytest.skip("the range of f is beyond the convolution's")
    u = local_entropy(value, spacing_of(x), time, temperature, method)[(inner,) * d]
    # what lies beyond the margin, as a share of the integral, bounds the error of the wells at the edge
    part = tuple([slice(20, -20)] * d)
    exact = problem.local_entropy(coordinates(*[x] * d), time, temperature)
    np.testing.assert_allclose(u[part], exact[part], rtol=0, atol=1e-10)


def test_the_kernel_of_log_sum_exp_is_normalised_over_the_whole_lattice() -> None:
    f, time, temperature = np.zeros(21), 4.0, 1.0  # a standard deviation of 20 points
    one, other = (local_entropy(f, 0.1, time, temperature, m) for m in ("convolution", "log_sum_exp"))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    x = 0.1 * (np.arange(21) - 10)
    share = [ndtr((1.05 - at) / 2) - ndtr((-1.05 - at) / 2) for at in x]
    np.testing.assert_allclose(other, -np.log(share), rtol=0, atol=1e-4)


def test_the_kernel_in_pieces_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    f = RNG.normal(size=(40, 37))
    whole = local_entropy(f, 0.1, 0.2, 0.3, "log_sum_exp")
    monkeypatch.setattr(cole_hopf, "CHUNK", 100)
    np.testing.assert_array_equal(local_entropy(f, 0.1, 0.2, 0.3, "log_sum_exp"), whole)


def test_the_two_methods_agree_and_only_one_underflows() -> None:
    x = axis(-3, 3, 501)
    f = rough().line(x)
    for temperature in (1.0, 0.1, 0.05):
        one, other = (local_entropy(f, spacing_of(x), 0.2, temperature, m) for m in ("convolution", "log_sum_exp"))
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-11)
    with pytest.raises(ValueError, match="underflows"):
        local_entropy(f, spacing_of(x), 0.2, 1e-3, "convolution")
    cold = local_entropy(f, spacing_of(x), 0.2, 1e-4)
    # u is between Hopf-Lax and T times the log of the number of points that matter
    assert np.abs(cold - hopf_lax(f, spacing_of(x), 0.2)).max() < 1e-4 * math.log(501 * 10)


def test_the_residual_of_cole_hopf_vanishes_with_second_order() -> None:
    problem, time, temperature, residuals, spacing = rough(), 0.2, 0.3, [], []
    for n in (301, 601, 1201):
        x = axis(-2, 2, n)
        longer, inner = with_margin(x, 4.0)
        dx = spacing_of(x)
        before, now, after = (local_entropy(problem.line(longer), dx, time + s * dx, temperature) for s in (-1, 0, 1))
        slope = (now[2:] - now[:-2]) / (2 * dx)
        residual = (after - before)[1:-1] / (2 * dx) + slope**2 / 2 - temperature / 2 * second_difference(now, dx)
        residuals.append(np.abs(residual[inner]).max())
        spacing.append(dx)
    assert observed_order(spacing, residuals) == pytest.approx(2, abs=0.2)


def test_the_gradient_of_local_entropy_and_the_gibbs_variance_on_a_quadratic() -> None:
    y, x, time, temperature = axis(-9, 9, 1801), axis(-2, 2, 9), 0.7, 0.4
    mean, variance = gibbs_moments(y, quadratic().line(y), x, time, temperature)
    np.testing.assert_allclose(mean, x / (1 + 2 * time), atol=1e-12)
    np.testing.assert_allclose(variance, temperature / (2 + 1 / time), atol=1e-12)
    wells = Wells()
    u_x = local_entropy_gradient(y, wells.problem().line(y), x, time, wells.softness)
    np.testing.assert_allclose(u_x, wells.gradient(x[None], time)[0], atol=1e-10)
