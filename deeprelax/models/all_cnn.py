"""Define All-CNN, a network of convolutions only."""

from __future__ import annotations

from torch import nn

from .hyperparameters import check_ranges


class AllCNN(nn.Sequential):
    """Nine convolutions, two of them with stride 2 in the place of pooling, and a global average.

    Input (batch, channels, size, size), output (batch, classes).

    Two variants, with parameters for 3 channels and 10 classes:
        paper     1,667,166: batch norm and ReLU after every convolution, the one that gives the logits included; the
                  eighth layer is 3x3. Source: arXiv 1704.04932, section 6.
        original  1,369,738: All-CNN-C of arXiv 1412.6806, table 1: no batch norm, the seventh layer without padding,
                  the eighth 1x1.

    Args:
        channels, image_size, classes: of the data set; image_size in pixels, at least 9.
        variant: "paper" or "original".
        input_dropout: probability of the dropout on the input.
        dropout: probability of the dropout after each layer of stride 2.
    """

    smallest_image = 9

    def __init__(
        self,
        channels: int,
        image_size: int,
        classes: int,
        variant: str = "paper",
        input_dropout: float = 0.2,
        dropout: float = 0.5,
    ) -> None:
        check_ranges(variant=variant)
        norm = variant == "paper"
        super().__init__(
            nn.Dropout(input_dropout),
            *_layer(channels, 96, norm=norm),  # (batch, 96, 32, 32) for 32 x 32
            *_layer(96, 96, norm=norm),
            *_layer(96, 96, norm=norm, stride=2),  # (batch, 96, 16, 16)
            nn.Dropout(dropout),
            *_layer(96, 192, norm=norm),
            *_layer(192, 192, norm=norm),
            *_layer(192, 192, norm=norm, stride=2),  # (batch, 192, 8, 8)
            nn.Dropout(dropout),
            *_layer(192, 192, norm=norm, padding=1 if norm else 0),  # original: (batch, 192, 6, 6)
            *_layer(192, 192, norm=norm, size=3 if norm else 1),
            *_layer(192, classes, norm=norm, size=1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )


def _layer(
    channels_in: int, channels_out: int, *, norm: bool, size: int = 3, stride: int = 1, padding: int | None = None
) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, size, stride, size // 2 if padding is None else padding)
    return [convolution, *([nn.BatchNorm2d(channels_out)] if norm else []), nn.ReLU()]
