"""Two wells, a sharp deep one and a wide shallow one: which of them wins, and when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp, softmax

from ..solvers.grid import Array
from .functions import Problem


@dataclass(frozen=True)
class Wells:
    """f = -T log sum_i exp(-(d_i + a_i/2 |x - c_i|^2)/T): isotropic wells of curvature a_i and depth d_i at c_i.

    A Gaussian mixture: at the temperature T = softness the relaxations stay in the family, exactly, with
    a_i -> a_i/(1 + t a_i) and d_i -> d_i + d T/2 log(1 + t a_i) in d dimensions. The sharp well comes first.
    """

    curvatures: tuple[float, float] = (60.0, 2.0)
    depths: tuple[float, float] = (0.0, 0.15)
    centres: tuple[float, float] = (-1.0, 1.0)  # on the first axis
    softness: float = 0.15
    dimension: int = 1

    def depth(self, time: float, temperature: float) -> Array:
        """u at the two minima, shape (2,), as if each well were alone: d_i + d T/2 log(1 + t a_i)."""
        sharpness = np.log1p(time * np.array(self.curvatures))
        depths: Array = np.array(self.depths) + self.dimension * temperature / 2 * sharpness
        return depths

    def crossing_time(self, temperature: float) -> float:
        """The t at which both wells are equally deep; inf if the sharp one stays the deeper."""

        def lead(log_time: float) -> float:
            sharp, wide = self.depth(float(np.exp(log_time)), temperature)
            return float(wide - sharp)

        return float(np.exp(brentq(lead, -30, 30))) if lead(30.0) < 0 else np.inf

    def removal_time(self) -> float:
        """The t at which Hopf-Lax removes the higher well: D^2/(2 dd) - 1/a, a the lower well's curvature."""
        distance, gap = self.centres[1] - self.centres[0], self.depths[1] - self.depths[0]
        return distance**2 / (2 * gap) - 1 / self.curvatures[0]

    def entropy(self, x: Array, time: float, _: float | None = None) -> Array:
        """u(x, t) of the viscous equation at the temperature `softness`; f at t = 0. x: (d, ...) to (...)."""
        u: Array = -self.softness * logsumexp(-self.energies(x, time) / self.softness, axis=0)
        return u

    def gradient(self, x: Array, time: float = 0.0) -> Array:
        """grad u(x, t), shaped like x; grad f at t = 0."""
        share = softmax(-self.energies(x, time) / self.softness, axis=0)
        result: Array = sum(
            w * a / (1 + time * a) * (x - self._centre(c, x))
            for w, a, c in zip(share, self.curvatures, self.centres, strict=True)
        )
        return result

    def problem(self) -> Problem:
        """As a Problem, under the name "two_wells"."""
        return Problem(
            "two_wells",
            self.dimension,
            (-3.0, 3.0),
            value=lambda x: self.entropy(x, 0.0),
            gradient=self.gradient,
            local_entropy=self.entropy,
            softness=self.softness,
        )

    def energies(self, x: Array, time: float) -> Array:
        """What each well alone would give u at x: (d, ...) to (2, ...)."""
        depths = self.depth(time, self.softness)
        return np.stack(
            [
                d + a / (2 * (1 + time * a)) * ((x - self._centre(c, x)) ** 2).sum(axis=0)
                for d, a, c in zip(depths, self.curvatures, self.centres, strict=True)
            ]
        )

    @staticmethod
    def _centre(c: float, x: Array) -> Array:
        return np.array([c] + [0.0] * (len(x) - 1)).reshape((-1,) + (1,) * (x.ndim - 1))
