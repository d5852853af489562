"""Test windows of images, the place of augmentation in a batch, and whitening."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision.transforms.functional as tf
from torch.utils._python_dispatch import TorchDispatchMode

from deeprelax.data.augment import Augmentation, augmentation
from deeprelax.data.augmentations.windows import Windows
from deeprelax.data.batches import Batches, Images
from deeprelax.data.images import Split
from deeprelax.data.normalize import fit
from deeprelax.data.whitening import contrast_normalized, fit_gcn_zca
from deeprelax.errors import UserError


def pixels(n: int = 64, size: int = 9, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_windows_equal_torchvisions_functional_operations() -> None:
    images, generator = pixels(), torch.Generator().manual_seed(1)
    top, left = (torch.randint(7, (64,), generator=generator) for _ in range(2))
    mirror = torch.randint(2, (64,), generator=generator)
    ours = Windows(images.permute(0, 2, 3, 1), 3)(torch.arange(64), top, left, mirror).permute(0, 3, 1, 2)
    for image, t, le, m, found in zip(images, top.tolist(), left.tolist(), mirror.tolist(), ours, strict=True):
        expected = tf.crop(tf.pad(image, [3]), t, le, 9, 9)
        assert torch.equal(found, tf.hflip(expected) if m else expected)


def test_flip_crop_draws_every_shift_and_both_sides_for_each_image_alone() -> None:
    marked = torch.zeros(20_000, 11, 11, 1, dtype=torch.uint8)
    marked[:, 5, 4] = 255  # the centre is row 5; column 4 becomes 6 when mirrored
    flip_crop = Augmentation(11, padding=4, mirror=True)
    out = flip_crop.apply(marked, flip_crop.draw(torch.Generator().manual_seed(0), 20_000))[..., 0]
    found = out.nonzero()
    assert len(found) == 20_000  # a shift by at most 4 keeps it inside
    rows, columns = (torch.bincount(found[:, i], minlength=11) / 20_000 for i in (1, 2))
    expected = torch.tensor([0.0, *[1 / 9] * 9, 0.0])
    assert (rows - expected).abs().max() < 5 * (8 / 81 / 20_000) ** 0.5
    expected = torch.tensor([1.0, 1, *[2] * 7, 1, 1]) / 18
    assert (columns - expected).abs().max() < 5 * (8 / 81 / 20_000) ** 0.5


def test_augmentation_is_a_function_of_seed_and_batch_and_comes_before_normalisation() -> None:
    split = Split(pixels(100), torch.arange(100))
    images = Images(split, fit("none", split.images), torch.device("cpu"))
    flip_crop = augmentation("flip_crop", 9)
    batches, plain = Batches(images, 40, 0, flip_crop), Batches(images, 40, 0)
    x, y = batches[3]
    assert torch.equal(x, batches[3][0])
    assert torch.equal(y, plain[3][1])
    assert not torch.equal(x, plain[3][0])
    assert not torch.equal(x, Batches(images, 40, 1, flip_crop)[3][0])
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert set((x * 255).round().unique().tolist()) <= set(range(256))


def test_contrast_normalisation_is_per_image() -> None:
    images = pixels()
    images[5] = 17
    out = contrast_normalized(images).double()
    assert out.mean(1).abs().max() < 1e-6
    assert torch.equal(out[5], torch.zeros_like(out[5]))
    others = torch.arange(64) != 5
    assert (out[others].square().mean(1) - 1).abs().max() < 1e-6


def test_whitened_training_data_has_the_identity_as_covariance() -> None:
    smooth = torch.nn.functional.avg_pool2d(pixels(4000, 8).float(), 3, 1, 1).to(torch.uint8)  # correlated neighbours
    white = fit_gcn_zca(smooth)
    out = white(smooth).permute(0, 2, 3, 1).flatten(1).double()
    covariance = out.T @ out / len(out)
    eigenvalues = torch.linalg.eigvalsh(covariance)
    assert eigenvalues[0].abs() < 1e-2  # contrast normalisation took the mean out
    assert (eigenvalues[1:] - 1).abs().max() < 1e-2
    assert out.mean(0).abs().max() < 1e-3
    assert torch.allclose(white.matrix, white.matrix.T, atol=1e-5)


def test_whitening_is_fitted_on_the_training_set_and_used_in_channels_last() -> None:
    white = fit("gcn_zca", pixels(500, 6))
    out = white(pixels(7, 6, seed=3))
    assert out.shape == (7, 3, 6, 6)
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_directions_without_variation_are_not_blown_up() -> None:
    images = pixels(500, 6)
    images[:, :, 0] = 0  # a row that is always black in training
    white = fit_gcn_zca(images)
    other = pixels(50, 6, seed=9)
    assert white(other).abs().max() < 100


def test_whitening_refuses_large_images_and_few_images() -> None:
    with pytest.raises(UserError, match=r"needs more training images than an image has values \(100 against 108\)"):
        fit("gcn_zca", pixels(100, 6))
    with pytest.raises(UserError, match=r"gcn_zca takes images of at most 12288 values, these have 30000"):
        fit("gcn_zca", torch.zeros(1, 3, 100, 100, dtype=torch.uint8))


def batch_before(images: Images, index: torch.Tensor, draws: torch.Tensor, padding: int) -> torch.Tensor:
    """As batches were made before images were padded once: gathered, padded, cut out, normalised."""
    pixels, _ = images.pixels(index)
    top, left, mirror = draws[0], draws[1], draws[2].bool()
    size = pixels.shape[1]
    padded = torch.nn.functional.pad(pixels, (0, 0, padding, padding, padding, padding))
    columns = torch.arange(size)[None]
    columns = torch.where(mirror[:, None], size - 1 - columns, columns) + left[:, None]
    rows = torch.arange(size) + top[:, None]
    return images.normalized(padded[torch.arange(len(index))[:, None, None], rows[:, :, None], columns[:, None, :]])


@pytest.mark.parametrize("most", [2**30, 0])
@pytest.mark.parametrize(("channels", "layout"), [(1, True), (3, True), (3, False)])
def test_images_that_are_padded_once_are_the_same(
    channels: int, layout: bool, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit and stride for stride, whether all are padded or, where they are many, those of each batch."""
    monkeypatch.setattr("deeprelax.data.augment.MOST_BYTES", most)
    split = Split(pixels(100)[:, :channels], torch.arange(100))
    images = Images(split, fit("mean_std", split.images), torch.device("cpu"), channels_last=layout)
    batches = Batches(images, 40, 0, augmentation("flip_crop", 9, padding=2))
    for k in range(4):
        index, draws = batches.draw(k)
        expected = batch_before(images, index, draws, 2)
        made, labels = batches[k]
        assert torch.equal(made, expected)
        assert made.stride() == expected.stride()
        assert torch.equal(labels, index)


class Kernels(TorchDispatchMode):
    """Counts what is no view, no memory and no question."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().partition("::")[2].partition(".")[0]
        if name not in ("select", "slice", "unsqueeze", "permute", "view", "empty_like", "detach", "alias", "expand",
                        "split_with_sizes", "tensor_split", "device"):  # fmt: skip
            self.names.append(name)
        return func(*args, **(kwargs or {}))


def test_a_batch_of_windows_is_seven_kernels_in_bfloat16_too() -> None:
    """It was fourteen, and one for the rounding, which is of the same numbers."""
    split = Split(pixels(100), torch.arange(100))
    images = Images(split, fit("mean_std", split.images), torch.device("cpu"))
    batches = Batches(images, 40, 0, augmentation("flip_crop", 9))
    drawn = batches.draw(3)
    for dtype in (torch.float32, torch.bfloat16):
        with Kernels() as kernels:
            made, _ = batches.make(*drawn, dtype=dtype)
        assert len(kernels.names) == 7, kernels.names
        assert made.dtype == dtype
        assert torch.equal(made, batches[3][0].to(dtype))
        assert made.is_contiguous(memory_format=torch.channels_last)
    white = fit("gcn_zca", pixels(500, 6))
    assert torch.equal(white(pixels(7, 6), torch.bfloat16), white(pixels(7, 6)).bfloat16())
