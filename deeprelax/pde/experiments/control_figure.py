"""The figure of claim 3: SGD as a diffusion beside the controlled one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reporting.style import BLUE, GREY, ORANGE, RED, SKY
from ..outcome import Outcome, letter, panels
from ..solvers.grid import Array, spacing_of
from .control_claims import bound_claims, expected, mean_and_error, sgd_density
from .control_diffusion import Diffusion, Paths, value_function


def control_figure(diffusion: Diffusion) -> Outcome:
    """Four panels: the value function and some paths, E f on the way, the densities at the end, the bound."""
    value = value_function(diffusion)
    found, sgd, controlled = bound_claims(diffusion, value)
    exact = expected(diffusion, value)
    with panels(2, 2, 9.0, 5.6) as (figure, axes):
        _value(axes[0, 0], diffusion, value, controlled)
        _means(axes[0, 1], diffusion, sgd, controlled)
        _ends(axes[1, 0], diffusion, sgd, controlled)
        _bound(axes[1, 1], exact, sgd, controlled)
        letter(axes)
        figure.suptitle(
            rf"{diffusion.problem.name.replace('_', ' ')}, temperature $1/\beta={diffusion.settings.temperature:g}$, "
            f"{diffusion.settings.paths} paths from $x={diffusion.settings.start:g}$",
            fontsize=9,
        )
    arrays = {"x": diffusion.grid(), "value": value[:: max(1, diffusion.settings.steps // 100)]}
    for name, paths in (("sgd", sgd), ("controlled", controlled)):
        arrays |= {f"{name}_mean_f": paths.mean_f, f"{name}_x": paths.x[:10000], f"{name}_some": paths.some}
    lines = [f"{c.claim} (95 %)" for c in found]
    for said, paths, value_ in zip(("E f(SGD)", "E f(controlled) + effort"), (sgd, controlled), exact, strict=True):
        mean, error = mean_and_error(paths.f + paths.effort)
        lines.append(f"{said} = {mean:.4f} +- {1.96 * error:.4f}; by the equation {value_:.4f}")
    return Outcome(diffusion.problem.name, figure, arrays, lines)


def _shown(diffusion: Diffusion) -> tuple[float, float]:
    """The domain of the problem, and the start if it lies outside."""
    low, high = diffusion.problem.domain
    return min(low, diffusion.settings.start - 0.1), max(high, diffusion.settings.start + 0.1)


def _value(ax: Any, diffusion: Diffusion, value: Array, controlled: Paths) -> None:
    x, s = diffusion.grid(), np.linspace(0, diffusion.settings.horizon, diffusion.settings.steps + 1)
    low, high = _shown(diffusion)
    inner = (x >= low) & (x <= high)
    stride = max(1, diffusion.settings.steps // 100)
    levels = np.linspace(value.min(), np.quantile(value[:, inner], 0.9), 15)
    drawn = ax.contourf(
        s[::stride], x[inner], value[::-1][::stride][:, inner].T, levels=levels, cmap="cividis", extend="both"
    )
    ax.plot(s, controlled.some[:, :10], color="white", linewidth=0.6)
    ax.grid(visible=False)
    ax.figure.colorbar(drawn, ax=ax, label="$V$", format="%.2g")
    ax.set(xlabel="$s$", ylabel="$x$", title="value function, and 10 controlled paths")


def _means(ax: Any, diffusion: Diffusion, sgd: Paths, controlled: Paths) -> None:
    s = np.linspace(0, diffusion.settings.horizon, diffusion.settings.steps + 1)
    ax.plot(s, sgd.mean_f, color=RED, label="SGD")
    ax.plot(s, controlled.mean_f, color=BLUE, label="controlled")
    ax.set(xlabel="$s$", ylabel="$E\\,f(x_s)$", title="expected loss on the way")
    ax.legend(loc="upper right")


def _ends(ax: Any, diffusion: Diffusion, sgd: Paths, controlled: Paths) -> None:
    x = diffusion.grid()
    bins = np.linspace(*_shown(diffusion), 181)
    share = np.full(
        diffusion.settings.paths, 1 / (diffusion.settings.paths * (bins[1] - bins[0]))
    )  # of all paths, also of those outside
    ax.hist(controlled.x, bins, weights=share, color=BLUE, alpha=0.45, label="controlled")
    ax.hist(sgd.x, bins, weights=share, histtype="step", color=RED, label="SGD")
    ax.plot(x, sgd_density(diffusion) / spacing_of(x), color="black", linewidth=0.8, label="SGD, Fokker-Planck")
    other = ax.twinx()
    other.plot(x, diffusion.problem.line(x), color=GREY, linewidth=0.7)
    inner = diffusion.problem.line(bins)
    other.set(ylim=(inner.min() - 0.5, 1.5 * inner.max()), yticks=[])
    other.grid(visible=False)
    ax.set(
        xlabel="$x$",
        ylabel="density",
        xlim=_shown(diffusion),
        title=f"where they are at $s={diffusion.settings.horizon:g}$ (grey: $f$)",
    )
    ax.legend(loc="upper left")


def _bound(ax: Any, exact: tuple[float, float], sgd: Paths, controlled: Paths) -> None:
    rows = [
        ("SGD", sgd.f, RED, exact[0]),
        ("SGD\nless effort", sgd.f - controlled.effort, ORANGE, None),
        ("controlled", controlled.f, BLUE, None),
        ("controlled\nplus effort", controlled.f + controlled.effort, SKY, exact[1]),
    ]
    for i, (_, values, colour, known) in enumerate(rows):
        mean, error = mean_and_error(values)
        ax.errorbar(i, mean, 1.96 * error, fmt="o", color=colour, markersize=5, capsize=6)
        said = f"{mean:.4f}\n$\\pm${1.96 * error:.4f}"
        if known is not None:
            label = "by the equations: Fokker-Planck, $V$" if i == 0 else None
            ax.plot(i, known, "D", color="black", markersize=7, mfc="none", label=label)
            said = f"{said}\n$\\diamond${known:.4f}"
        ax.annotate(said, (i, mean), xytext=(9, 0), textcoords="offset points", va="center", fontsize=8)
    ax.set_xticks(range(len(rows)), [row[0] for row in rows], fontsize=8)
    ax.margins(y=0.3)
    title = r"$E\,f$ and the bound, 95 % (effort: $\frac{1}{2}E\int\alpha^2$)"
    ax.set(ylabel="loss", title=title, xlim=(-0.3, len(rows) - 0.25))
    ax.legend(loc="upper right")
