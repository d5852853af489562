"""Erase a square at a random place of each image (cutout)."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_centres(generator: torch.Generator, images: int, size: int) -> Tensor:
    """int64 (2, images): row and column of a pixel of a square image of `size` pixels, each as likely as any other."""
    return torch.randint(size, (2, images), generator=generator)


def erase_(images: Tensor, centres: Tensor, side: int) -> Tensor:
    """Write 0 into the square of `side` pixels around each image's centre, as much of it as lies in the image.

    images: (batch, channels, height, width), normalised, so that 0 is the mean of the training images; centres: those
    of `draw_centres`, on the same device. Rows are c - side // 2 to c - side // 2 + side - 1, columns alike. In
    place, which keeps the memory format; returns `images`.

    Source: arXiv 1708.04552, section 3.2: the square may lie partly outside.
    """
    row, column = centres[:, :, None] - side // 2  # each (batch, 1)
    rows, columns = (torch.arange(n, device=images.device)[None] for n in images.shape[-2:])
    tall, wide = (rows >= row) & (rows < row + side), (columns >= column) & (columns < column + side)
    return images.masked_fill_((tall[:, :, None] & wide[:, None, :])[:, None], 0.0)
