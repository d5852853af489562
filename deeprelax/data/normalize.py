"""From uint8 pixels to the network's input."""

from __future__ import annotations

import torch
from torch import Tensor


class Normalization:
    """x -> (x - shift) * scale for each channel; shift and scale of shape (channels, 1, 1)."""

    def __init__(self, shift: Tensor, scale: Tensor) -> None:
        self.shift, self.scale = shift, scale

    def to(self, device: torch.device) -> Normalization:
        return Normalization(self.shift.to(device), self.scale.to(device))

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (batch, channels, height, width) to float32 in the same memory format."""
        return torch.sub(images, self.shift).mul_(self.scale)


def fit(name: str, images: Tensor) -> Normalization:
    """The normalisation called `name`, fitted on the training images uint8 (N, C, H, W).

    mean_std: each channel to mean 0 and standard deviation 1; a constant channel to 0. none: [0, 255] to [0, 1].
    """
    channels = images.shape[1]
    if name == "none":
        return Normalization(torch.zeros(channels, 1, 1), torch.full((channels, 1, 1), 1 / 255))
    assert name == "mean_std", name
    counts = torch.stack([torch.bincount(images[:, c].flatten(), minlength=256) for c in range(channels)]).double()
    values = torch.arange(256, dtype=torch.float64)
    mean = (counts @ values) / counts.sum(1)
    variance = (counts @ values.square()) / counts.sum(1) - mean.square()
    scale = torch.where(variance > 1e-12, variance, 1.0).rsqrt()
    return Normalization(mean.float().reshape(-1, 1, 1), scale.float().reshape(-1, 1, 1))
