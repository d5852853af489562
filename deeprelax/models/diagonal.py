"""Define the diagonal linear network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .hyperparameters import check_ranges


class DiagonalLinear(nn.Module):
    """The linear map w = u^2 - v^2, entry by entry; w = 0 at the start, u = v = `scale`, whatever the seed.

    Input (batch, inputs), output (batch, outputs). 2 * inputs * outputs parameters.

    Source: B. Woodworth et al., Kernel and rich regimes in overparametrized models, arXiv 2002.09277, section 4.

    Args:
        inputs, outputs: of the task.
        scale: of the initial weights.
    """

    def __init__(self, inputs: int, outputs: int, scale: float = 1.0) -> None:
        super().__init__()
        check_ranges(scale=scale)
        self.u = nn.Parameter(torch.full((outputs, inputs), float(scale)))
        self.v = nn.Parameter(torch.full((outputs, inputs), float(scale)))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs) to (batch, outputs)."""
        return x @ (self.u.square() - self.v.square()).T
