"""Load CIFAR-10 and CIFAR-100 from torchvision's archives, whose checksums are checked before anything is unpickled."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from ...errors import UserError
from ..images import ImageData, Split
from .resize import resized
from .store import fetch


def load_cifar10(data_dir: Path, image_size: int | None = None) -> ImageData:
    """50,000 training and 10,000 test images in 10 classes, 32 x 32 colour pixels.

    Source: Krizhevsky, Learning multiple layers of features from tiny images, 2009. Files in
    `data_dir`/cifar-10-batches-py, or the archive cifar-10-python.tar.gz in `data_dir`; their MD5s are checked before
    they are read.

    image_size: pixels to resize to, or None. Raises UserError if files are missing and cannot be downloaded, or are not
    the published ones.
    """
    from torchvision.datasets import CIFAR10

    return _load(CIFAR10, data_dir, image_size)


def load_cifar100(data_dir: Path, image_size: int | None = None) -> ImageData:
    """50,000 training and 10,000 test images in 100 classes, 32 x 32 colour pixels; else as `load_cifar10`."""
    from torchvision.datasets import CIFAR100

    return _load(CIFAR100, data_dir, image_size)


def _load(source: Any, data_dir: Path, image_size: int | None) -> ImageData:
    from torchvision.datasets.utils import check_integrity

    archive = data_dir / source.filename

    def download(folder: Path) -> None:
        if archive.exists():
            if not check_integrity(archive, source.tgz_md5):
                raise UserError(
                    f"{archive} is not the published file (truncated or corrupt): delete it and start again"
                )
            shutil.copy(archive, folder)
        source(str(folder), download=True)

    advice = f"put the archive {source.filename} into {data_dir}, or set data_dir to the folder that holds it"
    fetch(data_dir, [Path(source.base_folder)], download, advice)
    folder = data_dir / source.base_folder
    # A pickle runs code when it is loaded, so every file is checked first; torchvision itself does so at downloads only
    for name, md5 in [*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])]:
        if not check_integrity(folder / name, md5):
            raise UserError(
                f"{folder / name} is not the published file (missing or corrupt): delete {folder}, start again"
            )
    train, test = (source(str(data_dir), train=train) for train in (True, False))
    splits = [
        Split(resized(torch.from_numpy(part.data).permute(0, 3, 1, 2), image_size), torch.tensor(part.targets))
        for part in (train, test)
    ]
    return ImageData(splits[0], splits[1], tuple(train.classes))
