"""The figure of claim 2: measured mean directions on the solvers' gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reporting.style import BLUE, GREEN, GREY, ORANGE, RED
from ..outcome import Outcome, letter, panels
from ..problems.rough import rough
from ..solvers.grid import Array, axis
from . import directions_means as measured
from .directions_means import CHAINS, GAMMA, HEAT_VARIANCE, TEMPERATURE


def directions_figure(chains: int, seed: int) -> Outcome:
    """Entropy-SGD, HJ and heat at 50 points of the rough function; the error of Entropy-SGD as its chain is refined."""
    with panels(2, 2, 9.0, 5.4) as (figure, axes):
        arrays = {"x": measured.points()}
        arrays |= _entropy_sgd(axes[0, 0], chains, seed)
        arrays |= _hj(axes[0, 1])
        arrays |= _heat(axes[1, 0], chains, seed)
        arrays |= _refinement(axes[1, 1], chains, seed)
        letter(axes)
    return Outcome("directions", figure, arrays)


def _panel(ax: Any, title: str) -> None:
    x = axis(-2.7, 2.7, 2701)
    slope = rough().slope(x)
    ax.plot(x, slope, color=GREY, linewidth=3.5, alpha=0.35, label="$f'$")  # wide: u' lies on it where both agree
    room = 0.22 * np.ptp(slope)  # for the legend
    ax.set(xlabel="$x$", ylabel="slope", title=title, xlim=(-2.7, 2.7), ylim=(slope.min() - room, 1.1 * slope.max()))


def _entropy_sgd(ax: Any, chains: int, seed: int) -> dict[str, Array]:
    x = axis(-2.7, 2.7, 1001)
    h, steps, _ = CHAINS[1]
    mean = measured.entropy_sgd(chains, h, steps, seed)
    _panel(ax, rf"Entropy-SGD, $\gamma={GAMMA:g}$, temperature {TEMPERATURE:g}")
    ax.plot(x, measured.solver_gradient("viscous_hj", x), color=BLUE, label=r"$u'$, viscous HJ")
    label = rf"$\langle d\rangle/\gamma$, {chains} chains, 95 %"
    ax.errorbar(measured.points(), mean.mean, 1.96 * mean.error, fmt=".", color="black", ms=4, lw=0.8, label=label)
    ax.legend(loc="lower center", ncols=4, fontsize=7, handlelength=1.2, columnspacing=1)
    return {"entropy_sgd": mean.mean, "entropy_sgd_error": mean.error}


def _hj(ax: Any) -> dict[str, Array]:
    x, t = axis(-2.7, 2.7, 1001), measured.proximal_time()
    _panel(ax, rf"HJ, $\gamma={t:.2g}$, 40 evaluations")
    ax.plot(x, measured.solver_gradient("hj", x), color=GREEN, label="$u'$, HJ")
    fixed, proximal = measured.fixed_point(40), measured.proximal(40)
    ax.plot(measured.points(), fixed, ".", color="black", ms=4, label="$d$, fixed point")
    ax.plot(measured.points(), proximal, "o", color=ORANGE, ms=6, mfc="none", label=r"$d/\gamma$, proximal")
    ax.legend(loc="lower center", ncols=4, fontsize=7, handlelength=1.2, columnspacing=1)
    return {"hj": fixed, "hj_proximal": proximal}


def _heat(ax: Any, chains: int, seed: int) -> dict[str, Array]:
    mean = measured.heat_direction(chains, seed)
    _panel(ax, rf"heat, $\sigma^2={HEAT_VARIANCE:g}$")
    x = axis(-2.7, 2.7, 1001)
    ax.plot(x, measured.solver_gradient("heat", x), color=RED, label="$u'$, heat")
    label = rf"$\langle d\rangle$, {chains} samples, 95 %"
    ax.errorbar(measured.points(), mean.mean, 1.96 * mean.error, fmt=".", color="black", ms=4, lw=0.8, label=label)
    ax.legend(loc="lower center", ncols=4, fontsize=7, handlelength=1.2, columnspacing=1)
    return {"heat": mean.mean, "heat_error": mean.error}


def _refinement(ax: Any, chains: int, seed: int) -> dict[str, Array]:
    u = measured.solver_gradient("viscous_hj")
    size = float(np.sqrt((u**2).mean()))
    rows = []
    for h, steps, times in CHAINS:
        mean = measured.entropy_sgd(times * chains // 2, h, steps, seed)
        bias = measured.exact_chain(h, steps) - u
        rows.append([h, *(float(np.sqrt((v**2).mean())) / size for v in (mean.mean - u, bias, mean.error))])
    table = np.array(rows)
    for column, (style, colour, label) in enumerate(
        [("o-", "black", "measured"), ("s--", BLUE, "bias of the exact chain"), ("^:", ORANGE, "sampling error")], 1
    ):
        ax.loglog(table[:, 0], table[:, column], style, color=colour, ms=4, label=label)
    ax.set_xticks(table[:, 0], [f"h={h:g}\nL={steps}" for h, steps, _ in CHAINS])
    ax.minorticks_off()
    ax.set_yticks([0.005, 0.01, 0.02, 0.04, 0.08], ["0.5 %", "1 %", "2 %", "4 %", "8 %"])
    ax.set(
        ylabel="rms error of $d/\\gamma$, relative",
        title="Entropy-SGD: smaller steps, longer and more chains",
    )
    ax.set_ylim(table[:, 1:].min() / 1.5, table[:, 1:].max() * 3.2)
    ax.legend(loc="upper left")
    return {"refinement": table}
