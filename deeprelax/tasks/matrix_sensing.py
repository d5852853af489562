"""Matrix sensing: a matrix of low rank from a few linear measurements, where smoothing is a trace-norm penalty."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import UserError
from ..optim.hyperparameters import given
from ..randomness import Purpose, derive_seed
from .hyperparameters import check_options
from .least_squares import LeastSquares
from .metric import Metric
from .task import Setting


class MatrixSensing(LeastSquares):
    """f = sum_i (<M_i, X> - y_i)^2 / (2n), y_i = <M_i, X*> + noise, X* = V V' of low rank with |X*| = 1 (Frobenius).

    M_i = (G + G')/2 with G of independent N(0, 1), so that E <M_i, X>^2 = |X|^2 for symmetric X. With X = U U', U of
    k columns (`model=factor`), and Gaussian smoothing of U,

        E f(U + sigma Z) = sum_i (<M_i, U U'> - y_i + k sigma^2 tr M_i)^2 / (2n)
                         + (4 sigma^2 tr U' S U + 2 k sigma^4 tr S) / (2n),   S = sum_i M_i^2 .

    "error" is |X - X*| / |X*|, both from the means of <M, X - X*>^2 and <M, X*>^2 over an orthogonal basis of the
    symmetric matrices; so it takes a network that is linear in M.

    Networks map (batch, size, size) to (batch, 1). batch_size = n is the whole gradient.

    Args:
        measurements: n.
        size: rows of X*.
        rank: of X*.
        noise: standard deviation of the measurements' noise.
        problem_seed: of M, X* and the noise, each from a stream of its own.
    """

    factor = 0.5

    metrics = {"error": Metric()}  # noqa: RUF012

    def __init__(
        self,
        setting: Setting,
        measurements: int = 100,
        size: int = 20,
        rank: int = 2,
        noise: float = 0.0,
        problem_seed: int = 0,
    ) -> None:
        options = given(locals())
        check_options(options)
        if rank > size:
            raise UserError(f"task.rank={rank} is more than task.size={size}: lower it")
        sensors, truth, errors = (
            torch.Generator().manual_seed(derive_seed(problem_seed, Purpose.PROBLEM, i)) for i in range(3)
        )
        gaussian = torch.randn(measurements, size, size, generator=sensors)
        matrices = (gaussian + gaussian.mT) / 2
        factor = torch.randn(size, rank, generator=truth)
        product = factor @ factor.T
        self.truth = product / torch.linalg.matrix_norm(product)  # X*
        values = _measured(matrices, self.truth) + noise * torch.randn(measurements, 1, generator=errors)
        basis = _basis(size)
        super().__init__(setting, {"train": (matrices, values), "test": (basis, _measured(basis, self.truth))})
        self.shape = {"size": size}
        self.fingerprint = f"matrix_sensing {sorted(options.items())}"

    def scores(self, sums: Tensor) -> dict[str, float]:
        errors, _, squares, examples = sums.tolist()
        return {"loss": errors / (2 * examples), "error": math.sqrt(errors / squares)}


def _measured(matrices: Tensor, x: Tensor) -> Tensor:
    """<M, x> of each M, (matrices, 1)."""
    return (matrices * x).sum((1, 2))[:, None]


def _basis(size: int) -> Tensor:
    """(m, size, size) with m = size (size + 1)/2: orthogonal, symmetric, the mean of <M, X>^2 over them is |X|^2."""
    i, j = torch.triu_indices(size, size)
    count = len(i)
    basis, each = torch.zeros(count, size, size), torch.arange(count)
    height = math.sqrt(count) * torch.where(i == j, 1.0, math.sqrt(0.5))
    basis[each, i, j] = height
    basis[each, j, i] = height
    return basis
