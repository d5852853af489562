"""Define LeNet, the small convolutional network of the paper."""

from __future__ import annotations

from torch import nn


class LeNet(nn.Sequential):
    """Two 5x5 convolutions and one hidden layer; ReLU, max-pooling, batch norm, dropout in this order.

    Input (batch, channels, size, size), output (batch, classes). 131,220 parameters on MNIST.

    Source: arXiv 1704.04932, section 6.

    Args:
        channels, image_size, classes: of the data set; image_size in pixels, at least 22.
        dropout: probability of each dropout layer.
    """

    smallest_image = 22

    def __init__(self, channels: int, image_size: int, classes: int, dropout: float = 0.25) -> None:
        side = ((image_size - 4) // 3 - 4) // 2  # 2 for 28 x 28
        super().__init__(
            *_convolution(channels, 20, pool=3, dropout=dropout),  # (batch, 20, 8, 8) for 28 x 28
            *_convolution(20, 50, pool=2, dropout=dropout),  # (batch, 50, 2, 2)
            nn.Flatten(),
            nn.Linear(50 * side * side, 500),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(500, classes),
        )


def _convolution(channels_in: int, channels_out: int, *, pool: int, dropout: float) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, 5),
        nn.ReLU(),
        nn.MaxPool2d(pool),
        nn.BatchNorm2d(channels_out),
        nn.Dropout(dropout),
    ]
