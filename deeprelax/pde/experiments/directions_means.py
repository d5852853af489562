"""Claim 2, the measurements: mean directions of the optimizers at points, and what they should be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..losses import direction
from ..problems.rough import rough, rough_curvature
from ..solvers.cole_hopf import local_entropy_gradient
from ..solvers.grid import Array, axis, spacing_of, with_margin
from ..solvers.heat import heat
from ..solvers.hopf_lax import proximal_points

GAMMA, TEMPERATURE = 0.01, 0.5  # of the viscous equation: the chain at any x relaxes at a rate of at least 27
HEAT_VARIANCE = 0.01
# inner_lr, inner_steps and how many times as many chains: smaller steps, longer chains, more of them
CHAINS = ((0.002, 75, 1), (0.001, 200, 2), (0.0005, 500, 4))
AVERAGING = 0.75


def rough_direction(optimizer: str, at: Array, **keywords: Any) -> Array:
    """d of an optimizer on the rough function, shaped like the points, (1, n)."""
    return direction(rough(), optimizer, at, **keywords)


def points() -> Array:
    """The 50 points, shape (50,)."""
    return axis(-2.6, 2.6, 50)


def proximal_time() -> float:
    """gamma = 1/(2 C), C = sup |f''|: half of what keeps f(y) + |x - y|^2/(2 gamma) convex, so the prox is unique."""
    return 0.5 / max(map(abs, rough_curvature()))


def solver_gradient(equation: str, at: Array | None = None) -> Array:
    """grad u by the solvers, at the points: viscous_hj and hj by quadrature and envelope, heat by differences."""
    x, problem = points() if at is None else at, rough()
    y = axis(-6, 6, 12001)
    if equation == "viscous_hj":
        return local_entropy_gradient(y, problem.line(y), x, GAMMA, TEMPERATURE)
    if equation == "hj":
        return (x - proximal_points(problem.slope, y, problem.line(y), x, proximal_time())) / proximal_time()
    grid, inner = with_margin(axis(-3, 3, 12001), 9.5 * HEAT_VARIANCE**0.5)
    u = heat(problem.line(grid), spacing_of(grid), 1.0, HEAT_VARIANCE)
    dx = spacing_of(grid)
    slope: Array = np.interp(x, grid[inner], ((np.roll(u, -1) - np.roll(u, 1)) / (2 * dx))[inner])
    return slope


@dataclass(frozen=True)
class Mean:
    """Mean of an estimate of grad u over independent runs and its standard error, at each point."""

    mean: Array
    error: Array

    def scores(self, expected: Array) -> Array:
        """(mean - expected)/error."""
        return (self.mean - expected) / self.error


def mean_direction(optimizer: str, runs: int, scale: float, **keywords: Any) -> Mean:
    """Over `runs` runs from every point; d is multiplied by `scale` (1/gamma where d estimates gamma grad u)."""
    x = points()
    d = scale * rough_direction(optimizer, np.tile(x, runs)[None], **keywords).reshape(runs, len(x))
    return Mean(d.mean(axis=0), d.std(axis=0, ddof=1) / runs**0.5)


def entropy_sgd(runs: int, inner_lr: float, inner_steps: int, seed: int) -> Mean:
    """d/gamma of Entropy-SGD without inner momentum on the rough function."""
    return mean_direction(
        "entropy_sgd",
        runs,
        1 / GAMMA,
        gamma=GAMMA,
        temperature=TEMPERATURE,
        inner_lr=inner_lr,
        inner_steps=inner_steps,
        averaging=AVERAGING,
        inner_momentum=0.0,
        seed=seed,
    )


def heat_direction(runs: int, seed: int) -> Mean:
    """d of heat, one sample a run, on the rough function."""
    return mean_direction("heat", runs, 1.0, sigma=HEAT_VARIANCE**0.5, samples=1, seed=seed)


@cache
def exact_chain(inner_lr: float, inner_steps: int) -> Array:
    """E d/gamma of that finite chain at the points, by the transition kernel of its Markov chain on a grid of y.

    v_i(y) = E[y_i | y_0 = y] obeys v_i = K v_{i-1} with K(y, .) = N(y - h (f'(y) + (y - x)/gamma), 2 h T), and
    E mu_L = a^L x + (1-a) sum_i a^(L-i) v_i(x). The trapezoidal sum, with 5 points a
    standard deviation, is exact to rounding.
    """
    h, a, problem = inner_lr, AVERAGING, rough()
    width, noise = 6 * (GAMMA * TEMPERATURE) ** 0.5, (2 * h * TEMPERATURE) ** 0.5
    half = int(np.ceil(width / noise * 5))
    offset = noise / 5 * np.arange(-half, half + 1)
    result = []
    for x in points():
        drift = x + offset - h * (problem.slope(x + offset) + offset / GAMMA)
        kernel = np.exp(-0.5 * ((x + offset - drift[:, None]) / noise) ** 2)
        kernel /= kernel.sum(axis=1, keepdims=True)
        v, mean = offset, 0.0
        for _ in range(inner_steps):
            v = kernel @ v
            mean = a * mean + (1 - a) * v[half]
        result.append(-mean / GAMMA)
    return np.array(result)


def fixed_point(inner_steps: int) -> Array:
    """d of the fixed-point HJ at the points: an estimate of grad u."""
    keywords = {"gamma": proximal_time(), "inner_steps": inner_steps, "averaging": AVERAGING}
    d: Array = rough_direction("hj", points()[None], **keywords)[0]
    return d


def proximal(inner_steps: int) -> Array:
    """d/gamma of the proximal HJ without inner momentum at the points, inner_lr = gamma/2."""
    t = proximal_time()
    keywords = {"gamma": t, "inner_steps": inner_steps, "inner_lr": t / 2, "inner_momentum": 0.0}
    d: Array = rough_direction("hj_proximal", points()[None], **keywords)[0]
    return d / t


def contraction() -> dict[str, float]:
    """Bounds per evaluation on the distance to grad u. |z| <= 1/2 for z = gamma f'', by `proximal_time`.

    fixed point: p <- a p + (1-a) f'(x - gamma p), whose slope is a - (1-a) z, at most a + (1-a)/2.
    proximal: y <- y - gamma/2 (f'(y) + (y - x)/gamma), whose slope is 1 - (1 + z)/2, between 1/4 and 3/4.
    """
    return {"hj": AVERAGING + (1 - AVERAGING) / 2, "hj_proximal": 0.75}
