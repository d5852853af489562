"""Scores of a network with random weights against direct computations, its loss, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from deeprelax.data.batches import Data, Images
from deeprelax.data.images import Split
from deeprelax.data.normalize import fit
from deeprelax.models import SdeBnn
from deeprelax.tasks import Setting
from deeprelax.tasks.bayesian import Bayesian
from deeprelax.tasks.bayesian.calibration import auroc, ece, levels, reliability, shuffled
from tests.tasks.problems import CPU, scored

Command = Callable[..., tuple[int, str, str]]


def task(**options: float) -> Bayesian:
    """40 + 30 grey images of 6 x 6 pixels in 3 classes."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (70, 1, 6, 6), generator=generator, dtype=torch.uint8)
    whole = Split(pixels, torch.arange(70) % 3)
    rule = fit("mean_std", pixels)
    train, test = (Images(whole[torch.arange(a, b)], rule, CPU) for a, b in ((0, 40), (40, 70)))
    data = Data(train, test, None, 1, 6, ("a", "b", "c"))
    return Bayesian(Setting(CPU, 0, 8, load_data=lambda: (data, None)), **options)  # type: ignore[arg-type]


def network(divergence: str = "kl") -> SdeBnn:
    torch.manual_seed(0)
    found = SdeBnn(1, 6, 3, width=4, hidden=5, steps=3, sigma=0.7, drift_hidden=4, divergence=divergence)
    nn.init.normal_(found.weights.drift.last.bias)
    return found


def probabilities(count: int, spread: float) -> Tensor:
    return (spread * torch.randn(count, 4, dtype=torch.float64)).softmax(1)


def test_ece_is_the_mean_gap_over_fifteen_bins_and_adds_up() -> None:
    torch.manual_seed(0)
    p, labels = probabilities(500, 2.0), torch.randint(4, (500,))
    confidence, right = p.max(1).values, (p.argmax(1) == labels).double()
    wanted = 0.0
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if inside.any():
            wanted += abs(float(right[inside].mean() - confidence[inside].mean())) * float(inside.double().mean())
    parts = reliability(p[:123], labels[:123]) + reliability(p[123:], labels[123:])
    assert ece(parts) == pytest.approx(wanted, rel=1e-12)
    sure = torch.eye(4, dtype=torch.float64)
    assert ece(reliability(sure, torch.arange(4))) == 0
    assert ece(reliability(sure, (torch.arange(4) + 1) % 4)) == 1


def test_auroc_is_that_of_scikit_learn_up_to_its_levels() -> None:
    torch.manual_seed(0)
    own, foreign = probabilities(400, 3.0), probabilities(600, 1.5)
    confidence = torch.cat([own, foreign]).max(1).values
    wanted = roc_auc_score([1] * 400 + [0] * 600, confidence.numpy())
    assert auroc(levels(own), levels(foreign)) == pytest.approx(wanted, abs=1e-3)
    assert auroc(levels(own), levels(own)) == pytest.approx(0.5, abs=1e-12)
    sure = torch.eye(4, dtype=torch.float64)
    assert auroc(levels(sure), levels(own)) == pytest.approx(1.0, abs=1e-12)


def test_shuffled_images_have_their_own_pixels_in_an_order_of_their_own() -> None:
    images = torch.randn(3, 2, 5, 5)
    torch.manual_seed(1)
    found = shuffled(images)
    assert not torch.equal(found, images)
    first = images[:, 0].flatten(1).argsort(1), found[:, 0].flatten(1).argsort(1)  # channel 1 went with channel 0
    for channel in (0, 1):
        before, after = images[:, channel].flatten(1), found[:, channel].flatten(1)
        assert torch.equal(before.gather(1, first[0]), after.gather(1, first[1]))
    places = [[int((image.flatten() == value).nonzero()) for value in own.flatten()] for image, own in
              zip(found[:, 0], images[:, 0], strict=True)]  # fmt: skip
    assert len({tuple(each) for each in places}) == 3


@pytest.mark.parametrize("divergence", ["kl", "stl"])
def test_the_loss_is_cross_entropy_plus_kappa_over_n_divergence(divergence: str) -> None:
    own, net = task(kappa=3.0), network(divergence)
    images, labels = own.make(*own.draw(0))
    torch.manual_seed(4)
    found = own.loss(net, images, labels)
    torch.manual_seed(4)
    logits, kl = net.sampled(images)
    assert kl != 0
    torch.testing.assert_close(found, nn.functional.cross_entropy(logits, labels) + 3 * kl / 40)


@torch.no_grad()
def test_a_prediction_is_the_mean_over_paths_and_scores_are_of_the_seed_alone() -> None:
    own, net = task(paths=3, kappa=2.0), network().eval()
    images, labels = own.splits()["test"].take(0)
    torch.manual_seed(4)
    sums = own.sums(net, images, labels)
    torch.manual_seed(4)
    both = torch.cat([images, shuffled(images)])
    paths = [net.sampled(both) for _ in range(3)]
    mean = torch.stack([logits.double().softmax(1) for logits, _ in paths]).mean(0)[:30]
    found = own.scores(sums)
    assert set(found) == {"loss", *own.metrics}
    assert found["nll"] == pytest.approx(float(nn.functional.nll_loss(mean.log(), labels)), rel=1e-9)
    assert found["error"] == pytest.approx(100 * float((mean.argmax(1) != labels).double().mean()))
    assert found["ece"] == pytest.approx(ece(reliability(mean, labels)))
    kl = sum(float(each) for _, each in paths) / 3
    fit = sum(float(nn.functional.cross_entropy(logits[:30], labels)) for logits, _ in paths) / 3
    assert found["divergence"] == pytest.approx(kl, rel=1e-5)
    assert found["loss"] == pytest.approx(fit + 2 * kl / 40, rel=1e-5)
    first = scored(own, net)
    torch.randn(100)
    assert scored(own, net) == first
    own.setting = Setting(CPU, 1, 8)
    assert scored(own, net)["nll"] != first["nll"]


def test_a_network_without_random_weights_is_refused(deeprelax: Command) -> None:
    status, _, err = deeprelax("train", "task=bayesian", "model=lenet", "hardware.threads=1")
    assert status == 1
    assert err.startswith(
        "deeprelax: model=lenet has no random weights, no method sampled(images), which task=bayesian"
    )
    assert err.count("\n") == 1
