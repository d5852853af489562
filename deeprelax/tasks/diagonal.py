"""Sparse linear regression for a diagonal linear network: where smoothing by the heat equation is a lasso, exactly."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UserError
from ..optim.hyperparameters import given
from ..randomness import Purpose, derive_seed
from .hyperparameters import check_options
from .least_squares import LeastSquares
from .metric import Metric
from .task import Setting


class Diagonal(LeastSquares):
    """f = |A w - y|^2 / (2n), y = A w* + noise, with n rows a_j = s_j z_j, z ~ N(0, 1), and a sparse w* of +1 and -1.

    With w = u^2 - v^2 (`model=diagonal`) and Gaussian smoothing of u and v,

        E f(x + sigma z) = f(x) + (2 sigma^2/n) sum_j |A_j|^2 (u_j^2 + v_j^2) + (2 sigma^4/n) sum_j |A_j|^2 .

    At given w the penalty is least where u v = 0, so the minimum is that of a lasso whose weights are the columns'
    energies, |A w - y|^2/(2n) + (2 sigma^2/n) sum_j |A_j|^2 |w_j| : right where they are alike, wrong where not.

    "error" is E (a (w - w*))^2 / E (a w*)^2 = sum_j s_j^2 (w_j - w*_j)^2 / sum_j s_j^2 w*_j^2 for a new row a, without
    noise; |w - w*|^2/|w*|^2 where no column is scaled. Both expectations are means over the d test rows
    sqrt(d) s_j e_j, whose second moments are those of a; so it takes a network that is linear in its input.

    Networks map (batch, dimensions) to (batch, 1). batch_size = n is the whole gradient.

    Args:
        measurements: n.
        dimensions: of w.
        nonzero: entries of w* that are not 0.
        noise: standard deviation of the labels' noise.
        column_spread: c in s_j = exp(c z_j), z ~ N(0, 1).
        problem_seed: of A, w*, s and the noise, each from a stream of its own.
    """

    factor = 0.5

    metrics = {"error": Metric()}  # noqa: RUF012

    def __init__(
        self,
        setting: Setting,
        measurements: int = 40,
        dimensions: int = 100,
        nonzero: int = 5,
        noise: float = 0.0,
        column_spread: float = 0.0,
        problem_seed: int = 0,
    ) -> None:
        options = given(locals())
        check_options(options)
        if nonzero > dimensions:
            raise UserError(f"task.nonzero={nonzero} is more than task.dimensions={dimensions}: lower it")
        matrix, truth, scales, errors = (_stream(problem_seed, i) for i in range(4))
        places = torch.randperm(dimensions, generator=truth)[:nonzero]
        signs = torch.randint(2, (nonzero,), generator=truth) * 2.0 - 1.0
        self.truth = torch.zeros(dimensions).index_copy(0, places, signs)  # w*
        scale = torch.exp(column_spread * torch.randn(dimensions, generator=scales))
        rows = torch.randn(measurements, dimensions, generator=matrix) * scale
        labels = rows @ self.truth + noise * torch.randn(measurements, generator=errors)
        test = torch.diag(dimensions**0.5 * scale)
        super().__init__(setting, {"train": (rows, labels[:, None]), "test": (test, (test @ self.truth)[:, None])})
        self.shape = {"inputs": dimensions, "outputs": 1}
        self.fingerprint = f"diagonal {sorted(options.items())}"

    def scores(self, sums: Tensor) -> dict[str, float]:
        errors, _, squares, examples = sums.tolist()
        return {"loss": errors / (2 * examples), "error": errors / squares}


def _stream(problem_seed: int, number: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(problem_seed, Purpose.PROBLEM, number))
