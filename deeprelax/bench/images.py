"""Make random images of a data set's shape, which spare a benchmark the download."""

from __future__ import annotations

from pathlib import Path

import torch

from ..configuration.datasets import DatasetConf
from ..data.images import ImageData, Split
from ..data.sources.catalog import CATALOG


def random_images(data_dir: Path, *, channels: int, image_size: int, classes: int, train: int, test: int) -> ImageData:
    """A data set of uint8 noise with random labels, the same at each call.

    A source of `dataset.name`; data_dir is not used. image_size in pixels; train, test: numbers of images.
    """
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        pixels = torch.randint(
            0, 256, (count, channels, image_size, image_size), dtype=torch.uint8, generator=generator
        )
        return Split(pixels, torch.randint(classes, (count,), generator=generator))

    return ImageData(split(train), split(test), tuple(str(i) for i in range(classes)))


def shape_of(conf: DatasetConf) -> dict[str, int]:
    """The keyword arguments of `random_images` for a data set: CIFAR-10's for one that is not in the catalog."""
    entry = CATALOG.get(conf.name, CATALOG["cifar10"])
    return {
        "channels": entry.channels,
        "image_size": conf.image_size or entry.image_size,
        "classes": entry.classes,
        "train": conf.train_size or entry.train,
        "test": entry.test,
    }
