"""Define a symmetric matrix by its factor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .hyperparameters import check_ranges


class Factor(nn.Module):
    """M -> <M, U U'>, linear in M; U is `scale`/sqrt(size) times Gaussians at the start.

    Input (batch, size, size), output (batch, 1). size * rank parameters.

    Args:
        size: of the task.
        rank: columns of U; more than the matrix sought has rank is over-parametrised.
        scale: of the initial weights.
    """

    def __init__(self, size: int, rank: int = 20, scale: float = 1.0) -> None:
        super().__init__()
        check_ranges(rank=rank, scale=scale)
        self.u = nn.Parameter(torch.randn(size, rank) * (scale / size**0.5))

    def forward(self, matrices: Tensor) -> Tensor:
        """(batch, size, size) to (batch, 1)."""
        return (matrices * (self.u @ self.u.T)).sum((1, 2))[:, None]
