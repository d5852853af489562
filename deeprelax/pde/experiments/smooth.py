"""The paper's picture: a rough function under the heat, the viscous and the inviscid Hamilton-Jacobi equation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import Normalize

from ...errors import UserError
from ...ranges import choice, each, limited, whole
from ...reporting.style import GREY
from ..outcome import Outcome, letter, panels, shades
from ..problems.catalog import PROBLEMS
from ..problems.functions import Problem
from ..settings import LEAST, MOST, Settings
from ..solvers.cole_hopf import local_entropy
from ..solvers.grid import Array, axis, coordinates, relevant, spacing_of, with_margin
from ..solvers.heat import heat
from ..solvers.hopf_lax import hopf_lax

EQUATIONS = {
    "heat": r"heat: $u_t=\frac{1}{2\beta}\Delta u$",
    "viscous_hj": r"viscous HJ: $u_t=-\frac{1}{2}|\nabla u|^2+\frac{1}{2\beta}\Delta u$",
    "hj": r"HJ: $u_t=-\frac{1}{2}|\nabla u|^2$",
}
POINTS = {1: 500, 2: 161}  # along each axis, by dimension
MOST_POINTS = 4_000_000
MOST_SUMS = 4e9  # terms of all convolutions: about half a minute
NEGLIGIBLE = 45.0  # exp(-45) = 3e-20


@dataclass
class Smooth(Settings):
    """Which function is relaxed, at which times and temperature, on how fine a grid."""

    problem: str = choice(*PROBLEMS)
    dimension: int = whole(1, 2)
    time: list[float] = each(lambda v: LEAST <= v <= MOST, f"a number from {LEAST:g} to {MOST:g}")
    temperature: float = limited(lambda v: v == 0 or LEAST <= v <= MOST, f"0, or a number from {LEAST:g} to {MOST:g}")
    points: int | None = whole(16, 20000)


def run(settings: Smooth) -> Outcome:
    """The figure of f and its relaxations at the times, for problems of 1 or 2 dimensions."""
    problem, times, temperature = PROBLEMS[settings.problem](settings.dimension), settings.time, settings.temperature
    x, f, u = relaxations(problem, times, temperature, settings.points or POINTS[settings.dimension])
    draw = _lines if problem.dimension == 1 else _maps
    outcome = draw(problem, x, f, u, times, temperature)
    outcome.arrays = {"x": x, "f": f, "time": np.array(times), "temperature": temperature, **u}
    for name, values in u.items():
        for t, value in zip(times, values, strict=True):
            where = np.unravel_index(int(value.argmin()), value.shape)
            place = ", ".join(f"{x[i]:.3f}" for i in where)
            outcome.lines.append(f"{name:<11} t={t:<8g} min u = {value.min():.4f} at ({place})")
    return outcome


def relaxations(
    problem: Problem, times: Sequence[float], temperature: float, points: int
) -> tuple[Array, Array, dict[str, Array]]:
    """x, f and u of the three equations on the domain of the problem: (n,), (n, ...), each (times, n, ...).

    Solved on a grid with a margin, so that the edge of the domain is not felt: the Gibbs weight of y seen from x is
    under exp(-45) of that of x where |x - y|^2/(2t) > f(x) - min f + 45 T. Raises UserError if that is too large.
    """
    x = axis(*problem.domain, points)
    dx, d, longest = spacing_of(x), problem.dimension, max(times)
    span = float(np.ptp(problem.value(coordinates(*[x] * d))))
    margin = math.sqrt(2 * longest * (span + NEGLIGIBLE * temperature))
    n = points + 2 * math.ceil(margin / dx)
    _refuse(n**d > MOST_POINTS, f"{n}^{d}", longest, temperature)
    longer, inner = with_margin(x, margin)
    f, cut = problem.value(coordinates(*[longer] * d)), (inner,) * d
    box = relevant(f, cut, NEGLIGIBLE * temperature)
    within = tuple(slice(c.start - b.start, c.stop - b.start) for c, b in zip(cut, box, strict=True))
    widest = max(b.stop - b.start for b in box)
    sums = d * widest ** (d + 1) + d * n**d * math.ceil(9 * math.sqrt(longest * temperature) / dx)
    _refuse(len(times) * sums > MOST_SUMS, f"{n}^{d}", longest, temperature)
    u = {
        "heat": np.stack([heat(f, dx, t, temperature)[cut] for t in times]),
        "viscous_hj": np.stack([local_entropy(f[box], dx, t, temperature)[within] for t in times]),
        "hj": np.stack([hopf_lax(f[box], dx, t)[within] for t in times]),
    }
    return x, f[cut], u


def _refuse(when: bool, points: str, time: float, temperature: float) -> None:
    if when:
        raise UserError(
            f"time={time:g} at temperature={temperature:g} needs a grid of {points} points for what the smoothing "
            "reaches beyond the domain, which takes too long: lower points, time or temperature"
        )


def _lines(
    problem: Problem, x: Array, f: Array, u: dict[str, Array], times: Sequence[float], temperature: float
) -> Outcome:
    with panels(1, 3, 9.0, 3.1, sharey=True) as (figure, axes):
        for ax, (name, title) in zip(axes[0], EQUATIONS.items(), strict=True):
            ax.plot(x, f, color=GREY, linewidth=0.9, label=r"$f$, $t=0$")
            for value, t, colour in zip(u[name], times, shades(len(times)), strict=True):
                ax.plot(x, value, color=colour, label=f"$t={t:g}$")
            ax.set(title=title, xlabel="$x$", xlim=(x[0], x[-1]))
        axes[0, 0].set_ylabel("$u(x,t)$")
        letter(axes)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 7))
        figure.suptitle(rf"{problem.name.replace('_', ' ')}, temperature $1/\beta={temperature:g}$", fontsize=9)
    return Outcome(problem.name, figure)


def _maps(
    problem: Problem, x: Array, f: Array, u: dict[str, Array], times: Sequence[float], temperature: float
) -> Outcome:
    columns = 1 + len(times)
    scale = Normalize(float(min(f.min(), u["hj"].min())), float(np.quantile(f, 0.9)))
    levels = np.linspace(scale.vmin or 0.0, scale.vmax or 1.0, 16)
    with panels(3, columns, 1.2 + 1.9 * columns, 6.0, sharex=True, sharey=True) as (figure, axes):
        for row, (name, title) in enumerate(EQUATIONS.items()):
            first = int(row != 1)  # f itself stands in the middle row alone
            axes[row, 0].set_visible(row == 1)
            for ax, value, t in zip(axes[row, first:], [f, *u[name]][first:], [0.0, *times][first:], strict=True):
                drawn = ax.contourf(x, x, value.T, levels=levels, norm=scale, cmap="cividis", extend="both")
                ax.contour(x, x, value.T, levels=levels[::2], colors="white", linewidths=0.3)
                i, j = np.nonzero(value < value.min() + 1e-9 * np.ptp(value))  # all of equal minima, up to rounding
                ax.plot(x[i], x[j], "x", color="white", markersize=5)
                ax.set_aspect("equal")
                ax.grid(visible=False)
                ax.set_title("$f$ ($t=0$)" if t == 0 else f"$t={t:g}$")
            axes[row, 1].set_ylabel(title.split(":")[0] + "\n$x_2$")
            axes[row, 1].tick_params(labelleft=True)
        for ax in axes[-1, 1:]:
            ax.set_xlabel("$x_1$")
        figure.colorbar(drawn, ax=axes, label="$u$", shrink=0.6, format="%.2g")
        name = problem.name.replace("_", " ")
        figure.suptitle(rf"{name} in 2-D, temperature $1/\beta={temperature:g}$; crosses: global minima", fontsize=9)
    return Outcome(f"{problem.name}-2d", figure)
