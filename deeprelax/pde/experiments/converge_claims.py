"""Claim 1: the relaxations solve their equations."""

from __future__ import annotations

import math

import numpy as np

from ..claims import Claim
from ..problems.functions import double_well
from ..solvers.grid import observed_order
from .converge import MEASURES, SIZES, TIME, cole_hopf_error, heat_error, lower_envelope_error, table

EPSILON = float(np.finfo(np.float64).eps)
DOUBLE_WELL_CURVATURE = 11.0  # f'' = 3 x^2 - 1 on [-2, 2]


def claims() -> list[Claim]:
    """Errors against their bounds, orders against theory (the interval is the departure allowed at these spacings)."""
    found = []
    for name, (measure, order, _) in MEASURES.items():
        dx, error = table(name)
        found.append(Claim(1, f"{name}: order of convergence", observed_order(dx, error), order + 0.15, order - 0.15))
        if measure is lower_envelope_error:
            bound = 0.5 * (DOUBLE_WELL_CURVATURE + 1 / TIME) * (dx[-1] / 2) ** 2
            note = "1/2 (sup f'' + 1/t) (dx/2)^2, dx = 4/1024"
            found.append(Claim(1, f"{name}: error against the cubic", float(error[-1]), bound, note=note))
    note = f"64 roundings of the largest |f|, on grids of {SIZES}: the trapezoidal sum itself is exact to rounding"
    for name, measured, largest in (
        ("viscous HJ, Cole-Hopf", max(map(cole_hopf_error, SIZES)), 0.2 * math.log(10)),
        ("heat, convolution", max(map(heat_error, SIZES)), double_well().line(np.array([2 + 9.5 * math.sqrt(0.1)]))[0]),
    ):
        found.append(Claim(1, f"{name}: error against the closed form", measured, 64 * EPSILON * largest, note=note))
    return found
