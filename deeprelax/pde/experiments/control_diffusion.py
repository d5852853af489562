"""Claim 3, the measurements: SGD as a diffusion, controlled by the solution of a Hamilton-Jacobi-Bellman equation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import expm_multiply

from ...errors import UserError
from ...ranges import between, choice, whole
from ..problems.catalog import PROBLEMS
from ..problems.functions import Problem
from ..settings import LEAST, Settings, inside
from ..solvers.cole_hopf import LARGEST_EXPONENT
from ..solvers.fokker_planck import generator
from ..solvers.grid import Array, axis, second_difference, spacing_of

STIFFEST = 1e5  # horizon times the largest rate of the generator: its exponential costs some 4 products for each
MOST_STEPS = 10**9  # of all paths: minutes


@dataclass
class Control(Settings):
    """A `Diffusion`: the function, T, s at the end, x at s = 0, and how many paths of how many steps are drawn."""

    problem: str = choice(*PROBLEMS)
    temperature: float = between(LEAST, 1e4)
    horizon: float = between(LEAST, 100)
    start: float = inside(-4, 4)
    paths: int = whole(100, 10**7)
    steps: int = whole(2, 20000)
    seed: int = whole(0)


@dataclass(frozen=True)
class Diffusion:
    """dx = (-f'(x) + alpha) ds + sqrt(temperature) dB from `start`, s from 0 to `horizon`.

    The cost is E[f(x at the horizon) + 1/2 int alpha^2 ds]; alpha = 0 is SGD. `paths` paths of `steps` steps by Heun's
    scheme; the value function is solved on `points` points of [low, high], where the paths are kept by reflection.
    """

    problem: Problem  # f, which need not be the one that the settings name
    settings: Control
    points: int = 1601
    low: float = -4.0
    high: float = 4.0

    def grid(self) -> Array:
        return axis(self.low, self.high, self.points)

    def check(self) -> None:
        """UserError if exp(-f/T) underflows, if a step is too long for f'', or if it would take hours."""
        x, settings = self.grid(), self.settings
        f = self.problem.line(x)
        lowest = float(np.ptp(f)) / LARGEST_EXPONENT
        if settings.temperature < lowest:
            raise UserError(
                f"temperature={settings.temperature:g} is too low for the value function: at least {lowest:.2g} here"
            )
        least = math.ceil(settings.horizon * float(np.abs(second_difference(f, spacing_of(x))).max()) / 2) + 1
        if settings.steps < least:
            raise UserError(
                f"steps={settings.steps} is too few for {self.problem.name}: at least {least}, for stability"
            )
        rate = float(np.abs(generator(f, spacing_of(x), settings.temperature / 2).diagonal()).max())
        if settings.horizon * rate > STIFFEST:
            raise UserError(
                f"horizon={settings.horizon:g} at temperature={settings.temperature:g} is too long for the value "
                f"function's grid: at most {STIFFEST / rate:.2g} here; lower horizon or temperature"
            )
        if settings.paths * settings.steps > MOST_STEPS:
            raise UserError(
                f"paths={settings.paths} of steps={settings.steps} are more than {MOST_STEPS:.0e} steps in all: "
                "lower one"
            )


def value_function(diffusion: Diffusion) -> Array:
    """V(x, tau) for the time to go tau = 0, horizon/steps, ..., horizon on the grid, shape (steps + 1, points).

    V_tau = -f' V' - 1/2 V'^2 + T/2 V'', V(x, 0) = f(x). With phi = exp(-V/T) this is linear, the backward Kolmogorov
    equation of SGD, whose matrix is the transposed Fokker-Planck generator: V(x, tau) = -T log E exp(-f(x_tau)/T). The
    optimal control is alpha = -V'. Source: arXiv 1704.04932, section 6; Fleming and Soner, chapter VI.

    Raises UserError, as `Diffusion.check` does.
    """
    x, settings, temperature = diffusion.grid(), diffusion.settings, diffusion.settings.temperature
    f = diffusion.problem.line(x)
    diffusion.check()
    backward = generator(f, spacing_of(x), temperature / 2).T.tocsr()
    start = np.exp(-(f - f.min()) / temperature)
    phi = expm_multiply(backward, start, start=0.0, stop=settings.horizon, num=settings.steps + 1, endpoint=True)
    value: Array = f.min() - temperature * np.log(phi)
    return value


@dataclass(frozen=True)
class Paths:
    """At the horizon, each of shape (paths,): x, f(x) and 1/2 int alpha^2 ds; E f on the way, shape (steps + 1,)."""

    x: Array
    f: Array
    effort: Array
    mean_f: Array
    some: Array  # the first 20 paths, shape (steps + 1, 20)


def simulate(diffusion: Diffusion, value: Array | None) -> Paths:
    """Paths without control or with alpha = -V'. The same seed gives the same noise to both.

    Heun's scheme: y = x + ds b(x, s) + sqrt(T) dB, x <- x + ds/2 (b(x, s) + b(y, s + ds)) + sqrt(T) dB, and the effort
    by the trapezoidal rule at x and y. For additive noise it has weak order 2 (Kloeden and Platen, 15.1): under the
    sampling error of 10^5 paths where Euler-Maruyama, of order 1, is some times above. Raises UserError, as
    `Diffusion.check` does.
    """
    settings, low, high = diffusion.settings, diffusion.low, diffusion.high
    rng, n = np.random.default_rng(settings.seed), settings.paths
    grid, ds = diffusion.grid(), settings.horizon / settings.steps
    dx, f, slope = spacing_of(grid), diffusion.problem.line(grid), diffusion.problem.slope(grid)
    diffusion.check()

    def at(x: Array, steps_to_go: int) -> tuple[Array, Array | float]:
        place = _Place(x, low, dx, len(grid))
        if value is None:
            return -place.read(slope), 0.0
        alpha = -place.read(np.gradient(value[steps_to_go], dx))
        return alpha - place.read(slope), alpha**2

    def reflected(x: Array) -> Array:
        return np.clip(np.where(x < low, 2 * low - x, np.where(x > high, 2 * high - x, x)), low, high)

    x, effort = np.full(n, settings.start), np.zeros(n)
    mean_f, some = [float(f[round((settings.start - low) / dx)])], [x[:20].copy()]
    for k in range(settings.steps):
        noise = math.sqrt(settings.temperature * ds) * rng.standard_normal(n)
        drift, power = at(x, settings.steps - k)
        y = reflected(x + ds * drift + noise)
        later, power_later = at(y, settings.steps - k - 1)
        x = reflected(x + ds / 2 * (drift + later) + noise)
        effort += ds / 4 * (power + power_later)
        mean_f.append(float(_Place(x, low, dx, len(grid)).read(f).mean()))
        some.append(x[:20].copy())
    return Paths(x, diffusion.problem.line(x), effort, np.array(mean_f), np.stack(some))


class _Place:
    """Where points lie between those of a uniform grid; reads tables by linear interpolation.

    np.interp searches the grid again for each table, and takes four times as long for two of them at 10^5 points.
    """

    def __init__(self, x: Array, low: float, dx: float, n: int) -> None:
        position = (x - low) / dx
        self._left = np.clip(position.astype(np.intp), 0, n - 2)
        self._share = position - self._left

    def read(self, table: Array) -> Array:
        left = table[self._left]
        read: Array = left + self._share * (table[self._left + 1] - left)
        return read
