"""What is known of each data set without opening it. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """Images for training and testing, their size, the number of classes, and where the files lie under data_dir."""

    train: int
    test: int
    shape: str
    classes: int
    folder: str  # empty: nothing to download
    megabytes: int  # to download

    def present(self, data_dir: Path) -> bool:
        """Is it there? Its contents are checked when it is loaded."""
        folder = data_dir / self.folder
        return not self.folder or (folder.is_dir() and any(folder.iterdir()))


CATALOG = {
    "digits": Entry(1_437, 360, "8x8 grey", 10, "", 0),
    "mnist": Entry(60_000, 10_000, "28x28 grey", 10, "MNIST/raw", 12),
    "fashion_mnist": Entry(60_000, 10_000, "28x28 grey", 10, "FashionMNIST/raw", 31),
    "cifar10": Entry(50_000, 10_000, "32x32 colour", 10, "cifar-10-batches-py", 171),
    "cifar100": Entry(50_000, 10_000, "32x32 colour", 100, "cifar-100-python", 169),
}
