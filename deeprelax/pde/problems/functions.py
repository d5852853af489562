"""Functions to relax, with their gradients and, where there are any, their relaxations in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import erf

from ..solvers.grid import Array

Function = Callable[[Array], Array]


@dataclass(frozen=True)
class Problem:
    """A function f on R^d. A point, or a set of them, is an array of shape (d, ...); values have shape (...).

    value: f. gradient: shaped like the point. domain: of each coordinate, where figures and errors are taken.
    heat(x, s): E f(x + sqrt(s) z), s the variance, that is time times temperature.
    hopf_lax(x, t) and local_entropy(x, t): u of the inviscid and the viscous equation. The latter may be known for
    the temperature `softness` only (None: for any, given as a third argument).
    """

    name: str
    dimension: int
    domain: tuple[float, float]
    value: Function
    gradient: Function
    heat: Callable[[Array, float], Array] | None = None
    hopf_lax: Callable[[Array, float], Array] | None = None
    local_entropy: Callable[[Array, float, float], Array] | None = None
    softness: float | None = None

    def line(self, x: Array) -> Array:
        """f along one axis for a problem of one dimension: shape (n,) to (n,)."""
        return self.value(x[None])

    def slope(self, x: Array) -> Array:
        """f' along one axis for a problem of one dimension: shape (n,) to (n,)."""
        slope: Array = self.gradient(x[None])[0]
        return slope


def separable(
    name: str,
    dimension: int,
    domain: tuple[float, float],
    f: Function,
    slope: Function,
    **relaxed: Callable[..., Array],
) -> Problem:
    """f(x) = sum_i f(x_i). Heat, Hopf-Lax and local entropy are sums over the coordinates, too."""

    def summed(one: Callable[..., Array]) -> Callable[..., Array]:
        return lambda x, *arguments: np.asarray(one(x, *arguments).sum(axis=0))

    forms: dict[str, Any] = {key: summed(one) for key, one in relaxed.items()}
    return Problem(name, dimension, domain, summed(f), slope, **forms)


def quadratic(dimension: int = 1, curvature: float = 2.0) -> Problem:
    """f = c/2 |x|^2. u = c/(2 (1 + tc)) |x|^2 + d T/2 log(1 + tc); heat: f + c s d/2."""
    c = curvature
    return separable(
        "quadratic",
        dimension,
        (-3.0, 3.0),
        lambda x: c / 2 * x**2,
        lambda x: c * x,
        heat=lambda x, s: c / 2 * (x**2 + s),
        hopf_lax=lambda x, t: c / (2 * (1 + t * c)) * x**2,
        local_entropy=lambda x, t, T: c / (2 * (1 + t * c)) * x**2 + T / 2 * np.log(1 + t * c),  # noqa: N803
    )


def ellipse(dimension: int = 2, curvatures: tuple[float, float] = (8.0, 1.0), angle: float = 0.5) -> Problem:
    """f = 1/2 x'Ax, A = R diag(curvatures) R', R the rotation by the angle: not separable. In 1-D the first curvature.

    u = 1/2 x'A(I + tA)^-1 x + T/2 log det(I + tA); heat: f + s/2 tr A.
    """
    a = np.array(curvatures[:dimension])
    r = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) if dimension == 2 else np.eye(1)

    def half_form(x: Array, c: Array) -> Array:
        form: Array = 0.5 * np.einsum("i...,ij,j...->...", x, r @ np.diag(c) @ r.T, x)
        return form

    return Problem(
        "ellipse",
        dimension,
        (-3.0, 3.0),
        lambda x: half_form(x, a),
        lambda x: np.einsum("ij,j...->i...", r @ np.diag(a) @ r.T, x),
        heat=lambda x, s: half_form(x, a) + s / 2 * a.sum(),
        hopf_lax=lambda x, t: half_form(x, a / (1 + t * a)),
        local_entropy=lambda x, t, T: half_form(x, a / (1 + t * a)) + T / 2 * np.log1p(t * a).sum(),  # noqa: N803
    )


def double_well(dimension: int = 1) -> Problem:
    """f = (x^2 - 1)^2/4. Under heat the wells merge at the variance 1/3. Its prox solves y^3 + (1/t - 1) y = x/t."""
    return separable(
        "double_well",
        dimension,
        (-2.0, 2.0),
        lambda x: (x**2 - 1) ** 2 / 4,
        lambda x: x**3 - x,
        heat=lambda x, s: x**4 / 4 + (1.5 * s - 0.5) * x**2 + (3 * s**2 - 2 * s + 1) / 4,
        hopf_lax=_double_well_hopf_lax,
    )


def _double_well_hopf_lax(x: Array, t: float) -> Array:
    """The prox of |x| is the largest real root of the cubic (the one on the side of x), whatever t."""
    p, q = 1 / t - 1, np.abs(x) / t
    discriminant = (q / 2) ** 2 + (p / 3) ** 3
    root = np.sqrt(np.maximum(discriminant, 0))
    one = np.cbrt(q / 2 + root) + np.cbrt(q / 2 - root)
    size = 2 * np.sqrt(max(-p, 0.0) / 3)
    angle = np.arccos(np.clip(4 * q / np.maximum(size, 1e-300) ** 3, -1, 1)) / 3 if size else np.zeros_like(q)
    y = np.where(discriminant >= 0, one, size * np.cos(angle))
    for _ in range(2):  # Newton: Cardano's formula loses digits near q = 0
        y = y - (y**3 + p * y - q) / (3 * y**2 + p)
    return (y**2 - 1) ** 2 / 4 + (np.abs(x) - y) ** 2 / (2 * t)


def absolute(dimension: int = 1) -> Problem:
    """f = |x|. Hopf-Lax is Huber's function; heat: sqrt(2s/pi) exp(-x^2/2s) + x erf(x/sqrt(2s))."""
    return separable(
        "absolute",
        dimension,
        (-2.0, 2.0),
        np.abs,
        np.sign,
        heat=lambda x, s: np.sqrt(2 * s / np.pi) * np.exp(-(x**2) / (2 * s)) + x * erf(x / np.sqrt(2 * s)),
        hopf_lax=lambda x, t: np.where(np.abs(x) < t, x**2 / (2 * t), np.abs(x) - t / 2),
    )


def cosine(dimension: int = 1, wave: float = np.pi, share: float = 0.9, softness: float = 0.2) -> Problem:
    """f = -T log(1 + q cos kx), T the softness: at this temperature q becomes q exp(-k^2 t T/2). Period 2 pi/k."""
    k, temperature = wave, softness

    def entropy(x: Array, t: float, _: float) -> Array:
        u: Array = -temperature * np.log1p(share * np.exp(-(k**2) * t * temperature / 2) * np.cos(k * x))
        return u

    problem = separable(
        "cosine",
        dimension,
        (-np.pi / k, np.pi / k),
        lambda x: -temperature * np.log1p(share * np.cos(k * x)),
        lambda x: temperature * share * k * np.sin(k * x) / (1 + share * np.cos(k * x)),
        local_entropy=entropy,
    )
    return replace(problem, softness=softness)


def rastrigin(dimension: int = 2, height: float = 1.0) -> Problem:
    """f = sum_i x_i^2/2 + h (1 - cos 2 pi x_i). Heat: the cosine shrinks by exp(-2 pi^2 s), the square gains s/2."""
    two_pi = 2 * np.pi
    return separable(
        "rastrigin",
        dimension,
        (-3.0, 3.0),
        lambda x: x**2 / 2 + height * (1 - np.cos(two_pi * x)),
        lambda x: x + two_pi * height * np.sin(two_pi * x),
        heat=lambda x, s: (x**2 + s) / 2 + height * (1 - np.exp(-(two_pi**2) * s / 2) * np.cos(two_pi * x)),
    )
