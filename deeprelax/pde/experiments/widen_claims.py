"""Claim 4: what the equations do to curvature and to minima, and which minimum wins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.optimize import brentq

from ...errors import UserError
from ..claims import Claim
from ..problems.rough import rough, rough_curvature
from ..problems.wells import Wells
from ..solvers.cole_hopf import local_entropy
from ..solvers.grid import Array, axis, relevant, second_difference, spacing_of, with_margin
from ..solvers.heat import heat
from ..solvers.hopf_lax import hopf_lax

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


def crossing_time(wells: Wells, equation: str, x: Array) -> float:
    """The t at which the wells' minima are equally deep, from the solver: the root of the wide one's lead."""
    f, dx = wells.problem().line(x), spacing_of(x)

    def lead(log_time: float) -> float:
        depth = two_minima(wells, solved(equation, f, dx, math.exp(log_time), wells.softness), x)[:, 0]
        return float(depth[1] - depth[0])

    return math.exp(brentq(lead, math.log(1e-3), math.log(2.0), xtol=1e-6))


def removal_time(wells: Wells, x: Array) -> float:
    """The t at which Hopf-Lax at the wide minimum comes from the sharp well, from the solver."""
    f, dx = wells.problem().line(x), spacing_of(x)
    at = int(np.argmin(np.where(x > 0, f, np.inf)))

    def above(time: float) -> float:
        return float(hopf_lax(f, dx, time)[at] - f[at]) + 1e-9

    return float(brentq(above, 1.0, 100.0, xtol=1e-4))


def _ratio_claims() -> list[Claim]:
    times, c = np.array(TIMES), rough_curvature()[1]
    ratio = {name: semiconcavity(name) / semiconcavity_bound(times) for name in EQUATIONS}
    grid = ((1 + times * c) ** 2 / (times * c)).max() / (2 * STRIDE) ** 2
    note = "max over t of max D^2 u (1 + tC)/C, C = sup f'' of the rough function"
    on_grid = f"{note}; 1 + (C + 1/t) (dx/2H)^2 (1 + tC)/C for the difference over H on a grid"
    over = "max D^2 u over C/(1+tC)"
    largest = {name: float(values.max()) for name, values in ratio.items()}
    return [
        Claim(4, f"viscous HJ is semiconcave: {over}", largest["viscous_hj"], 1.0, note=note),
        Claim(4, f"HJ is semiconcave: {over}", largest["hj"], 1 + grid, note=on_grid),
        Claim(4, f"heat is not: {over}", largest["heat"], lower=1.0, note=note),
        Claim(4, "heat keeps C: max D^2 u over C", float(semiconcavity("heat").max() / c), 1.0, note="convexity"),
    ]


def claims(wells: Wells | None = None) -> list[Claim]:
    """Semiconcavity, minima that only disappear, curvatures, the time of the crossing and of the removal."""
    wells = wells or Wells()
    x, u = rough_family()
    found = _ratio_claims()
    for name in EQUATIONS:
        counts = [count_minima(line) for line in (rough().line(x), *u[name])]
        news, said = max(0.0, float(np.diff(counts).max())), f"from {counts[0]} to {counts[-1]}"
        note = "maximum principle for u_x, in one dimension"
        found.append(Claim(4, f"{name}: new minima as t grows ({said})", news, 0.0, note=note))
    x = axis(-3, 3, 3001)
    return [*found, *_well_claims(wells, x)]


def overlap(wells: Wells, time: float) -> float:
    """How much of the other well reaches a centre: the larger Gibbs weight there."""
    centres = np.array(wells.centres)[None]
    energies = wells.energies(centres, time)
    return float(np.exp(-np.abs(energies[0] - energies[1]) / wells.softness).max())


def _curvature_claim(wells: Wells, x: Array, time: float) -> Claim:
    f, temperature = wells.problem().line(x), wells.softness
    minima = two_minima(wells, local_entropy(f, spacing_of(x), time, temperature), x)
    relaxed = np.array(wells.curvatures) / (1 + time * np.array(wells.curvatures))
    force = (wells.centres[1] - wells.centres[0]) * relaxed.max()
    spill = overlap(wells, time) * (1 + force**2 / temperature / relaxed.min())
    departure = float(np.abs(minima[:, 1] / relaxed - 1).max())
    note = "Gibbs weight of the other well at a minimum times (1 + force^2/(T curvature)), and 1e-6 for the difference"
    return Claim(4, f"minima widen: curvature over a/(1+ta) - 1 at t = {time:g}", departure, spill + 1e-6, note=note)


def _well_claims(wells: Wells, x: Array) -> list[Claim]:
    dx, temperature = spacing_of(x), wells.softness
    found = [_curvature_claim(wells, x, time) for time in (0.02, 0.1, 0.2, 0.4)]
    predicted, measured = wells.crossing_time(temperature), crossing_time(wells, "viscous_hj", x)
    sharp, wide = (a / (1 + predicted * a) for a in wells.curvatures)
    slope = temperature / 2 * (sharp - wide)
    bound = (2 * temperature * overlap(wells, predicted) + dx**2 * sharp) / slope / predicted
    note = "(depth shared with the other well + half a cell's curvature) over the rate at which the lead changes"
    said = f"the wide well wins from t = {measured:.4g}, predicted {predicted:.4g}: relative difference"
    found.append(Claim(4, said, abs(measured / predicted - 1), bound, note=note))
    predicted, measured = wells.removal_time(), removal_time(wells, x)
    rate = (wells.centres[1] - wells.centres[0]) ** 2 / (2 * (predicted + 1 / wells.curvatures[0]) ** 2)
    bound = ((0.5 * (wells.curvatures[0] + 1 / predicted) * (dx / 2) ** 2 + 1e-6) / rate) / predicted
    note = "error of the lower envelope over the rate at which the sharp well's parabola falls"
    said = f"HJ removes the wide well at t = {measured:.5g}, predicted {predicted:.5g}: relative difference"
    found.append(Claim(4, said, abs(measured / predicted - 1), bound, note=note))
    return found


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
