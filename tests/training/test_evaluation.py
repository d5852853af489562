"""Scores of x on whole splits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deeprelax.data.batches import Images
from deeprelax.data.images import Split
from deeprelax.data.normalize import fit
from deeprelax.training.evaluation import every_image, score
from deeprelax.training.objective import Autocast

CPU = torch.device("cpu")


NO_AUTOCAST = Autocast("float32", CPU)


def images(n: int = 2345, channels: int = 1) -> Images:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, channels, 4, 4), dtype=torch.uint8, generator=generator)
    return Images(Split(pixels, torch.randint(3, (n,), generator=generator)), fit("mean_std", pixels), CPU)


def network() -> nn.Module:
    return nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))


def test_score_counts_every_image_once() -> None:
    data, net = images(2345), network().eval()
    everything, labels = data.chunk(0, 2345)
    with torch.no_grad():
        logits = net(everything)
    expected = {
        "loss": nn.functional.cross_entropy(logits.double(), labels).item(),
        "error": 100 * (logits.argmax(1) != labels).double().mean().item(),
    }
    net.train()
    found = score(net, every_image(data), NO_AUTOCAST)
    assert found == pytest.approx(expected, rel=1e-6)
    assert net.training
