"""The density of the eigenvalues of the Hessian, or of the Gauss-Newton matrix, from products with it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .curvature import Curvature
from .loss import BatchedLoss, Loss, numbers


@dataclass(frozen=True)
class Density:
    """The density of eigenvalues of a (d, d) matrix, as weights at nodes, both float64 and of one length.

    The weights add up to 1; sum(weights * nodes) estimates trace/d.
    """

    nodes: Tensor
    weights: Tensor
    d: int
    products: int

    def smoothed(self, grid: Tensor, width: float) -> Tensor:
        """The density at the points of `grid`, each node a Gaussian of standard deviation `width`."""
        z = (grid[:, None] - self.nodes) / width
        return (torch.exp(-z.square() / 2) * self.weights).sum(1) / (width * math.sqrt(2 * math.pi))


def spectral_density(
    loss: Loss, parameters: Iterable[Tensor], steps: int = 50, probes: int = 4, seed: int = 0, *,
    gauss_newton: bool = False,
) -> Density:  # fmt: skip
    """The density of the Hessian's eigenvalues, by stochastic Lanczos quadrature (arXiv 1901.10159).

    For each of `probes` random vectors v, `steps` Lanczos steps give the Gauss quadrature of the spectral measure of
    v, exact for polynomials of degree 2 steps - 1; the density is the mean over them.

    Args:
        loss, parameters, gauss_newton: as for `hessian_eigenvalues`.
        steps: products for each vector; so many vectors of length d are kept.
        probes: vectors, Gaussian ones.
        seed: of them.
    """
    return estimated_density(Curvature(BatchedLoss(loss, parameters), gauss_newton=gauss_newton), steps, probes, seed)


def estimated_density(curvature: Curvature, steps: int, probes: int, seed: int = 0) -> Density:
    """As `spectral_density`, of a matrix that products are known of."""
    if min(steps, probes) < 1:
        raise ValueError(f"steps={steps} and probes={probes} must be at least 1")
    generator, before = numbers(seed, "density"), curvature.products
    found = []
    for _ in range(probes):
        v = torch.randn(curvature.d, generator=generator, dtype=torch.float64)
        found.append(quadrature(curvature, v, min(steps, curvature.d)))
    nodes, weights = torch.cat([each[0] for each in found]), torch.cat([each[1] for each in found]) / probes
    order = nodes.argsort()
    return Density(nodes[order], weights[order], curvature.d, curvature.products - before)


def quadrature(curvature: Curvature, v: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of the Gauss quadrature of the spectral measure of v, by Lanczos with reorthogonalisation."""
    basis = torch.empty(steps, len(v), dtype=torch.float64)
    basis[0] = v / v.norm()
    diagonal: list[float] = []
    beside: list[float] = []
    for i in range(steps):
        w, known = curvature(basis[i]).double().cpu(), basis[: i + 1]
        diagonal.append(float(w @ basis[i]))
        for _ in range(2):  # once leaves what rounding made
            w = w - known.T @ (known @ w)
        length = float(w.norm())
        if i + 1 == steps or length <= 1e-10 * max(map(abs, diagonal)):  # the space is exhausted
            break
        beside.append(length)
        basis[i + 1] = w / length
    small = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    for i, length in enumerate(beside):
        small[i, i + 1] = small[i + 1, i] = length
    nodes, vectors = torch.linalg.eigh(small)
    return nodes, vectors[0].square()
