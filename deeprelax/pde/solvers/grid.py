"""Uniform grids: coordinates, margins, checks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def axis(low: float, high: float, points: int) -> Array:
    """`points` equidistant coordinates from low to high, both included, shape (points,)."""
    return np.linspace(low, high, points)


def spacing_of(x: Array) -> float:
    """The distance of neighbours on an axis, shape (n,). ValueError if it is not uniform and increasing."""
    steps = np.diff(x)
    if x.ndim != 1 or len(x) < 3 or not steps[0] > 0 or np.ptp(steps) > 1e-9 * max(1.0, float(np.abs(x).max())):
        raise ValueError("the axis must have at least 3 points, increasing and equidistant")
    return float((x[-1] - x[0]) / (len(x) - 1))


def with_margin(x: Array, margin: float) -> tuple[Array, slice]:
    """The axis continued by at least `margin` at both ends, and the slice of it that is the given one."""
    dx = spacing_of(x)
    extra = int(np.ceil(margin / dx))
    longer = x[0] + dx * np.arange(-extra, len(x) + extra)
    inner = slice(extra, extra + len(x))
    longer[inner] = x
    return longer, inner


def relevant(f: Array, inner: tuple[slice, ...], above: float) -> tuple[slice, ...]:
    """The box around `inner` and all points where f is at most its largest value in `inner` + `above`.

    A point x in `inner` never has its Hopf-Lax minimiser outside this box, and what the rest adds to local entropy's
    integral at x is under exp(-above/T) of the value at x itself, a point.
    """
    places = np.nonzero(f <= f[inner].max() + above)
    return tuple(
        slice(min(part.start, int(at.min())), max(part.stop, int(at.max()) + 1))
        for part, at in zip(inner, places, strict=True)
    )


def coordinates(*axes: Array) -> Array:
    """The points of the product grid, shape (d, n_1, ..., n_d)."""
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def spacings(f: Array, spacing: float | Sequence[float], excluded: bool = False) -> tuple[float, ...]:
    """One positive spacing for each axis of f. ValueError for a wrong number or sign, or for f that is not finite.

    excluded: +inf may stand for points that do not count, as long as one does.
    """
    each = (float(spacing),) * f.ndim if np.isscalar(spacing) else tuple(map(float, spacing))  # type: ignore[arg-type]
    if len(each) != f.ndim or not all(0 < dx < np.inf for dx in each):
        raise ValueError(f"spacing must be one positive number, or one for each of the {f.ndim} axes, not {spacing!r}")
    if not (np.isfinite(f) | (excluded & np.isposinf(f))).all() or not np.isfinite(f).any():
        more = ", or +inf at points that do not count" if excluded else ""
        raise ValueError(f"f must be finite{more}: no NaN, and at least one finite value")
    return each


def non_negative(name: str, value: float) -> None:
    """ValueError, naming it, for a number that is negative, infinite or NaN."""
    if not 0 <= value < np.inf:
        raise ValueError(f"{name} must be a finite number >= 0, not {value!r}")


def second_difference(u: Array, dx: float, stride: int = 1) -> Array:
    """(u(x+H) - 2 u(x) + u(x-H))/H^2 with H = stride dx along the last axis; length n - 2 stride there."""
    return (u[..., 2 * stride :] - 2 * u[..., stride:-stride] + u[..., : -2 * stride]) / (stride * dx) ** 2


def observed_order(spacing: Sequence[float] | Array, error: Sequence[float] | Array) -> float:
    """The slope of log(error) over log(spacing), by least squares."""
    return float(np.polyfit(np.log(spacing), np.log(error), 1)[0])
