"""Load MNIST and Fashion-MNIST from four IDX files each, which torchvision downloads where they are missing."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import torch
from torch import Tensor

from ...errors import UserError
from ..images import ImageData, Split
from .resize import resized
from .store import fetch

# Name, size in bytes, and SHA-256 of MNIST's file; all uncompressed
FILES = (
    ("train-images-idx3-ubyte", 47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    ("train-labels-idx1-ubyte", 60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    ("t10k-images-idx3-ubyte", 7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    ("t10k-labels-idx1-ubyte", 10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
)
CLOTHES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def load_mnist(data_dir: Path, image_size: int | None = None) -> ImageData:
    """60,000 training and 10,000 test images of handwritten digits, 28 x 28 grey pixels.

    Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits; CC BY-SA 3.0. Files in
    `data_dir`/MNIST/raw, as torchvision lays them out; their SHA-256 is checked.

    image_size: pixels to resize to, or None. Raises UserError if a file is missing and cannot be downloaded, or is not
    the published one.
    """
    return _load("MNIST", data_dir, image_size, tuple("0123456789"), {name: digest for name, _, digest in FILES})


def load_fashion_mnist(data_dir: Path, image_size: int | None = None) -> ImageData:
    """60,000 training and 10,000 test images of clothes, 28 x 28 grey pixels.

    Source: Xiao, Rasul and Vollgraf, arXiv 1708.07747; MIT licence. Files in `data_dir`/FashionMNIST/raw; torchvision
    checks the MD5 of what it downloads, later starts check sizes, headers and the range of the labels.

    image_size: pixels to resize to, or None. Raises UserError if a file is missing and cannot be downloaded, or is not
    of the published form.
    """
    return _load("FashionMNIST", data_dir, image_size, CLOTHES, {})


def _load(
    name: str, data_dir: Path, image_size: int | None, classes: tuple[str, ...], digests: dict[str, str]
) -> ImageData:
    def download(folder: Path) -> None:
        from torchvision import datasets  # late: the import takes longer than reading the files

        getattr(datasets, name)(str(folder), download=True)

    raw = Path(name) / "raw"
    advice = f"put its four uncompressed files there, or set data_dir to the folder that holds {raw}"
    fetch(data_dir, [raw / file for file, _, _ in FILES], download, advice)
    parts = [_read(data_dir / raw / file, size, digests.get(file)) for file, size, _ in FILES]
    train, test = (
        Split(resized(images[16:].view(-1, 1, 28, 28), image_size), labels[8:].long())
        for images, labels in (parts[:2], parts[2:])
    )
    return ImageData(train, test, classes)


def _read(file: Path, size: int, digest: str | None) -> Tensor:
    """The bytes of an IDX file, header included. Raises UserError if they are not the published ones."""
    content = bytearray(file.read_bytes())
    if len(content) != size or not (_has(content, digest) if digest else _is_plausible(file.name, content)):
        raise UserError(f"{file} is not the published file (truncated or corrupt): delete it and start again")
    return torch.frombuffer(content, dtype=torch.uint8)


def _has(content: bytearray, digest: str) -> bool:
    return hashlib.sha256(content).hexdigest() == digest


def _is_plausible(name: str, content: bytearray) -> bool:
    """Whether the header is that of an IDX file of this size, and no label is above 9: the check without a digest."""
    if "labels" in name:
        return content[:8] == struct.pack(">2i", 2049, len(content) - 8) and max(content[8:]) <= 9
    return content[:16] == struct.pack(">4i", 2051, (len(content) - 16) // 28**2, 28, 28)
