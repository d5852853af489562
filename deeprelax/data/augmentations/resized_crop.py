"""Cut a random box out of each image and enlarge it to the size of the image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

RATIO = (3 / 4, 4 / 3)  # width to height, as in torchvision.transforms.v2.RandomResizedCrop
TRIES = 10


def draw_boxes(generator: torch.Generator, images: int, size: int, scale: tuple[float, float]) -> Tensor:
    """int64 (4, images): top, left, height and width in pixels of a box in a square of `size` pixels.

    Its area is uniform in `scale` times that of the image, the logarithm of its ratio uniform; of ten draws the first
    that fits is taken, the whole image if none does.

    Source: arXiv 1409.4842, section 6, with the numbers of torchvision.transforms.v2.RandomResizedCrop.
    """
    area = torch.empty(TRIES, images, dtype=torch.float64).uniform_(*scale, generator=generator) * size**2
    logarithms = [math.log(each) for each in RATIO]
    ratio = torch.empty(TRIES, images, dtype=torch.float64).uniform_(*logarithms, generator=generator).exp()
    place = torch.rand(2, images, dtype=torch.float64, generator=generator)
    sides = torch.stack([(area / ratio).sqrt(), (area * ratio).sqrt()]).round_().long()  # (2, tries, images)
    fits = ((sides > 0) & (sides <= size)).all(0)
    first = fits.int().argmax(0).expand(2, 1, images)
    taken = torch.where(fits.any(0), sides.gather(1, first)[:, 0], size)
    return torch.cat([(place * (size + 1 - taken)).long(), taken])


def resized_boxes(images: Tensor, boxes: Tensor, mirror: Tensor | None = None) -> Tensor:
    """The box of each image, bilinear, in the size of the image; mirrored where `mirror` is true.

    images: uint8 (batch, size, size, channels); boxes: those of `draw_boxes`, on the same device; mirror: bool
    (batch,). Returns the shape of `images`. A box is enlarged, so no anti-aliasing is needed.
    """
    size = images.shape[1]
    top, left, height, width = boxes.float()
    rows, columns = _coordinates(top, height, size), _coordinates(left, width, size)  # each (batch, size)
    if mirror is not None:
        columns = torch.where(mirror[:, None], columns.flip(1), columns)
    grid = torch.stack(torch.broadcast_tensors(columns[:, None, :], rows[:, :, None]), dim=-1)
    out = torch.nn.functional.grid_sample(
        images.permute(0, 3, 1, 2).float(), grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    out = out.permute(0, 2, 3, 1).round_().clamp_(0, 255)
    return out.to(torch.uint8, memory_format=torch.contiguous_format)  # the layout of `images`


def _coordinates(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Where along one side the pixels are taken, (batch, size), from -1 at the first of the image to 1 at the last."""
    middle = (torch.arange(size, device=start.device) + 0.5) / size
    pixels = start[:, None] + (middle * length[:, None] - 0.5).clamp(min=0).minimum(length[:, None] - 1)
    return pixels * (2 / max(1, size - 1)) - 1
