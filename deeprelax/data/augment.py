"""Random views of training images, drawn for each image, on uint8 pixels before they are normalised."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PADDING = 4  # pixels

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
"""uint8 (batch, height, width, channels) and a CPU generator to the same shape."""


def flip_crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pad by 4 black pixels, cut a random window of the old size, mirror every second image on average.

    images uint8 (batch, height, width, channels). The draws come from a CPU generator wherever the images are, so they
    do not depend on the device. Source: the usual augmentation of CIFAR, for example arXiv 1605.07146, section 3.
    """
    count = len(images)
    top, left = (torch.randint(2 * PADDING + 1, (count,), generator=generator).to(images.device) for _ in range(2))
    mirror = torch.randint(2, (count,), generator=generator).bool().to(images.device)
    return window(images, top, left, mirror)


def window(images: Tensor, top: Tensor, left: Tensor, mirror: Tensor) -> Tensor:
    """The window of each padded image whose upper left corner is (top, left), mirrored where asked; all (batch,)."""
    _, height, width, _ = images.shape
    padded = torch.nn.functional.pad(images, (0, 0, PADDING, PADDING, PADDING, PADDING))
    columns = torch.arange(width, device=images.device)
    columns = torch.where(mirror[:, None], width - 1 - columns, columns) + left[:, None]  # (batch, width)
    rows = torch.arange(height, device=images.device) + top[:, None]  # (batch, height)
    index = torch.arange(len(images), device=images.device)[:, None, None]
    return padded[index, rows[:, :, None], columns[:, None, :]]


AUGMENTATIONS: dict[str, Augmentation | None] = {"none": None, "flip_crop": flip_crop}
