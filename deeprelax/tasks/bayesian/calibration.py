"""Sums from which calibration and the detection of foreign images are scored; each is added up over chunks."""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 15  # of the confidence, equally wide
LEVELS = 4096  # of the confidence's log odds, equally wide between the ends
LOWEST, HIGHEST = -8.0, 32.0


def reliability(probabilities: Tensor, labels: Tensor) -> Tensor:
    """(3, BINS): images, their confidence and how many are right, summed over each bin of the confidence."""
    confidence, predicted = probabilities.max(1)
    rows = torch.stack([torch.ones_like(confidence), confidence, (predicted == labels).to(confidence.dtype)])
    place = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    return rows.new_zeros(3, BINS).index_add_(1, place, rows)


def ece(sums: Tensor) -> float:
    """Expected calibration error, sum over the bins of |right - confidence| / images (arXiv 1706.04599)."""
    images, confidence, right = sums
    return float((right - confidence).abs().sum() / images.sum())


def levels(probabilities: Tensor) -> Tensor:
    """(LEVELS,): images at each level of log odds of the predicted class."""
    top, predicted = probabilities.max(1)
    rest = probabilities.scatter(1, predicted[:, None], 0.0).sum(1)  # 1 - top would be 0 for all that are nearly sure
    odds = top.log() - rest.log()
    place = ((odds - LOWEST) / (HIGHEST - LOWEST) * LEVELS).clamp(0, LEVELS - 1).long()
    return probabilities.new_zeros(LEVELS).index_add_(0, place, torch.ones_like(odds))


def auroc(own: Tensor, foreign: Tensor) -> float:
    """How often an image of the data is surer than a foreign one; those of one level count half (arXiv 1610.02136)."""
    below = foreign.cumsum(0) - foreign
    return float((own * (below + foreign / 2)).sum() / (own.sum() * foreign.sum()))


def shuffled(images: Tensor) -> Tensor:
    """Each image's pixels in an order of its own, the same for all channels; from the default generator."""
    order = torch.rand(len(images), images[0, 0].numel(), device=images.device).argsort(1)
    flat = images.flatten(2)
    return flat.gather(2, order[:, None].expand_as(flat)).reshape(images.shape)
