"""The figure of claim 5: the slow variable beside the gradient flows of u and of f, and the rate."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

from ...reporting.style import BLUE, GREY, ORANGE, RED
from ..outcome import Outcome, letter, panels, shades
from ..solvers.grid import Array
from .homogenize_scales import Rate, TwoScales, measure


def homogenize_figure(system: TwoScales) -> Outcome:
    """Paths of the slow variable beside the gradient flows of u and of f, and the rate in eps."""
    settings = system.settings
    rate, kept = measure(system)
    said = rf"order {order[0]:.2f} $\pm$ {1.96 * order[1]:.2f}" if (order := rate.order()) else "one epsilon"
    fine = np.linspace(0, settings.horizon, 201)
    with panels(1, 2, 9.0, 3.9) as (figure, axes):
        _slow(axes[0, 0], system, fine, kept)
        _rate(axes[0, 1], rate, f"rms distance, {said}")
        letter(axes)
        name = system.problem.name.replace("_", " ")
        about = rf"$\gamma={settings.gamma:g}$, temperature $1/\beta={settings.temperature:g}$"
        figure.suptitle(f"{name}, {about}, {settings.paths} paths", fontsize=9)
    lines = [
        f"eps={e:<8g} rms distance {r:.4f}, |mean - X| {b:.4f} +- {1.96 * s:.4f}"
        for e, r, b, s in zip(rate.eps, rate.rms, rate.bias, rate.bias_error, strict=True)
    ]
    arrays = {"time": fine, "limit": system.limit(fine), **vars(rate)}
    arrays |= {f"paths_{e:g}": x[:, :100] for e, (_, x) in kept.items()}
    if order:
        lines.append(f"order {order[0]:.3f} +- {1.96 * order[1]:.3f}")
    return Outcome(system.problem.name, figure, arrays, lines)


def _slow(ax: Any, system: TwoScales, fine: Array, kept: dict[float, Any]) -> None:
    for (e, (times, x)), colour in zip(kept.items(), shades(len(kept)), strict=True):
        ax.fill_between(times, *np.quantile(x, [0.1, 0.9], axis=1), color=colour, alpha=0.25, linewidth=0)
        ax.plot(times, x[:, 0], color=colour, linewidth=0.8, label=rf"$\epsilon={e:g}$")
    ax.plot(fine, system.limit(fine), color="black", linewidth=1.8, label="$X'=-u'(X)$")
    flow = solve_ivp(lambda _, at: -system.problem.slope(at), (0, fine[-1]), [system.settings.start], t_eval=fine)
    ax.plot(fine, flow.y[0], "--", color=RED, label="$x'=-f'(x)$")
    ax.set(xlabel="$s$", ylabel="$x$", title="slow variable: a path and the 10-90 % band")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3)


def _rate(ax: Any, rate: Rate, label: str) -> None:
    ax.errorbar(rate.eps, rate.rms, 1.96 * rate.rms * rate.rms_error, fmt="o-", color=BLUE, ms=4, label=label)
    known = rate.bias > 1.96 * rate.bias_error  # the others are not told from 0
    ax.errorbar(
        rate.eps[known], rate.bias[known], 1.96 * rate.bias_error[known],
        fmt="s", color=ORANGE, ms=4, capsize=2, label="|mean - X|, 95 %",
    )  # fmt: skip
    upper = (rate.bias + 1.96 * rate.bias_error)[~known]
    ax.plot(rate.eps[~known], upper, "v", color=ORANGE, ms=5, mfc="none", label="|mean - X| below, 95 %")
    ax.plot(rate.eps, rate.rms[0] * np.sqrt(rate.eps / rate.eps[0]), ":", color=GREY, label=r"$\sqrt{\epsilon}$")
    ax.set(xscale="log", yscale="log", xlabel=r"$\epsilon$", ylabel="distance to $X$ at the end", title="rate")
    ax.set_ylim(rate.rms.min() / 200)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
