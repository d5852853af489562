"""Claim 6, the measurements: descent with each optimizer from the same starts, at equal gradient evaluations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.stats import binomtest

from ...errors import UserError
from ...ranges import any_of, between, choice, each, whole
from ..problems.catalog import PROBLEMS
from ..problems.functions import Problem
from ..settings import LEAST, Settings
from ..solvers.cole_hopf import local_entropy_gradient
from ..solvers.grid import Array, axis, second_difference, spacing_of
from ..solvers.heat import heat
from ..solvers.hopf_lax import minimisers

LR = 0.002  # of all that descend grad f or grad u, and the step of the chains
MOST_GRADIENTS = 10**8  # of all paths, each of which is kept: 1 or 2 GB
# the optimizers, and the key to lower if one runs away
REMEDY = {"sgd": "gradient_noise", "entropy_sgd": "gamma", "hj": "hj_gamma", "hj_proximal": "hj_gamma", "heat": "gamma"}
SOLVER = {"entropy_sgd": "viscous_hj", "hj_proximal": "hj", "hj": "hj", "heat": "heat"}


@dataclass
class Descend(Settings):
    """Which optimizers descend which function from how many starts, with which keywords, at which cost and noise."""

    optimizers: list[str] = each(lambda v: v in REMEDY, any_of(tuple(REMEDY)))
    problem: str = choice(*PROBLEMS)
    dimension: int = whole(1, 2)
    gamma: float = between(LEAST, 1e4)
    hj_gamma: float = between(LEAST, 1e4)
    temperature: float = between(LEAST, 1e4)
    inner_steps: int = whole(1, 10**5)
    starts: int = whole(2, 10**5)
    gradient_evaluations: int = whole(1, 10**7)
    gradient_noise: float = between(0, 1e4)
    basin_width: float = between(LEAST, 1)
    seed: int = whole(0)


@dataclass(frozen=True)
class Descent:
    """The runs to make: every optimizer from the same `starts` starts, uniform on the domain.

    `gradient_evaluations` gradients each, with N(0, gradient_noise^2) in each. `basin_width`: the standard deviation
    of the smoothing of f whose barriers bound the global basin, see `basin`.
    """

    problem: Problem
    settings: Descend

    def points(self) -> Array:
        """The starts, shape (d, starts): a grid's midpoints in 1-D, random in 2-D."""
        (low, high), count = self.problem.domain, self.settings.starts
        if self.problem.dimension == 1:
            return (low + (high - low) * (np.arange(count) + 0.5) / count)[None]
        return np.random.default_rng(self.settings.seed).uniform(low, high, (self.problem.dimension, count))

    def keywords(self, optimizer: str) -> dict[str, Any]:
        """With which an optimizer descends its u, stable up to the curvature 430 of the rough function.

        HJ has a time of its own: without temperature it takes longer until one minimum is left.
        """
        s = self.settings
        spring = {"inner_steps": s.inner_steps, "inner_lr": LR, "inner_momentum": 0.0, "lr": 1.0}
        heat = {"sigma": math.sqrt(s.gamma * s.temperature), "samples": 1}
        return {
            "sgd": {"lr": LR, "momentum": 0.0},
            "entropy_sgd": spring | {"gamma": s.gamma, "temperature": s.temperature, "averaging": 0.95, "seed": s.seed},
            "hj_proximal": spring | {"gamma": s.hj_gamma},
            "hj": {"gamma": s.hj_gamma, "inner_steps": 5, "lr": LR, "momentum": 0.0},
            "heat": heat | {"lr": LR, "momentum": 0.0, "seed": s.seed},
        }[optimizer]

    def paths(self, optimizer: str) -> tuple[Array, Array]:
        """Evaluations spent, shape (steps + 1,), and x, shape (steps + 1, d, starts). UserError for a diverged path."""
        from ..losses import descend  # late: torch takes two seconds, and the settings do without

        s, keywords = self.settings, self.keywords(optimizer)
        self._check(optimizer, keywords)
        with np.errstate(over="ignore", invalid="ignore"):
            spent, path = descend(
                self.problem, optimizer, self.points(), s.gradient_evaluations, s.gradient_noise, s.seed, **keywords
            )
        if not np.abs(path).max() < 1e3:
            raise UserError(f"{optimizer} runs away on {self.problem.name}: lower {REMEDY[optimizer]}, or leave it out")
        return spent, path

    def ends(self, optimizer: str) -> Array:
        """Where its paths end, shape (d, starts)."""
        end: Array = self.paths(optimizer)[1][-1]
        return end

    def reached(self, x: Array) -> Array:
        """Which of the points, shape (d, n), lie in the global basin: bool, shape (n,)."""
        return reached(self.problem, x, self.settings.basin_width)

    def _check(self, optimizer: str, keywords: dict[str, Any]) -> None:
        """Paths that memory holds; the inner chain on curvature f'' is stable for inner_lr < 2/(f'' + 1/gamma)."""
        s = self.settings
        if s.starts * s.gradient_evaluations > MOST_GRADIENTS:
            raise UserError(
                f"starts={s.starts} of gradient_evaluations={s.gradient_evaluations} are more than "
                f"{MOST_GRADIENTS:.0e} gradients in all: lower one"
            )
        if "inner_lr" not in keywords:
            return
        x = np.zeros((self.problem.dimension, 6001))
        x[0] = axis(*self.problem.domain, 6001)
        curvature = float(second_difference(self.problem.value(x), spacing_of(x[0])).max())
        spare = 2 / keywords["inner_lr"] - curvature
        if spare <= 0 or keywords["gamma"] <= 1 / spare:
            allowed = f"above {1 / spare:.2g} here" if spare > 0 else "leave it out"
            raise UserError(
                f"{REMEDY[optimizer]}={keywords['gamma']:g} makes the inner chain of {optimizer} unstable on "
                f"{self.problem.name}: {allowed}"
            )


def basin(problem: Problem, width: float) -> Array:
    """The global basin, shape (d, 2): along each axis around the minimum, to the nearest barriers or the domain's edge.

    Taken on f along the axis (the other coordinates at 0), smoothed with N(0, width^2). `width` is below the distance
    of the wells and above that of the ripples, which are no basins of their own.
    """
    x, bounds = axis(*problem.domain, 6001), []
    for i in range(problem.dimension):
        along = np.zeros((problem.dimension, len(x)))
        along[i] = x
        smooth = gaussian_filter1d(problem.value(along), width / spacing_of(x), mode="nearest")
        lowest, rising = int(smooth.argmin()), np.diff(smooth) > 0
        right = lowest + int(np.argmin(np.append(rising[lowest:], False)))
        left = lowest - int(np.argmax(np.append(rising[:lowest][::-1], True)))
        bounds.append([x[left], x[right]])
    return np.array(bounds)


def reached(problem: Problem, x: Array, width: float) -> Array:
    """Which of the points, shape (d, n), lie in the global basin: bool, shape (n,)."""
    low, high = basin(problem, width).T[:, :, None]
    return np.asarray(((x >= low) & (x <= high)).all(axis=0))


def interval(hits: int, count: int, chance: float = 0.05) -> tuple[float, float]:
    """Clopper and Pearson's confidence interval of a share."""
    found = binomtest(hits, count).proportion_ci(1 - chance, method="exact")
    return float(found.low), float(found.high)


def solver_descent(descent: Descent, equation: str, time: float) -> Array:
    """Which starts reach the basin on the solver's u itself, 1-D: x <- x - (time/2) u'(x, time), 400 times."""
    problem, temperature = descent.problem, descent.settings.temperature
    x, at = axis(-5.0, 5.0, 5001), descent.points()[0]
    f, dx = problem.line(x), spacing_of(x)
    if equation == "hj":
        slope = (x - x[minimisers(f, dx, time)]) / time
    elif equation == "viscous_hj":
        slope = np.interp(x, x[::5], local_entropy_gradient(x, f, x[::5], time, temperature))
    else:
        slope = np.gradient(heat(f, dx, time, temperature), dx)
    for _ in range(400):
        at = at - min(time / 2, 0.05) * np.interp(at, x, slope)
    return descent.reached(at[None])
