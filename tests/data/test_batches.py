"""Test the endless stream of batches."""

from __future__ import annotations

import pytest
import torch

from deeprelax.data.batches import Batches, Images
from deeprelax.data.images import Split
from deeprelax.data.normalize import fit


def stream(n: int = 10, batch_size: int = 4, seed: int = 0) -> Batches:
    images = torch.arange(n, dtype=torch.uint8).reshape(n, 1, 1, 1).expand(n, 3, 2, 2).contiguous()
    split = Split(images, torch.arange(n))
    return Batches(Images(split, fit("none", images), torch.device("cpu")), batch_size, seed)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 25])
def test_each_pass_shows_each_image_once_and_every_batch_is_full(batch_size: int) -> None:
    batches = stream(10, batch_size)
    seen = torch.cat([batches.order.indices(k) for k in range(20)])
    assert len(seen) == 20 * batch_size
    for start in range(0, len(seen) - 9, 10):
        assert sorted(seen[start : start + 10].tolist()) == list(range(10))


def test_passes_differ_seeds_differ_and_a_batch_depends_on_its_number_alone() -> None:
    batches = stream(100, 100)
    assert not torch.equal(batches.order.indices(0), batches.order.indices(1))
    assert not torch.equal(batches.order.indices(0), stream(100, 100, seed=1).order.indices(0))
    late = stream(100, 7)
    forward = [late.order.indices(k) for k in range(40)]
    assert all(torch.equal(late.order.indices(k), forward[k]) for k in reversed(range(40)))
    torch.manual_seed(5)
    assert torch.equal(stream(100, 7).order.indices(39), forward[39])


def test_images_and_labels_belong_together_in_channels_last() -> None:
    images, labels = stream()[3]
    assert images.shape == (4, 3, 2, 2)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images.dtype == torch.float32
    torch.testing.assert_close(images[:, 0, 0, 0] * 255, labels.float())
