"""The Cole-Hopf formula for a cosine, by the trapezoidal rule in torch: exact to rounding, and differentiable."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

CHUNK = 2**20  # numbers held at once: 8 MB in float64
DIGITS = 45.0  # what is not summed, or off, is under exp(-45) = 3e-20 of the largest term


def cole_hopf_cosine(points: Tensor, amplitude: float, temperature: float, last: float = 1.0) -> Tensor:
    """u and u_x, (n, 2), of u_t + 1/2 u_x^2 = temperature/2 u_xx, u(0, x) = f(x) = amplitude cos(pi x).

        u(t, x) = -T log E exp(-f(y)/T),   u_x(t, x) = E f'(y) exp(-f(y)/T) / E exp(-f(y)/T),   y = x + sqrt(T t) z

    with z ~ N(0, 1) and T the temperature (Cole, Hopf 1950 and 1951; arXiv 1704.04932, section 2). Where a graph is
    kept its memory grows with the points; else it is bounded. Time derivatives at t = 0 itself are not finite, for
    sqrt(T t) has none there.

    Args:
        points: t and x, (n, 2), 0 <= t <= last.
        amplitude, temperature: > 0.
        last: the last time, for which the nodes are laid.
    """
    spacing, count = _nodes(amplitude, temperature, last)
    z = spacing * torch.arange(-count, count + 1, dtype=points.dtype, device=points.device)
    return torch.cat(
        [_sums(part, z, amplitude, temperature) for part in points.split(max(1, CHUNK // (2 * count + 1)))]
    )


def _sums(points: Tensor, z: Tensor, amplitude: float, temperature: float) -> Tensor:
    t, x = points[:, :1], points[:, 1:]
    gaussian = -0.5 * z.square()
    phase = math.pi * (x + (temperature * t).sqrt() * z)
    exponents = gaussian - amplitude / temperature * phase.cos()
    u = -temperature * (exponents.logsumexp(1) - gaussian.logsumexp(0))
    slope = -math.pi * amplitude * (exponents.softmax(1) * phase.sin()).sum(1)
    return torch.stack((u, slope), 1)


def _nodes(amplitude: float, temperature: float, last: float) -> tuple[float, int]:
    """The spacing h of the nodes z, and how many there are on each side of 0.

    The sum's error is some exp(-2 pi d/h) times the integrand's size on the lines Im z = +d and -d, for any d; with
    a = amplitude/T and k = pi sqrt(T t) that is at most exp(d^2/2 + a (cosh(k d) - 1)) times the size on the real line.
    So take the d that allows the largest h. Beyond |z| = sqrt(2 (2 a + DIGITS)) the terms vanish beside that of z = 0.
    """
    a, k = amplitude / temperature, math.pi * math.sqrt(temperature * last)
    d = np.geomspace(1e-2, 10, 1000)
    with np.errstate(over="ignore"):
        spacing = float((2 * math.pi * d / (DIGITS + d**2 / 2 + a * (np.cosh(k * d) - 1))).max())
    return spacing, math.ceil(math.sqrt(2 * (2 * a + DIGITS)) / spacing)
