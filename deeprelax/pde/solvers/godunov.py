"""Hamilton-Jacobi equations by finite differences: Godunov's upwind scheme, explicit in time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .grid import Array, non_negative, spacings


def cfl_step(f: Array, spacing: float | Sequence[float], temperature: float = 0.0, periodic: bool = False) -> float:
    """The largest time step for which the scheme is monotone: 1 / sum_i (max|p_i|/dx_i + temperature/dx_i^2).

    p_i are the differences of f along axis i. Monotone schemes do not enlarge them, so the step holds for all times.
    """
    each = spacings(f, spacing)
    steepest = [float(np.abs(_differences(f, i, dx, periodic)[1]).max()) for i, dx in enumerate(each)]
    rate = sum(p / dx + temperature / dx**2 for p, dx in zip(steepest, each, strict=True))
    return math.inf if rate == 0 else 1 / rate


def godunov(
    f: Array,
    spacing: float | Sequence[float],
    time: float,
    temperature: float = 0.0,
    periodic: bool = False,
    courant: float = 0.9,
) -> Array:
    """Solves u_t = -1/2 |grad u|^2 + temperature/2 lap u, u(x, 0) = f(x), with first order in the spacing.

    The Hamiltonian is Godunov's, 1/2 sum_i max(max(p_i^-, 0)^2, min(p_i^+, 0)^2), p^- and p^+ the backward and forward
    differences; the Laplacian is central. Converges to the viscosity solution (Crandall and Lions, Math. Comp. 43,
    1984). Beyond the grid u is continued by its edge value (Neumann), or periodically: then the last point must be
    one spacing before the first one's copy.

    Args:
        f: finite values, shape (n_1, ..., n_d).
        spacing: of the grid, one number or one for each axis, in units of x.
        time: t >= 0.
        temperature: 1/beta; 0 for the inviscid equation.
        courant: the time step as a share of `cfl_step`, in (0, 1].

    Returns u, shaped like f. Raises ValueError.
    """
    non_negative("time", time)
    non_negative("temperature", temperature)
    each = spacings(f, spacing)
    if not 0 < courant <= 1:
        raise ValueError(f"courant must be in (0, 1], not {courant!r}: the scheme is unstable beyond")
    u = np.array(f, dtype=np.float64)
    steps = math.ceil(time / (courant * cfl_step(u, each, temperature, periodic)))
    for _ in range(steps):
        rate = np.zeros_like(u)
        for i, dx in enumerate(each):
            backward, forward = _differences(u, i, dx, periodic)
            rate -= 0.5 * np.maximum(np.maximum(backward, 0) ** 2, np.minimum(forward, 0) ** 2)
            if temperature:
                rate += 0.5 * temperature * (forward - backward) / dx
        u += time / steps * rate
    return u


def _differences(u: Array, along: int, dx: float, periodic: bool) -> tuple[Array, Array]:
    """Backward and forward differences along an axis, shaped like u."""
    width = [(1, 1) if i == along else (0, 0) for i in range(u.ndim)]
    difference = np.diff(np.pad(u, width, mode="wrap" if periodic else "edge"), axis=along) / dx
    n = u.shape[along]
    return difference.take(range(n), axis=along), difference.take(range(1, n + 1), axis=along)
