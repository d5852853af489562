"""The claims with the samples of the default suite, and that each of them can fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta

from deeprelax.pde.claims import Claim
from deeprelax.pde.experiments import converge_claims as convergence
from deeprelax.pde.experiments import descend_paths as descent
from deeprelax.pde.experiments import directions_claims as following
from deeprelax.pde.experiments import homogenize_scales as homogenization
from deeprelax.pde.experiments import widen_claims as regularity
from deeprelax.pde.experiments.descend_claims import discordant
from deeprelax.pde.experiments.descend_density import densities
from deeprelax.pde.experiments.homogenize_claims import quadratic_moments, quadratic_orders
from deeprelax.pde.experiments.verify import CLAIMS, Verify, verified
from deeprelax.pde.problems.closed_forms import chain_bias, chain_variance
from deeprelax.pde.problems.functions import Problem, double_well, quadratic, rastrigin
from deeprelax.pde.problems.rough import rough
from deeprelax.pde.problems.wells import Wells


def two_scales(problem: Problem, temperature: float, start: float, **others: object) -> homogenization.TwoScales:
    """gamma = 1/2, until s = 1."""
    settings = homogenization.Homogenize(gamma=0.5, temperature=temperature, start=start, horizon=1.0, **others)
    return homogenization.TwoScales(problem, settings)


def descent_on_rough(starts: int, evaluations: int, noise: float, seed: int) -> descent.Descent:
    """At the values of the claims."""
    settings = descent.Descend(
        gamma=0.15,
        hj_gamma=0.4,
        temperature=1.0,
        inner_steps=100,
        starts=starts,
        gradient_evaluations=evaluations,
        gradient_noise=noise,
        basin_width=0.15,
        seed=seed,
    )
    return descent.Descent(rough(), settings)


def all_hold(claims: list[Claim]) -> None:
    assert claims
    assert [claim.line() for claim in claims if not claim.holds] == []


def test_a_claim_holds_within_its_bounds_only() -> None:
    assert Claim(1, "", 1.0, upper=1.0, lower=1.0).holds
    assert not Claim(1, "", 1.1, upper=1.0).holds
    assert not Claim(1, "", 0.9, lower=1.0).holds
    assert not Claim(1, "", float("nan"), upper=1.0).holds
    assert Claim(1, "", 0.5, 0.6, 0.4).bound() == "in [0.4, 0.6]"


def test_regularity() -> None:
    all_hold(regularity.claims())


def test_the_bounds_of_semiconcavity_are_sharp() -> None:
    """C/(1 + tC) is reached to 1 %, so a solver that smooths too little would be found out."""
    ratio = regularity.semiconcavity("viscous_hj") / regularity.semiconcavity_bound(np.array(regularity.TIMES))
    assert ratio.max() > 0.99


def test_the_wide_well_wins_when_predicted_for_other_wells_too() -> None:
    wells = Wells(curvatures=(100.0, 4.0), depths=(0.0, 0.1), softness=0.1)
    assert wells.crossing_time(0.1) == pytest.approx(
        np.roots([0, 4 * np.exp(2) - 100, np.exp(2) - 1])[0], rel=1e-6
    )  # 1 + 100 t = e^2 (1 + 4 t)
    all_hold(regularity._well_claims(wells, np.linspace(-3, 3, 3001)))
    assert replace(wells, depths=(0.0, 0.2)).crossing_time(0.1) == np.inf  # log 25 < 2 * 0.2/0.1


def test_following_on_quadratics() -> None:
    all_hold(following.quadratic_claims(seed=1))


def test_following_on_the_rough_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "CHAINS", ((0.002, 75, 1), (0.001, 200, 1)))
    all_hold(following.rough_claims(Verify(seed=2, chains=200)))


def test_chain_bias_is_that_of_the_written_recursion() -> None:
    a, h, gamma, c = 0.75, 0.1, 2.0, 1.7
    mean, mu, variance = 1.0, 1.0, np.zeros(2)
    covariance = np.zeros((2, 2))  # of (y, mu)
    for _ in range(9):
        r = 1 - h * (c + 1 / gamma)
        step = np.array([[r, 0.0], [(1 - a) * r, a]])
        noise = np.array([1.0, 1 - a])
        covariance = step @ covariance @ step.T + 2 * h * 0.3 * np.outer(noise, noise)
        mean = r * mean
        mu = a * mu + (1 - a) * mean
        variance = np.diag(covariance)
    assert chain_bias(c, gamma, h, a, 9) == pytest.approx(mu, rel=1e-13)
    assert chain_variance(c, gamma, h, a, 9, 0.3) == pytest.approx(variance[1], rel=1e-13)
    same = chain_bias(2.5 - 1 / gamma, gamma, h, a, 9)  # r = a
    assert same == pytest.approx(chain_bias(2.5 - 1 / gamma + 1e-6, gamma, h, a, 9), rel=1e-4)


def test_homogenisation() -> None:
    mean, spread = quadratic_orders()
    assert mean == pytest.approx(1, abs=0.05)
    assert spread == pytest.approx(0.5, abs=0.02)
    system = two_scales(double_well(), 0.2, 1.8, epsilon=[0.16, 0.04, 0.01], paths=500, seed=6, fast_step=0.04)
    rate, _ = homogenization.measure(system)
    order, error = rate.order()
    assert abs(order - 0.5) < 0.1
    assert error < 0.03


def test_two_scale_paths_have_the_moments_of_the_linear_system() -> None:
    system = two_scales(quadratic(1, 1.0), 0.2, 1.5, paths=10_000, fast_step=0.02)
    _, x = system.slow(0.05, seed=7)
    mean, variance = quadratic_moments(1.0, 0.5, 0.2, 1.5, 1.0, 0.05)
    # the step is 0.001 in s: an explicit step's error of the mean is of that order
    assert abs(x[-1].mean() - mean) < 4 * np.sqrt(variance / 10_000) + 1e-3
    assert abs(x[-1].var() / variance - 1) < 4 * np.sqrt(2 / 10_000) + 0.01


def test_descent_on_the_solvers_u_reaches_the_basin_once_one_minimum_is_left_and_not_before() -> None:
    runs = descent_on_rough(50, 0, 0.0, 0)
    assert descent.solver_descent(runs, "viscous_hj", 0.15).all()
    assert descent.solver_descent(runs, "hj", 0.4).all()
    assert descent.solver_descent(runs, "heat", 0.15).all()
    for equation, early in (("viscous_hj", 0.01), ("hj", 0.05), ("heat", 0.015)):
        assert descent.solver_descent(runs, equation, early).mean() < 0.5


def test_the_basin_lies_between_the_barriers_of_the_smoothed_function() -> None:
    barrier = 0.5206186  # x + 2 pi exp(-2 pi^2 0.15^2) sin 2 pi x = 0
    for dimension in (1, 2):
        np.testing.assert_allclose(
            descent.basin(rastrigin(dimension), 0.15), [[-barrier, barrier]] * dimension, atol=2e-3
        )
    outside = np.array([[0.0, 0.51, 0.53, 0.0], [0.0, 0.51, 0.0, -0.53]])
    assert descent.reached(rastrigin(2), outside, 0.15).tolist() == [True, True, False, False]


def test_optimizers_reach_the_basin_more_often_than_sgd() -> None:
    runs = descent_on_rough(60, 2000, 3.0, seed=8)
    ends = {name: runs.reached(runs.ends(name)) for name in ("sgd", "heat")}
    assert discordant(ends["heat"], ends["sgd"]) < 1e-6
    assert discordant(ends["sgd"], ends["heat"]) > 0.99
    spent, path = runs.paths("entropy_sgd")
    assert spent[-1] == 2000
    assert len(path) == 21


def test_the_densities_in_f_and_in_u_agree_with_the_paths() -> None:
    """SGD with noise and its Fokker-Planck density; in u nearly all mass moves into the basin, in f none does."""
    runs = descent_on_rough(100, 1000, 3.0, seed=3)
    found = densities(runs, {"viscous_hj": 0.15, "hj": 0.4, "heat": 0.15})
    assert found is not None
    measured = runs.reached(runs.ends("sgd"))
    low, high = descent.interval(int(measured.sum()), 100, 1e-3)
    assert low < found.mass("f")[-1] < high
    start = 1.052 / 6  # the basin's share of the interval
    for name in found.rho:
        assert found.mass(name)[0] == pytest.approx(start, abs=0.005)
        assert found.rho[name].sum(axis=1) * 0.01 == pytest.approx(1, abs=1e-9)
        assert (found.mass(name)[-1] > 0.85) == (name != "f")
    assert densities(replace(runs, settings=replace(runs.settings, gradient_noise=0.0)), {}) is None


def test_entropy_sgds_chain_crosses_barriers_only_with_its_temperature() -> None:
    runs = descent_on_rough(60, 3000, 0.0, seed=8)
    warm, sgd = (runs.reached(runs.ends(name)) for name in ("entropy_sgd", "sgd"))
    assert discordant(warm, sgd) < 1e-4
    cold = replace(runs, settings=replace(runs.settings, temperature=0.0))
    assert discordant(runs.reached(cold.ends("entropy_sgd")), sgd) > 0.01


def test_intervals_are_clopper_pearsons() -> None:
    assert descent.interval(0, 10) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))
    for hits in (1, 4, 9):
        low, high = descent.interval(hits, 10)
        assert low == pytest.approx(beta.ppf(0.025, hits, 11 - hits), rel=1e-12)
        assert high == pytest.approx(beta.ppf(0.975, hits + 1, 10 - hits), rel=1e-12)
    assert descent.interval(10, 10) == (pytest.approx(0.025 ** (1 / 10)), 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("number", sorted(CLAIMS))
def test_all_claims_at_full_size(number: int) -> None:
    for claims in verified(Verify(claims=[number], seed=0, paths=100_000, chains=1000)):
        all_hold(claims)


@pytest.mark.slow
def test_convergence() -> None:
    all_hold(convergence.claims())
