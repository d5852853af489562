"""Take parts of a data set: balanced, or in proportion to the classes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...errors import UserError
from ...randomness import Purpose, derive_seed
from ..images import ImageData


def part(data: ImageData, *, train_size: int | None, validation: int, parts: str = "balanced") -> ImageData:
    """Hold out `validation` training images, then keep `train_size` of the rest, the same whatever the seed.

    parts: balanced (equally many of each class) or stratified (in proportion to the classes). Raises UserError if there
    are too few images, or validation images already.
    """

    def taken(size: int, key: str, spare: int) -> tuple[Tensor, Tensor]:
        labels = data.train.labels
        if parts == "balanced":
            return balanced(labels, size, len(data.classes), key)
        return stratified(labels, size, key, spare)

    if validation and data.validation is not None:
        raise UserError(
            f"dataset.validation={validation}, but there are {len(data.validation)} validation images already: "
            "leave it out"
        )
    if validation:
        held_out, rest = taken(validation, "dataset.validation", 1)
        data = replace(data, train=data.train[rest], validation=data.train[held_out])
    if train_size is not None:
        data = replace(data, train=data.train[taken(train_size, "dataset.train_size", 0)[0]])
    if not len(data.train):
        raise UserError(f"dataset.validation={validation} leaves no training images: lower it")
    return data


def balanced(labels: Tensor, size: int, classes: int, key: str) -> tuple[Tensor, Tensor]:
    """Indices of `size` images, equally many of each class to within one, and of the others; both ascending.

    A fixed choice, independent of the run's seed. Raises UserError, naming `key`, if a class has too few images.
    """
    counts = torch.bincount(labels, minlength=classes)
    wanted = size // classes + (torch.arange(classes) < size % classes).long()
    if (wanted > counts).any():
        raise UserError(
            f"{key}={size} needs {int(wanted[wanted > counts][0])} training images of each class: at most "
            f"{classes * int(counts.min())} are there; dataset.parts=stratified takes them in proportion"
        )
    return _chosen(labels, wanted)


def stratified(
    labels: Tensor, size: int, key: str, spare: int = 1, stream: tuple[int, str] | None = None
) -> tuple[Tensor, Tensor]:
    """Indices of `size` images, of each class in proportion to its images to within one, and of the others; ascending.

    At least one of each class if there are enough, and `spare` of each class at least are left: a class of one image
    stays whole. A function of `stream`, a seed and a word, not of the run's seed. Raises UserError, naming `key`, if
    there are too few images.
    """
    counts = torch.bincount(labels)
    most = (counts - spare).clamp(min=0)
    if size > (total := int(most.sum())):
        left = f" that can be taken and leave {spare} of each class" if spare else " there are"
        raise UserError(f"{key}={size} is more than the {total} training images{left}: lower it")
    quota = counts.double() * size / len(labels)
    least = most.clamp(max=1) if size >= int((most > 0).sum()) else torch.zeros_like(most)
    wanted = quota.floor().long().maximum(least).minimum(most)
    while (missing := size - int(wanted.sum())) > 0:  # at most as often as there are classes, as below
        wanted[torch.where(wanted < most, quota - wanted, -torch.inf).argmax()] += 1
    for _ in range(-missing):
        wanted[torch.where(wanted > least, wanted - quota, -torch.inf).argmax()] -= 1
    return _chosen(labels, wanted, stream)


def _chosen(labels: Tensor, wanted: Tensor, stream: tuple[int, str] | None = None) -> tuple[Tensor, Tensor]:
    """Indices of so many images of each class, at random, and of the others; both ascending."""
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    seed, *word = stream or (0,)
    for label, count in enumerate(wanted.tolist()):
        of_class = torch.nonzero(labels == label).flatten()
        generator = torch.Generator().manual_seed(derive_seed(seed, Purpose.SPLIT, label, *word))
        chosen[of_class[torch.randperm(len(of_class), generator=generator)[:count]]] = True
    return torch.nonzero(chosen).flatten(), torch.nonzero(~chosen).flatten()
