"""The Fokker-Planck equation: the density of a diffusion in a potential, f or a relaxed u."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import expm
from scipy.sparse import csr_array
from scipy.sparse.linalg import expm_multiply

from .grid import Array, non_negative, spacings


def generator(potential: Array, spacing: float | Sequence[float], diffusivity: float) -> csr_array:
    """The matrix Q of d rho/ds = Q rho for dx = -grad(potential) ds + sqrt(2 diffusivity) dB, reflected at the edges.

    Jumps from i to a neighbour j have the rate D/dx^2 B((potential_j - potential_i)/D), B(z) = z/(e^z - 1)
    (Scharfetter and Gummel 1969; Chang and Cooper 1970): second order, columns sum to 0, off-diagonal entries are
    >= 0, and exp(-potential/D) is stationary exactly. Q transposed acts on functions: E[g(x_s) | x_0] solves
    dv/ds = Q' v, v(0) = g.

    Args:
        potential: finite values on the grid, shape (n_1, ..., n_d), in units of D.
        spacing: of the grid, one number or one for each axis.
        diffusivity: D > 0; temperature/2 for the paper's SGD, dx = -grad f ds + sqrt(temperature) dB.

    Returns a sparse (N, N) matrix, N = n_1 ... n_d, points in C order. Raises ValueError.
    """
    each = spacings(potential, spacing)
    if not 0 < diffusivity < np.inf:
        raise ValueError(f"diffusivity must be a finite number > 0, not {diffusivity!r}")
    index = np.arange(potential.size).reshape(potential.shape)
    flat = potential.ravel()
    rows, columns, entries = [], [], []
    for along, dx in enumerate(each):
        n = potential.shape[along]
        left, right = index.take(range(n - 1), axis=along).ravel(), index.take(range(1, n), axis=along).ravel()
        for origin, target in ((left, right), (right, left)):
            rate = diffusivity / dx**2 * _bernoulli((flat[target] - flat[origin]) / diffusivity)
            rows += [target, origin]
            columns += [origin, origin]
            entries += [rate, -rate]
    shape = (potential.size, potential.size)
    return csr_array((np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns))), shape=shape)


def _bernoulli(z: Array) -> Array:
    """z/(e^z - 1), 1 at 0, without overflow."""
    safe = np.where(np.abs(z) < 1e-8, 1.0, z)
    value = np.where(safe > 0, safe * np.exp(-np.abs(safe)), -safe) / -np.expm1(-np.abs(safe))
    return np.where(np.abs(z) < 1e-8, 1 - z / 2, value)


def evolution(initial: Array, q: csr_array, time: float, count: int) -> Array:
    """`density` at count equal steps up to `time`, shape (count + 1, n), by one dense exponential: for lines."""
    non_negative("time", time)
    step, rows = expm((q * (time / count)).toarray()), [initial]
    for _ in range(count):
        rows.append(step @ rows[-1])
    return np.stack(rows)


def density(initial: Array, q: csr_array, time: float) -> Array:
    """The density at `time` from the initial one, both shaped like the grid: exp(Q time) by scipy's expm_multiply.

    Mass and sign are kept to rounding. Masses and densities differ by the cell's volume, which cancels.
    """
    non_negative("time", time)
    result: Array = expm_multiply(q * time, initial.ravel()).reshape(initial.shape)
    return result
