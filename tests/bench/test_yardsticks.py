"""Test that the yardsticks of `deeprelax bench` do the work that they stand for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deeprelax.bench.images import random_images
from deeprelax.bench.yardsticks import Pictures, PortStyle, endless, in_memory
from deeprelax.optim import EntropySGD
from tests.images import CPU


def test_the_port_style_yardstick_descends_like_ours() -> None:
    """Without noise it is the same algorithm, so that the costs can be compared."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(5, 5, generator=generator)
    a = a @ a.T / 5 + torch.eye(5)

    def net() -> torch.nn.Linear:
        model = torch.nn.Linear(5, 1, bias=False)
        with torch.no_grad():
            model.weight.copy_(torch.arange(5.0))
        return model

    ours, ported = net(), net()

    def loss(model: torch.nn.Linear) -> torch.Tensor:
        model.zero_grad()
        value = 0.5 * model.weight[0] @ a @ model.weight[0]
        value.backward()
        return value

    port = PortStyle(ported, inner_steps=4, noise=0.0)
    port.lr = 0.7
    optimizer = EntropySGD(ours.parameters(), lr=0.7, inner_steps=4, temperature=0.0)
    for _ in range(3):
        optimizer.step(lambda: loss(ours))
        port.step(lambda: loss(ported).item())
    torch.testing.assert_close(ours.weight, ported.weight)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_yardsticks_read_the_same_images_either_way(channels: int) -> None:
    split = random_images(Path(), channels=channels, image_size=5, classes=10, train=30, test=1).train
    torch.manual_seed(0)
    split.labels[:] = torch.arange(30)  # each image's number
    batches, pictures = in_memory(split, 16, CPU), Pictures(split)
    drawn = [next(batches) for _ in range(20)]
    for images, numbers in drawn:
        assert images.shape == (16, channels, 5, 5)
        torch.testing.assert_close(images, torch.stack([pictures[int(number)][0] for number in numbers]))
    assert {int(number) for _, numbers in drawn for number in numbers} == set(
        range(30)
    )  # another seed misses one by 6e-4
    assert len({tuple(numbers.tolist()) for _, numbers in drawn}) == 20
    loaded, numbers = next(endless(split, 30, 0, CPU))
    torch.testing.assert_close(loaded[numbers.argsort()], torch.stack([image for image, _ in pictures]))
