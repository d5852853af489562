"""MNIST and Fashion-MNIST: four IDX files each, fetched by torchvision if they are not there."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

from ..errors import UserError
from .images import ImageData, Split, resized
from .store import fetch

# Name, size in bytes, and SHA-256 of MNIST's file; all uncompressed.
FILES = (
    ("train-images-idx3-ubyte", 47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    ("train-labels-idx1-ubyte", 60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    ("t10k-images-idx3-ubyte", 7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    ("t10k-labels-idx1-ubyte", 10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
)


def load_mnist(data_dir: Path, image_size: int | None = None) -> ImageData:
    """60,000 training and 10,000 test images of handwritten digits, 28 x 28 grey pixels.

    Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits; CC BY-SA 3.0. Files in
    `data_dir`/MNIST/raw, as torchvision lays them out; their SHA-256 is checked.

    Raises UserError if a file is missing and cannot be downloaded, or is not the published one.
    """
    from torchvision.datasets import MNIST

    return _load(MNIST, data_dir, image_size, {name: digest for name, _, digest in FILES})


def load_fashion_mnist(data_dir: Path, image_size: int | None = None) -> ImageData:
    """60,000 training and 10,000 test images of clothes, 28 x 28 grey pixels.

    Source: Xiao, Rasul and Vollgraf, arXiv 1708.07747; MIT licence. Files in `data_dir`/FashionMNIST/raw; torchvision
    checks the MD5 of what it downloads, later starts check sizes, headers and the range of the labels.

    Raises UserError if a file is missing and cannot be downloaded, or is not of the published form.
    """
    from torchvision.datasets import FashionMNIST

    return _load(FashionMNIST, data_dir, image_size, {})


def _load(source: Any, data_dir: Path, image_size: int | None, digests: dict[str, str]) -> ImageData:
    raw = Path(source.__name__) / "raw"
    advice = f"put its four uncompressed files there, or set data_dir to the folder that holds {raw}"
    fetch(data_dir, [raw / name for name, _, _ in FILES], lambda folder: source(str(folder), download=True), advice)
    for name, size, _ in FILES:
        _check(data_dir / raw / name, size, digests.get(name))
    train, test = (source(str(data_dir), train=train) for train in (True, False))
    splits = [Split(resized(part.data[:, None], image_size), part.targets.long()) for part in (train, test)]
    return ImageData(splits[0], splits[1], tuple(source.classes))


def _check(file: Path, size: int, digest: str | None) -> None:
    if file.stat().st_size != size or not (_has_digest(file, digest) if digest else _is_plausible(file, size)):
        raise UserError(f"{file} is not the published file (truncated or damaged): delete it and start again")


def _has_digest(file: Path, digest: str) -> bool:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == digest


def _is_plausible(file: Path, size: int) -> bool:
    """The header that an IDX file of this size has, and no label above 9; all that can be told without a digest."""
    if "labels" in file.name:
        content = file.read_bytes()
        return content[:8] == struct.pack(">2i", 2049, size - 8) and max(content[8:]) <= 9
    with file.open("rb") as stream:
        return stream.read(16) == struct.pack(">4i", 2051, (size - 16) // 28**2, 28, 28)
