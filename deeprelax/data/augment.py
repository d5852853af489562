"""Random views of training images, drawn for each image, on uint8 pixels before they are normalised."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PADDING = 4  # pixels

Augmentation = Callable[[Tensor, torch.Generator, int, slice], Tensor]
"""(images, CPU generator, size of the whole batch, the images' place in it) to images of the same shape."""


def flip_crop(images: Tensor, generator: torch.Generator, whole: int, mine: slice) -> Tensor:
    """Pad by 4 black pixels, cut a random window of the old size, mirror every second image on average.

    images uint8 (batch, height, width, channels), the part `mine` of a batch of `whole` images. The draws are made for
    the whole batch from a CPU generator, so they depend neither on the device nor on how the batch is shared. Source:
    the usual augmentation of CIFAR, for example arXiv 1605.07146, section 3.
    """
    shifts = torch.randint(2 * PADDING + 1, (2, whole), generator=generator)
    mirror = torch.randint(2, (whole,), generator=generator)
    top, left, mirrored = upload(torch.cat([shifts, mirror[None]])[:, mine], images.device)
    return window(images, top, left, mirrored.bool())


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU tensor on the device, contiguous; the host does not wait for a GPU."""
    return (
        tensor.contiguous().pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
    )


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
