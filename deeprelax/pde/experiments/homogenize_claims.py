"""Claim 5: the two-scale diffusion's slow variable follows the gradient flow of u."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import expm, solve_continuous_lyapunov

from ..claims import Claim
from ..problems.functions import double_well
from ..solvers.grid import observed_order
from .homogenize_scales import Homogenize, TwoScales, measure
from .verify import Verify


def quadratic_moments(
    curvature: float, gamma: float, temperature: float, start: float, time: float, eps: float
) -> tuple[float, float]:
    """Mean and variance of x of the two-scale diffusion of f = curvature/2 x^2: linear, hence exact."""
    drift = np.array([[-1 / gamma, 1 / gamma], [1 / (eps * gamma), -(curvature + 1 / gamma) / eps]])
    stationary = solve_continuous_lyapunov(drift, -np.diag([0.0, 2 * temperature / eps]))
    flow = expm(drift * time)
    covariance = stationary - flow @ stationary @ flow.T
    return float((flow @ [start, start])[0]), float(covariance[0, 0])


def quadratic_orders(eps: Sequence[float] = (0.02, 0.01, 0.005, 0.0025)) -> tuple[float, float]:
    """Orders in eps of |mean - X| and of the standard deviation, in closed form."""
    limit = 1.5 * np.exp(-1.0 / (1 + 0.5))  # X' = -lambda/(1 + gamma lambda) X, lambda = 1, gamma = 1/2, time 1
    moments = np.array([quadratic_moments(1.0, 0.5, 0.2, 1.5, 1.0, e) for e in eps])
    return observed_order(eps, np.abs(moments[:, 0] - limit)), observed_order(eps, np.sqrt(moments[:, 1]))


def claims(settings: Verify) -> list[Claim]:
    """Closed-form orders on a quadratic; the measured rate on the double well."""
    mean, spread = quadratic_orders()
    chosen = Homogenize(
        gamma=0.5, temperature=0.2, epsilon=[0.16, 0.04, 0.01, 0.0025], start=1.8, horizon=2.0, paths=2000,
        fast_step=0.02, seed=settings.seed,
    )  # fmt: skip
    system = TwoScales(double_well(), chosen)
    rate, _ = measure(system)
    fitted = rate.order()
    assert fitted is not None
    order, error = fitted
    way = abs(chosen.start - system.limit(np.array([0.0, chosen.horizon]))[-1])
    left = f"double well: rms distance at eps = {rate.eps[-1]:g}, relative to the way made"
    linear = "linear system, closed form"
    # at the end x is in the well, f'' = 2
    linear_spread = quadratic_moments(2.0, chosen.gamma, chosen.temperature, 0.0, 50.0, float(rate.eps[-1]))[1] ** 0.5
    near = "1.25 times the standard deviation of the linear system in the well; a path that follows f ends twice as far"
    note = f"strong averaging: rms distance O(sqrt eps); 2000 paths, seed {settings.seed}; interval +- 0.1"
    said = f"double well: order in eps of the rms distance, +- {1.96 * error:.3f}"
    return [
        Claim(5, "quadratic: order in eps of |E x - X|", mean, 1.1, 0.9, f"{linear}: O(eps)"),
        Claim(
            5, "quadratic: order in eps of the standard deviation of x", spread, 0.55, 0.45, f"{linear}: O(sqrt eps)"
        ),
        Claim(5, said, order, 0.6, 0.4, note),
        Claim(5, left, float(rate.rms[-1]) / way, 1.25 * linear_spread / way, note=near),
    ]
