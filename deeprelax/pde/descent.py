"""Claim 6: descent with each optimizer from the same starts, at equal numbers of gradient evaluations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.stats import beta, binomtest

from ..errors import UserError
from .claims import Claim
from .grid import Array, axis, spacing_of
from .losses import descend
from .problems import Problem
from .rough import rough
from .verify import Samples


@dataclass(frozen=True)
class Descent:
    """The runs to make: every optimizer from the same `starts` starts, uniform on the domain.

    `evaluations` gradients each, with N(0, noise^2) in each. `keywords`: optimizer to its constructor's keywords.
    `basin_width`: the standard deviation of the smoothing of f whose barriers bound the global basin, see `basin`.
    """

    problem: Problem
    starts: int
    evaluations: int
    noise: float
    seed: int
    basin_width: float
    keywords: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def points(self) -> Array:
        """The starts, shape (d, starts): a grid's midpoints in 1-D, random in 2-D."""
        low, high = self.problem.domain
        if self.problem.dimension == 1:
            return (low + (high - low) * (np.arange(self.starts) + 0.5) / self.starts)[None]
        return np.random.default_rng(self.seed).uniform(low, high, (self.problem.dimension, self.starts))

    def run(self, optimizer: str) -> tuple[Array, Array]:
        """Evaluations spent, shape (steps + 1,), and x, shape (steps + 1, d, starts). UserError for a diverged path."""
        keywords = dict(self.keywords[optimizer])
        spent, path = descend(
            self.problem, optimizer, self.points(), self.evaluations, self.noise, self.seed, **keywords
        )
        if not np.abs(path).max() < 1e3:
            raise UserError(f"{optimizer} runs away on {self.problem.name}: lower its lr (now {keywords.get('lr')})")
        return spent, path


def basin(problem: Problem, width: float) -> tuple[float, float]:
    """The global basin along an axis: around the minimum of f smoothed with N(0, width^2), to the nearest barriers.

    `width` is below the distance of the wells and above that of the ripples, which are no basins of their own. For a
    sum over coordinates the basin of f is the product of these intervals.
    """
    x = axis(*problem.domain, 6001)
    along = np.zeros((problem.dimension, len(x)))
    along[0] = x
    smooth = gaussian_filter1d(problem.value(along), width / spacing_of(x), mode="nearest")
    lowest = int(smooth.argmin())
    rising = np.diff(smooth) > 0
    right = lowest + int(np.argmin(np.append(rising[lowest:], False)))
    left = lowest - int(np.argmax(np.append(rising[:lowest][::-1], True)))
    return float(x[left]), float(x[right])


def reached(problem: Problem, x: Array, width: float) -> Array:
    """Which of the points, shape (d, n), lie in the global basin: bool, shape (n,)."""
    low, high = basin(problem, width)
    if problem.dimension > 1 and not np.allclose(problem.value(x), problem.value(x[::-1])):
        return np.asarray((x[0] >= low) & (x[0] <= high))
    return np.asarray(((x >= low) & (x <= high)).all(axis=0))


def interval(hits: int, count: int, chance: float = 0.05) -> tuple[float, float]:
    """Clopper and Pearson's confidence interval of a share."""
    low = float(beta.ppf(chance / 2, hits, count - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - chance / 2, hits + 1, count - hits)) if hits < count else 1.0
    return low, high


def presets(gamma: float, temperature: float, inner_steps: int, seed: int) -> dict[str, dict[str, Any]]:
    """Keywords that descend the same u(., gamma) with each optimizer, without outer momentum.

    The inner step is gamma/8 along the spring: half of what the rough function's curvature allows at gamma = 0.02.
    """
    spring = {"gamma": gamma, "inner_steps": inner_steps, "inner_lr": min(gamma / 8, 0.002), "inner_momentum": 0.0}
    return {
        "sgd": {"lr": 0.002, "momentum": 0.9},
        "entropy_sgd": {**spring, "temperature": temperature, "lr": 1.0, "averaging": 0.9, "seed": seed},
        "hj_proximal": {**spring, "lr": 1.0},
        "hj": {"gamma": gamma, "inner_steps": 5, "lr": 0.002, "momentum": 0.9},
        "heat": {"sigma": math.sqrt(gamma * temperature), "samples": 1, "lr": 0.002, "momentum": 0.9, "seed": seed},
    }


def shares(descent: Descent, optimizers: Sequence[str]) -> dict[str, Array]:
    """For each optimizer which of the starts end in the global basin: bool, shape (starts,)."""
    return {name: reached(descent.problem, descent.run(name)[1][-1], descent.basin_width) for name in optimizers}


def claims(samples: Samples) -> list[Claim]:
    return [Claim(6, "x", 0.0)]
