"""The heat equation: convolution with a Gaussian."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from .grid import Array, non_negative, spacings


def heat(f: Array, spacing: float | Sequence[float], time: float, temperature: float) -> Array:
    """u(x, t) = E f(x + sqrt(t temperature) z), z ~ N(0, I): solves u_t = temperature/2 lap u, u(x, 0) = f(x).

    scipy.ndimage.gaussian_filter to 9 standard deviations; beyond the grid f is continued by its edge value, so give a
    margin of that width. The trapezoidal sum of a smooth f is exact to rounding once sqrt(t temperature) exceeds about
    1.4 spacings.

    Args:
        f: finite values on the grid, shape (n_1, ..., n_d).
        spacing: of the grid, one number or one for each axis, in units of x.
        time: t >= 0.
        temperature: 1/beta >= 0, twice the diffusivity.

    Returns u, shaped like f. Source: arXiv 1704.04932, section 3. Raises ValueError.
    """
    non_negative("time", time)
    non_negative("temperature", temperature)
    each = spacings(f, spacing)
    sigma = [math.sqrt(time * temperature) / dx for dx in each]
    u: Array = gaussian_filter(np.asarray(f, dtype=np.float64), sigma, mode="nearest", truncate=9.0)
    return u
