"""Change brightness, contrast and saturation of each image at random."""

from __future__ import annotations

import torch
from torch import Tensor

GREY = (0.2989, 0.587, 0.114)  # of red, green and blue, as in torchvision


def draw_factors(generator: torch.Generator, images: int, jitter: float) -> Tensor:
    """float32 (3, images): the factors of brightness, contrast, saturation, uniform from 1 - jitter to 1 + jitter."""
    return torch.empty(3, images).uniform_(1 - jitter, 1 + jitter, generator=generator)


def jittered(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply brightness, then contrast about the mean of the grey image, then saturation about grey.

    images: uint8 (batch, height, width, channels), grey or colour; factors: those of `draw_factors`, on the same
    device. Returns the shape of `images`. Grey images have no saturation, so the third factor does nothing to them.

    Each step is that of torchvision.transforms.v2.ColorJitter; differs from it: always in this order.
    """
    brightness, contrast, saturation = factors[:, :, None, None, None]
    pixels = (images * brightness).clamp_(0, 255)
    mean = _grey(pixels).mean((1, 2, 3), keepdim=True)
    pixels = torch.lerp(mean, pixels, contrast).clamp_(0, 255)
    if images.shape[3] == 3:
        pixels = torch.lerp(_grey(pixels), pixels, saturation).clamp_(0, 255)
    return pixels.round_().to(torch.uint8)


def _grey(pixels: Tensor) -> Tensor:
    """(batch, height, width, 1)."""
    if pixels.shape[3] == 1:
        return pixels
    red, green, blue = pixels.split(1, dim=3)
    grey: Tensor = red * GREY[0] + green * GREY[1] + blue * GREY[2]
    return grey
