"""Augment training images: random crops, mirrorings, colours and erased squares.

All but the last on uint8 pixels, before they are normalised; a square is 0 behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .augmentations.colour import draw_factors, jittered
from .augmentations.cutout import draw_centres, erase_
from .augmentations.resized_crop import draw_boxes, resized_boxes
from .augmentations.windows import MOST_BYTES, Windows, padded_bytes

SCALE = (0.08, 1.0)  # of torchvision.transforms.v2.RandomResizedCrop


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random draws, and the transformation that they determine; apart, for a CUDA graph replays the second alone.

    The draws are made on the CPU for the full batch, so they depend neither on the device nor on the number of ranks.
    Where an image is cut and mirrored is drawn first, then what is erased, then colours: these do not change that.

    Args:
        size: height and width of the images in pixels.
        padding: if above 0, pad by so many black pixels and cut a random window of the old size.
        scale: in the place of that, the least and the largest share of the image that a box takes, which is enlarged
            to the old size; None: no box.
        mirror: mirror with probability 1/2.
        jitter: brightness, contrast and saturation are multiplied by random factors from 1 - jitter to 1 + jitter.
        cutout: if above 0, the side in pixels of a square at a random place that is 0 after the normalisation.

    Source: of windows and mirrorings, the usual ones of CIFAR, for example arXiv 1605.07146, section 3.
    """

    size: int
    padding: int = 0
    scale: tuple[float, float] | None = None
    mirror: bool = False
    jitter: float = 0.0
    cutout: int = 0

    def draw(self, generator: torch.Generator, images: int) -> Tensor:
        """(draws, images), int64, or float32 with jitter, by a generator on the CPU."""
        drawn = []
        if self.scale is not None:
            drawn.append(draw_boxes(generator, images, self.size, self.scale))
        elif self.padding:
            drawn.append(torch.randint(2 * self.padding + 1, (2, images), generator=generator))
        if self.mirror:
            drawn.append(torch.randint(2, (1, images), generator=generator))
        if self.cutout:
            drawn.append(draw_centres(generator, images, self.size))
        if self.jitter:
            drawn.append(draw_factors(generator, images, self.jitter))
        return torch.cat(drawn)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """(images uint8 (batch, height, width, channels), their draws on the same device) to the same shape."""
        if self._cuts:
            return self.from_windows(
                Windows(images, self.padding), torch.arange(len(images), device=images.device), draws
            )
        place, _, factors = self._parts(draws)
        mirror = place[-1].bool() if self.mirror else None
        if self.scale is not None:
            images = resized_boxes(images, place[:4], mirror)
        elif mirror is not None:
            images = torch.where(mirror[:, None, None, None], images.flip(2), images)
        return jittered(images, factors) if self.jitter else images

    @property
    def _cuts(self) -> bool:
        """Does it cut windows out of padded images?"""
        return self.scale is None and self.padding > 0

    def windows(self, images: Tensor) -> Windows | None:
        """Of all images of a set, for `from_windows`; None where there are none, or they would take much memory."""
        return (
            Windows(images, self.padding) if self._cuts and padded_bytes(images, self.padding) <= MOST_BYTES else None
        )

    def from_windows(self, windows: Windows, index: Tensor, draws: Tensor) -> Tensor:
        """What `apply` returns for the images of an index (batch,), in fewer kernels."""
        place, _, factors = self._parts(draws)
        images = windows(index, place[0], place[1], place[-1] if self.mirror else None)
        return jittered(images, factors) if self.jitter else images

    def erase(self, images: Tensor, draws: Tensor) -> Tensor:
        """(normalised images (batch, channels, height, width), overwritten, their draws on the same device)."""
        return erase_(images, self._parts(draws)[1], self.cutout) if self.cutout else images

    def _parts(self, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What was drawn of the place, of the erased square and of the colours."""
        behind = len(draws) - 3 * bool(self.jitter)
        place, centres, factors = draws.tensor_split([behind - 2 * bool(self.cutout), behind])
        return place.long(), centres.long(), factors


def augmentation(
    name: str, size: int, *, mirror: bool | None = None, padding: int | None = None,
    scale: tuple[float, float] = SCALE, jitter: float = 0.0,
) -> Augmentation | None:  # fmt: skip
    """What `dataset.augment` and the keys beside it say of images of `size` pixels; None if that is nothing.

    name: none, crop, flip_crop, flip_crop_cutout or resized_crop. mirror: None stands for true with flip_crop and
    flip_crop_cutout, else for false. padding: None stands for an eighth of the size, rounded: 4 pixels at 28 and at 32.
    The erased square has half the side of the image: 16 pixels at 32.
    """
    made = Augmentation(
        size,
        padding=0 if name in ("none", "resized_crop") else (size + 4) // 8 if padding is None else padding,
        scale=scale if name == "resized_crop" else None,
        mirror=name in ("flip_crop", "flip_crop_cutout") if mirror is None else mirror,
        jitter=jitter,
        cutout=size // 2 if name == "flip_crop_cutout" else 0,
    )
    return None if made == Augmentation(size) else made


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU tensor to the device, contiguous; from pinned memory, so that the host does not wait for a GPU."""
    return (
        tensor.contiguous().pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
    )
