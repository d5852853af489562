"""Scores of x on whole splits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from deeprelax.data.batches import Data
from deeprelax.parallel.ranks import SOLO
from deeprelax.tasks.classification import Classification
from deeprelax.tasks.task import Chunks, Setting
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


class Noisy(Classification):
    """Its scores are Monte Carlo estimates: they draw from the default generator."""

    def sums(self, model: nn.Module, *chunk: Tensor) -> Tensor:
        return torch.rand(1).double()

    def scores(self, sums: Tensor) -> dict[str, float]:
        return {"loss": sums.item()}


def test_random_numbers_of_an_evaluation_are_functions_of_seed_split_and_chunk() -> None:
    """So neither what was drawn before, nor how many ranks take the chunks, changes a score."""
    images = random_images(3456, 1, 8, 5)
    data = Data(images, images, None, 1, 8, tuple("01234"))

    def found(seed: int, split: str, first: int = 0) -> float:
        task = Noisy(Setting(CPU, seed, 20, load_data=lambda: (data, None)))
        whole = task.splits()["test"]
        chunks = Chunks(lambda i: whole.take(first + i), whole.count - first)
        return score(task, nn.Flatten(), chunks, Autocast("float32", CPU), SOLO, split=split)["loss"]

    once = found(0, "test")
    torch.rand(5)
    assert found(0, "test") == once
    assert found(0, "test", 1) != once
    assert found(1, "test") != once
    assert found(0, "validation") != once
