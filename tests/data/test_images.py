"""Test class-balanced parts, resizing, normalisation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deeprelax.data.images import ImageData, Split, balanced, part
from deeprelax.data.normalize import fit
from deeprelax.data.sources.digits import load_digits
from deeprelax.data.sources.resize import resized
from deeprelax.errors import UserError

LABELS = torch.arange(1000) % 7 % 5  # classes of unequal size


def data() -> ImageData:
    images = torch.randint(0, 256, (1000, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageData(Split(images, LABELS), Split(images[:10], LABELS[:10]), tuple("abcde"))


@pytest.mark.parametrize("size", [5, 12, 600])
def test_balanced_takes_equally_many_of_each_class(size: int) -> None:
    chosen, rest = balanced(LABELS, size, 5, "key")
    counts = torch.bincount(LABELS[chosen], minlength=5)
    assert counts.sum() == size
    assert counts.max() - counts.min() <= 1
    assert torch.equal(torch.cat([chosen, rest]).sort().values, torch.arange(1000))


def test_balanced_is_always_the_same_and_names_the_key_when_a_class_is_too_small() -> None:
    torch.manual_seed(1)
    first = balanced(LABELS, 50, 5, "key")[0]
    torch.manual_seed(2)
    assert torch.equal(first, balanced(LABELS, 50, 5, "key")[0])
    with pytest.raises(UserError, match=r"^dataset\.train_size=1000 needs 200 training images of each class: at most "):
        balanced(LABELS, 1000, 5, "dataset.train_size")


def test_validation_is_held_out_first_and_is_the_same_for_every_train_size() -> None:
    whole, small = part(data(), train_size=None, validation=100), part(data(), train_size=200, validation=100)
    assert whole.validation is not None
    assert small.validation is not None
    assert torch.equal(whole.validation.images, small.validation.images)
    assert (len(whole.train), len(small.train), len(small.validation)) == (900, 200, 100)
    held_out = {row.numpy().tobytes() for row in small.validation.images}
    assert not held_out & {row.numpy().tobytes() for row in small.train.images}


def test_digits_have_a_fixed_balanced_split() -> None:
    digits = load_digits(Path())
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    assert torch.bincount(digits.test.labels).tolist() == [36] * 10
    assert digits.train.images.shape[1:] == (1, 28, 28)
    assert digits.train.images.max() == 255
    assert int(digits.train.images.long().sum()) == int(load_digits(Path()).train.images.long().sum())


def test_resized_keeps_constants_and_means() -> None:
    images = torch.full((2, 1, 8, 8), 77, dtype=torch.uint8)
    assert torch.equal(resized(images, 28), torch.full((2, 1, 28, 28), 77, dtype=torch.uint8))
    assert resized(images, None) is images
    assert resized(images, 8) is images


def test_mean_std_is_exact_and_a_constant_channel_does_no_harm() -> None:
    images = data().train.images.clone()
    images[:, 2] = 9
    out = fit("mean_std", images)(images).double()
    assert out[:, :2].mean((0, 2, 3)).abs().max() < 1e-6
    assert (out[:, :2].std((0, 2, 3), correction=0) - 1).abs().max() < 1e-6
    assert torch.equal(out[:, 2], torch.zeros_like(out[:, 2]))


def test_none_maps_to_the_unit_interval() -> None:
    out = fit("none", data().train.images)(torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 3, 1, 1))
    torch.testing.assert_close(out.flatten(), torch.tensor([0.0, 0.2, 1.0]))
