"""Folders of pictures that two classes can be told apart by: dark and light ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

LEVELS = {"dark": 60, "light": 190}
TRAIN = [
    "train", "dataset=image_folder", "dataset.path=pictures", "model=mlp", "model.hidden=32", "model.dropout=0",
    "optimizer=sgd", "optimizer.lr=0.03", "epochs=4", "batch_size=4",
    "hardware.threads=1", "train.bn_batches=2",
]  # fmt: skip


def write(folder: Path, count: int, size: tuple[int, int] = (8, 8), mode: str = "L", seed: int = 0) -> None:
    """`count` pictures in each of folder/dark and folder/light."""
    random = np.random.default_rng(seed)
    for name, level in LEVELS.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = random.normal(level, 20, (size[1], size[0], 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).convert(mode).save(folder / name / f"{i}.png")


def write_splits(folder: Path = Path("pictures")) -> None:
    """What dataset=image_folder reads: 12 pictures a class to train, 5 to test."""
    write(folder / "train", 12)
    write(folder / "test", 5, seed=1)
