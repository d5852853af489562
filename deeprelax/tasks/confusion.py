"""Which classes are taken for which: the confusion matrix, the errors that follow from it, and its picture."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MOST_CLASSES = 200  # of a matrix that is stored: with more it would be the larger part of result.json
NUMBERS, NAMES = 20, 40  # the most classes whose cells have a number, and whose axes have names


def confusion(labels: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """int64 (classes, classes): how many images of each class (row) were taken for each (column).

    labels, predicted: int64 (images,).
    """
    return torch.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def class_errors(matrix: Tensor) -> list[float | None]:
    """Of each class the percentage of its images that was taken for another; None where it has no image."""
    images, right = matrix.sum(1).tolist(), matrix.diagonal().tolist()
    return [100.0 * (n - r) / n if n else None for n, r in zip(images, right, strict=True)]


def balanced_error(matrix: Tensor) -> float:
    """The mean of `class_errors` over the classes that have images, in percent."""
    there = [error for error in class_errors(matrix) if error is not None]
    return sum(there) / len(there)


def constant_answer(matrix: Tensor) -> int | None:
    """The largest class, if the error equals that of always answering it; else None."""
    images = matrix.sum(1)
    largest = int(images.argmax())
    return largest if int(matrix.diagonal().sum()) == int(images[largest]) else None


def summary(matrix: Tensor, classes: Sequence[str]) -> dict[str, Any]:
    """For result.json: errors by class, their mean, the matrix, and a note where the network may have learned nothing.

    Rows of the matrix are the labels, columns the predictions, as in scikit-learn.
    """
    found: dict[str, Any] = {
        "test_balanced_error": balanced_error(matrix),
        "test_class_errors": dict(zip(classes, class_errors(matrix), strict=True)),
    }
    if len(classes) <= MOST_CLASSES:
        found["test_confusion"] = matrix.tolist()
    if (answer := constant_answer(matrix)) is not None:
        found["notes"] = [
            f"the test error equals that of always answering {classes[answer]}, the largest class of the test images"
        ]
    return found


def draw_confusion(matrix: Tensor, classes: Sequence[str], file: Path) -> None:
    """The matrix as a picture: the share of each class's images as colour, their number in each cell."""
    from matplotlib.figure import Figure

    images = matrix.sum(1, keepdim=True)
    share = (matrix.double() / images.clamp_min(1)).numpy()
    size = min(12.0, 3.4 + 0.36 * len(classes))
    figure = Figure(figsize=(size, size))
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    error = 100.0 * (1 - float(matrix.diagonal().sum()) / max(1, int(images.sum())))
    axes.set(
        xlabel="predicted class", ylabel="class",
        title=f"error {error:.2f} %, mean over the classes {balanced_error(matrix):.2f} %",
    )  # fmt: skip
    if len(classes) <= NAMES:
        shown = [name if len(name) <= 20 else f"{name[:19]}…" for name in classes]
        upright = 90 if max(map(len, shown)) > 2 else 0
        axes.set_xticks(range(len(classes)), shown, rotation=upright, parse_math=False)
        axes.set_yticks(range(len(classes)), shown, parse_math=False)
    for i, row in enumerate(matrix.tolist() if len(classes) <= NUMBERS else []):
        for j, count in enumerate(row):
            if count:
                colour = "white" if share[i, j] > 0.5 else "black"
                axes.text(j, i, str(count), ha="center", va="center", color=colour, fontsize=8)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # of a name in letters that the font lacks
        figure.savefig(file, dpi=120, bbox_inches="tight")
