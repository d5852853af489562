"""Parameter counts as published, shapes, and dropout and batch norm where the paper has them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deeprelax.models import MLP, LeNet


@pytest.mark.parametrize(("network", "count"), [(LeNet, 131_220), (MLP, 1_867_786)])
def test_parameter_counts_on_mnist(network: type[nn.Module], count: int) -> None:
    assert sum(p.numel() for p in network(1, 28, 10).parameters()) == count


@pytest.mark.parametrize("network", [LeNet, MLP])
@pytest.mark.parametrize(("channels", "size", "classes"), [(1, 28, 10), (3, 32, 100), (1, 22, 2)])
def test_maps_images_to_logits(network: type[nn.Module], channels: int, size: int, classes: int) -> None:
    images = torch.zeros(4, channels, size, size).to(memory_format=torch.channels_last)
    assert network(channels, size, classes)(images).shape == (4, classes)


def test_lenet_takes_its_smallest_image_and_none_smaller() -> None:
    size = LeNet.smallest_image
    assert LeNet(1, size, 10)(torch.zeros(2, 1, size, size)).shape == (2, 10)
    with pytest.warns(UserWarning, match="zero-element"), pytest.raises(RuntimeError):
        LeNet(1, size - 1, 10)(torch.zeros(2, 1, size - 1, size - 1))


def test_order_of_the_layers() -> None:
    names = [type(layer).__name__ for layer in LeNet(1, 28, 10)]
    block = ["Conv2d", "ReLU", "MaxPool2d", "BatchNorm2d", "Dropout"]
    assert names == [*block, *block, "Flatten", "Linear", "ReLU", "Dropout", "Linear"]
    hidden = ["Linear", "ReLU", "BatchNorm1d", "Dropout"]
    assert [type(layer).__name__ for layer in MLP(1, 28, 10)] == ["Flatten", "Dropout", *hidden, *hidden, "Linear"]
    assert [layer.p for layer in MLP(1, 28, 10) if isinstance(layer, nn.Dropout)] == [0.2, 0.2, 0.2]
    assert [layer.p for layer in LeNet(1, 28, 10) if isinstance(layer, nn.Dropout)] == [0.25, 0.25, 0.25]
