"""Test that a data set of the user's which is not of the right form gets one sentence before the training."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from deeprelax.data.images import ImageData, Split
from deeprelax.data.sources.checked import checked
from deeprelax.data.sources.digits import load_digits
from deeprelax.errors import UserError

Command = Callable[..., tuple[int, str, str]]
IMAGES = torch.zeros(6, 1, 8, 8, dtype=torch.uint8)
LABELS = torch.arange(6) % 3
SPLIT = Split(IMAGES, LABELS)
GOOD = ImageData(SPLIT, SPLIT, ("a", "b", "c"))


def train(images: Any = IMAGES, labels: Any = LABELS) -> ImageData:
    return replace(GOOD, train=Split(images, labels))


def label(value: int) -> ImageData:
    return replace(GOOD, test=Split(IMAGES, torch.where(torch.arange(6) == 4, value, LABELS)))


MISTAKES = {
    "returns tuple, not a deeprelax.data.images.ImageData: let it return one": (SPLIT, SPLIT, ("a", "b", "c")),
    "has classes=3, not their names: give a tuple of one name or more": replace(GOOD, classes=3),  # type: ignore[arg-type]
    "has classes=(), not their names: give a tuple of one name or more": replace(GOOD, classes=()),
    "has tuple as train, not a deeprelax.data.images.Split: give Split(images, labels)": replace(
        GOOD,
        train=(IMAGES, LABELS),  # type: ignore[arg-type]
    ),
    "has NoneType as test, not a deeprelax.data.images.Split: give Split(images, labels)": replace(
        GOOD,
        test=None,  # type: ignore[arg-type]
    ),
    "has train images of type numpy.ndarray, not torch.Tensor: torch.as_tensor makes one": train(IMAGES.numpy()),
    "has train labels of type list, not torch.Tensor: torch.as_tensor makes one": train(IMAGES, LABELS.tolist()),
    "has train images of type torch.float32, not torch.uint8: give pixels from 0 to 255": train(IMAGES.float()),
    "has train labels of type torch.int32, not torch.int64: convert them with .long()": train(IMAGES, LABELS.int()),
    "has train images of shape (6, 8, 8): give (images, channels, size, size), each 1 or more": train(IMAGES[:, 0]),
    "has test images of shape (0, 1, 8, 8): give (images, channels, size, size), each 1 or more": replace(
        GOOD, test=Split(IMAGES[:0], LABELS[:0])
    ),
    "has train images of 8 x 7 pixels (height x width): give squares, in the shape (images, channels, size, size)": (
        train(IMAGES[..., :7])
    ),
    "has test images of shape (1, 4, 4), but train images of shape (1, 8, 8): give all the same": replace(
        GOOD, test=Split(IMAGES[..., :4, :4], LABELS)
    ),
    "has train labels of shape (5,): give one for each of the 6 images": train(IMAGES, LABELS[:5]),
    "has train labels of shape (6, 1): give one for each of the 6 images": train(IMAGES, LABELS[:, None]),
    "has the test label 3: with 3 names in classes, labels are integers from 0 to 2": label(3),
    "has the test label -1: with 3 names in classes, labels are integers from 0 to 2": label(-1),
    "has validation labels of type torch.int32, not torch.int64: convert them with .long()": replace(
        GOOD, validation=Split(IMAGES, LABELS.int())
    ),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_one_sentence_with_what_is_wanted(message: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(f'dataset.name=my.set:load {message}')}$"):
        checked(MISTAKES[message], "my.set:load")


@pytest.mark.parametrize("data", [GOOD, replace(GOOD, validation=SPLIT), load_digits(Path())])
def test_what_is_right_is_returned_as_it_is(data: ImageData) -> None:
    assert checked(data, "my.set:load") is data


def test_on_the_command_line_before_the_training(
    deeprelax: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wide.py").write_text(
        "import torch\n"
        "from deeprelax.data.images import ImageData, Split\n"
        "def load(data_dir, most=1, width=24):\n"
        "    images = torch.zeros(40, 1, 24, width, dtype=torch.uint8)\n"
        "    part = Split(images, torch.arange(40) % (most + 1))\n"
        "    return ImageData(part, part, ('a', 'b'))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    run = ["train", "dataset=custom", "dataset.name=wide:load", "optimizer=sgd", "epochs=1", "hardware.threads=1"]
    for option, message in [
        ("most=2", "has the train label 2: with 2 names in classes, labels are integers from 0 to 1"),
        ("width=28", "has train images of 24 x 28 pixels (height x width): give squares"),
    ]:
        status, _, err = deeprelax(*run, f"dataset.options.{option}")
        assert (status, err.count("\n")) == (1, 1)
        assert err.startswith(f"deeprelax: dataset.name=wide:load {message}")
    assert not list(Path("outputs").rglob("checkpoint.pt"))
