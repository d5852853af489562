"""Claim 6: descent with each optimizer from the same starts, at equal numbers of gradient evaluations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.stats import beta, binomtest

from ...errors import UserError
from ..claims import Claim
from ..losses import descend
from ..problems.functions import Problem
from ..problems.rough import rough
from ..solvers.cole_hopf import local_entropy_gradient
from ..solvers.grid import Array, axis, second_difference, spacing_of
from ..solvers.heat import heat
from ..solvers.hopf_lax import minimisers
from .verify import Samples

LR = 0.002  # of all that descend grad f or grad u, and the step of the chains
MOST_GRADIENTS = 10**8  # of all paths, each of which is kept: 1 or 2 GB
HELP = {"sgd": "gradient_noise", "entropy_sgd": "gamma", "hj_proximal": "hj_gamma", "hj": "hj_gamma", "heat": "gamma"}


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
        self._check(optimizer, keywords)
        with np.errstate(over="ignore", invalid="ignore"):
            spent, path = descend(
                self.problem, optimizer, self.points(), self.evaluations, self.noise, self.seed, **keywords
            )
        if not np.abs(path).max() < 1e3:
            raise UserError(f"{optimizer} runs away on {self.problem.name}: lower {HELP[optimizer]}, or leave it out")
        return spent, path

    def _check(self, optimizer: str, keywords: Mapping[str, Any]) -> None:
        """Paths that memory holds; the inner chain on curvature f'' is stable for inner_lr < 2/(f'' + 1/gamma)."""
        if self.starts * self.evaluations > MOST_GRADIENTS:
            raise UserError(
                f"starts={self.starts} of gradient_evaluations={self.evaluations} are more than {MOST_GRADIENTS:.0e} "
                "gradients in all: lower one"
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
                f"{HELP[optimizer]}={keywords['gamma']:g} makes the inner chain of {optimizer} unstable on "
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
    low = float(beta.ppf(chance / 2, hits, count - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - chance / 2, hits + 1, count - hits)) if hits < count else 1.0
    return low, high


def presets(
    gamma: float, hj_gamma: float, temperature: float, inner_steps: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Keywords with which each optimizer descends its u, stable up to the curvature 430 of the rough function.

    HJ has a time of its own: without temperature it takes longer until one minimum is left.
    """
    spring = {"inner_steps": inner_steps, "inner_lr": LR, "inner_momentum": 0.0, "lr": 1.0}
    return {
        "sgd": {"lr": LR, "momentum": 0.0},
        "entropy_sgd": {**spring, "gamma": gamma, "temperature": temperature, "averaging": 0.95, "seed": seed},
        "hj_proximal": {**spring, "gamma": hj_gamma},
        "hj": {"gamma": hj_gamma, "inner_steps": 5, "lr": LR, "momentum": 0.0},
        "heat": {"sigma": math.sqrt(gamma * temperature), "samples": 1, "lr": LR, "momentum": 0.0, "seed": seed},
    }


def solver_descent(descent: Descent, equation: str, time: float, temperature: float) -> Array:
    """Which starts reach the basin on the solver's u itself, 1-D: x <- x - (time/2) u'(x, time), 400 times."""
    problem = descent.problem
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
    return reached(problem, at[None], descent.basin_width)


SOLVER = {"entropy_sgd": "viscous_hj", "hj_proximal": "hj", "hj": "hj", "heat": "heat"}
APART = 0.02  # minima of the rough function are farther from each other
GAMMA, HJ_GAMMA, TEMPERATURE, INNER_STEPS = 0.15, 0.4, 1.0, 100


def discordant(better: Array, worse: Array) -> float:
    """One-sided exact p-value (McNemar) that `better` does not reach the basin more often than `worse`, paired."""
    gained, lost = int((better > worse).sum()), int((better < worse).sum())
    return float(binomtest(gained, gained + lost, alternative="greater").pvalue) if gained + lost else 1.0


def claims(samples: Samples) -> list[Claim]:
    """The rough function: what gradient descent on u does exactly, and what the optimizers make of it."""
    keywords = presets(GAMMA, HJ_GAMMA, TEMPERATURE, INNER_STEPS, samples.seed)
    descent = Descent(rough(), 200, 8000, 3.0, samples.seed, 0.15, keywords)
    sgd, found = reached(rough(), descent.run("sgd")[1][-1], 0.15), []
    for equation, time in (("viscous_hj", GAMMA), ("heat", GAMMA), ("hj", HJ_GAMMA)):
        share = float(solver_descent(descent, equation, time, TEMPERATURE).mean())
        note = "u has one minimum at this time, and it lies in the basin: every start must reach it"
        found.append(
            Claim(
                6, f"descent on the solver's u, {equation} t={time:g}: share in the basin", share, lower=1.0, note=note
            )
        )
    for name in ("entropy_sgd", "heat"):
        hits = reached(rough(), descent.run(name)[1][-1], 0.15)
        said = f"{name}: share in the basin {hits.mean():.3f}, SGD {sgd.mean():.3f}; p-value"
        note = f"exact paired test, 200 starts, 8000 gradients each, noise 3, seed {samples.seed}"
        found.append(Claim(6, said, discordant(hits, sgd), 1e-4, note=note))
    quiet = replace(descent, noise=0.0)
    ends = [quiet.run(name)[1][-1, 0] for name in ("hj_proximal", "sgd")]
    moved = np.abs(ends[0] - ends[1]) > APART
    note = f"ends {APART:g} apart; a noiseless chain lowers f(y) + |x-y|^2/(2 gamma) from y = x: no barrier is crossed"
    said = "hj_proximal without noise: share that ends in another minimum than gradient descent"
    return [*found, Claim(6, said, float(moved.mean()), 0.0, note=note)]
