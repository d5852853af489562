"""Parameter counts as published, shapes, and dropout and batch norm where the paper has them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from deeprelax.models import MLP, AllCNN, Dense, DiagonalLinear, Factor, LeNet, OdeNet, WideResNet


@pytest.mark.parametrize(("network", "count"), [(LeNet, 131_220), (MLP, 1_867_786), (OdeNet, 29_226)])
def test_parameter_counts_on_mnist(network: type[nn.Module], count: int) -> None:
    assert sum(p.numel() for p in network(1, 28, 10).parameters()) == count


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"network": AllCNN}, 1_667_166),
        ({"network": AllCNN, "variant": "original"}, 1_369_738),
        ({"network": WideResNet, "depth": 16, "width": 4}, 2_748_890),
        ({"network": WideResNet, "depth": 28, "width": 10}, 36_479_194),
    ],
)
def test_parameter_counts_on_cifar10(options: dict[str, Any], count: int) -> None:
    with torch.device("meta"):
        network = options.pop("network")(3, 32, 10, **options)
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize(
    ("network", "count"),
    [
        (Dense(10, 1), 10 * 64 + 64 + 64 * 64 + 64 + 64 + 1),
        (Dense(3, 2, hidden=5, layers=1, activation="relu"), 3 * 5 + 5 + 5 * 2 + 2),
        (Dense(10, 2, layers=0), 22),
        (DiagonalLinear(100, 1), 200),
        (DiagonalLinear(7, 3), 42),
        (Factor(20), 400),
        (Factor(6, rank=2), 12),
    ],
)
def test_parameter_counts_of_networks_for_vectors(network: nn.Module, count: int) -> None:
    assert sum(p.numel() for p in network.parameters()) == count


def test_networks_for_vectors_compute_what_they_say() -> None:
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    net = DiagonalLinear(6, 3, scale=0.5)
    assert torch.equal(net(x), torch.zeros(4, 3))
    assert torch.equal(net.u, torch.full((3, 6), 0.5))
    nn.init.normal_(net.u)
    torch.testing.assert_close(net(x)[1, 2], (x[1] * (net.u[2] ** 2 - net.v[2] ** 2)).sum())
    torch.manual_seed(0)
    factor, m = Factor(400, rank=100, scale=2.0), torch.randn(3, 400, 400)
    assert factor.u.std().item() == pytest.approx(2 / 400**0.5, rel=0.03)  # 40,000 Gaussians: 8 standard errors
    torch.testing.assert_close(factor(m)[2, 0], torch.trace(m[2] @ factor.u @ factor.u.T), rtol=1e-3, atol=1e-3)
    dense = Dense(6, 2, hidden=5, layers=2, activation="relu")
    assert [type(layer).__name__ for layer in dense] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert dense(x).shape == (4, 2)


@pytest.mark.parametrize("network", [AllCNN, LeNet, MLP, OdeNet, WideResNet])
@pytest.mark.parametrize(("channels", "size", "classes"), [(1, 28, 10), (3, 32, 100), (1, 22, 2)])
def test_maps_images_to_logits(network: type[nn.Module], channels: int, size: int, classes: int) -> None:
    images = torch.zeros(4, channels, size, size).to(memory_format=torch.channels_last)
    assert network(channels, size, classes)(images).shape == (4, classes)


def test_lenet_takes_its_smallest_image_and_none_smaller() -> None:
    for network in (AllCNN, WideResNet):
        size = network.smallest_image
        assert network(1, size, 10)(torch.zeros(2, 1, size, size)).shape == (2, 10)
    size = AllCNN.smallest_image
    assert AllCNN(1, size, 10, "original")(torch.zeros(2, 1, size, size)).shape == (2, 10)
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


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"depth must be 6 n \+ 4 .*, not 17"):
        WideResNet(3, 32, 10, depth=17)
    with pytest.raises(ValueError, match="width must be"):
        WideResNet(3, 32, 10, width=0)
    with pytest.raises(ValueError, match="variant must be paper or original, not 'c'"):
        AllCNN(3, 32, 10, variant="c")
    with pytest.raises(ValueError, match="activation must be tanh, relu, gelu or silu, not 'swish'"):
        Dense(3, 1, activation="swish")
    with pytest.raises(ValueError, match="layers must be an integer from 0 to 1000, not -1"):
        Dense(3, 1, layers=-1)


def test_a_wide_resnet_block_adds_to_its_input() -> None:
    """With the last convolution of each block at zero, only the shortcuts are left."""
    network = WideResNet(3, 8, 5, depth=16, width=1).eval()
    x = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    block = network.groups[0][1]
    assert block.shortcut is None
    nn.init.zeros_(block.conv2.weight)
    assert torch.equal(block(x), x)
    first = network.groups[1][0]
    nn.init.zeros_(first.conv2.weight)
    torch.testing.assert_close(first(x), first.shortcut(torch.relu(first.norm1(x))))


def test_all_cnn_shapes_inside() -> None:
    x = torch.zeros(2, 3, 32, 32)
    for variant, last in [("paper", (8, 8)), ("original", (6, 6))]:
        network = AllCNN(3, 32, 10, variant).eval()
        shapes, out = [], x
        for layer in network:
            out = layer(out)
            shapes.append(out.shape)
        assert shapes[-3] == (2, 10, *last)


def test_the_choices_can_be_read_without_torch() -> None:
    code = (
        "import sys, deeprelax.models as models; from deeprelax.models import hyperparameters\n"
        "assert {'AllCNN', 'Dense', 'DiagonalLinear', 'ExpressionTree', 'Factor', 'GatedMlp', 'LeNet', 'MLP', "
        "'MlpField', 'OdeNet', 'ResNet18', 'SdeBnn', 'Transformer', 'WideResNet', 'torchvision_model'} == "
        "set(models.__all__)\n"
        "assert not {'torch', 'hydra', 'deeprelax.optim'} & set(sys.modules)\n"
        "from deeprelax.models import LeNet\n"
        "assert not {m for m in sys.modules if m.startswith('deeprelax.') and not m.startswith('deeprelax.models')}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
