"""Define a fully connected network for the solution of a differential equation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .hyperparameters import check_ranges


class FourierFeatures(nn.Module):
    """x -> sin(2 pi B x), cos(2 pi B x), B with entries N(0, scale^2) that are drawn once and not trained.

    Input (batch, inputs), output (batch, 2 count). Source: arXiv 2006.10739.
    """

    def __init__(self, inputs: int, count: int, scale: float) -> None:
        super().__init__()
        self.frequencies: Tensor
        self.register_buffer("frequencies", scale * torch.randn(inputs, count))

    def forward(self, x: Tensor) -> Tensor:
        angle = 2 * math.pi * x @ self.frequencies
        return torch.cat([angle.sin(), angle.cos()], 1)


class MlpField(nn.Module):
    """inputs-hidden-...-hidden-outputs with tanh, smooth as derivatives need it.

    Input (batch, inputs), each in [-1, 1]; output (batch, outputs). Weights by Glorot's rule (normal), biases 0.
    5,301 parameters for 2 inputs and 1 output.

    Args:
        inputs, outputs: of the task.
        hidden: width of each hidden layer.
        layers: hidden layers.
        fourier: random frequencies in front of the first layer, a sine and a cosine for each; 0 leaves them out.
        fourier_scale: their standard deviation, in periods per unit of the input.
    """

    def __init__(
        self, inputs: int, outputs: int, hidden: int = 50, layers: int = 3, fourier: int = 0, fourier_scale: float = 1.0
    ) -> None:
        super().__init__()
        check_ranges(hidden=hidden, layers=layers, fourier=fourier, fourier_scale=fourier_scale)
        features = FourierFeatures(inputs, fourier, fourier_scale) if fourier else nn.Identity()
        widths = [2 * fourier or inputs, *[hidden] * layers]
        inner: list[nn.Module] = [features]
        for i in range(layers):
            inner += [nn.Linear(widths[i], widths[i + 1]), nn.Tanh()]
        self.layers = nn.Sequential(*inner, nn.Linear(widths[-1], outputs))
        for module in self.layers:
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        field: Tensor = self.layers(x)
        return field
