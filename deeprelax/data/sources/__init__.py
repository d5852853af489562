"""Load data sets from the disk, where they are downloaded to if they are missing."""

from __future__ import annotations

from typing import Any

# What `dataset=` may be: "module:function" of this folder, and the keywords that the choice fixes
CHOICES: dict[str, tuple[str, dict[str, Any]]] = {
    "digits": ("digits:load_digits", {}),
    "mnist": ("mnist:load_mnist", {}),
    "fashion_mnist": ("mnist:load_fashion_mnist", {}),
    "cifar10": ("cifar:load_cifar10", {}),
    "cifar100": ("cifar:load_cifar100", {}),
    "image_folder": ("image_folder:load_image_folder", {}),
}
