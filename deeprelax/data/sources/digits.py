"""Load the digits embedded in scikit-learn: real data that needs no download."""

from __future__ import annotations

from pathlib import Path

import torch

from ..images import ImageData, Split
from .parts import balanced
from .resize import resized


def load_digits(data_dir: Path, image_size: int | None = 28) -> ImageData:
    """1,797 grey handwritten digits, 8 x 8 pixels, enlarged to `image_size`; 1,437 to train, 360 (36 a class) to test.

    The split is fixed; `data_dir` is not used. Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten
    Digits, UCI Machine Learning Repository, doi 10.24432/C50P49; its test part, as scikit-learn ships it.
    """
    import sklearn.datasets

    digits = sklearn.datasets.load_digits()
    images = torch.from_numpy(digits.images).float().mul(255 / 16).round().to(torch.uint8)[:, None]  # values 0 to 16
    labels = torch.from_numpy(digits.target).long()
    test, train = balanced(labels, 360, 10, "test")
    everything = Split(resized(images, image_size), labels)
    return ImageData(everything[train], everything[test], tuple(str(digit) for digit in range(10)))
