"""Scores of x on whole splits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deeprelax.parallel.ranks import SOLO
from deeprelax.training.evaluation import score
from deeprelax.training.objective import Autocast
from tests.images import CPU, classification, random_images


def test_score_counts_every_image_once() -> None:
    data = random_images()
    net = nn.Sequential(nn.Dropout(0.5), nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)).eval()
    everything, labels = data.chunk(0, 2345)
    with torch.no_grad():
        logits = net(everything)
    expected = {
        "loss": nn.functional.cross_entropy(logits.double(), labels).item(),
        "error": 100 * (logits.argmax(1) != labels).double().mean().item(),
    }
    net.train()
    task = classification(data, 64)
    found = score(task, net, task.splits()["test"], Autocast("float32", CPU), SOLO)
    assert found == pytest.approx(expected, rel=1e-6)
    assert net.training
