"""Claim 4, the measurements: curvature, minima and their width under the equations; the rough function, two wells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from ...errors import UserError
from ..problems.rough import rough, rough_curvature
from ..problems.wells import Wells
from ..solvers.cole_hopf import local_entropy
from ..solvers.grid import Array, axis, relevant, second_difference, spacing_of, with_margin
from ..solvers.heat import heat

TIMES = tuple(np.geomspace(0.003, 1.0, 12))
TEMPERATURE = 0.1
POINTS = 6001  # spacing 0.001
STRIDE = 64  # of the second difference of Hopf-Lax, which is exact on the grid only
EQUATIONS = ("heat", "viscous_hj", "hj")
FINEST, COARSEST, MOST_TERMS = 5e-4, 2e-3, 1e10  # spacings for two wells, and the terms of heat's sums: half a minute


def solved(equation: str, f: Array, dx: float, time: float, temperature: float) -> Array:
    """u of one of the `EQUATIONS` on the grid of f."""
    if equation == "heat":
        return heat(f, dx, time, temperature)
    return local_entropy(f, dx, time, temperature if equation == "viscous_hj" else 0.0)


@cache
def rough_family() -> tuple[Array, dict[str, Array]]:
    """x, shape (n,), and u(x, t) of the rough function at the `TIMES` for each equation, shape (times, n)."""
    x = axis(-3, 3, POINTS)
    longer, inner = with_margin(x, 9.5 * math.sqrt(max(TIMES) * TEMPERATURE))
    f, dx = rough().line(longer), spacing_of(x)
    u = {name: np.stack([solved(name, f, dx, t, TEMPERATURE)[inner] for t in TIMES]) for name in EQUATIONS}
    return x, u


def semiconcavity(equation: str) -> Array:
    """The largest second difference of u over x for each of the `TIMES`."""
    x, u = rough_family()
    curvature: Array = second_difference(u[equation], spacing_of(x), STRIDE if equation == "hj" else 8).max(axis=1)
    return curvature


def semiconcavity_bound(time: float | Array) -> Array:
    """sup D^2 u <= C/(1 + tC) <= 1/t, C = sup D^2 f: viscous and inviscid Hamilton-Jacobi."""
    c = rough_curvature()[1]
    return np.asarray(c / (1 + np.asarray(time) * c))


def count_minima(u: Array) -> int:
    """Strict interior minima of a line; a flat bottom counts once."""
    steps = np.sign(np.diff(u))
    steps = steps[steps != 0]
    return int(((steps[:-1] < 0) & (steps[1:] > 0)).sum())


def two_minima(wells: Wells, u: Array, x: Array, stride: int = 1) -> Array:
    """Value, curvature and width of u at the sharp and the wide minimum, shape (2, 3); NaN for one that is gone.

    The curvature is a second difference over `stride` points. The width is that of the interval around the minimum
    where u is at most 0.05 above it.
    """
    result, dx = np.full((2, 3), np.nan), spacing_of(x)
    reach = 0.35 * (wells.centres[1] - wells.centres[0])
    for row, centre in enumerate(wells.centres):
        near = np.nonzero(np.abs(x - centre) < reach)[0]
        i = int(near[np.argmin(u[near])])
        if i in (near[0], near[-1]):  # the least value lies at the edge: u only falls towards the other well
            continue
        above = np.nonzero(u > u[i] + 0.05)[0]
        left, right = above[above < i], above[above > i]
        width = x[right[0]] - x[left[-1]] if len(left) and len(right) else np.nan
        result[row] = u[i], (u[i + stride] - 2 * u[i] + u[i - stride]) / (stride * dx) ** 2, width
    return result


def depths(wells: Wells, times: Sequence[float] | Array) -> dict[str, Array]:
    """`two_minima` for each equation over the times, shape (times, 2, 3): for the figure.

    The curvature is taken over 0.05: the lower envelope's error would swamp a difference over neighbours. The two
    Hamilton-Jacobi equations are solved where f matters, heat with a margin of 9.5 standard deviations. Raises
    UserError if the sharp well is too narrow for any grid in reach, or the margin too wide.
    """
    temperature, longest = wells.softness, max(times)
    width, sigma = math.sqrt(temperature / wells.curvatures[0]), math.sqrt(longest * temperature)
    dx = min(max(width / 10, FINEST), COARSEST)
    x = axis(-3, 3, 2 * math.ceil(3 / dx) + 1)
    terms = len(times) * (len(x) + 19 * sigma / dx) * 9 * sigma / dx
    if width < 2 * FINEST or terms > MOST_TERMS:
        raise UserError(
            f"sharp_curvature={wells.curvatures[0]:g} at temperature={temperature:g} up to longest={longest:g} at "
            f"count={len(times)} times needs too fine or too long a grid: lower sharp_curvature, temperature, longest "
            "or count"
        )
    longer, inner = with_margin(x, 9.5 * sigma)
    f, dx = wells.problem().line(longer), spacing_of(x)
    (box,) = relevant(f, (inner,), 45 * temperature)
    within = slice(inner.start - box.start, inner.stop - box.start)
    stride, result = round(0.05 / dx), {}
    for name in EQUATIONS:
        part, cut = (f, inner) if name == "heat" else (f[box], within)
        lines = (solved(name, part, dx, t, temperature)[cut] for t in times)
        result[name] = np.stack([two_minima(wells, line, x, stride) for line in lines])
    return result
