"""Hold a data set in memory, and take class-balanced parts of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import UserError
from ..randomness import Purpose, derive_seed


@dataclass(frozen=True, slots=True)
class Split:
    """Images uint8 (images, channels, size, size) and their labels int64 (images,), from 0 to classes - 1."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor) -> Split:
        return Split(self.images[index], self.labels[index])


@dataclass(frozen=True, slots=True)
class ImageData:
    """A data set: training and test images of one size, and the names of the classes.

    `validation` is held out of the training images, if at all. `sources.checked` refuses what does not fit together.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    validation: Split | None = None

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.train.images.shape[1]

    @property
    def image_size(self) -> int:
        """Height and width in pixels."""
        return self.train.images.shape[2]


def part(data: ImageData, *, train_size: int | None, validation: int) -> ImageData:
    """Hold out `validation` training images, then keep `train_size` of the rest: class-balanced, whatever the seed.

    Raises UserError if there are too few images.
    """
    classes = len(data.classes)
    if validation:
        held_out, rest = balanced(data.train.labels, validation, classes, "dataset.validation")
        data = replace(data, train=data.train[rest], validation=data.train[held_out])
    if train_size is not None:
        kept, _ = balanced(data.train.labels, train_size, classes, "dataset.train_size")
        data = replace(data, train=data.train[kept])
    if not len(data.train):
        raise UserError(f"dataset.validation={validation} leaves no training images: lower it")
    return data


def balanced(labels: Tensor, size: int, classes: int, key: str) -> tuple[Tensor, Tensor]:
    """Indices of `size` images, equally many of each class to within one, and of the others; both ascending.

    A fixed choice, independent of the run's seed. Raises UserError, naming `key`, if a class has too few images.
    """
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(classes):
        wanted = size // classes + (label < size % classes)
        of_class = torch.nonzero(labels == label).flatten()
        if wanted > len(of_class):
            most = classes * int(torch.bincount(labels, minlength=classes).min())
            raise UserError(f"{key}={size} needs {wanted} training images of each class: at most {most} are there")
        generator = torch.Generator().manual_seed(derive_seed(0, Purpose.SPLIT, label))
        chosen[of_class[torch.randperm(len(of_class), generator=generator)[:wanted]]] = True
    return torch.nonzero(chosen).flatten(), torch.nonzero(~chosen).flatten()
