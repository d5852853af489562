"""Define the fully connected network of the paper ("mnistfc")."""

from __future__ import annotations

from torch import nn


class MLP(nn.Sequential):
    """in-1024-1024-classes with dropout on the input and after each hidden layer, ReLU before batch norm.

    Input (batch, channels, size, size), output (batch, classes). 1,867,786 parameters on MNIST.

    Source: arXiv 1704.04932, section 6, "mnistfc".

    Args:
        channels, image_size, classes: of the data set; image_size in pixels.
        hidden: width of the two hidden layers.
        dropout: probability of each dropout layer.
    """

    smallest_image = 1

    def __init__(self, channels: int, image_size: int, classes: int, hidden: int = 1024, dropout: float = 0.2) -> None:
        super().__init__(
            nn.Flatten(),  # (batch, channels * size * size)
            nn.Dropout(dropout),
            *_hidden_layer(channels * image_size**2, hidden, dropout),
            *_hidden_layer(hidden, hidden, dropout),
            nn.Linear(hidden, classes),
        )


def _hidden_layer(width_in: int, width_out: int, dropout: float) -> list[nn.Module]:
    return [nn.Linear(width_in, width_out), nn.ReLU(), nn.BatchNorm1d(width_out), nn.Dropout(dropout)]
