"""SGD in f and in the relaxed losses as diffusions: the Fokker-Planck densities beside the paths of claim 6."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..solvers.fokker_planck import evolution, generator
from ..solvers.grid import Array, spacing_of
from .descend_paths import LR, Descent, basin
from .smooth import relaxations

POINTS, RECORDS = 601, 80


@dataclass(frozen=True)
class Densities:
    """evaluations: (records + 1,). x: (n,). rho: "f" or an equation to densities, (records + 1, n)."""

    evaluations: Array
    x: Array
    rho: dict[str, Array]
    basin: tuple[float, float]

    def mass(self, name: str) -> Array:
        """In the global basin, shape (records + 1,)."""
        inside = (self.x >= self.basin[0]) & (self.x <= self.basin[1])
        share: Array = self.rho[name][:, inside].sum(axis=1) * spacing_of(self.x)
        return share


def densities(descent: Descent, times: Mapping[str, float]) -> Densities | None:
    """dx = -grad u ds + sqrt(lr) noise dB in u = f and in u of each equation at its time, from the uniform density.

    That is SGD with step lr and gradient noise, s = lr evaluations (arXiv 1704.04932, section 3): its density solves
    the Fokker-Planck equation of diffusivity lr noise^2/2. None in 2-D and without noise.
    """
    problem, settings = descent.problem, descent.settings
    if problem.dimension > 1 or settings.gradient_noise == 0:
        return None
    x, f, _ = relaxations(problem, [1e-6], 0.0, POINTS)
    potentials = {"f": f}
    for equation, time in times.items():
        potentials[equation] = relaxations(problem, [time], settings.temperature, POINTS)[2][equation][0]
    low, high = basin(problem, settings.basin_width)[0]
    start, diffusivity = np.full(POINTS, 1 / (POINTS * spacing_of(x))), LR * settings.gradient_noise**2 / 2
    rho = {
        name: evolution(start, generator(u, spacing_of(x), diffusivity), LR * settings.gradient_evaluations, RECORDS)
        for name, u in potentials.items()
    }
    return Densities(np.linspace(0, settings.gradient_evaluations, RECORDS + 1), x, rho, (float(low), float(high)))
