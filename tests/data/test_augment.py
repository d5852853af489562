"""Test what each augmentation does to an image, what it is held against being torchvision's operation on that image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision.transforms.v2.functional as tf
from torchvision.transforms.v2 import RandomResizedCrop

from deeprelax.data.augment import Augmentation, augmentation
from deeprelax.data.augmentations.colour import draw_factors, jittered
from deeprelax.data.augmentations.cutout import erase_
from deeprelax.data.augmentations.resized_crop import draw_boxes, resized_boxes
from deeprelax.data.batches import Batches, Images
from deeprelax.data.images import Split
from deeprelax.data.normalize import fit
from tests.images import CPU


def pixels(n: int = 48, size: int = 20, channels: int = 3) -> torch.Tensor:
    """uint8 (n, size, size, channels)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, size, size, channels), dtype=torch.uint8, generator=generator)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same_to_one(ours: torch.Tensor, theirs: torch.Tensor, most: int = 1) -> None:
    assert (ours.int() - theirs.int()).abs().max() <= most


def test_a_box_is_enlarged_as_by_torchvision_and_mirrored() -> None:
    images, mirror = pixels(), torch.arange(48) % 2 == 0
    boxes = draw_boxes(generator(), 48, 20, (0.08, 1.0))
    assert len(boxes.unique(dim=1).T) > 40
    plain, mirrored = resized_boxes(images, boxes), resized_boxes(images, boxes, mirror)
    assert mirrored.dtype == torch.uint8
    assert mirrored.shape == images.shape
    for i, (top, left, height, width) in enumerate(boxes.T.tolist()):
        expected = tf.resized_crop(images[i].permute(2, 0, 1), top, left, height, width, [20, 20], antialias=True)
        same_to_one(plain[i].permute(2, 0, 1), expected)
        assert torch.equal(mirrored[i], plain[i].flip(1) if mirror[i] else plain[i])


def test_the_whole_image_and_an_image_of_one_pixel_stay_as_they_are() -> None:
    images = pixels()
    whole = torch.tensor([0, 0, 20, 20])[:, None].expand(4, 48)
    assert torch.equal(resized_boxes(images, whole), images)
    assert torch.equal(draw_boxes(generator(), 48, 20, (1.0, 1.0))[2:], whole[2:])  # no other fits so large an area
    one = pixels(3, 1)
    assert torch.equal(resized_boxes(one, draw_boxes(generator(), 3, 1, (0.08, 1.0))), one)


def test_boxes_lie_inside_and_are_distributed_as_those_of_torchvision() -> None:
    ours = draw_boxes(generator(), 4000, 50, (0.2, 0.9)).double()
    top, left, height, width = ours
    assert (ours >= 0).all()
    assert (height >= 1).all()
    assert (top + height <= 50).all()
    assert (left + width <= 50).all()
    torch.manual_seed(0)
    crop = RandomResizedCrop(50, scale=(0.2, 0.9))
    made = [crop.make_params([torch.zeros(3, 50, 50)]) for _ in range(4000)]
    theirs = torch.tensor([[each[key] for key in ("top", "left", "height", "width")] for each in made]).double().T
    for mine, its in zip((*ours, height * width), (*theirs, theirs[2] * theirs[3]), strict=True):
        error = ((mine.var() + its.var()) / 4000).sqrt()
        assert (mine.mean() - its.mean()).abs() < 5 * error
        assert (mine.std() / its.std() - 1).abs() < 0.08


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_change_as_by_torchvision(channels: int) -> None:
    images = pixels(channels=channels)
    factors = draw_factors(generator(), 48, 0.4)
    assert (factors - 1).abs().max() <= 0.4
    assert factors.std() > 0.2
    ours = jittered(images, factors)
    assert ours.dtype == torch.uint8
    for i, (brightness, contrast, saturation) in enumerate(factors.T.tolist()):
        image = images[i].permute(2, 0, 1)
        expected = tf.adjust_contrast(tf.adjust_brightness(image, brightness), contrast)
        if channels == 3:
            expected = tf.adjust_saturation(expected, saturation)
        same_to_one(ours[i].permute(2, 0, 1), expected, 3)  # it cuts off to integers between the steps
    assert torch.equal(jittered(images, torch.ones(3, 48)), images)


def test_the_draws_of_flip_crop_are_those_that_published_runs_had() -> None:
    corner = torch.randint(9, (2, 40), generator=(stream := generator()))
    mirrored = torch.randint(2, (1, 40), generator=stream)
    for size in (28, 32):
        flip_crop = augmentation("flip_crop", size)
        assert flip_crop is not None
        drawn = flip_crop.draw(generator(), 40)
        assert torch.equal(drawn, torch.cat([corner, mirrored]))
        assert drawn.dtype == torch.int64


def test_colours_and_mirroring_do_not_move_what_is_drawn_before_them() -> None:
    for name in ("flip_crop", "crop", "resized_crop"):
        plain = augmentation(name, 32, mirror=False)
        both = augmentation(name, 32, mirror=True, jitter=0.3)
        assert plain is not None
        assert both is not None
        first, second = plain.draw(generator(), 40), both.draw(generator(), 40)
        assert torch.equal(first, second[: len(first)].long())
        images = pixels(40, 32)
        cut = plain.apply(images, first)
        mirror, factors = second[len(first)].bool(), second[-3:]
        expected = jittered(torch.where(mirror[:, None, None, None], cut.flip(2), cut), factors)
        assert torch.equal(both.apply(images, second), expected)


@pytest.mark.parametrize(
    ("name", "size", "keys", "made"),
    [
        ("none", 32, {}, None),
        ("none", 32, {"mirror": True}, Augmentation(32, mirror=True)),
        ("none", 32, {"jitter": 0.2}, Augmentation(32, jitter=0.2)),
        ("flip_crop", 32, {}, Augmentation(32, padding=4, mirror=True)),
        ("flip_crop_cutout", 32, {}, Augmentation(32, padding=4, mirror=True, cutout=16)),
        ("flip_crop_cutout", 28, {"mirror": False}, Augmentation(28, padding=4, cutout=14)),
        ("flip_crop", 28, {}, Augmentation(28, padding=4, mirror=True)),
        ("flip_crop", 224, {"mirror": False}, Augmentation(224, padding=28)),
        ("crop", 96, {}, Augmentation(96, padding=12)),
        ("crop", 96, {"padding": 3, "mirror": True}, Augmentation(96, padding=3, mirror=True)),
        ("crop", 96, {"padding": 0}, None),
        ("resized_crop", 96, {}, Augmentation(96, scale=(0.08, 1.0))),
        ("resized_crop", 96, {"scale": (0.5, 1.0), "mirror": True}, Augmentation(96, scale=(0.5, 1.0), mirror=True)),
    ],
)
def test_what_the_keys_mean(name: str, size: int, keys: dict[str, Any], made: Augmentation | None) -> None:
    assert augmentation(name, size, **keys) == made


def test_what_is_erased_is_the_square_around_its_centre_that_lies_in_the_image() -> None:
    """All centres of an image of 8 pixels, squares of 4 and 3; by loops over the pixels."""
    centres = torch.cartesian_prod(torch.arange(8), torch.arange(8)).T
    for side in (4, 3):
        images = torch.full((64, 2, 8, 8), 3.0).to(memory_format=torch.channels_last)
        out = erase_(images, centres, side)
        for (row, column), image in zip(centres.T.tolist(), out, strict=True):
            rows = range(row - side // 2, row - side // 2 + side)
            columns = range(column - side // 2, column - side // 2 + side)
            expected = [[0.0 if r in rows and c in columns else 3.0 for c in range(8)] for r in range(8)]
            assert image.tolist() == [expected, expected]


def test_cutout_erases_what_flip_crop_makes_and_moves_none_of_its_draws() -> None:
    plain, cut = augmentation("flip_crop", 16), augmentation("flip_crop_cutout", 16)
    assert plain is not None
    assert cut is not None
    drawn = cut.draw(generator(), 40)
    assert torch.equal(drawn[:3], plain.draw(generator(), 40))
    assert drawn.dtype == torch.int64
    assert set(drawn[3:].flatten().tolist()) == set(range(16))  # of 80 draws one value lacks with chance 16 (15/16)^80
    pixels_of = pixels(40, 16).permute(0, 3, 1, 2)
    stored = Images(Split(pixels_of, torch.arange(40)), fit("mean_std", pixels_of), CPU)
    (without, _), (made, _) = (Batches(stored, 40, 0, each)[3] for each in (plain, cut))
    _, draws = Batches(stored, 40, 0, cut).draw(3)
    assert torch.equal(made, erase_(without, draws[3:], 8))
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert (made == 0).all(1).sum((1, 2)).min() >= 8 * 8 / 4
    halves = [Batches(stored, 20, 0, cut, part=(i, 2)) for i in range(2)]
    whole = Batches(stored, 20, 0, cut)[1][0]
    assert torch.equal(torch.cat([half[1][0] for half in halves]), whole)
    coloured = augmentation("flip_crop_cutout", 16, jitter=0.3)
    assert coloured is not None
    both = coloured.draw(generator(), 40)
    assert torch.equal(both[:5].long(), drawn)
    images = pixels(40, 16)
    normal = torch.ones(40, 3, 16, 16)
    assert torch.equal(coloured.erase(normal.clone(), both), cut.erase(normal, drawn))
    assert torch.equal(coloured.apply(images, both), jittered(cut.apply(images, drawn), both[5:]))


def test_mirroring_alone() -> None:
    images, mirrored = pixels(40), Augmentation(20, mirror=True)
    draws = mirrored.draw(generator(), 40)
    assert 5 < draws.sum() < 35
    for image, out, turned in zip(images, mirrored.apply(images, draws), draws[0].tolist(), strict=True):
        assert torch.equal(out, image.flip(1) if turned else image)


def test_two_ranks_see_the_views_that_one_would() -> None:
    images = pixels(60, 16).permute(0, 3, 1, 2)
    stored = Images(Split(images, torch.arange(60)), fit("none", images), CPU)
    everything = augmentation("resized_crop", 16, mirror=True, jitter=0.4)
    whole = Batches(stored, 24, 0, everything)
    halves = [Batches(stored, 24, 0, everything, part=(i, 2))[5][0] for i in range(2)]
    assert torch.equal(torch.cat(halves), whole[5][0])
    assert torch.equal(whole[5][0], whole[5][0])
    assert not torch.equal(whole[5][0], Batches(stored, 24, 0, everything, chain=1)[5][0])
    assert not torch.equal(whole[5][0], Batches(stored, 24, 1, everything)[5][0])
