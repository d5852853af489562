"""What the optimizers' inner loops give on a quadratic of curvature lambda, exactly, and the Riccati coefficient."""

from __future__ import annotations

import math

import numpy as np


def chain_bias(curvature: float, gamma: float, inner_lr: float, averaging: float, inner_steps: int) -> float:
    """q_L = (E mu_L - prox)/(x - prox) of Entropy-SGD's chain without inner momentum: d = (1 - q_L) gamma grad u.

    q = a^L + (1-a) r (a^L - r^L)/(a - r), r = 1 - h (lambda + 1/gamma).
    """
    a, r = averaging, 1 - inner_lr * (curvature + 1 / gamma)
    return a**inner_steps + (1 - a) * r * _ratio(a, r, inner_steps)


def chain_variance(
    curvature: float, gamma: float, inner_lr: float, averaging: float, inner_steps: int, temperature: float
) -> float:
    """Var mu_L = 2 h T (1-a)^2 sum_{i=1..L} [(a^i - r^i)/(a - r)]^2 without mini-batch noise."""
    a, r = averaging, 1 - inner_lr * (curvature + 1 / gamma)
    weights = [_ratio(a, r, i) for i in range(1, inner_steps + 1)]
    return 2 * inner_lr * temperature * (1 - a) ** 2 * sum(w * w for w in weights)


def _ratio(a: float, r: float, n: int) -> float:
    return n * a ** (n - 1) if math.isclose(a, r, rel_tol=1e-9) else (a**n - r**n) / (a - r)


def fixed_point_factor(curvature: float, gamma: float, averaging: float, inner_steps: int) -> float:
    """p/(x - x*) of the fixed-point HJ: lambda/(1 + g lambda) [1 + g lambda (a - (1-a) g lambda)^(L-1)].

    It tends to grad u while g lambda < (1 + a)/(1 - a).
    """
    z = gamma * curvature
    return curvature / (1 + z) * (1 + z * (averaging - (1 - averaging) * z) ** (inner_steps - 1))


def riccati(curvature: float, time_to_go: float) -> float:
    """P(tau) of the value function P/2 x^2 + const of f = lambda/2 x^2: P' = -2 lambda P - P^2, P(0) = lambda.

    P = 2 lambda/(3 e^{2 lambda tau} - 1).
    """
    return 2 * curvature / (3 * math.exp(2 * curvature * time_to_go) - 1)


def riccati_constant(curvature: float, time_to_go: float, temperature: float) -> float:
    """The constant of that value function: T/2 times the integral of P: T/2 log((3 - e^{-2 lambda tau})/2)."""
    return temperature / 2 * float(np.log((3 - math.exp(-2 * curvature * time_to_go)) / 2))
