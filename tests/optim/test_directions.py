"""The directions against closed forms. t is gamma, h the inner step, a the averaging; float64 throughout."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deeprelax.optim import SGD, EntropySGD, HamiltonJacobi, Heat, pde_relaxed

from .problems import direction, matrix_function, quadratic_loss, random_quadratic

A, MINIMUM, X = random_quadratic()
F = quadratic_loss(A, MINIMUM)
START = torch.from_numpy(X)


def moreau_gradient(t: float) -> np.ndarray:
    """grad u(X, t) of the quadratic: A (I + tA)^-1 (x - x*), for Hopf-Lax and for local entropy alike."""
    return matrix_function(A, lambda e: e / (1 + t * e)) @ (X - MINIMUM)


def close(actual: torch.Tensor, expected: np.ndarray, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("t", [0.3, 2.0, 1e4])
@pytest.mark.parametrize("steps", [1, 2, 20])
def test_entropy_sgd_on_a_quadratic_has_exactly_the_bias_q_of_a_finite_chain(t: float, steps: int) -> None:
    h, a = 0.1, 0.75

    def one_minus_q(e: np.ndarray) -> np.ndarray:
        r = 1 - h * (e + 1 / t)
        return 1 - (a**steps + (1 - a) * r * (a**steps - r**steps) / (a - r))

    d = direction(
        EntropySGD, START, F, gamma=t, inner_steps=steps, inner_lr=h, averaging=a, inner_momentum=0.0, temperature=0.0
    )
    close(d, matrix_function(A, one_minus_q) @ (t * moreau_gradient(t)), 1e-12 * max(1.0, t))


def test_entropy_sgd_reaches_gamma_times_the_gradient_of_local_entropy_as_the_chain_grows() -> None:
    d = direction(EntropySGD, START, F, gamma=2.0, inner_steps=600, inner_momentum=0.0, temperature=0.0)
    close(d, 2.0 * moreau_gradient(2.0))


def test_mean_and_variance_of_the_average_over_many_chains() -> None:
    n, curvature, t, h, a, steps, temperature = 200_000, 1.3, 0.8, 0.1, 0.75, 12, 0.37
    r, x = 1 - h * (curvature + 1 / t), 0.9
    q = a**steps + (1 - a) * r * (a**steps - r**steps) / (a - r)
    weights = [(a**i - r**i) / (a - r) for i in range(1, steps + 1)]
    variance = 2 * h * temperature * (1 - a) ** 2 * sum(w * w for w in weights)
    # Coordinates are independent chains.
    d = direction(
        EntropySGD,
        torch.full((n,), x, dtype=torch.float64),
        lambda p: 0.5 * curvature * p.square().sum(),
        gamma=t, inner_steps=steps, inner_lr=h, averaging=a, inner_momentum=0.0, temperature=temperature,
    )  # fmt: skip
    mean_bound = 5 * math.sqrt(variance / n)
    assert abs(d.mean().item() - (1 - q) * t * curvature * x / (1 + t * curvature)) < mean_bound
    assert abs(d.var().item() / variance - 1) < 5 * math.sqrt(2 / n)


def test_stationary_variance_is_that_of_the_gibbs_density_for_a_small_step() -> None:
    n, curvature, t, temperature = 100_000, 2.0, 0.5, 0.25
    d = direction(
        EntropySGD,
        torch.zeros(n, dtype=torch.float64),
        lambda p: 0.5 * curvature * p.square().sum(),
        gamma=t, inner_steps=400, inner_lr=0.01, averaging=0.0, inner_momentum=0.0, temperature=temperature,
    )  # fmt: skip
    b = curvature + 1 / t
    discrete = temperature / b / (1 - 0.01 * b / 2)  # of y <- (1 - h b) y + sqrt(2 h T) xi
    assert abs(d.var().item() / discrete - 1) < 5 * math.sqrt(2 / n)
    assert abs(discrete / (temperature / b) - 1) < 0.025


def test_chain_with_inner_momentum_follows_the_written_rule() -> None:
    t, h, a, m, steps = 1.7, 0.08, 0.6, 0.9, 7
    y, mu, v = X.copy(), X.copy(), np.zeros_like(X)
    for _ in range(steps):
        g = A @ (y - MINIMUM) + (y - X) / t
        v = m * v + g
        y = y - h * (g + m * v)
        mu = a * mu + (1 - a) * y
    keywords = {"gamma": t, "inner_steps": steps, "inner_lr": h, "averaging": a, "inner_momentum": m}
    close(direction(EntropySGD, START, F, temperature=0.0, **keywords), X - mu)
    close(direction(HamiltonJacobi, START, F, solver="proximal", **keywords), X - y)


@pytest.mark.parametrize("t", [0.2, 5.0])
def test_proximal_hj_reaches_x_minus_prox(t: float) -> None:
    d = direction(HamiltonJacobi, START, F, solver="proximal", gamma=t, inner_steps=700, inner_momentum=0.9)
    prox = matrix_function(A, lambda e: 1 / (1 + t * e)) @ (X + t * A @ MINIMUM)
    close(d, X - prox, 1e-11)
    close(d, t * moreau_gradient(t), 1e-11)


def test_proximal_hj_solves_the_double_well() -> None:
    t, x = 0.6, torch.tensor([0.3, -1.4, 2.0], dtype=torch.float64)
    d = direction(
        HamiltonJacobi, x, lambda p: ((p.square() - 1).square() / 4).sum(), solver="proximal", gamma=t, inner_steps=900
    )
    prox = (x - d).numpy()
    np.testing.assert_allclose(prox**3 + (1 / t - 1) * prox - x.numpy() / t, 0, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 5, 9])
@pytest.mark.parametrize("t", [0.1, 1.0, 3.0])
def test_hj_fixed_point_formula(steps: int, t: float) -> None:
    a, n = 0.75, steps - 1
    d = direction(HamiltonJacobi, START, F, gamma=t, inner_steps=steps, averaging=a)
    factor = matrix_function(A, lambda e: e / (1 + t * e) * (1 + t * e * (a - (1 - a) * t * e) ** n))
    close(d, factor @ (X - MINIMUM), 1e-10)


def test_hj_fixed_point_converges_exactly_below_its_border() -> None:
    t, x = 1.0, torch.ones(1, dtype=torch.float64)
    border = (1 + 0.75) / (1 - 0.75)
    assert border == 7.0

    def error(curvature: float) -> float:
        def loss(p: torch.Tensor) -> torch.Tensor:
            return 0.5 * curvature * p.square().sum()

        d = direction(HamiltonJacobi, x, loss, gamma=t, inner_steps=600)
        return abs(d.item() - curvature / (1 + t * curvature))

    assert error(0.95 * border) < 1e-8
    assert error(1.05 * border) > 1e3


def test_heat_on_a_quadratic_is_unbiased() -> None:
    d = torch.stack([direction(Heat, START, F, sigma=0.3, filter_normalized=False, seed=s) for s in range(4000)])
    bound = 5 * 0.3 * np.sqrt(np.diag(A @ A) / 4000)
    assert (np.abs(d.mean(0).numpy() - A @ (X - MINIMUM)) < bound).all()


@pytest.mark.parametrize("x", [-1.2, 0.1, 0.8])
@pytest.mark.parametrize("samples", [1, 3])
def test_heat_on_the_double_well_and_the_cosine(x: float, samples: int) -> None:
    n, sigma, k = 300_000, 0.4, 3.0
    s = sigma**2
    start = torch.full((n,), x, dtype=torch.float64)
    keywords = {"sigma": sigma, "samples": samples, "filter_normalized": False}
    quartic = direction(Heat, start, lambda p: ((p.square() - 1).square() / 4).sum(), **keywords)
    cosine = direction(Heat, start, lambda p: torch.cos(k * p).sum(), **keywords)
    for d, expected in [
        (quartic, x**3 + (3 * s - 1) * x),
        (cosine, -k * math.sin(k * x) * math.exp(-(k**2) * s / 2)),
    ]:
        assert abs(d.mean().item() - expected) < 5 * (d.std() / math.sqrt(n)).item()


def test_filter_normalized_noise_has_the_size_of_each_filter() -> None:
    weight = torch.randn(8, 50, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight *= torch.logspace(-2, 2, 8, dtype=torch.float64)[:, None, None]
    vector = torch.linspace(1.0, 2.0, 1000, dtype=torch.float64)
    for x, norms in [(weight, weight.flatten(1).norm(dim=1)), (vector, vector.norm()[None])]:
        # f = |p|^2/2, so d = x + sigma z
        z = direction(Heat, x, lambda p: 0.5 * p.square().sum(), sigma=0.02) - x
        spread = z.reshape(len(norms), -1).std(dim=1)
        assert torch.allclose(spread, 0.02 * norms, rtol=5 / math.sqrt(2 * 1000), atol=0)


def test_weight_decay_belongs_to_the_loss_and_acts_once() -> None:
    decay = 0.3
    for make, keywords in [
        (SGD, {}),
        (EntropySGD, {"gamma": 1.5, "inner_steps": 5, "temperature": 1e-3}),
        (HamiltonJacobi, {"gamma": 0.5}),
        (HamiltonJacobi, {"solver": "proximal", "gamma": 0.5}),
        (Heat, {"sigma": 0.1, "samples": 2}),
        (pde_relaxed, {"equation": "viscous_hj"}),
    ]:
        inside = direction(make, START, lambda p: F(p) + 0.5 * decay * p.square().sum(), **keywords)
        close(direction(make, START, F, weight_decay=decay, **keywords), inside.numpy())


def test_on_a_saddle_too_while_the_relaxed_quadratic_is_convex() -> None:
    """A has negative eigenvalues, I + tA none: the prox and grad u = A (I + tA)^-1 (x - x*) are still unique."""
    t = 0.5
    saddle = A - 1.2 * np.eye(len(A))
    assert np.linalg.eigvalsh(saddle)[0] < -1
    assert np.linalg.eigvalsh(np.eye(len(A)) + t * saddle)[0] > 0.4
    loss, gradient = quadratic_loss(saddle, MINIMUM), np.linalg.solve(np.eye(len(A)) + t * saddle, saddle)
    expected = gradient @ (X - MINIMUM)
    exact = {"gamma": t, "inner_steps": 900, "inner_momentum": 0.0}
    close(direction(EntropySGD, START, loss, temperature=0.0, **exact) / t, expected, 1e-10)
    close(direction(HamiltonJacobi, START, loss, solver="proximal", **exact) / t, expected, 1e-10)
    close(direction(HamiltonJacobi, START, loss, gamma=t, inner_steps=300), expected, 1e-10)


@pytest.mark.parametrize("curvature", [0.01, 1.0, 10.0])
def test_the_equations_of_pde_relaxed_agree_at_their_defaults(curvature: float) -> None:
    for equation in ("viscous_hj", "hj"):
        d = direction(
            pde_relaxed, torch.ones(1, dtype=torch.float64), lambda p: 0.5 * curvature * p.square().sum(),
            equation=equation, temperature=0.0,
        )  # fmt: skip
        assert d.item() == pytest.approx(curvature / (1 + 0.1 * curvature), rel=0.15)


@pytest.mark.parametrize("equation", ["viscous_hj", "hj", "heat"])
def test_pde_relaxed_descends_u_with_the_same_meaning_of_lr_for_all_equations(equation: str) -> None:
    t = 0.4
    d = direction(pde_relaxed, START, F, equation=equation, gamma=t, temperature=0.0, inner_steps=200)
    close(d, moreau_gradient(t) if equation != "heat" else A @ (X - MINIMUM), 1e-11)


def test_pde_relaxed_heat_has_variance_gamma_times_temperature() -> None:
    d = direction(
        pde_relaxed, torch.zeros(200_000, dtype=torch.float64), lambda p: 0.5 * p.square().sum(),
        equation="heat", gamma=0.5, temperature=0.08, inner_steps=1,
    )  # fmt: skip
    assert abs(d.var().item() / 0.04 - 1) < 5 * math.sqrt(2 / 200_000)
