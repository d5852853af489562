"""Claim 3: the controlled diffusion does better in expectation than SGD. The claims and the figure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import norm

from .claims import Claim
from .closed_forms import riccati, riccati_constant
from .control import Paths, Setting, simulate, value_function
from .fokker_planck import density, generator
from .grid import Array, second_difference, spacing_of
from .outcome import BLUE, GREY, ORANGE, RED, Outcome, letter, panels
from .problems import double_well, quadratic
from .rough import rough
from .verify import Samples

CHANCE = 1e-4  # of a true claim to fail at another seed
Z = float(norm.isf(CHANCE))


def mean_and_error(values: Array) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def sgd_density(setting: Setting) -> Array:
    """The probability of each grid point at the horizon without control, by the Fokker-Planck equation."""
    x = setting.grid()
    start = np.zeros_like(x)
    place = (setting.start - x[0]) / spacing_of(x)
    left = min(int(place), len(x) - 2)
    start[left], start[left + 1] = 1 - (place - left), place - left
    return density(start, generator(setting.problem.line(x), spacing_of(x), setting.temperature / 2), setting.horizon)


def riccati_claims(curvature: float = 1.0, temperature: float = 0.5, points: int = 1601) -> list[Claim]:
    """f = lambda/2 x^2 at 51 times to go up to 1, |x| <= 2: V'' against P(tau), V against P/2 x^2 + const."""
    setting = Setting(quadratic(1, curvature), temperature, 1.0, 1.0, paths=1, steps=50, points=points)
    value, x = value_function(setting), setting.grid()
    inner, second, worst = np.abs(x) <= 2, 0.0, 0.0
    for v, tau in zip(value, np.linspace(0, 1, 51), strict=True):
        p = riccati(curvature, tau)
        second = max(second, float(np.abs(second_difference(v, spacing_of(x))[inner[1:-1]] - p).max()))
        exact = p / 2 * x**2 + riccati_constant(curvature, tau, temperature)
        worst = max(worst, float(np.abs(v - exact)[inner].max()))
    return [
        Claim(3, "quadratic: V'' off the Riccati coefficient, largest over x and time to go", second, 1e-3),
        Claim(3, "quadratic: V off its closed form, largest over x and time to go", worst, 1e-3),
    ]


def bound_claims(setting: Setting, value: Array) -> tuple[list[Claim], Paths, Paths]:
    """E f(controlled) <= E f(SGD) - 1/2 E int alpha^2, on paths that share their noise."""
    sgd, controlled = simulate(setting, None), simulate(setting, value)
    gap, error = mean_and_error(sgd.f - controlled.f - controlled.effort)
    better, error_f = mean_and_error(sgd.f - controlled.f)
    note = f"{setting.paths} paths, seed {setting.seed}; measured is the lower end of a one-sided interval, {CHANCE:g}"
    name, said = setting.problem.name, f"{better:.4f} +- {1.96 * error_f:.4f}"
    net = f"{gap:.4f} +- {1.96 * error:.4f}"
    found = [
        Claim(3, f"{name}: E f(SGD) - E f(controlled) = {said}", better - Z * error_f, lower=0.0, note=note),
        Claim(3, f"{name}: that less 1/2 E int alpha^2 = {net}", gap - Z * error, lower=0.0, note=note),
    ]
    return found, sgd, controlled


def cost_claims(setting: Setting, value: Array, coarse: tuple[Paths, Paths]) -> list[Claim]:
    """The paths' E f and cost, extrapolated to step 0 from two steps, against Fokker-Planck and V."""
    fine = replace(setting, steps=2 * setting.steps, seed=setting.seed + 1)
    finer = simulate(fine, None), simulate(fine, value_function(fine))
    x, found = setting.grid(), []
    expected = float((sgd_density(setting) * setting.problem.line(x)).sum())
    wanted = (expected, float(np.interp(setting.start, x, value[-1])))
    said = ("E f(SGD) off Fokker-Planck's", "E f + 1/2 E int alpha^2 off V")
    for one, two, exact, what in zip(coarse, finer, wanted, said, strict=True):
        (a, sa), (b, sb) = mean_and_error(one.f + one.effort), mean_and_error(two.f + two.effort)
        score = abs(2 * b - a - exact) / np.hypot(2 * sb, sa)
        note = (
            f"Euler's error is linear in its step: twice the result of {fine.steps} steps less that of {setting.steps}"
        )
        bound = float(norm.isf(CHANCE / 2))
        found.append(Claim(3, f"{setting.problem.name}: {what}, standard errors", float(score), bound, note=note))
    return found


def claims(samples: Samples) -> list[Claim]:
    """Riccati; the bound on the rough function and on the double well; the cost of the paths on the latter."""
    hard = Setting(rough(), 1.0, 0.5, 1.3, samples.paths, 500, seed=samples.seed)
    easy = Setting(double_well(), 0.3, 2.0, 1.0, samples.paths, 400, seed=samples.seed)
    value = value_function(easy)
    found, *coarse = bound_claims(easy, value)
    costs = cost_claims(easy, value, (coarse[0], coarse[1]))
    return [*riccati_claims(), *bound_claims(hard, value_function(hard))[0], *found, *costs]


def control(setting: Setting) -> Outcome:
    """Four panels: the value function and some paths, E f on the way, the densities at the end, the bound."""
    value = value_function(setting)
    found, sgd, controlled = bound_claims(setting, value)
    with panels(2, 2, 9.0, 5.6) as (figure, axes):
        _value(axes[0, 0], setting, value, controlled)
        _means(axes[0, 1], setting, sgd, controlled)
        _ends(axes[1, 0], setting, sgd, controlled)
        _bound(axes[1, 1], setting, value, sgd, controlled)
        letter(axes)
        figure.suptitle(
            rf"{setting.problem.name.replace('_', ' ')}, temperature $1/\beta={setting.temperature:g}$, "
            f"{setting.paths} paths from $x={setting.start:g}$",
            fontsize=9,
        )
    arrays = {"x": setting.grid(), "value": value[:: max(1, setting.steps // 100)]}
    for name, paths in (("sgd", sgd), ("controlled", controlled)):
        arrays |= {f"{name}_mean_f": paths.mean_f, f"{name}_x": paths.x[:10000], f"{name}_some": paths.some}
    return Outcome(setting.problem.name, figure, arrays, [f"{c.claim} (95 %)" for c in found])


def _value(ax: Any, setting: Setting, value: Array, controlled: Paths) -> None:
    x, s = setting.grid(), np.linspace(0, setting.horizon, setting.steps + 1)
    low, high = setting.problem.domain
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
    bins = np.linspace(*setting.problem.domain, 181)
    ax.hist(controlled.x, bins, density=True, color=BLUE, alpha=0.45, label="controlled")
    ax.hist(sgd.x, bins, density=True, histtype="step", color=RED, label="SGD")
    ax.plot(x, sgd_density(setting) / spacing_of(x), color="black", linewidth=0.8, label="SGD, Fokker-Planck")
    other = ax.twinx()
    other.plot(x, setting.problem.line(x), color=GREY, linewidth=0.7)
    inner = setting.problem.line(bins)
    other.set(ylim=(inner.min() - 0.5, 1.5 * inner.max()), yticks=[])
    other.grid(visible=False)
    ax.set(
        xlabel="$x$",
        ylabel="density",
        xlim=setting.problem.domain,
        title=f"where they are at $s={setting.horizon:g}$ (grey: $f$)",
    )
    ax.legend(loc="upper left")


def _bound(ax: Any, setting: Setting, value: Array, sgd: Paths, controlled: Paths) -> None:
    rows = [
        ("$E\\,f$(SGD)", *mean_and_error(sgd.f), RED),
        ("$E\\,f$(SGD)\nless effort", *mean_and_error(sgd.f - controlled.effort), ORANGE),
        ("$E\\,f$(controlled)", *mean_and_error(controlled.f), BLUE),
    ]
    for i, (_, mean, error, colour) in enumerate(rows):
        ax.errorbar(i, mean, 1.96 * error, fmt="o", color=colour, markersize=6, capsize=6)
        said, beside = f"{mean:.4f}\n$\\pm${1.96 * error:.4f}", {"xytext": (9, 0), "textcoords": "offset points"}
        ax.annotate(said, (i, mean), va="center", fontsize=8, **beside)
    ax.set_xticks(range(len(rows)), [row[0] for row in rows])
    means = [row[1] for row in rows]
    spare = 0.25 * (max(means) - min(means)) + 1e-9
    ax.set(ylabel="loss", title=r"the bound, 95 % (effort: $\frac{1}{2}E\int\alpha^2$)", xlim=(-0.5, 2.8))
    ax.set_ylim(min(means) - spare, max(means) + spare)
