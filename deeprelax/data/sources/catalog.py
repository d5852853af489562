"""List what is known of each data set without opening it. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """One data set: numbers of training and test images, their channels and size, and its folder under data_dir."""

    train: int
    test: int
    channels: int
    image_size: int  # pixels
    classes: int
    folder: str  # empty: nothing to download
    megabytes: int  # to download

    @property
    def shape(self) -> str:
        """Size and colours, as "28x28 grey"."""
        return f"{self.image_size}x{self.image_size} {'grey' if self.channels == 1 else 'colour'}"

    def present(self, data_dir: Path) -> bool:
        """Whether its folder has files; these are checked when it is loaded."""
        folder = data_dir / self.folder
        return not self.folder or (folder.is_dir() and any(folder.iterdir()))


CATALOG = {
    "digits": Entry(1_437, 360, 1, 8, 10, "", 0),
    "mnist": Entry(60_000, 10_000, 1, 28, 10, "MNIST/raw", 12),
    "fashion_mnist": Entry(60_000, 10_000, 1, 28, 10, "FashionMNIST/raw", 31),
    "cifar10": Entry(50_000, 10_000, 3, 32, 10, "cifar-10-batches-py", 171),
    "cifar100": Entry(50_000, 10_000, 3, 32, 100, "cifar-100-python", 169),
}
