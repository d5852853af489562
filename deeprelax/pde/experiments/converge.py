"""Claim 1, the measurements: errors of the solvers against closed forms, residuals, and their figure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from ...reporting.style import BLUE, GREEN, GREY, ORANGE, RED
from ..outcome import Outcome, panels
from ..problems.functions import cosine, double_well
from ..problems.rough import rough
from ..settings import Settings
from ..solvers.cole_hopf import local_entropy
from ..solvers.godunov import godunov
from ..solvers.grid import Array, axis, observed_order, second_difference, spacing_of, with_margin
from ..solvers.heat import heat
from ..solvers.hopf_lax import hopf_lax

SIZES = (128, 256, 512, 1024)
TIME = 0.25


@dataclass
class Converge(Settings):
    """Nothing to choose: the grids are fixed, so that the orders can be held against theory."""


def lower_envelope_error(n: int) -> tuple[float, float]:
    """Spacing, and the largest error of `hopf_lax` on the double well, whose prox solves a cubic."""
    problem = double_well()
    x = axis(*problem.domain, n + 1)
    assert problem.hopf_lax is not None
    error = hopf_lax(problem.line(x), spacing_of(x), TIME) - problem.hopf_lax(x[None], TIME)
    return spacing_of(x), float(np.abs(error).max())


def godunov_error(n: int, temperature: float) -> tuple[float, float]:
    """Spacing and the largest error of `godunov` on the periodic cosine problem, to the time of its kink and beyond."""
    problem, time = cosine(), 3 * TIME
    x = np.linspace(*problem.domain, n, endpoint=False)
    assert problem.local_entropy is not None
    if temperature:
        exact = problem.local_entropy(x[None], time, temperature)
    else:  # the lower envelope on a grid 16 times as fine, with a period at either side
        fine = axis(3 * problem.domain[0], 3 * problem.domain[1], 48 * n + 1)
        exact = hopf_lax(problem.line(fine), spacing_of(fine), time)[16 * n : 32 * n : 16]
    u = godunov(problem.line(x), float(x[1] - x[0]), time, temperature, periodic=True)
    return float(x[1] - x[0]), float(np.abs(u - exact).max())


def cole_hopf_error(n: int) -> float:
    """The largest error of `local_entropy` on the cosine problem at its temperature."""
    problem = cosine()
    assert problem.local_entropy is not None
    assert problem.softness is not None
    x = axis(*problem.domain, n + 1)
    longer, inner = with_margin(x, 9.5 * math.sqrt(TIME * problem.softness))
    u = local_entropy(problem.line(longer), spacing_of(x), TIME, problem.softness)[inner]
    return float(np.abs(u - problem.local_entropy(x[None], TIME, problem.softness)).max())


def heat_error(n: int) -> float:
    """The largest error of `heat` on the double well at the variance 0.1."""
    problem = double_well()
    assert problem.heat is not None
    x = axis(*problem.domain, n + 1)
    longer, inner = with_margin(x, 9.5 * math.sqrt(0.1))
    return float(np.abs(heat(problem.line(longer), spacing_of(x), TIME, 0.4)[inner] - problem.heat(x[None], 0.1)).max())


def residual(n: int, temperature: float = 0.3, time: float = 0.2) -> tuple[float, float]:
    """Spacing, and the largest |u_t + 1/2 u_x^2 - T/2 u_xx|, by differences, of the rough function's local entropy."""
    x = axis(-2, 2, n + 1)
    longer, inner = with_margin(x, 4.0)
    dx, f = spacing_of(x), rough().line(longer)
    before, now, after = (local_entropy(f, dx, time + s * dx, temperature) for s in (-1, 0, 1))
    slope = (now[2:] - now[:-2]) / (2 * dx)
    r = (after - before)[1:-1] / (2 * dx) + slope**2 / 2 - temperature / 2 * second_difference(now, dx)
    return dx, float(np.abs(r[inner.start - 1 : inner.stop - 1]).max())


MEASURES: dict[str, tuple[Callable[[int], tuple[float, float]], int, str]] = {
    "Hopf-Lax, lower envelope": (lower_envelope_error, 2, BLUE),
    "residual of Cole-Hopf": (residual, 2, GREEN),
    "HJ, Godunov": (lambda n: godunov_error(n, 0.0), 1, RED),
    "viscous HJ, Godunov": (lambda n: godunov_error(n, 0.2), 1, ORANGE),
}


@cache
def table(name: str) -> tuple[Array, Array]:
    """Spacings and errors of one of the `MEASURES` for the `SIZES`."""
    rows = np.array([MEASURES[name][0](n) for n in SIZES])
    return rows[:, 0], rows[:, 1]


def run(settings: Converge) -> Outcome:
    """Errors and residuals over the spacing, and the convolutions at rounding."""
    arrays: dict[str, Array] = {}
    with panels(1, 1, 6.6, 3.2) as (figure, axes):
        ax = axes[0, 0]
        for (name, (_, order, colour)), marker in zip(MEASURES.items(), "osD^", strict=True):
            dx, error = table(name)
            arrays |= {f"{name}: spacing": dx, f"{name}: error": error}
            label = f"{name}: {observed_order(dx, error):.2f}"
            ax.loglog(dx, error, marker + "-", color=colour, markersize=4, label=label)
            ax.loglog(dx, error[0] * (dx / dx[0]) ** order, ":", color=GREY, linewidth=0.8)
        ax.set(xlabel="spacing of the grid", ylabel="largest error")
        ax.set_xticks([0.002, 0.004, 0.008, 0.016, 0.032], ["0.002", "0.004", "0.008", "0.016", "0.032"])
        ax.minorticks_off()
        errors = f"heat {max(map(heat_error, SIZES)):.0e}\nCole-Hopf {max(map(cole_hopf_error, SIZES)):.0e}"
        figure.legend(loc="outside right center", title="measured order (dotted: 2 or 1)", alignment="left")
        said = f"at rounding on every grid:\n{errors}"
        ax.text(0.98, 0.02, said, transform=ax.transAxes, fontsize=8, ha="right")
    return Outcome("convergence", figure, arrays)
