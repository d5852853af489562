"""Classification of images by a network whose weights are drawn again at each call."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import UserError
from ...randomness import Purpose, seeded
from ..classification import Classification
from ..hyperparameters import check_options
from ..metric import Metric
from ..task import Setting
from .calibration import BINS, LEVELS, auroc, ece, levels, reliability, shuffled

SIZES = [5, 3 * BINS, LEVELS, LEVELS]  # of what `sums` returns


class Bayesian(Classification):
    """f = the mean cross-entropy of a batch on one draw of the weights + kappa * divergence / N, N training images.

    At kappa = 1 the mean of N f is minus a lower bound of the log evidence of the labels. A prediction is the mean of
    the softmax over `paths` draws. Of it: "error" in %, "nll" its mean -log p(label), "ece" the expected calibration
    error over 15 bins, "auroc" how often it is surer of an image than of one with shuffled pixels, both drawn at
    random. "loss" is the mean of f over the same draws.

    Networks map images to logits (batch, classes) and have `sampled(images)`, which returns these and an estimate of
    the divergence of the weights' distribution from their prior, 0-dim. On several ranks each draws weights of its
    own, as with dropout.

    Source: arXiv 2102.06559. Differs from its public code: there kappa is 1e-3, once divided by N and once not.

    Args:
        paths: draws of the weights for a prediction.
        kappa: weight of the divergence.
    """

    metrics = {  # noqa: RUF012
        "error": Metric("%", 2, share_of="images"), "ece": Metric(decimals=4), "nll": Metric(decimals=4),
        "auroc": Metric(decimals=4, smaller_is_better=False), "divergence": Metric("nats"),
    }  # fmt: skip

    def __init__(self, setting: Setting, paths: int = 20, kappa: float = 1.0) -> None:
        check_options({"paths": paths, "kappa": kappa})
        super().__init__(setting)
        self.paths, self.kappa = paths, kappa

    def check_network(self, name: str, network: Callable[..., Any]) -> None:
        super().check_network(name, network)
        if not hasattr(network, "sampled"):
            raise UserError(
                f"model={name} has no random weights, no method sampled(images), which task=bayesian calls: take "
                "model=sde_bnn"
            )

    def loss(self, model: nn.Module, *batch: Tensor) -> Tensor:
        images, labels = batch
        logits, divergence = sampled(model, images)
        return nn.functional.cross_entropy(logits, labels) + self.kappa / self.examples * divergence

    def sums(self, model: nn.Module, *chunk: Tensor) -> Tensor:
        """Images; cross-entropy, divergence, nll, errors, summed; sums of the reliability; levels of both kinds."""
        images, labels = chunk
        both, own = torch.cat([images, shuffled(images)]), slice(len(images))
        fit = total = torch.zeros((), dtype=torch.float64, device=images.device)
        mean = torch.full_like(fit, -math.inf)
        for _ in range(self.paths):
            logits, divergence = sampled(model, both)
            log_p = logits.double().log_softmax(1)
            mean = torch.logaddexp(mean, log_p - math.log(self.paths))
            fit = fit + nn.functional.nll_loss(log_p[own], labels, reduction="sum") / self.paths
            total = total + len(images) * divergence.double() / self.paths
        probabilities, foreign = mean.exp().split(len(images))
        nll = nn.functional.nll_loss(mean[own], labels, reduction="sum")
        wrong = (probabilities.argmax(1) != labels).sum()
        head = torch.stack([torch.full_like(nll, len(images)), fit, total, nll, wrong.double()])
        return torch.cat([head, reliability(probabilities, labels).flatten(), levels(probabilities), levels(foreign)])

    def scores(self, sums: Tensor) -> dict[str, float]:
        head, bins, own, foreign = sums.split(SIZES)
        images, fit, divergence, nll, wrong = head.tolist()
        return {
            "loss": (fit + self.kappa / self.examples * divergence) / images,
            "error": 100.0 * wrong / images,
            "ece": ece(bins.reshape(3, BINS)),
            "nll": nll / images,
            "auroc": auroc(own, foreign),
            "divergence": divergence / images,
        }

    def predicted(self, model: nn.Module, *chunk: Tensor) -> Tensor:
        images = chunk[0]
        shuffled(images)  # the draws of weights are then those of `sums`
        log_p = (sampled(model, images)[0].double().log_softmax(1) for _ in range(self.paths))
        return torch.stack(list(log_p)).logsumexp(0).argmax(1)

    def inference(self) -> dict[str, Any]:
        """And the draws of the weights whose mean softmax is a prediction."""
        return super().inference() | {"draws": self.paths, "seed": self.setting.seed}

    def report(self, model: nn.Module, folder: Path) -> dict[str, Any]:
        """Also bayesian.png; where the network has `evaluation_steps`, scores of at most 1,000 images for others."""
        from .figure import draw

        chunks, scored = self.splits()["test"], {}
        if (own := getattr(model, "evaluation_steps", None)) is not None:
            try:
                for steps in sorted({max(1, own // 4), max(1, own // 2), own, 2 * own, 4 * own}):
                    model.evaluation_steps = steps
                    scored[steps] = self.scores(self._seeded(model, steps, chunks.take(0)))
            finally:
                model.evaluation_steps = own
        draw(self._seeded(model, 0, chunks.take(0)).split(SIZES), scored, folder / "bayesian.png")
        kept = ("error", "ece", "nll")
        by_steps = {str(steps): {key: each[key] for key in kept} for steps, each in scored.items()}
        return super().report(model, folder) | {"by_steps": by_steps}

    def _seeded(self, model: nn.Module, i: int, chunk: tuple[Tensor, ...]) -> Tensor:
        with seeded(self.setting.device, self.setting.seed, Purpose.EVALUATION, "report", i), torch.no_grad():
            return self.sums(model, *chunk).cpu()


def sampled(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits on one draw of the weights, and the estimate of the divergence."""
    found: tuple[Tensor, Tensor] = model.sampled(images)  # type: ignore[operator]
    return found
