"""Random images on the CPU, as a data set and as a classification task, for tests that need no file."""

from __future__ import annotations

from typing import Any

import torch

from deeprelax.data.augment import augmentation
from deeprelax.data.batches import Data, Images
from deeprelax.data.images import Split
from deeprelax.data.normalize import fit
from deeprelax.tasks.classification import Classification
from deeprelax.tasks.task import Setting

CPU = torch.device("cpu")


def random_images(n: int = 2345, channels: int = 1, size: int = 4, classes: int = 3, seed: int = 0) -> Images:
    """n images with random labels, always the same for a seed."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, channels, size, size), dtype=torch.uint8, generator=generator)
    return Images(Split(pixels, torch.randint(classes, (n,), generator=generator)), fit("mean_std", pixels), CPU)


def classification(
    images: Images, batch_size: int, seed: int = 0, augment: str = "none", **share: Any
) -> Classification:
    """The task of these images, for training and for testing; `share`: part or chain of its setting."""
    shape = images.chunk(0, 1)[0].shape
    data = Data(images, images, None, shape[1], shape[2], tuple("0123456789"))
    return Classification(
        Setting(CPU, seed, batch_size, load_data=lambda: (data, augmentation(augment, shape[2])), **share)
    )
