"""Augment training images: random crops and mirrorings, on uint8 pixels before they are normalised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

PADDING = 4  # pixels


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random draws, and the transformation that they determine; apart, for a CUDA graph replays the second alone.

    The draws are made on the CPU for the full batch, so they depend neither on the device nor on the number of ranks.
    """

    draw: Callable[[torch.Generator, int], Tensor]
    """(CPU generator, number of images) to int64 (draws, images)."""
    apply: Callable[[Tensor, Tensor], Tensor]
    """(images uint8 (batch, height, width, channels), their draws on the same device) to images of the same shape."""


def draw_flip_crop(generator: torch.Generator, images: int) -> Tensor:
    """int64 (3, images): the window's upper left corner as (top, left), and 1 for a mirrored image."""
    corner = torch.randint(2 * PADDING + 1, (2, images), generator=generator)
    return torch.cat([corner, torch.randint(2, (1, images), generator=generator)])


def flip_crop(images: Tensor, draws: Tensor) -> Tensor:
    """Pad by 4 black pixels, cut a random window of the old size, mirror with probability 1/2.

    images: uint8 (batch, height, width, channels); draws: those of `draw_flip_crop`, on the same device.

    Source: the usual augmentation of CIFAR, for example arXiv 1605.07146, section 3.
    """
    top, left, mirrored = draws
    return window(images, top, left, mirrored.bool())


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU tensor to the device, contiguous; from pinned memory, so that the host does not wait for a GPU."""
    return (
        tensor.contiguous().pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
    )


def window(images: Tensor, top: Tensor, left: Tensor, mirror: Tensor) -> Tensor:
    """The window of each padded image whose upper left corner is (top, left), mirrored where `mirror` is true.

    images: (batch, height, width, channels); top, left, mirror: (batch,). Returns the shape of `images`.
    """
    _, height, width, _ = images.shape
    padded = torch.nn.functional.pad(images, (0, 0, PADDING, PADDING, PADDING, PADDING))
    columns = torch.arange(width, device=images.device)
    columns = torch.where(mirror[:, None], width - 1 - columns, columns) + left[:, None]  # (batch, width)
    rows = torch.arange(height, device=images.device) + top[:, None]  # (batch, height)
    index = torch.arange(len(images), device=images.device)[:, None, None]
    return padded[index, rows[:, :, None], columns[:, None, :]]


AUGMENTATIONS: dict[str, Augmentation | None] = {
    "none": None,
    "flip_crop": Augmentation(draw_flip_crop, flip_crop),
}
