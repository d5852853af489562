"""Claim 5, the measurements: the slow variable of a two-scale diffusion, and its distance to the flow of u."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline

from ...errors import UserError
from ...ranges import between, choice, each, whole
from ..problems.catalog import PROBLEMS
from ..problems.functions import Problem
from ..settings import LEAST, Settings, inside
from ..solvers.cole_hopf import local_entropy_gradient
from ..solvers.grid import Array, axis, observed_order, second_difference

MOST_STEPS, MOST_PATH_STEPS = 10**6, 5 * 10**8  # a minute, at each epsilon
RECORDS = 50  # of a path
FARTHEST = 1e3  # no path that follows the gradient of u gets there


@dataclass
class Homogenize(Settings):
    """A `TwoScales` diffusion: the function, gamma, T, each eps, x at s = 0, s at the end, and how it is simulated."""

    problem: str = choice(*PROBLEMS)
    gamma: float = between(LEAST, 100)
    temperature: float = between(LEAST, 1e4)
    epsilon: list[float] = each(lambda v: LEAST <= v <= 10, f"a number from {LEAST:g} to 10")
    start: float = inside(-4, 4)
    horizon: float = between(LEAST, 100)
    paths: int = whole(10, 10**6)
    fast_step: float = between(LEAST, 10)
    seed: int = whole(0)


@dataclass(frozen=True)
class TwoScales:
    """dx = -(x - y)/gamma ds, dy = -(1/eps) (f'(y) + (y - x)/gamma) ds + sqrt(2 T/eps) dB; x = y = start at s = 0.

    As eps falls x tends to dX = -u'(X, gamma) ds, u the local entropy. arXiv 1704.04932, section 2.
    """

    problem: Problem  # f, which need not be the one that the settings name
    settings: Homogenize

    def limit(self, times: Array) -> Array:
        """X at the times, by scipy's DOP853 on a spline of u'."""
        settings, y, x = self.settings, axis(-8, 8, 2001), axis(-4, 4, 801)
        slope = CubicSpline(x, local_entropy_gradient(y, self.problem.line(y), x, settings.gamma, settings.temperature))
        solution = solve_ivp(
            lambda _, at: -slope(at), (0, settings.horizon), [settings.start], "DOP853", times, rtol=1e-10, atol=1e-12
        )
        path: Array = solution.y[0]
        return path

    def slow(self, eps: float, seed: int) -> tuple[Array, Array]:
        """Times, shape (RECORDS + 1,), and x there, shape (RECORDS + 1, paths).

        The fast variable takes steps of `fast_step` in its own time s/eps, with the noise of two steps averaged
        (Leimkuhler and Matthews 2013): its stationary law is then exact to second order. Raises UserError for steps
        at which y is unstable somewhere, 2/(f'' + 1/gamma), for paths that run away, and for hours of steps.
        """
        self._check(eps)
        rng, settings, count = np.random.default_rng(seed), self.settings, self.settings.paths
        every = int(np.ceil(settings.horizon / RECORDS / (eps * settings.fast_step)))
        h, g = settings.horizon / RECORDS / every / eps, settings.gamma
        x, y = np.full(count, settings.start), np.full(count, settings.start)
        noise, path = rng.standard_normal(count), [x.copy()]
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(RECORDS):
                for _ in range(every):
                    fresh = rng.standard_normal(count)
                    pull = (y - x) / g
                    y = y - h * (self.problem.slope(y) + pull) + np.sqrt(h * settings.temperature / 2) * (noise + fresh)
                    x, noise = x + eps * h * pull, fresh
                path.append(x)
                if not np.abs(y).max() < FARTHEST:
                    raise UserError(
                        f"the paths run away at epsilon={eps:g}, temperature={settings.temperature:g}: lower fast_step "
                        f"(now {settings.fast_step:g}) or temperature, or raise gamma (now {g:g})"
                    )
        return np.linspace(0, settings.horizon, RECORDS + 1), np.stack(path)

    def _check(self, eps: float) -> None:
        settings, x = self.settings, axis(-4, 4, 1601)
        largest = 2 / (float(second_difference(self.problem.line(x), 0.005).max()) + 1 / settings.gamma)
        if settings.fast_step >= largest:
            raise UserError(
                f"fast_step={settings.fast_step:g} is unstable on {self.problem.name}: less than {largest:.2g} here"
            )
        if min(eps * settings.fast_step, settings.horizon / RECORDS) >= 2 * settings.gamma:
            raise UserError(
                f"epsilon={eps:g} makes x unstable: less than {2 * settings.gamma / settings.fast_step:.2g} here"
            )
        steps = settings.horizon / (eps * settings.fast_step)
        if steps > MOST_STEPS or steps * settings.paths > MOST_PATH_STEPS:
            raise UserError(
                f"epsilon={eps:g} takes {steps:.2g} steps of {settings.paths} paths: at most {MOST_STEPS:.0e} steps, "
                f"and {MOST_PATH_STEPS:.0e} of all paths; raise epsilon or fast_step, or lower horizon or paths"
            )


@dataclass(frozen=True)
class Rate:
    """Root mean square distance to X at the horizon and |mean - X| with its standard error, one each for the eps."""

    eps: Array
    rms: Array
    rms_error: Array  # relative standard error
    bias: Array
    bias_error: Array

    def order(self) -> tuple[float, float] | None:
        """The slope of log rms over log eps and its standard error from the sampling errors; None for one eps."""
        if len(self.eps) < 2:
            return None
        centred = np.log(self.eps) - np.log(self.eps).mean()
        weights = centred / (centred**2).sum()
        return observed_order(self.eps, self.rms), float(np.sqrt(((weights * self.rms_error) ** 2).sum()))


def measure(system: TwoScales) -> tuple[Rate, dict[float, Any]]:
    """The rate over the eps from the largest down, and for each the times and paths."""
    rows, kept = [], {}
    for i, e in enumerate(sorted(set(system.settings.epsilon), reverse=True)):
        times, x = system.slow(e, system.settings.seed + i)
        off = x[-1] - system.limit(times)[-1]
        square, count = off**2, len(off)
        relative = square.std(ddof=1) / square.mean() / 2 / np.sqrt(count)
        rows.append([e, np.sqrt(square.mean()), relative, abs(off.mean()), off.std(ddof=1) / np.sqrt(count)])
        kept[e] = (times, x)
    return Rate(*np.array(rows).T), kept
