"""The figure of claim 4: minima widen, the wide one wins, curvature is bounded by 1/t."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.ticker import NullFormatter

from ...reporting.style import BLUE, GREEN, GREY, PURPLE, RED
from ..outcome import Outcome, letter, panels, shades
from ..problems.rough import rough
from ..problems.wells import Wells
from ..solvers.cole_hopf import local_entropy
from ..solvers.grid import Array, axis, spacing_of
from .widen_minima import (
    EQUATIONS,
    TEMPERATURE,
    TIMES,
    count_minima,
    depths,
    rough_family,
    semiconcavity,
    semiconcavity_bound,
)

COLOURS = {"heat": RED, "viscous_hj": BLUE, "hj": GREEN}
WIDTHS = {"heat": 1.4, "viscous_hj": 3.0, "hj": 1.2}  # where viscous HJ and HJ agree, both are seen
STYLES = {"-": "sharp", "--": "wide"}
NAMES = {"heat": "heat", "viscous_hj": "viscous HJ", "hj": "HJ"}


def widen_figure(wells: Wells, longest: float, count: int) -> Outcome:
    """Six panels over t up to `longest` at `count` times: the wells, their curvature, width and lead, rough f's."""
    times = np.geomspace(longest / 1000, longest, count)
    measured = depths(wells, times)
    with panels(2, 3, 9.6, 5.4) as (figure, axes):
        _wells(axes[0, 0], wells, longest)
        _curvature(axes[0, 1], wells, times, measured)
        _width(axes[0, 2], wells, times, measured)
        _lead(axes[1, 0], wells, times, measured)
        _semiconcavity(axes[1, 1])
        _minima(axes[1, 2])
        letter(axes)
        handles = [axes[0, 1].plot([], [], color=c, label=NAMES[name])[0] for name, c in COLOURS.items()]
        for style, well in STYLES.items():
            handles += axes[0, 1].plot([], [], style, color=GREY, label=f"{well} well (b, c)")
        figure.legend(handles=handles, loc="outside lower center", ncols=5)
        about = f"wells of curvature {wells.curvatures[0]:g} and {wells.curvatures[1]:g}"
        gap = f"the wide one higher by {wells.depths[1] - wells.depths[0]:g}"
        figure.suptitle(
            rf"(a-d): {about}, {gap}, temperature $1/\beta={wells.softness:g}$; (e, f): the rough function", fontsize=9
        )
    arrays: dict[str, Any] = {f"{name}: value, curvature, width": values for name, values in measured.items()}
    return Outcome("two_wells", figure, {"time": times, **arrays}, _found(wells))


def _found(wells: Wells) -> list[str]:
    crossing, removal = wells.crossing_time(wells.softness), wells.removal_time()
    wins = f"is the deeper from t = {crossing:.4g}" if math.isfinite(crossing) else "never becomes the deeper"
    gone = f"it is gone at t = {removal:.4g}" if removal > 0 else "it is no minimum of its own"
    return [f"viscous HJ: the wide well {wins}", f"HJ: the wide well is never the deeper; {gone}"]


def _wells(ax: Any, wells: Wells, longest: float) -> None:
    x = axis(-4, 6, 5001)  # drawn on [-2, 4]
    f = wells.problem().line(x)
    shown = [0.0, longest / 30, longest / 5, longest]
    for t, colour in zip(shown, shades(len(shown)), strict=True):
        u = local_entropy(f, spacing_of(x), t, wells.softness)
        ax.plot(x, u, color=colour, label=f"$t={t:.2g}$")
    ax.set(xlabel="$x$", ylabel="$u$", ylim=(-0.1, 1.75 + wells.depths[1]), xlim=(-2, 4), title="viscous HJ")
    ax.legend(loc="lower right", handlelength=1.2)


def _curvature(ax: Any, wells: Wells, times: Array, measured: dict[str, Array]) -> None:
    for name, values in measured.items():
        for well, style in enumerate(STYLES):
            ax.loglog(times, values[:, well, 1], style, color=COLOURS[name], linewidth=WIDTHS[name])
    for a in wells.curvatures:
        ax.loglog(times, a / (1 + times * a), ":", color="black", linewidth=1.2)
    ax.set(xlabel="$t$", ylabel="$u''$ at the minimum", title="curvature (dotted: $a/(1+ta)$)")
    relaxed = wells.curvatures[1] / (1 + times[-1] * wells.curvatures[1])
    ax.set_ylim(0.5 * relaxed, wells.curvatures[0] * 2)


def _width(ax: Any, wells: Wells, times: Array, measured: dict[str, Array]) -> None:
    for name, values in measured.items():
        for well, style in enumerate(STYLES):
            ax.semilogx(times, values[:, well, 2], style, color=COLOURS[name], linewidth=WIDTHS[name])
    for a in wells.curvatures:
        ax.semilogx(times, 2 * np.sqrt(0.1 * (1 + times * a) / a), ":", color="black", linewidth=1.2)
    ax.set(xlabel="$t$", ylabel="width at $u_{\\min}+0.05$", title=r"width (dotted: $2\sqrt{0.1(1/a+t)}$)")


def _lead(ax: Any, wells: Wells, times: Array, measured: dict[str, Array]) -> None:
    for name, values in measured.items():
        ax.semilogx(times, values[:, 1, 0] - values[:, 0, 0], color=COLOURS[name])
    crossing = wells.crossing_time(wells.softness)
    if math.isfinite(crossing):
        ax.axvline(crossing, color=BLUE, linestyle=":", label=f"predicted: $t={crossing:.3g}$")
        ax.legend(loc="lower left")
    ax.axhline(0, color="black", linewidth=0.7)
    ax.set(xlabel="$t$", ylabel="$u$(wide) - $u$(sharp)", title="who wins (below 0: the wide well)")
    ax.set_xlim(times[0], times[-1])


def _semiconcavity(ax: Any) -> None:
    times = np.array(TIMES)
    for name in EQUATIONS:
        ax.loglog(times, semiconcavity(name), "o-", markersize=3, color=COLOURS[name], linewidth=WIDTHS[name])
    ax.loglog(times, semiconcavity_bound(times), ":", color="black", linewidth=1.2, label="$C/(1+tC)$")
    ax.loglog(times, 1 / times, "--", color=PURPLE, linewidth=1, label="$1/t$")
    ax.set(xlabel="$t$", ylabel="largest $u''$", title=f"rough function, temperature {TEMPERATURE:g}")
    ax.legend(loc="lower left")


def _minima(ax: Any) -> None:
    x, u = rough_family()
    times = np.array(TIMES)
    first = (x[-1] - x[0]) / count_minima(rough().line(x))
    for name in EQUATIONS:
        ax.loglog(
            times, [(x[-1] - x[0]) / count_minima(line) for line in u[name]], "o-", markersize=3, color=COLOURS[name]
        )
    ax.axhline(first, color=GREY, linestyle=":", label="$f$")
    ax.set(xlabel="$t$", ylabel="mean width of a basin", title="rough function: basins")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_yticks([0.5, 1, 2, 6], ["0.5", "1", "2", "6"])
    ax.legend(loc="upper left")
