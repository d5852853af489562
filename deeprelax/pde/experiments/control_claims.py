"""Claim 3: the controlled diffusion does better in expectation than SGD."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.stats import norm

from ..claims import Claim
from ..problems.closed_forms import riccati, riccati_constant
from ..problems.functions import double_well, quadratic
from ..problems.rough import rough
from ..solvers.fokker_planck import density, generator
from ..solvers.grid import Array, second_difference, spacing_of
from .control import Paths, Setting, simulate, value_function
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


def expected(setting: Setting, value: Array) -> tuple[float, float]:
    """E f(SGD) by the Fokker-Planck equation, and E f + 1/2 E int alpha^2 with the control: V(start, horizon)."""
    x = setting.grid()
    return (
        float((sgd_density(setting) * setting.problem.line(x)).sum()),
        float(np.interp(setting.start, x, value[-1])),
    )


def cost_claims(setting: Setting, value: Array, fine: tuple[Paths, Paths]) -> list[Claim]:
    """The paths' E f and cost, extrapolated to step 0 from theirs and twice their step, against Fokker-Planck and V."""
    assert setting.steps % 2 == 0
    half = replace(setting, steps=setting.steps // 2, seed=setting.seed + 1)
    coarse = simulate(half, None), simulate(half, value[::2])
    found = []
    said = ("E f(SGD) off Fokker-Planck's", "E f + 1/2 E int alpha^2 off V")
    for one, two, exact, what in zip(coarse, fine, expected(setting, value), said, strict=True):
        (a, sa), (b, sb) = mean_and_error(one.f + one.effort), mean_and_error(two.f + two.effort)
        score = abs((4 * b - a) / 3 - exact) / (np.hypot(4 * sb, sa) / 3)
        note = f"Heun's error is quadratic in its step: 4/3 of {setting.steps} steps less 1/3 of {half.steps}"
        bound = float(norm.isf(CHANCE / 2))
        found.append(Claim(3, f"{setting.problem.name}: {what}, standard errors", float(score), bound, note=note))
    return found


def claims(samples: Samples) -> list[Claim]:
    """Riccati; the bound on the rough function and on the double well, and what the paths cost on both."""
    hard = Setting(rough(), 1.0, 0.5, 1.3, samples.paths, 500, seed=samples.seed)
    easy = Setting(double_well(), 0.3, 2.0, 1.0, samples.paths, 400, seed=samples.seed)
    found = riccati_claims()
    for setting in (hard, easy):
        value = value_function(setting)
        bounds, sgd, controlled = bound_claims(setting, value)
        found += [*bounds, *cost_claims(setting, value, (sgd, controlled))]
    return found
