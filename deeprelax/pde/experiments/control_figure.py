"""The figure of claim 3: SGD as a diffusion beside the controlled one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..outcome import BLUE, GREY, ORANGE, RED, SKY, Outcome, letter, panels
from ..solvers.grid import Array, spacing_of
from .control import Paths, Setting, value_function
from .control_claims import bound_claims, expected, mean_and_error, sgd_density


def control(setting: Setting) -> Outcome:
    """Four panels: the value function and some paths, E f on the way, the densities at the end, the bound."""
    value = value_function(setting)
    found, sgd, controlled = bound_claims(setting, value)
    exact = expected(setting, value)
    with panels(2, 2, 9.0, 5.6) as (figure, axes):
        _value(axes[0, 0], setting, value, controlled)
        _means(axes[0, 1], setting, sgd, controlled)
        _ends(axes[1, 0], setting, sgd, controlled)
        _bound(axes[1, 1], exact, sgd, controlled)
        letter(axes)
        figure.suptitle(
            rf"{setting.problem.name.replace('_', ' ')}, temperature $1/\beta={setting.temperature:g}$, "
            f"{setting.paths} paths from $x={setting.start:g}$",
            fontsize=9,
        )
    arrays = {"x": setting.grid(), "value": value[:: max(1, setting.steps // 100)]}
    for name, paths in (("sgd", sgd), ("controlled", controlled)):
        arrays |= {f"{name}_mean_f": paths.mean_f, f"{name}_x": paths.x[:10000], f"{name}_some": paths.some}
    lines = [f"{c.claim} (95 %)" for c in found]
    for said, paths, value_ in zip(("E f(SGD)", "E f(controlled) + effort"), (sgd, controlled), exact, strict=True):
        mean, error = mean_and_error(paths.f + paths.effort)
        lines.append(f"{said} = {mean:.4f} +- {1.96 * error:.4f}; by the equation {value_:.4f}")
    return Outcome(setting.problem.name, figure, arrays, lines)


def _shown(setting: Setting) -> tuple[float, float]:
    """The domain of the problem, and the start if it lies outside."""
    low, high = setting.problem.domain
    return min(low, setting.start - 0.1), max(high, setting.start + 0.1)


def _value(ax: Any, setting: Setting, value: Array, controlled: Paths) -> None:
    x, s = setting.grid(), np.linspace(0, setting.horizon, setting.steps + 1)
    low, high = _shown(setting)
    inner = (x >= low) & (x <= high)
    stride = max(1, setting.steps // 100)
    levels = np.linspace(value.min(), np.quantile(value[:, inner], 0.9), 15)
    drawn = ax.contourf(
        s[::stride], x[inner], value[::-1][::stride][:, inner].T, levels=levels, cmap="cividis", extend="both"
    )
    ax.plot(s, controlled.some[:, :10], color="white", linewidth=0.6)
    ax.grid(visible=False)
    ax.figure.colorbar(drawn, ax=ax, label="$V$", format="%.2g")
    ax.set(xlabel="$s$", ylabel="$x$", title="value function, and 10 controlled paths")


def _means(ax: Any, setting: Setting, sgd: Paths, controlled: Paths) -> None:
    s = np.linspace(0, setting.horizon, setting.steps + 1)
    ax.plot(s, sgd.mean_f, color=RED, label="SGD")
    ax.plot(s, controlled.mean_f, color=BLUE, label="controlled")
    ax.set(xlabel="$s$", ylabel="$E\\,f(x_s)$", title="expected loss on the way")
    ax.legend(loc="upper right")


def _ends(ax: Any, setting: Setting, sgd: Paths, controlled: Paths) -> None:
    x = setting.grid()
    bins = np.linspace(*_shown(setting), 181)
    share = np.full(setting.paths, 1 / (setting.paths * (bins[1] - bins[0])))  # of all paths, also of those outside
    ax.hist(controlled.x, bins, weights=share, color=BLUE, alpha=0.45, label="controlled")
    ax.hist(sgd.x, bins, weights=share, histtype="step", color=RED, label="SGD")
    ax.plot(x, sgd_density(setting) / spacing_of(x), color="black", linewidth=0.8, label="SGD, Fokker-Planck")
    other = ax.twinx()
    other.plot(x, setting.problem.line(x), color=GREY, linewidth=0.7)
    inner = setting.problem.line(bins)
    other.set(ylim=(inner.min() - 0.5, 1.5 * inner.max()), yticks=[])
    other.grid(visible=False)
    ax.set(
        xlabel="$x$",
        ylabel="density",
        xlim=_shown(setting),
        title=f"where they are at $s={setting.horizon:g}$ (grey: $f$)",
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
