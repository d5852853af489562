"""The viscous Hamilton-Jacobi equation by the Cole-Hopf transform: local entropy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import logsumexp

from .grid import Array, non_negative, spacings
from .hopf_lax import hopf_lax

LARGEST_EXPONENT = 700.0  # exp(-700) is the smallest normal double, roughly
CHUNK = 2**21  # numbers of a kernel held at once: 16 MB


def local_entropy(
    f: Array, spacing: float | Sequence[float], time: float, temperature: float, method: str = "auto"
) -> Array:
    """u(x, t) = -T log(G * exp(-f/T))(x), T the temperature, G a Gaussian of variance t T in each coordinate.

    Solves u_t = -1/2 |grad u|^2 + T/2 lap u, u(x, 0) = f(x); at T = 0 it is `hopf_lax`. f counts as +inf beyond the
    grid. Two methods, equal to rounding: "convolution" is scipy's gaussian_filter of the positive exp(-(f - min f)/T),
    good while the range of f over T is under 700; "log_sum_exp" sums exponents, for any range, in O(n^2) a line. An
    FFT has no place here: its rounding is relative to the largest value and gives negative numbers.

    The grid must resolve exp(-f/T): a well of curvature a is sqrt(T/a) wide, and the sums are exact to rounding from
    some 1.4 points a width on. Below that u is closer to the lattice's minimum than to the equation's solution.

    Args:
        f: values on the grid, shape (n_1, ..., n_d).
        spacing: of the grid, one number or one for each axis, in units of x.
        time: t >= 0, the optimizers' gamma.
        temperature: 1/beta >= 0, in units of f.
        method: "auto", "convolution" or "log_sum_exp".

    Returns u, shaped like f. Source: arXiv 1704.04932, section 2; arXiv 1611.01838, equation 4. Raises ValueError.
    """
    non_negative("time", time)
    non_negative("temperature", temperature)
    each = spacings(f, spacing, excluded=True)
    if method not in ("auto", "convolution", "log_sum_exp"):
        raise ValueError(f"method must be auto, convolution or log_sum_exp, not {method!r}")
    if temperature == 0 or time == 0:
        return hopf_lax(f, each, time)
    exponents = float(np.ptp(f)) / temperature
    if method == "convolution" and not exponents < LARGEST_EXPONENT:
        raise ValueError(f"the range of f is {exponents:.4g} temperatures: convolution underflows beyond 700")
    if method == "log_sum_exp" or not exponents < LARGEST_EXPONENT:
        return _log_sum_exp(f, each, time, temperature)
    lowest = float(f.min())
    sigma = math.sqrt(time * temperature)
    cut = math.sqrt(2 * (37 + exponents))  # what lies farther is under 1e-16 of the smallest possible sum
    summed: Array = gaussian_filter(
        np.exp(-(f - lowest) / temperature), [sigma / dx for dx in each], mode="constant", cval=0.0, truncate=cut
    )
    return lowest - temperature * np.log(summed)


def _log_sum_exp(f: Array, each: tuple[float, ...], time: float, temperature: float) -> Array:
    u = np.asarray(f, dtype=np.float64)
    for along, dx in enumerate(each):
        lines = np.moveaxis(u, along, -1)
        n, scale = lines.shape[-1], dx * dx / (2 * time * temperature)
        k = np.arange(n, dtype=np.float64)
        reach = np.arange(-n - 40 / math.sqrt(scale), n + 40 / math.sqrt(scale) + 1).round()
        norm = float(logsumexp(-scale * reach**2))  # the kernel sums to 1 over the lattice
        flat, rows = lines.reshape(-1, n), max(1, CHUNK // n)
        result = np.empty_like(flat)
        for at in range(0, n, rows):
            kernel = -scale * (k[at : at + rows, None] - k) ** 2 - norm
            for line, into in zip(flat, result, strict=True):
                into[at : at + rows] = -temperature * _log_row_sums(kernel, line / temperature)
        u = np.moveaxis(result.reshape(lines.shape), -1, along)
    return np.ascontiguousarray(u)


def _log_row_sums(kernel: Array, energy: Array) -> Array:
    """log sum_j exp(kernel_ij - energy_j), -inf where all energies are inf. In place: logsumexp is 3 times slower."""
    terms = kernel - energy
    highest = terms.max(axis=1, keepdims=True)
    if np.isneginf(highest).all():
        return np.asarray(highest[:, 0])
    terms -= highest
    np.exp(terms, out=terms)
    result: Array = highest[:, 0] + np.log(terms.sum(axis=1))
    return result


def gibbs_moments(y: Array, f: Array, x: Array, time: float, temperature: float) -> tuple[Array, Array]:
    """Mean and variance of y ~ exp(-(f(y) + |x - y|^2/(2t))/T): grad u = (x - mean)/t.

    By the trapezoidal sum over the grid, which is exact to rounding for smooth f that grow.

    Args:
        y, f: a uniform grid and f on it, shape (n,).
        x: where, shape (m,), anywhere.
        time, temperature: t and T, both > 0.
    """
    exponent = -(f + (x[:, None] - y) ** 2 / (2 * time)) / temperature
    weights = np.exp(exponent - logsumexp(exponent, axis=1, keepdims=True))
    mean = weights @ y
    return mean, np.einsum("ij,ij->i", weights, (y - mean[:, None]) ** 2)


def local_entropy_gradient(y: Array, f: Array, x: Array, time: float, temperature: float) -> Array:
    """grad u(x, t) = (x - <y>)/t, shape (m,); the arguments are `gibbs_moments`'. arXiv 1704.04932, section 2."""
    return (x - gibbs_moments(y, f, x, time, temperature)[0]) / time
