"""Networks of torchvision: heads, grey images, weights from a file, and ResNet-18 for small images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from deeprelax.models import ResNet18, torchvision_model
from deeprelax.models.torchvision_models import head_of

SMALL = "shufflenet_v2_x0_5"


@pytest.fixture
def saved() -> dict[str, torch.Tensor]:
    """A state_dict with the head of 1000 classes that torchvision's files have, in weights.pth."""
    torch.manual_seed(1)
    found: dict[str, torch.Tensor] = torchvision.models.get_model(SMALL, weights=None).state_dict()
    torch.save(found, "weights.pth")
    return found


def test_resnet18_for_small_images() -> None:
    network = ResNet18(3, 32, 10)
    assert sum(p.numel() for p in network.parameters()) == 11_173_962
    sizes = []
    network.layer1.register_forward_hook(lambda *seen: sizes.append(seen[2].shape))
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert sizes == [(2, 64, 32, 32)]  # neither stem nor pooling has made it smaller
    assert network.conv1.weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.1)  # 1,728 Gaussians


@pytest.mark.parametrize("architecture", [SMALL, "squeezenet1_1", "mobilenet_v3_small"])
def test_the_head_is_for_the_classes_at_hand(architecture: str) -> None:
    network = torchvision_model(3, 64, 7, architecture)
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 7)
    assert network.training


@pytest.mark.slow
def test_every_architecture_has_its_head_last_and_three_channels_first() -> None:
    for architecture in torchvision.models.list_models(module=torchvision.models):
        options = {"aux_logits": False, "init_weights": False} if architecture in ("googlenet", "inception_v3") else {}
        with torch.device("cpu" if architecture.startswith("regnet") else "meta"):  # regnet computes its widths
            network = torchvision.models.get_model(architecture, weights=None, num_classes=7, **options)
        assert network.get_submodule(head_of(network)).weight.shape[0] == 7, architecture
        first: Any = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
        assert first.in_channels == 3, architecture


def test_weights_of_a_file_are_taken_but_for_a_head_of_other_classes(saved: dict[str, torch.Tensor]) -> None:
    torch.manual_seed(0)
    fresh = torchvision_model(3, 32, 5, SMALL)
    torch.manual_seed(0)
    network = torchvision_model(3, 32, 5, SMALL, weights="weights.pth")
    for name, tensor in network.state_dict().items():
        there = fresh.state_dict()[name] if name.startswith("fc.") else saved[name]
        assert torch.equal(tensor, there), name
    whole = torchvision_model(3, 32, 1000, SMALL, weights="weights.pth")
    assert torch.equal(whole.fc.weight, saved["fc.weight"])  # of as many classes it is taken too


def test_a_grey_image_is_one_of_three_equal_channels(saved: dict[str, torch.Tensor]) -> None:
    coloured = torchvision_model(3, 32, 1000, SMALL, weights="weights.pth").eval()
    grey = torchvision_model(1, 32, 1000, SMALL, weights="weights.pth").eval()
    images = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(grey(images), coloured(images.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-5)
    torch.save(grey.state_dict(), "grey.pth")
    assert torch.equal(torchvision_model(1, 32, 2, SMALL, "grey.pth").conv1[0].weight, grey.conv1[0].weight)


def test_names_of_old_files_of_densenet_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models.densenet import DenseNet

    def tiny(*_: object, num_classes: int = 1000, **__: object) -> DenseNet:
        return DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, num_classes=num_classes)

    monkeypatch.setattr(torchvision.models, "get_model", tiny)
    state = tiny().state_dict()
    old = {name.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): t for name, t in state.items()}
    assert old.keys() != state.keys()
    torch.save(old, "old.pth")
    network = torchvision_model(3, 32, 3, "densenet121", "old.pth")
    assert all(torch.equal(t, state[name]) for name, t in network.state_dict().items() if "classifier" not in name)


def test_what_cannot_be_built_is_said_in_a_sentence(saved: dict[str, torch.Tensor]) -> None:
    def refused(text: str, *arguments: Any) -> None:
        with pytest.raises(ValueError, match=text):
            torchvision_model(*arguments)

    refused(r"architecture=resnet81 is no classification network .*\(did you mean resnet18", 3, 32, 2, "resnet81")
    refused(r"architecture=alexnet cannot take images of 16 pixels \(.*set dataset.image_size=224", 3, 16, 2, "alexnet")
    refused("takes images of 1 or 3 channels, these have 4", 4, 32, 2)
    refused("weights=gone.pth is not there: give a file", 3, 32, 2, SMALL, "gone.pth")
    refused(
        r"weights=weights.pth has other shapes than the network \(conv5.0.weight \(1024, 192, 1, 1\) not \(1024, 464,.*"
        r"and \d+ more\): name their architecture", 3, 32, 2, "shufflenet_v2_x1_0", "weights.pth",
    )  # fmt: skip
    refused("weights.pth is of another network: it lacks features.0", 3, 64, 2, "squeezenet1_1", "weights.pth")
    for content, text in [
        ([1, 2], "holds no state_dict"),
        (nn.Linear(2, 1), "corrupt, or holds more than tensors"),
        ({"fc.weight": torch.tensor(float("nan"))}, "not finite"),
        ({name: t for name, t in saved.items() if name != "conv5.0.weight"}, r"lacks conv5.0.weight \(of 1\)"),
        ({**saved, "more": torch.ones(1)}, r"has more \(of 1\), which the network has not"),
    ]:
        torch.save(content, "other.pth")
        refused(text, 3, 32, 2, SMALL, "other.pth")
    content = Path("weights.pth").read_bytes()
    Path("weights.pth").write_bytes(content[: len(content) // 2])
    refused("corrupt", 3, 32, 2, SMALL, "weights.pth")
