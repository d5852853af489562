"""Claim 3: the value function, the paths with and without control, and what they cost."""

from __future__ import annotations

import numpy as np
import pytest

from deeprelax.pde.claims import Claim
from deeprelax.pde.experiments import control_claims as controlled
from deeprelax.pde.experiments.control_diffusion import Control, Diffusion, simulate, value_function
from deeprelax.pde.problems.closed_forms import riccati, riccati_constant
from deeprelax.pde.problems.functions import Problem, double_well, quadratic
from deeprelax.pde.problems.rough import rough


def diffusion(
    problem: Problem,
    temperature: float,
    horizon: float,
    start: float,
    paths: int,
    steps: int,
    seed: int = 0,
    **grid: float,
) -> Diffusion:
    settings = Control(temperature=temperature, horizon=horizon, start=start, paths=paths, steps=steps, seed=seed)
    return Diffusion(problem, settings, **grid)


def _all_hold(claims: list[Claim]) -> None:
    assert claims
    assert [claim.line() for claim in claims if not claim.holds] == []


def test_riccati() -> None:
    _all_hold(controlled.riccati_claims(points=801))
    tau = np.linspace(0, 1, 10_001)
    p = np.array([riccati(1.5, s) for s in tau])
    np.testing.assert_allclose(np.gradient(p, tau)[1:-1], (-3 * p - p**2)[1:-1], atol=1e-5)
    assert riccati_constant(1.5, 1.0, 0.4) == pytest.approx(0.2 * np.trapezoid(p, tau), rel=1e-7)


def test_the_control_lowers_the_expected_loss_by_more_than_its_effort() -> None:
    setting = diffusion(double_well(), 0.3, 2.0, 1.0, paths=5000, steps=100, points=401, seed=4)
    found, sgd, steered = controlled.bound_claims(setting, value_function(setting))
    _all_hold(found)
    _all_hold(controlled.cost_claims(setting, value_function(setting), (sgd, steered)))
    # a control that is worse than none breaks the bound: the claim can fail
    wrong, *_ = controlled.bound_claims(setting, -value_function(setting))
    assert not any(claim.holds for claim in wrong)
    assert sgd.effort.max() == 0
    assert steered.effort.min() > 0


def test_controlled_paths_cost_what_the_riccati_solution_says() -> None:
    setting = diffusion(quadratic(1, 1.0), 0.5, 1.0, 1.0, paths=20_000, steps=200, points=401, seed=5)
    paths = simulate(setting, value_function(setting))
    expected = riccati(1.0, 1.0) / 2 + riccati_constant(1.0, 1.0, 0.5)
    mean, error = controlled.mean_and_error(paths.f + paths.effort)
    # Euler's error of the cost is at most lambda ds/2 of it, for lambda = 1 on a unit interval of time
    assert abs(mean - expected) < 4 * error + 0.5 * setting.settings.horizon / setting.settings.steps * expected


def test_the_paths_have_no_visible_bias_on_the_rough_function_at_the_default_step() -> None:
    """Heun's scheme at 500 steps; Euler-Maruyama is off by 0.03, 5 standard errors of these paths."""
    setting = diffusion(rough(), 1.0, 0.5, 1.3, paths=25_000, steps=500, seed=1)
    mean, error = controlled.mean_and_error(simulate(setting, None).f)
    exact = float((controlled.sgd_density(setting) * setting.problem.line(setting.grid())).sum())
    assert abs(mean - exact) < 3.9 * error


def test_the_control_is_the_one_of_its_time() -> None:
    """On a quadratic E x obeys x' = -(lambda + P(tau)) x; a control one step late is 10 standard errors off."""
    setting = diffusion(quadratic(1, 1.0), 0.02, 1.0, 1.0, paths=20_000, steps=20, points=801, seed=9, low=-3, high=3)
    rate = [1 + riccati(1.0, tau) for tau in np.linspace(0, 1, 1001)]
    exact = np.exp(-np.trapezoid(rate, dx=0.001))
    mean, error = controlled.mean_and_error(simulate(setting, value_function(setting)).x)
    assert abs(mean - exact) < 4 * error + 1e-3 * exact  # Heun's error: (lambda + P)^3 ds^2/6 on the way


def test_sgd_density_is_the_ornstein_uhlenbeck_processs() -> None:
    setting = diffusion(quadratic(1, 1.5), 0.4, 0.7, 1.0, paths=1, steps=10, points=801)
    x, density = setting.grid(), controlled.sgd_density(setting)
    mean, variance = np.exp(-1.5 * 0.7), 0.4 / 3.0 * (1 - np.exp(-3.0 * 0.7))  # temperature/(2 lambda) when stationary
    assert density.sum() == pytest.approx(1, abs=1e-9)
    assert (density * x).sum() == pytest.approx(mean, abs=1e-4)
    assert (density * (x - mean) ** 2).sum() == pytest.approx(variance, rel=1e-3)
