"""Define a fully connected network for vectors."""

from __future__ import annotations

import itertools

from torch import nn

from .hyperparameters import check_ranges

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


class Dense(nn.Sequential):
    """inputs-hidden-...-hidden-outputs with one activation; without a hidden layer linear.

    Input (batch, inputs), output (batch, outputs). 4,929 parameters for 10 inputs and 1 output.

    Args:
        inputs, outputs: of the task.
        hidden: width of each hidden layer.
        layers: hidden layers.
        activation: "tanh", "relu", "gelu" or "silu".
    """

    def __init__(self, inputs: int, outputs: int, hidden: int = 64, layers: int = 2, activation: str = "tanh") -> None:
        check_ranges(hidden=hidden, layers=layers, activation=activation)
        widths = [inputs, *[hidden] * layers]
        inner = [layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), ACTIVATIONS[activation]())]
        super().__init__(*inner, nn.Linear(widths[-1], outputs))
