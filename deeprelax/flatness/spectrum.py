"""Eigenvalues and trace of the Hessian, or of the Gauss-Newton matrix, from products with it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from scipy.special import stdtrit
from torch import Tensor

from .curvature import Curvature
from .loss import BatchedLoss, Loss, numbers

SMALL = 64  # dimensions up to which the matrix is written out, which is exact
DENSE = 4096  # up to which it may be, where nearly all eigenvalues are asked for
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Eigenvalues:
    """Some eigenvalues of a symmetric matrix H.

    Attributes:
        values: (k,) float64, largest first; nan for those that the iteration did not reach.
        residuals: (k,) float64, |H v - value v| of each with its eigenvector v of length 1, by one product more: an
            eigenvalue of H lies within it of the value.
        converged: is each residual below `tolerance` times the scale of H?
        vectors: (k, d), the eigenvectors as rows.
        products: with H, in all.
    """

    values: Tensor
    residuals: Tensor
    converged: bool
    vectors: Tensor = field(repr=False)
    products: int


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval [low, high], from `n` random draws; n = 0: it is exact."""

    value: float
    low: float
    high: float
    n: int


def hessian_eigenvalues(
    loss: Loss, parameters: Iterable[Tensor], k: int = 5, seed: int = 0, *, smallest: bool = False,
    gauss_newton: bool = False, tolerance: float | None = None, products: int = 1000,
) -> Eigenvalues:  # fmt: skip
    """The k largest eigenvalues of the Hessian, by implicitly restarted Lanczos iteration (ARPACK).

    Exact, up to rounding, for at most 64 parameters, and for k of nearly their number.

    Args:
        loss, parameters: see `BatchedLoss`. Parameters of one layer give that block of the Hessian.
        k: how many, at most the number of parameters; of more than 4,096 parameters at most 1,024.
        seed: of the vector that the iteration begins with.
        smallest: the k smallest ones, most negative last.
        gauss_newton: of the Gauss-Newton matrix; needs a loss of `Composite`.
        tolerance: of the residuals, relative to the scale of the matrix; by default 1e-8 in float64, 1e-4 in float32.
            An eigenvalue is better than its residual: the error is about its square over the gap to the next one.
        products: with the Hessian, at most, about.

    Raises ValueError for a loss that is not deterministic, and for k < 1 or too large.
    """
    curvature = Curvature(BatchedLoss(loss, parameters), gauss_newton=gauss_newton)
    return eigenvalues(curvature, k, seed, smallest=smallest, tolerance=tolerance, products=products)


def trace(
    loss: Loss, parameters: Iterable[Tensor], products: int = 60, seed: int = 0, *, gauss_newton: bool = False
) -> Estimate:
    """The trace of the Hessian by Hutch++ (arXiv 2010.09649), with a 95 % interval.

    A third of the products finds a subspace Q of the large eigenvalues, a third takes the trace on it, and the rest
    estimates the trace beside it from random signs g: mean of g'(I - QQ')H(I - QQ')g, unbiased. The interval is
    Student's t over these. With `products` of the number of parameters or more the trace is exact.

    Args:
        loss, parameters, gauss_newton: as for `hessian_eigenvalues`.
        products: with the Hessian, at least 6.
        seed: of the random signs.
    """
    return estimated_trace(Curvature(BatchedLoss(loss, parameters), gauss_newton=gauss_newton), products, seed)


def eigenvalues(
    curvature: Curvature, k: int, seed: int = 0, *, smallest: bool = False, tolerance: float | None = None,
    products: int = 1000,
) -> Eigenvalues:  # fmt: skip
    """As `hessian_eigenvalues`, of a matrix that products are known of."""
    d, before = curvature.d, curvature.products
    most, what = (d, "the number of parameters") if d <= DENSE else (DENSE // 4, f"for more than {DENSE} parameters")
    if not 1 <= k <= most:
        raise ValueError(f"k={k} is out of range: it must be an integer from 1 to {most}, {what}")
    tolerance = tolerance or (1e-8 if curvature.loss.dtype == torch.float64 else 1e-4)
    if d <= SMALL or k > d // 4:
        matrix = curvature.dense()
        values, vectors = torch.linalg.eigh(matrix)
        scale, own = float(values.abs().max()), slice(0, k) if smallest else slice(d - k, d)
        values, vectors = values[own].flip(0), vectors[:, own].T.flip(0)
    else:
        values, vectors, scale = _lanczos(curvature, k, seed, tolerance, products, -1.0 if smallest else 1.0)
    left = torch.empty_like(vectors)  # H v - value v
    for row, value, v in zip(left, values, vectors, strict=True):
        row.copy_(curvature(v)).sub_(value * v)
    residuals = left.norm(dim=1)
    converged = len(values) == k and bool((residuals <= 2 * tolerance * scale + 1e-300).all())
    missing = torch.full((k - len(values),), math.nan, dtype=torch.float64)
    return Eigenvalues(
        torch.cat([values, missing]), torch.cat([residuals, missing]), converged, vectors, curvature.products - before
    )


def _lanczos(
    curvature: Curvature, k: int, seed: int, tolerance: float, products: int, sign: float
) -> tuple[Tensor, Tensor, float]:
    """Values and vectors by ARPACK, those found if not all are, largest first; and the scale of the matrix.

    ARPACK's tolerance is relative to each eigenvalue, which one of 0 never meets. It is given s I + sign H, s half of
    the largest modulus, so that all that are wanted are of the matrix's own scale.
    """
    d = curvature.d
    start = torch.randn(d, generator=numbers(seed, "lanczos"), dtype=torch.float64)
    if seed not in curvature.scales:
        curvature.scales[seed] = _scale(curvature, start)
    scale = curvature.scales[seed]
    shift = scale / 2

    def product(u: np.ndarray) -> np.ndarray:
        found = sign * curvature(torch.from_numpy(u.reshape(-1))).double().cpu() + shift * torch.from_numpy(
            u.reshape(-1)
        )
        return found.numpy()

    operator = LinearOperator((d, d), matvec=product, dtype=np.float64)
    size = min(d, max(2 * k + 1, 20))
    restarts = max(1, (products - size) // (size - k))
    try:
        found, vectors = eigsh(operator, k=k, which="LA", v0=start.numpy(), ncv=size, tol=tolerance, maxiter=restarts)
    except ArpackNoConvergence as stopped:
        found, vectors = stopped.eigenvalues, stopped.eigenvectors
    values = sign * (torch.from_numpy(np.asarray(found, dtype=np.float64)) - shift)
    order = values.argsort(descending=True)
    return values[order], torch.from_numpy(np.ascontiguousarray(vectors.T))[order], scale


def _scale(curvature: Curvature, v: Tensor) -> float:
    """The largest modulus of H's eigenvalues, roughly, by power iteration from v; 1 for H = 0."""
    norm = 0.0
    for _ in range(8):
        v = curvature(v / v.norm()).double().cpu()
        norm = float(v.norm())
        if norm == 0:
            break
    return norm or 1.0


def estimated_trace(curvature: Curvature, products: int, seed: int = 0) -> Estimate:
    """As `trace`, of a matrix that products are known of."""
    d = curvature.d
    if products < 6:
        raise ValueError(f"products={products} is out of range: it must be an integer of 6 or more")
    if products >= d:
        value = float(curvature.dense().trace())
        return Estimate(value, value, value, 0)
    third, generator = products // 3, numbers(seed, "trace")

    def multiplied(columns: Tensor, into: Tensor) -> Tensor:
        for column, place in zip(columns.T, into.T, strict=True):
            place.copy_(curvature(column))
        return into

    drawn = signs(d, third, generator)
    basis = torch.linalg.qr(multiplied(drawn, into=drawn))[0]
    del drawn
    inside = float(multiplied(basis, into=torch.empty_like(basis)).mul_(basis).sum())
    rest = signs(d, products - 2 * third, generator)
    rest -= basis @ (basis.T @ rest)
    del basis
    beside = multiplied(rest, into=torch.empty_like(rest)).mul_(rest).sum(0)
    mean, low, high = interval(beside)
    return Estimate(inside + mean, inside + low, inside + high, len(beside))


def signs(d: int, count: int, generator: torch.Generator) -> Tensor:
    """(d, count) random signs, float64 on the CPU."""
    return torch.randint(0, 2, (d, count), generator=generator, dtype=torch.float64).mul_(2).sub_(1)


def interval(values: Tensor) -> tuple[float, float, float]:
    """Mean, and its 95 % interval by Student's t, of independent values (n,), n > 1."""
    n, mean = len(values), float(values.mean())
    reach = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * float(values.std()) / math.sqrt(n)
    return mean, mean - reach, mean + reach
