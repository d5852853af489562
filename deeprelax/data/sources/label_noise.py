"""Give a share of the training images a wrong label, to see how a method bears it."""

from __future__ import annotations

from dataclasses import replace

import torch

from ...errors import UserError
from ...randomness import Purpose, derive_seed
from ..images import ImageData


def flipped(images: int, noise: float) -> int:
    """How many labels of so many images are wrong."""
    return round(noise * images)


def with_label_noise(data: ImageData, noise: float, seed: int) -> ImageData:
    """round(noise N) of the N training labels become that of another class, each of the others with the same chance.

    Which, and what they become, is a function of (seed, N, classes) alone: an image's by its index among the training
    images, whatever the run's seed. With more noise the wrong ones of less stay as they are. Validation and test labels
    are never touched. Raises UserError if there is no other class.
    """
    if not noise:
        return data
    classes, labels = len(data.classes), data.train.labels
    if classes < 2:
        raise UserError(f"dataset.label_noise={noise:g}, but there is one class and no other: leave it out")
    generator = torch.Generator().manual_seed(derive_seed(seed, Purpose.LABEL_NOISE))
    wrong = torch.randperm(len(labels), generator=generator)[: flipped(len(labels), noise)]
    shift = torch.randint(1, classes, (len(labels),), generator=generator)
    labels = labels.clone()
    labels[wrong] = (labels[wrong] + shift[wrong]) % classes
    return replace(data, train=replace(data.train, labels=labels))
