"""Normalise uint8 pixels to the network's input, by statistics of the training images."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from .whitening import GCNWhitening, fit_gcn_zca


class Normalization(Protocol):
    """A map from uint8 pixels to the network's input."""

    def to(self, device: torch.device) -> Normalization:
        """The same on another device."""

    def __call__(self, images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """uint8 (batch, channels, height, width) to float32 in the same memory format, or that rounded to `dtype`."""

    def state(self) -> dict[str, Tensor]:
        """The tensors that it was constructed with, by the names of the constructor's arguments."""


class PerChannel:
    """x -> (x - shift) * scale for each channel; shift and scale of shape (channels, 1, 1)."""

    def __init__(self, shift: Tensor, scale: Tensor) -> None:
        self.shift, self.scale = shift, scale

    def to(self, device: torch.device) -> PerChannel:
        return PerChannel(self.shift.to(device), self.scale.to(device))

    def __call__(self, images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        centred = torch.sub(images, self.shift)
        if dtype == centred.dtype:
            return centred.mul_(self.scale)
        # a GPU rounds as it writes: no kernel for that alone
        return torch.mul(centred, self.scale, out=torch.empty_like(centred, dtype=dtype))

    def state(self) -> dict[str, Tensor]:
        return {"shift": self.shift, "scale": self.scale}


def from_state(state: dict[str, Tensor]) -> Normalization:
    """The normalisation whose `state` this is."""
    return PerChannel(**state) if "shift" in state else GCNWhitening(**state)


def fit(name: str, images: Tensor) -> Normalization:
    """The normalisation called `name`, fitted on the training images uint8 (N, C, H, W).

    mean_std: each channel to mean 0 and standard deviation 1; a constant channel to 0.
    gcn_zca: each image to mean 0 and standard deviation 1, then decorrelated (`whitening`).
    none: [0, 255] to [0, 1].
    """
    if name == "gcn_zca":
        return fit_gcn_zca(images)
    if name == "none":
        channels = images.shape[1]
        return PerChannel(torch.zeros(channels, 1, 1), torch.full((channels, 1, 1), 1 / 255))
    assert name == "mean_std", name
    return _fit_mean_std(images)


def _fit_mean_std(images: Tensor) -> PerChannel:
    """Exact mean and variance, from the histogram of each channel: 256 counts in the place of all pixels as floats."""
    counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in images.unbind(1)]).double()
    values = torch.arange(256, dtype=torch.float64)
    mean = (counts @ values) / counts.sum(1)
    variance = (counts @ values.square()) / counts.sum(1) - mean.square()
    scale = torch.where(variance > 1e-9, variance, 1.0).rsqrt()
    return PerChannel(mean.float().reshape(-1, 1, 1), scale.float().reshape(-1, 1, 1))
