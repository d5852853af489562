"""Claim 4: what the equations do to curvature and to minima, and which minimum wins."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq

from ..claims import Claim
from ..problems.rough import rough, rough_curvature
from ..problems.wells import Wells
from ..solvers.cole_hopf import local_entropy
from ..solvers.grid import Array, axis, spacing_of
from ..solvers.hopf_lax import hopf_lax
from .widen_minima import (
    EQUATIONS,
    STRIDE,
    TIMES,
    count_minima,
    rough_family,
    semiconcavity,
    semiconcavity_bound,
    solved,
    two_minima,
)


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


def claims() -> list[Claim]:
    """Semiconcavity, minima that only disappear, curvatures, the time of the crossing and of the removal."""
    x, u = rough_family()
    found = _ratio_claims()
    for name in EQUATIONS:
        counts = [count_minima(line) for line in (rough().line(x), *u[name])]
        news, said = max(0.0, float(np.diff(counts).max())), f"from {counts[0]} to {counts[-1]}"
        note = "maximum principle for u_x, in one dimension"
        found.append(Claim(4, f"{name}: new minima as t grows ({said})", news, 0.0, note=note))
    x = axis(-3, 3, 3001)
    return [*found, *_well_claims(Wells(), x)]


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
