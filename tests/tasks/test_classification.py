"""Label smoothing and class weights: of the loss in training, not of what is scored."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deeprelax.data.batches import Data
from deeprelax.tasks.classification import Classification
from deeprelax.tasks.task import Setting
from tests.images import CPU, random_images
from tests.quick import QUICK, directory

Command = Callable[..., tuple[int, str, str]]
WEIGHTS = [1.0, 0.0, 2.5]


class Logits(nn.Module):
    """The same logits for every image."""

    def __init__(self) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor([2.0, 0.0, -1.0]))

    def forward(self, images: Tensor) -> Tensor:
        return self.values.expand(len(images), 3)


def task(batch_size: int = 12, part: tuple[int, int] = (0, 1), **keywords: Any) -> Classification:
    images = random_images(60)
    data = Data(images, images, None, 1, 4, ("a", "b", "c"))
    return Classification(Setting(CPU, 0, batch_size, part=part, load_data=lambda: (data, None)), **keywords)


def by_hand(labels: Tensor, weights: list[float], smoothing: float) -> float:
    """sum of w l / B with l = -sum_c q_c log p_c, q = (1 - s) one-hot + s / C."""
    values = [2.0, 0.0, -1.0]
    log_p = [v - math.log(sum(map(math.exp, values))) for v in values]
    q = [[(1 - smoothing) * (c == k) + smoothing / 3 for c in range(3)] for k in range(3)]
    losses = [-sum(a * b for a, b in zip(q[k], log_p, strict=True)) for k in range(3)]
    return sum(weights[k] * losses[k] for k in labels.tolist()) / len(labels)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_the_formula_and_the_mean_of_parts(weights: list[float] | None, smoothing: float) -> None:
    net = Logits()
    whole = task(label_smoothing=smoothing, class_weights=weights)
    batch = whole.make(*whole.draw(1))
    loss = whole.loss(net, *batch)
    assert loss.item() == pytest.approx(by_hand(batch[1], weights or [1.0, 1.0, 1.0], smoothing), rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, net.values)
    parts = [task(part=(i, 2), label_smoothing=smoothing, class_weights=weights) for i in range(2)]
    found = [torch.autograd.grad(each.loss(net, *each.make(*each.draw(1))), net.values)[0] for each in parts]
    assert not torch.equal(*found)
    torch.testing.assert_close((found[0] + found[1]) / 2, gradient, rtol=1e-6, atol=1e-7)


def test_without_them_the_loss_is_that_of_before_and_scores_are_plain_with_them() -> None:
    net = Logits()
    plain, other = task(), task(label_smoothing=0.3, class_weights=WEIGHTS)
    batch = plain.make(*plain.draw(0))
    assert torch.equal(plain.loss(net, *batch), nn.functional.cross_entropy(net(batch[0]), batch[1]))
    assert torch.equal(plain.sums(net, *batch), other.sums(net, *batch))


def test_a_run_has_them_and_its_scores_are_plain(deeprelax: Command) -> None:
    """Only two classes count: 200 balanced images, of which 40 are of these; the inner loss is a fifth."""
    weights = [1.0, 1.0, *[0.0] * 8]
    run = ["train", *QUICK, "optimizer=sgd", "optimizer.lr=0", "epochs=1"]
    assert deeprelax(*run, "output_dir=plain")[0] == 0
    assert deeprelax(*run, f"task.class_weights={weights}".replace(" ", ""), "output_dir=weighted")[0] == 0
    results = [json.loads((directory(root) / "result.json").read_text()) for root in ("plain", "weighted")]
    assert results[0]["test_loss"] == results[1]["test_loss"]
    inner = [
        [line["inner_loss"] for line in map(json.loads, text.splitlines()) if line["kind"] == "train"]
        for text in ((directory(root) / "metrics.jsonl").read_text() for root in ("plain", "weighted"))
    ]
    assert all(0 < weighted < plain / 2 for plain, weighted in zip(*inner, strict=True))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "task.class_weights=[1,2]",
            "task.class_weights has 2 numbers, and there are 10 classes: give one for each, in",
        ),
        ("task.class_weights=[1,-2]", "task.class_weights=[1.0, -2.0] is out of range: it must be a list of finite"),
        (
            "task.class_weights=[0,0,0,0,0,0,0,0,0,0]",
            "out of range: it must be a list of finite numbers >= 0, one above",
        ),
        ("task.label_smoothing=1", "task.label_smoothing=1.0 is out of range: it must be a number >= 0 and < 1"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(given: str, message: str, deeprelax: Command, tmp_path: Path) -> None:
    status, _, err = deeprelax("train", *QUICK, "optimizer=sgd", given)
    assert (status, err.count("\n")) == (1, 1), err
    assert message in err
    assert not list(tmp_path.rglob("config.yaml"))
