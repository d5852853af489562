"""Define the schema of the group `dataset`: types and ranges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from ..ranges import Check, choice, limited, whole

NO_DATA = "none"  # `dataset=none`, of a task that takes no data set
_SCALE: Check = (
    lambda v: v is None or (len(v) == 2 and 0 < v[0] <= v[1] <= 1),
    "two shares of the image's area, the least and the largest, above 0 and at most 1, as [0.08,1]",
)
_SPLIT: Check = (
    lambda v: v is None or (len(v) == 3 and min(v) >= 0 and v[0] * v[2] > 0 and abs(sum(v) - 1) < 1e-6),
    "three shares that add up to 1, of train, validation (0: none) and test, as [0.7,0.15,0.15]",
)


@dataclass
class DatasetConf:
    """The group `dataset`: which images, how many of them, and how they are normalised and augmented."""

    name: str = MISSING
    image_size: int | None = whole(1, 4096)
    train_size: int | None = whole(1)
    validation: int = whole(0)
    parts: str = choice("balanced", "stratified")
    normalize: str = choice("mean_std", "gcn_zca", "none")
    augment: str = choice("none", "crop", "flip_crop", "flip_crop_cutout", "resized_crop")
    mirror: bool | None = MISSING
    crop_padding: int | None = whole(0, 4096)
    crop_scale: list[float] | None = field(default=MISSING, metadata={"check": _SCALE})
    color_jitter: float = limited(lambda v: 0 <= v <= 1, "a number from 0 to 1")
    label_noise: float = limited(lambda v: 0 <= v <= 1, "a number from 0 to 1")
    label_seed: int = whole(0)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class ImageFolderConf(DatasetConf):
    """The group `dataset` for a user's own images; path: the folder of the classes, or of train/ and test/."""

    path: str | None = MISSING
    split: list[float] | None = field(default=MISSING, metadata={"check": _SPLIT})
    split_seed: int = whole(0)


def _nothing(value: Any) -> Check:
    return lambda v: v == value, f"{'null' if value is None else value}, for dataset=none has no images"


def _only(value: Any) -> Any:
    return limited(*_nothing(value))


@dataclass
class NoDataConf(DatasetConf):
    """The group `dataset` for a task with data of its own: nothing can be set, so that no key is without effect."""

    image_size: int | None = _only(None)
    train_size: int | None = _only(None)
    validation: int = _only(0)
    parts: str = _only("balanced")
    normalize: str = _only("none")
    augment: str = _only("none")
    mirror: bool | None = _only(None)
    crop_padding: int | None = _only(None)
    crop_scale: list[float] | None = field(default=MISSING, metadata={"check": _nothing(None)})
    color_jitter: float = _only(0)
    label_noise: float = _only(0)
    label_seed: int = _only(0)
