"""Define ResNet-18 for small images."""

from __future__ import annotations

from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet


class ResNet18(ResNet):  # type: ignore[misc]  # torchvision has no types
    """torchvision's ResNet-18 with the stem for small images: a 3x3 convolution of stride 1, no max pooling.

    Input (batch, channels, size, size), output (batch, classes). 11,173,962 parameters for 3 channels and 10 classes.

    Source: arXiv 1512.03385, table 1 and section 4.2; initialised as torchvision's, convolutions N(0, 2/(filter area *
    output channels)), batch norm 1 and 0, the head as nn.Linear.

    Args:
        channels, image_size, classes: of the data set.
    """

    def __init__(self, channels: int, image_size: int, classes: int) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2], num_classes=classes)
        self.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)  # (batch, 64, 32, 32) for 32 x 32
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.maxpool = nn.Identity()
