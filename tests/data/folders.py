"""Folders of pictures for the tests of `dataset=image_folder`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deeprelax.data.images import ImageData
from deeprelax.data.sources import image_folder


def load(root: Path, image_size: int | None = None, **keywords: Any) -> ImageData:
    return image_folder.load_image_folder(root.parent / "cache", image_size, path=str(root), **keywords)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def write_picture(file: Path, pixels: np.ndarray[Any, Any] | None = None, **how: Any) -> Path:
    """An image of 12 x 12 colour pixels, or of these, in the format that the name's ending means."""
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(file.name)).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(noise if pixels is None else pixels).save(file, **how)
    return file
