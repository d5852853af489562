"""Test class-balanced parts, resizing, normalisation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from deeprelax.data.images import ImageData, Split
from deeprelax.data.normalize import fit
from deeprelax.data.sources.digits import load_digits
from deeprelax.data.sources.parts import balanced, part, stratified
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


def test_stratified_takes_of_each_class_in_proportion() -> None:
    counts = torch.bincount(LABELS)
    for size in (5, 33, 600, 995):
        chosen, rest = stratified(LABELS, size, "key")
        taken = torch.bincount(LABELS[chosen], minlength=5)
        assert taken.sum() == size
        assert ((taken - counts * size / 1000).abs() <= 1).all()
        assert torch.equal(torch.cat([chosen, rest]).sort().values, torch.arange(1000))
    assert torch.equal(stratified(LABELS, 33, "key")[0], stratified(LABELS, 33, "key")[0])
    streams = [stratified(LABELS, 33, "key", stream=stream)[0] for stream in ((0, "test"), (1, "test"), (0, "other"))]
    assert not any(torch.equal(streams[i], streams[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_stratified_leaves_no_class_out_that_it_can_keep() -> None:
    labels = torch.tensor([0] * 90 + [1] * 8 + [2] * 2 + [3])
    chosen, rest = stratified(labels, 10, "key")
    assert torch.bincount(labels[chosen], minlength=4).tolist() == [8, 1, 1, 0]  # the only image of class 3 stays
    assert torch.bincount(labels[rest]).tolist() == [82, 7, 1, 1]
    kept, _ = stratified(labels, 10, "key", spare=0)
    assert torch.bincount(labels[kept]).tolist() == [7, 1, 1, 1]
    assert torch.bincount(labels[stratified(labels, 2, "key")[0]]).tolist() == [2]
    assert torch.equal(stratified(labels, 101, "key", spare=0)[0], torch.arange(101))
    with pytest.raises(
        UserError, match=r"^key=98 is more than the 97 training images that can be taken and leave 1 of "
    ):
        stratified(labels, 98, "key")
    with pytest.raises(UserError, match=r"^key=102 is more than the 101 training images there are: lower it"):
        stratified(labels, 102, "key", spare=0)


def test_parts_are_balanced_or_stratified_by_choice() -> None:
    counts = torch.bincount(LABELS).double() / 1000
    for parts, share in (("balanced", torch.full((5,), 0.2)), ("stratified", counts)):
        taken = part(data(), train_size=200, validation=100, parts=parts)
        assert taken.validation is not None
        for split, size in ((taken.train, 200), (taken.validation, 100)):
            assert ((torch.bincount(split.labels) - size * share).abs() <= 1).all()
    with pytest.raises(UserError, match=r"dataset\.parts=stratified takes them in proportion"):
        part(data(), train_size=1000, validation=0)
    assert len(part(data(), train_size=1000, validation=0, parts="stratified").train) == 1000


def test_validation_images_that_are_there_are_not_replaced() -> None:
    own = replace(data(), validation=data().test)
    assert part(own, train_size=None, validation=0).validation is own.validation
    with pytest.raises(
        UserError, match=r"^dataset\.validation=20, but there are 10 validation images already: leave it"
    ):
        part(own, train_size=None, validation=20)


def test_names_of_files_follow_the_images() -> None:
    names = tuple(str(i) for i in range(1000))
    named = replace(data(), train=replace(data().train, files=names))
    taken = part(named, train_size=200, validation=100)
    for split in (taken.train, taken.validation):
        assert split is not None
        assert split.files is not None
        assert torch.equal(data().train.images[[int(name) for name in split.files]], split.images)


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
