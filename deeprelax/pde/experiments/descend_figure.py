"""The figure of claim 6: paths of the optimizers from the same starts, and who reaches the global basin."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...reporting.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED
from ..outcome import Outcome, letter, panels
from ..problems.functions import Problem
from ..solvers.grid import Array, axis, coordinates
from .descend_density import Densities, densities
from .descend_paths import SOLVER, Descent, basin, interval, solver_descent

COLOURS = {"sgd": GREY, "entropy_sgd": BLUE, "hj_proximal": GREEN, "hj": ORANGE, "heat": RED}
SHOWN = 40  # paths


def descend_figure(descent: Descent) -> Outcome:
    """A panel of paths for each optimizer and one of shares, at equal gradient evaluations."""
    settings = descent.settings
    runs = {name: descent.paths(name) for name in dict.fromkeys(settings.optimizers)}
    ends = {name: descent.reached(path[-1]) for name, (_, path) in runs.items()}
    times = _times(descent)
    diffused = densities(descent, times)
    count = len(runs) + 1 + 2 * bool(diffused)
    rows, columns = (1, count) if count <= 4 else (2, (count + 1) // 2)
    with panels(rows, columns, 2.8 * columns, 2.7 * rows) as (figure, axes):
        flat = axes.ravel()
        for ax, (name, (spent, path)) in zip(flat, runs.items(), strict=False):
            (_over_time if descent.problem.dimension == 1 else _over_plane)(ax, descent, name, spent, path)
        exact = {
            name: float(solver_descent(descent, SOLVER[name], times[SOLVER[name]]).mean())
            for name in runs
            if SOLVER.get(name) in times
        }
        _shares(flat[len(runs)], ends, exact)
        if diffused:
            _densities(flat[len(runs) + 1], descent, diffused)
            _masses(flat[len(runs) + 2], descent, diffused, runs)
        letter(flat[:count])
        for ax in flat[count:]:
            ax.set_visible(False)
        figure.suptitle(
            f"{descent.problem.name.replace('_', ' ')}: {settings.starts} starts, "
            f"{settings.gradient_evaluations} gradients each, "
            f"gradient noise {settings.gradient_noise:g}{_minima_note(descent.problem)}",
            fontsize=9,
        )
    lines = [f"note{note}".replace(";", ":") for note in [_minima_note(descent.problem)] if note]
    for name, hits in ends.items():
        low, high = interval(int(hits.sum()), len(hits))
        on_u = f"; descent on the solver's u: {exact[name]:.3f}" if name in exact else ""
        lines.append(f"{name:<12} share {hits.mean():.3f} (95 %: {low:.3f} to {high:.3f}){on_u}")
    arrays: dict[str, Any] = {"starts": descent.points(), "basin": basin(descent.problem, settings.basin_width)}
    for name, (spent, path) in runs.items():
        stride = max(1, len(path) // 400)
        arrays |= {f"{name}_evaluations": spent[::stride], f"{name}_paths": path[::stride][..., _some(path)]}
        arrays |= {f"{name}_ends": path[-1], f"{name}_reached": ends[name]}
    if diffused:
        arrays |= {"density_x": diffused.x, **{f"density_in_{name}": rho[-1] for name, rho in diffused.rho.items()}}
        lines += [f"Fokker-Planck in {u:<10} mass in the basin {diffused.mass(u)[-1]:.3f}" for u in diffused.rho]
    suffix = "-2d" if descent.problem.dimension == 2 else ""
    return Outcome(descent.problem.name + suffix, figure, arrays, lines)


def _times(descent: Descent) -> dict[str, float]:
    """The equations that the optimizers follow, and for how long; empty in 2-D."""
    times = {}
    for name in descent.settings.optimizers if descent.problem.dimension == 1 else ():
        if name in SOLVER:
            keywords = descent.keywords(name)
            heat = "sigma" in keywords
            time = keywords["sigma"] ** 2 / descent.settings.temperature if heat else keywords["gamma"]
            times[SOLVER[name]] = time
    return times


def _minima_note(problem: Problem) -> str:
    x = np.zeros((problem.dimension, 6001))
    x[0] = axis(*problem.domain, 6001)
    f = problem.value(x)
    count = int((f < f.min() + 1e-9 * np.ptp(f)).sum())
    return f"; {count} global minima along an axis, the basin of one counts" if count > 1 else ""


def _some(path: Array) -> NDIndex:
    return np.unique(np.linspace(0, path.shape[2] - 1, min(SHOWN, path.shape[2])).astype(np.intp))


NDIndex = np.ndarray[tuple[int, ...], np.dtype[np.intp]]


def _over_time(ax: Any, descent: Descent, name: str, spent: Array, path: Array) -> None:
    stride = max(1, len(path) // 400)
    ax.axhspan(*basin(descent.problem, descent.settings.basin_width)[0], color=PURPLE, alpha=0.2, linewidth=0)
    ax.plot(spent[::stride], path[::stride, 0][:, _some(path)], color=COLOURS[name], linewidth=0.5, alpha=0.7)
    ax.set(xlabel="gradient evaluations", ylabel="$x$", title=name, ylim=descent.problem.domain, xlim=(0, spent[-1]))


def _over_plane(ax: Any, descent: Descent, name: str, spent: Array, path: Array) -> None:
    x = axis(*descent.problem.domain, 121)
    f = descent.problem.value(coordinates(x, x))
    ax.contourf(
        x, x, f.T, levels=np.linspace(f.min(), np.quantile(f, 0.95), 14), cmap="Greys", extend="both", alpha=0.6
    )
    stride = max(1, len(path) // 200)
    for i in _some(path):
        ax.plot(*path[::stride, :, i].T, color=COLOURS[name], linewidth=0.5, alpha=0.7)
    ax.plot(*path[-1][:, _some(path)], ".", color="black", markersize=3)
    ax.grid(visible=False)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", title=name, xlim=descent.problem.domain, ylim=descent.problem.domain)
    ax.set_aspect("equal")


def _shares(ax: Any, ends: dict[str, Any], exact: dict[str, float]) -> None:
    for i, (name, hits) in enumerate(ends.items()):
        low, high = interval(int(hits.sum()), len(hits))
        share = float(hits.mean())
        ax.barh(i, share, color=COLOURS[name], height=0.4)
        ax.text(0.01, i - 0.36, name, va="center", fontsize=8)
        ax.errorbar(share, i, xerr=[[share - low], [high - share]], color="black", capsize=3, linewidth=1)
        if name in exact:
            ax.plot(exact[name], i, "D", color="black", markersize=5, mfc="white", clip_on=False, zorder=5)
    ax.set(yticks=[], ylim=(len(ends) - 0.6, -0.7), title="share in the global basin")
    ax.set(xlabel="95 %" + (r" ($\diamond$: descent on the solver's $u$)" if exact else ""), xlim=(0, 1))


POTENTIALS = {
    "f": ("$f$", GREY), "viscous_hj": ("viscous HJ", BLUE), "hj": ("HJ", GREEN), "heat": ("heat", RED),
}  # fmt: skip


def _densities(ax: Any, descent: Descent, diffused: Densities) -> None:
    ax.axvspan(*diffused.basin, color=PURPLE, alpha=0.2, linewidth=0)
    for name, rows in diffused.rho.items():
        label, colour = POTENTIALS[name]
        ax.plot(diffused.x, rows[-1], color=colour, linewidth=0.9 if name == "f" else 1.4, label=label)
    ax.set(xlabel="$x$", ylabel="density", title="Fokker-Planck, at the end", xlim=descent.problem.domain)
    ax.set_ylim(0, 1.7 * max(float(rows[-1].max()) for rows in diffused.rho.values()))
    ax.legend(loc="upper right", handlelength=1.0, ncols=2)


def _masses(ax: Any, descent: Descent, diffused: Densities, runs: dict[str, tuple[Array, Array]]) -> None:
    for name in diffused.rho:
        ax.plot(diffused.evaluations, diffused.mass(name), color=POTENTIALS[name][1])
    for name, (spent, path) in runs.items():
        chosen = np.unique(np.linspace(0, len(path) - 1, 60).astype(np.intp))
        share = [float(descent.reached(path[i]).mean()) for i in chosen]
        ax.plot(spent[chosen], share, ":", color=COLOURS[name], linewidth=1.2)
    ax.set(
        xlabel="gradient evaluations",
        ylim=(0, 1.03),
        xlim=(0, descent.settings.gradient_evaluations),
        title="share in the basin",
    )
    ax.text(0.97, 0.42, "lines: Fokker-Planck\ndotted: the optimizers", transform=ax.transAxes, ha="right", fontsize=8)
