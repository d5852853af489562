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
from .control_diffusion import Control, Diffusion, Paths, simulate, value_function
from .verify import Verify

CHANCE = 1e-4  # of a true claim to fail at another seed
Z = float(norm.isf(CHANCE))


def mean_and_error(values: Array) -> tuple[float, float]:
    """Mean and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def sgd_density(diffusion: Diffusion) -> Array:
    """The probability of each grid point at the horizon without control, by the Fokker-Planck equation."""
    x = diffusion.grid()
    start = np.zeros_like(x)
    place = (diffusion.settings.start - x[0]) / spacing_of(x)
    left = min(int(place), len(x) - 2)
    start[left], start[left + 1] = 1 - (place - left), place - left
    matrix = generator(diffusion.problem.line(x), spacing_of(x), diffusion.settings.temperature / 2)
    return density(start, matrix, diffusion.settings.horizon)


def riccati_claims(curvature: float = 1.0, temperature: float = 0.5, points: int = 1601) -> list[Claim]:
    """f = lambda/2 x^2 at 51 times to go up to 1, |x| <= 2: V'' against P(tau), V against P/2 x^2 + const."""
    settings = Control(temperature=temperature, horizon=1.0, start=1.0, paths=1, steps=50)
    diffusion = Diffusion(quadratic(1, curvature), settings, points)
    value, x = value_function(diffusion), diffusion.grid()
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


def bound_claims(diffusion: Diffusion, value: Array) -> tuple[list[Claim], Paths, Paths]:
    """E f(controlled) <= E f(SGD) - 1/2 E int alpha^2, on paths that share their noise."""
    sgd, controlled = simulate(diffusion, None), simulate(diffusion, value)
    gap, error = mean_and_error(sgd.f - controlled.f - controlled.effort)
    better, error_f = mean_and_error(sgd.f - controlled.f)
    paths, seed = diffusion.settings.paths, diffusion.settings.seed
    note = f"{paths} paths, seed {seed}; measured is the lower end of a one-sided interval, {CHANCE:g}"
    name, said = diffusion.problem.name, f"{better:.4f} +- {1.96 * error_f:.4f}"
    net = f"{gap:.4f} +- {1.96 * error:.4f}"
    found = [
        Claim(3, f"{name}: E f(SGD) - E f(controlled) = {said}", better - Z * error_f, lower=0.0, note=note),
        Claim(3, f"{name}: that less 1/2 E int alpha^2 = {net}", gap - Z * error, lower=0.0, note=note),
    ]
    return found, sgd, controlled


def expected(diffusion: Diffusion, value: Array) -> tuple[float, float]:
    """E f(SGD) by the Fokker-Planck equation, and E f + 1/2 E int alpha^2 with the control: V(start, horizon)."""
    x = diffusion.grid()
    return (
        float((sgd_density(diffusion) * diffusion.problem.line(x)).sum()),
        float(np.interp(diffusion.settings.start, x, value[-1])),
    )


def cost_claims(diffusion: Diffusion, value: Array, fine: tuple[Paths, Paths]) -> list[Claim]:
    """The paths' E f and cost, extrapolated to step 0 from theirs and twice their step, against Fokker-Planck and V."""
    settings = diffusion.settings
    assert settings.steps % 2 == 0
    half = replace(settings, steps=settings.steps // 2, seed=settings.seed + 1)
    coarser = replace(diffusion, settings=half)
    coarse = simulate(coarser, None), simulate(coarser, value[::2])
    found = []
    said = ("E f(SGD) off Fokker-Planck's", "E f + 1/2 E int alpha^2 off V")
    for one, two, exact, what in zip(coarse, fine, expected(diffusion, value), said, strict=True):
        (a, sa), (b, sb) = mean_and_error(one.f + one.effort), mean_and_error(two.f + two.effort)
        score = abs((4 * b - a) / 3 - exact) / (np.hypot(4 * sb, sa) / 3)
        note = f"Heun's error is quadratic in its step: 4/3 of {settings.steps} steps less 1/3 of {half.steps}"
        bound = float(norm.isf(CHANCE / 2))
        found.append(Claim(3, f"{diffusion.problem.name}: {what}, standard errors", float(score), bound, note=note))
    return found


def claims(settings: Verify) -> list[Claim]:
    """Riccati; the bound on the rough function and on the double well, and what the paths cost on both."""
    paths, seed = settings.paths, settings.seed
    hard = Control(temperature=1.0, horizon=0.5, start=1.3, paths=paths, steps=500, seed=seed)
    easy = Control(temperature=0.3, horizon=2.0, start=1.0, paths=paths, steps=400, seed=seed)
    found = riccati_claims()
    for diffusion in (Diffusion(rough(), hard), Diffusion(double_well(), easy)):
        value = value_function(diffusion)
        bounds, sgd, controlled = bound_claims(diffusion, value)
        found += [*bounds, *cost_claims(diffusion, value, (sgd, controlled))]
    return found
