"""Claim 5: the two-scale diffusion's slow variable follows the gradient flow of u."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline
from scipy.linalg import expm, solve_continuous_lyapunov

from ...errors import UserError
from ..claims import Claim
from ..problems.functions import Problem, double_well
from ..solvers.cole_hopf import local_entropy_gradient
from ..solvers.grid import Array, axis, observed_order, second_difference
from .verify import Samples

MOST_STEPS, MOST_PATH_STEPS = 10**6, 5 * 10**8  # a minute, at each epsilon
RECORDS = 50  # of a path
FARTHEST = 1e3  # no path that follows the gradient of u gets there


@dataclass(frozen=True)
class TwoScales:
    """dx = -(x - y)/gamma ds, dy = -(1/eps) (f'(y) + (y - x)/gamma) ds + sqrt(2 T/eps) dB; x = y = start at s = 0.

    As eps falls x tends to dX = -u'(X, gamma) ds, u the local entropy. arXiv 1704.04932, section 2.
    """

    problem: Problem
    gamma: float
    temperature: float
    start: float
    horizon: float

    def limit(self, times: Array) -> Array:
        """X at the times, by scipy's DOP853 on a spline of u'."""
        y, x = axis(-8, 8, 2001), axis(-4, 4, 801)
        slope = CubicSpline(x, local_entropy_gradient(y, self.problem.line(y), x, self.gamma, self.temperature))
        solution = solve_ivp(
            lambda _, at: -slope(at), (0, self.horizon), [self.start], "DOP853", times, rtol=1e-10, atol=1e-12
        )
        path: Array = solution.y[0]
        return path

    def paths(self, eps: float, count: int, seed: int, fast_step: float, records: int = RECORDS) -> tuple[Array, Array]:
        """Times, shape (records + 1,), and x there, shape (records + 1, count).

        The fast variable takes steps of `fast_step` in its own time s/eps, with the noise of two steps averaged
        (Leimkuhler and Matthews 2013): its stationary law is then exact to second order. Raises UserError for steps
        at which y is unstable somewhere, 2/(f'' + 1/gamma), for paths that run away, and for hours of steps.
        """
        self._check(eps, count, fast_step)
        rng = np.random.default_rng(seed)
        every = int(np.ceil(self.horizon / records / (eps * fast_step)))
        h, g = self.horizon / records / every / eps, self.gamma
        x, y = np.full(count, self.start), np.full(count, self.start)
        noise, path = rng.standard_normal(count), [x.copy()]
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(records):
                for _ in range(every):
                    fresh = rng.standard_normal(count)
                    pull = (y - x) / g
                    y = y - h * (self.problem.slope(y) + pull) + np.sqrt(h * self.temperature / 2) * (noise + fresh)
                    x, noise = x + eps * h * pull, fresh
                path.append(x)
                if not np.abs(y).max() < FARTHEST:
                    raise UserError(
                        f"the paths run away at epsilon={eps:g}, temperature={self.temperature:g}: lower fast_step "
                        f"(now {fast_step:g}) or temperature, or raise gamma (now {g:g})"
                    )
        return np.linspace(0, self.horizon, records + 1), np.stack(path)

    def _check(self, eps: float, count: int, fast_step: float) -> None:
        x = axis(-4, 4, 1601)
        largest = 2 / (float(second_difference(self.problem.line(x), 0.005).max()) + 1 / self.gamma)
        if fast_step >= largest:
            raise UserError(f"fast_step={fast_step:g} is unstable on {self.problem.name}: less than {largest:.2g} here")
        if min(eps * fast_step, self.horizon / RECORDS) >= 2 * self.gamma:
            raise UserError(f"epsilon={eps:g} makes x unstable: less than {2 * self.gamma / fast_step:.2g} here")
        steps = self.horizon / (eps * fast_step)
        if steps > MOST_STEPS or steps * count > MOST_PATH_STEPS:
            raise UserError(
                f"epsilon={eps:g} takes {steps:.2g} steps of {count} paths: at most {MOST_STEPS:.0e} steps, and "
                f"{MOST_PATH_STEPS:.0e} of all paths; raise epsilon or fast_step, or lower horizon or paths"
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


def measure(
    system: TwoScales, eps: Sequence[float], count: int, seed: int, fast_step: float
) -> tuple[Rate, dict[float, Any]]:
    """The rate over the eps, and for each the times and paths."""
    rows, kept = [], {}
    for i, e in enumerate(eps):
        times, x = system.paths(e, count, seed + i, fast_step)
        off = x[-1] - system.limit(times)[-1]
        square = off**2
        relative = square.std(ddof=1) / square.mean() / 2 / np.sqrt(count)
        rows.append([e, np.sqrt(square.mean()), relative, abs(off.mean()), off.std(ddof=1) / np.sqrt(count)])
        kept[e] = (times, x)
    return Rate(*np.array(rows).T), kept


def quadratic_moments(
    curvature: float, gamma: float, temperature: float, start: float, time: float, eps: float
) -> tuple[float, float]:
    """Mean and variance of x of the two-scale diffusion of f = curvature/2 x^2: linear, hence exact."""
    drift = np.array([[-1 / gamma, 1 / gamma], [1 / (eps * gamma), -(curvature + 1 / gamma) / eps]])
    stationary = solve_continuous_lyapunov(drift, -np.diag([0.0, 2 * temperature / eps]))
    flow = expm(drift * time)
    covariance = stationary - flow @ stationary @ flow.T
    return float((flow @ [start, start])[0]), float(covariance[0, 0])


def quadratic_orders(eps: Sequence[float] = (0.02, 0.01, 0.005, 0.0025)) -> tuple[float, float]:
    """Orders in eps of |mean - X| and of the standard deviation, in closed form."""
    limit = 1.5 * np.exp(-1.0 / (1 + 0.5))  # X' = -lambda/(1 + gamma lambda) X, lambda = 1, gamma = 1/2, time 1
    moments = np.array([quadratic_moments(1.0, 0.5, 0.2, 1.5, 1.0, e) for e in eps])
    return observed_order(eps, np.abs(moments[:, 0] - limit)), observed_order(eps, np.sqrt(moments[:, 1]))


def claims(samples: Samples) -> list[Claim]:
    """Closed-form orders on a quadratic; the measured rate on the double well."""
    mean, spread = quadratic_orders()
    system = TwoScales(double_well(), 0.5, 0.2, 1.8, 2.0)
    rate, _ = measure(system, (0.16, 0.04, 0.01, 0.0025), 2000, samples.seed, 0.02)
    fitted = rate.order()
    assert fitted is not None
    order, error = fitted
    way = abs(system.start - system.limit(np.array([0.0, system.horizon]))[-1])
    left = f"double well: rms distance at eps = {rate.eps[-1]:g}, relative to the way made"
    linear = "linear system, closed form"
    # at the end x is in the well, f'' = 2
    linear_spread = quadratic_moments(2.0, system.gamma, system.temperature, 0.0, 50.0, float(rate.eps[-1]))[1] ** 0.5
    near = "1.25 times the standard deviation of the linear system in the well; a path that follows f ends twice as far"
    note = f"strong averaging: rms distance O(sqrt eps); 2000 paths, seed {samples.seed}; interval +- 0.1"
    said = f"double well: order in eps of the rms distance, +- {1.96 * error:.3f}"
    return [
        Claim(5, "quadratic: order in eps of |E x - X|", mean, 1.1, 0.9, f"{linear}: O(eps)"),
        Claim(
            5, "quadratic: order in eps of the standard deviation of x", spread, 0.55, 0.45, f"{linear}: O(sqrt eps)"
        ),
        Claim(5, said, order, 0.6, 0.4, note),
        Claim(5, left, float(rate.rms[-1]) / way, 1.25 * linear_spread / way, note=near),
    ]
