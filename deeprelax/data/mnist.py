"""MNIST: four IDX files, checked against their published contents, fetched by torchvision if they are not there."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from urllib.error import URLError

from ..errors import UserError
from .images import ImageData, Split, resized
from .store import exclusive

# SHA-256 of the uncompressed files.
FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def load_mnist(data_dir: Path, image_size: int | None = None) -> ImageData:
    """60,000 training and 10,000 test images of handwritten digits, 28 x 28 grey pixels.

    Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits; CC BY-SA 3.0. Files in
    `data_dir`/MNIST/raw, as torchvision lays them out.

    Raises UserError if a file is missing and cannot be downloaded, or is not the published one.
    """
    from torchvision.datasets import MNIST

    folder = data_dir / "MNIST" / "raw"
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        _download(data_dir, folder, missing)
    for name, digest in FILES.items():
        with (folder / name).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise UserError(f"{folder / name} is not MNIST's file (truncated or damaged): delete it and start again")
    splits = []
    for train in (True, False):
        raw = MNIST(str(data_dir), train=train)
        splits.append(Split(resized(raw.data[:, None], image_size), raw.targets.long()))
    return ImageData(splits[0], splits[1], tuple(str(digit) for digit in range(10)))


def _download(data_dir: Path, folder: Path, missing: list[str]) -> None:
    """Fetch into a temporary folder beside the final one, then move each file there whole."""
    from torchvision.datasets import MNIST

    try:
        with exclusive(data_dir):
            if all((folder / name).is_file() for name in missing):
                return  # another process was faster
            with tempfile.TemporaryDirectory(dir=data_dir) as temporary:
                MNIST(temporary, download=True)
                folder.mkdir(parents=True, exist_ok=True)
                for name in missing:
                    (Path(temporary) / "MNIST" / "raw" / name).replace(folder / name)
    except (OSError, URLError, RuntimeError) as error:
        reason = str(error).splitlines()[-1] if str(error) else type(error).__name__
        raise UserError(
            f"{folder / missing[0]} is missing and could not be downloaded ({reason}): "
            f"put MNIST's four uncompressed files there, or set data_dir to the folder that holds MNIST/raw"
        ) from None
