"""The paper's rough function of one variable."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

from ..solvers.grid import Array
from .functions import Problem, separable

POINTS, SEED = 500, 42
WIDTH = 4  # grid points: the standard deviation of the filter that smooths the noise
SIZE = 0.3  # the standard deviation of the smoothed noise
LOW, HIGH = -3.0, 3.0


@cache
def noise() -> CubicSpline:
    """Smoothed Gaussian noise at 500 points of [-3, 3], seed 42, joined by a cubic spline that ends flat."""
    white = np.random.default_rng(SEED).standard_normal(POINTS)
    smooth = gaussian_filter1d(white, WIDTH, mode="mirror")
    return CubicSpline(np.linspace(LOW, HIGH, POINTS), SIZE * smooth / smooth.std(), bc_type="clamped")


def rough(dimension: int = 1) -> Problem:
    """f = x^2 + 1.5 sin 2 pi x + noise(x), after figure 1 of arXiv 1704.04932; in d dimensions a sum over them.

    Outside [-3, 3] the noise is continued by its value at the edge, so f is once continuously differentiable.
    Differs from the paper, which does not give its noise: ours is fixed by `POINTS`, `SEED`, `WIDTH` and `SIZE`.
    """
    return separable(
        "rough",
        dimension,
        (LOW, HIGH),
        lambda x: x**2 + 1.5 * np.sin(2 * np.pi * x) + noise()(np.clip(x, LOW, HIGH)),
        lambda x: 2 * x + 3 * np.pi * np.cos(2 * np.pi * x) + noise()(np.clip(x, LOW, HIGH), 1),
    )


def rough_curvature() -> tuple[float, float]:
    """The least and the greatest f'' of the 1-D rough function; the spline's f'' is linear between its knots."""
    x = np.linspace(LOW, HIGH, 20 * (POINTS - 1) + 1)
    second: Array = 2 - 6 * np.pi**2 * np.sin(2 * np.pi * x) + noise()(x, 2)
    return float(second.min()), float(second.max())
