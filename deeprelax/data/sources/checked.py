"""Check the data set that a function of the user's returns: classes, types, shapes, and the range of the labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ...errors import UserError
from ..images import ImageData, Split


def checked(found: Any, name: str) -> ImageData:
    """What the data set called `name` returned. Raises UserError, naming it, if that cannot be trained on."""
    for problem in _problems(found):
        raise UserError(f"dataset.name={name} {problem}")
    assert isinstance(found, ImageData)
    return found


def _problems(data: Any) -> Iterator[str]:
    """The message for each mistake; each is meaningful only if those before it were not made."""
    if not isinstance(data, ImageData):
        yield f"returns {_kind(data)}, not a deeprelax.data.images.ImageData: let it return one"
    if not isinstance(data.classes, tuple | list) or not data.classes:
        yield f"has classes={data.classes!r}, not their names: give a tuple of one name or more"
    for part in ("train", "test", "validation"):
        split = getattr(data, part)
        if part == "validation" and split is None:
            continue
        if not isinstance(split, Split):
            yield f"has {_kind(split)} as {part}, not a deeprelax.data.images.Split: give Split(images, labels)"
        yield from _wrong_types(split, part)
        yield from _wrong_shapes(split, part)
        if (shape := tuple(split.images.shape[1:])) != (first := tuple(data.train.images.shape[1:])):
            yield f"has {part} images of shape {shape}, but train images of shape {first}: give all the same"
        yield from _wrong_labels(split.labels, part, len(data.classes))


def _wrong_types(split: Split, part: str) -> Iterator[str]:
    for what, tensor, wanted, advice in (
        ("images", split.images, torch.uint8, "give pixels from 0 to 255"),
        ("labels", split.labels, torch.int64, "convert them with .long()"),
    ):
        if not isinstance(tensor, Tensor):
            yield f"has {part} {what} of type {_kind(tensor)}, not torch.Tensor: torch.as_tensor makes one"
        if tensor.dtype != wanted:
            yield f"has {part} {what} of type {tensor.dtype}, not {wanted}: {advice}"


def _wrong_shapes(split: Split, part: str) -> Iterator[str]:
    shape = tuple(split.images.shape)
    if len(shape) != 4 or 0 in shape:
        yield f"has {part} images of shape {shape}: give (images, channels, size, size), each 1 or more"
    _, _, height, width = shape
    if height != width:
        yield (
            f"has {part} images of {height} x {width} pixels (height x width): give squares, in the shape (images, "
            "channels, size, size)"
        )
    if split.labels.shape != shape[:1]:
        yield f"has {part} labels of shape {tuple(split.labels.shape)}: give one for each of the {shape[0]} images"


def _wrong_labels(labels: Tensor, part: str, classes: int) -> Iterator[str]:
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        yield (
            f"has the {part} label {int(wrong[0])}: with {classes} names in classes, labels are integers from 0 to "
            f"{classes - 1}"
        )


def _kind(thing: Any) -> str:
    """The type of a thing, as numpy.ndarray."""
    kind = type(thing)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
