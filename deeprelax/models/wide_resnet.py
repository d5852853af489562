"""Define wide residual networks, WRN-depth-width."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .hyperparameters import check_ranges


class WideResNet(nn.Module):
    """WRN-depth-width with pre-activation: three groups of (depth - 4)/6 blocks with 16, 32, 64 times width channels.

    Input (batch, channels, size, size), output (batch, classes). For 3 channels and 10 classes WRN-16-4 has 2,748,890
    parameters and WRN-28-10 36,479,194.

    Source: arXiv 1605.07146, table 1; initialised as there, N(0, 2/(filter area * output channels)).

    Args:
        channels, image_size, classes: of the data set; image_size in pixels, at least 4.
        depth: layers, 6 n + 4.
        width: the widening factor k.
        dropout: probability of the dropout between the two convolutions of a block.
    """

    smallest_image = 4

    def __init__(
        self, channels: int, image_size: int, classes: int, depth: int = 16, width: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_ranges(depth=depth, width=width)
        blocks, widths = (depth - 4) // 6, (16, 16 * width, 32 * width, 64 * width)
        self.stem = nn.Conv2d(channels, 16, 3, padding=1, bias=False)  # (batch, 16, 32, 32) for 32 x 32
        self.groups = nn.Sequential(
            _group(widths[0], widths[1], blocks, stride=1, dropout=dropout),  # (batch, 16 k, 32, 32)
            _group(widths[1], widths[2], blocks, stride=2, dropout=dropout),  # (batch, 32 k, 16, 16)
            _group(widths[2], widths[3], blocks, stride=2, dropout=dropout),  # (batch, 64 k, 8, 8)
        )
        self.norm = nn.BatchNorm2d(widths[3])
        self.head = nn.Linear(widths[3], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, classes)."""
        features = torch.relu(self.norm(self.groups(self.stem(images))))
        logits: Tensor = self.head(features.mean((2, 3)))
        return logits


class ResidualBlock(nn.Module):
    """x + conv(relu(bn(dropout(conv(relu(bn(x))))))); where the shape changes, x goes through a 1x1 convolution."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        same = channels_in == channels_out and stride == 1
        self.shortcut = None if same else nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels_in, size, size) to (batch, channels_out, size / stride, size / stride)."""
        activated = torch.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        inner = self.dropout(self.conv1(activated))
        out: Tensor = shortcut + self.conv2(torch.relu(self.norm2(inner)))
        return out


def _group(channels_in: int, channels_out: int, blocks: int, *, stride: int, dropout: float) -> nn.Sequential:
    first = ResidualBlock(channels_in, channels_out, stride=stride, dropout=dropout)
    rest = [ResidualBlock(channels_out, channels_out, stride=1, dropout=dropout) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)
