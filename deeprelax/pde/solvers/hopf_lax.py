"""The inviscid Hamilton-Jacobi equation by the Hopf-Lax formula: the lower envelope of parabolas."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import brentq

from .grid import Array, non_negative, spacings


def hopf_lax(f: Array, spacing: float | Sequence[float], time: float) -> Array:
    """u(x, t) = min_y f(y) + |x - y|^2/(2t), x and y on the grid: solves u_t = -1/2 |grad u|^2, u(x, 0) = f(x).

    Exact on the grid, O(n) for each line and separable over axes: a lower envelope of parabolas (Felzenszwalb and
    Huttenlocher, Theory of Computing 8, 2012). Against the minimum over all y the error is between 0 and
    d/2 (C + 1/t) (spacing/2)^2, C an upper bound of f''. Minimisers outside the grid are not seen.

    Args:
        f: values on the grid, shape (n_1, ..., n_d); +inf excludes a point.
        spacing: of the grid, one number or one for each axis, in units of x.
        time: t >= 0, the optimizers' gamma; in units of x^2 over units of f.

    Returns the values of u, shaped like f. Source: arXiv 1704.04932, section 4. Raises ValueError.
    """
    non_negative("time", time)
    each = spacings(f, spacing, excluded=True)
    u = np.asarray(f, dtype=np.float64)
    if time == 0:
        return u.copy()
    for along, dx in enumerate(each):
        lines = np.moveaxis(u, along, -1)
        flat = lines.reshape(-1, lines.shape[-1])
        flat = np.stack([_envelope(line, dx * dx / (2 * time))[0] for line in flat])
        u = np.moveaxis(flat.reshape(lines.shape), -1, along)
    result: Array = np.ascontiguousarray(u)
    return result


def minimisers(f: Array, spacing: float, time: float) -> NDIndex:
    """The index of the minimiser y for each x of a line, shape (n,), non-decreasing. f: shape (n,); time > 0."""
    spacings(f, spacing, excluded=True)
    return _envelope(np.asarray(f, dtype=np.float64), spacing**2 / (2 * time))[1]


NDIndex = np.ndarray[tuple[int, ...], np.dtype[np.intp]]


def _envelope(f: Array, c: float) -> tuple[Array, NDIndex]:
    """min_j f_j + c (i - j)^2 and its argument, for all i. Each parabola is lowest from its entry of `begins` on."""
    values, owners, begins = f.tolist(), list[int](), list[float]()
    for j, value in enumerate(values):
        if value == np.inf:
            continue
        begin = -np.inf
        while owners:
            k = owners[-1]
            begin = 0.5 * ((value - values[k]) / (c * (j - k)) + j + k)
            if begin > begins[-1]:
                break
            owners.pop()
            begins.pop()
            begin = -np.inf
        owners.append(j)
        begins.append(begin)
    i = np.arange(len(values))
    if not owners:
        return np.full(len(values), np.inf), i
    owner = np.array(owners)[np.searchsorted(begins, i, side="right") - 1]
    return f[owner] + c * (i - owner) ** 2.0, owner


def proximal_points(slope: Callable[[Array], Array], y: Array, f: Array, x: Array, time: float) -> Array:
    """prox(x) = argmin_y f(y) + |x - y|^2/(2t) between grid points: grad u = (x - prox)/t = f'(prox).

    The best grid point, then the root of f'(y) + (y - x)/t between its neighbours (to rounding).

    Args:
        slope: f', elementwise.
        y, f: the search grid and f on it, shape (n,); it must resolve the minima of f(y) + |x - y|^2/(2t).
        x: where, shape (m,).
        time: t > 0.
    """
    best = np.argmin(f + (x[:, None] - y) ** 2 / (2 * time), axis=1)
    result = np.empty_like(x)
    for i, (xi, k) in enumerate(zip(x, best, strict=True)):

        def residual(at: float, xi: float = xi) -> float:
            return float(slope(np.array([at]))[0] + (at - xi) / time)

        result[i] = brentq(residual, y[max(k - 1, 0)], y[min(k + 1, len(y) - 1)], xtol=1e-15, rtol=1e-14)
    return result
