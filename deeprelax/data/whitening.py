"""Normalise the contrast of images and whiten them (GCN and ZCA)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UserError

EPSILON = 1e-5
MOST_FEATURES = 3 * 64 * 64  # the whitening matrix has the square of it in elements
CHUNK = 5000  # images


class GCNWhitening:
    """Each image to mean 0 and standard deviation 1, then x -> (x - mean) W.

    mean (features,) and W (features, features), symmetric; the features of an image are its pixels in the order height,
    width, channel.
    """

    def __init__(self, mean: Tensor, matrix: Tensor) -> None:
        self.mean, self.matrix = mean, matrix

    def to(self, device: torch.device) -> GCNWhitening:
        return GCNWhitening(self.mean.to(device), self.matrix.to(device))

    def __call__(self, images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """uint8 (batch, channels, height, width) to float32 of the same shape in channels_last, rounded to `dtype`."""
        batch, channels, height, width = images.shape
        white = (contrast_normalized(images) - self.mean) @ self.matrix
        return white.to(dtype).reshape(batch, height, width, channels).permute(0, 3, 1, 2)

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "matrix": self.matrix}


def contrast_normalized(images: Tensor) -> Tensor:
    """Images (batch, channels, height, width) to float32 (batch, features), each of mean 0 and standard deviation 1."""
    features = images.permute(0, 2, 3, 1).flatten(1).float()
    features -= features.mean(1, keepdim=True)
    return features / features.square().mean(1, keepdim=True).sqrt().clamp_min(1e-8)


def fit_gcn_zca(images: Tensor) -> GCNWhitening:
    """W = U diag(1/(S + 1e-5)) U' on the training images uint8 (N, C, H, W) after contrast normalisation.

    S are the standard deviations along the principal axes U. Axes along which the training images do not vary (S under
    1e-5 of the largest; the mean that contrast normalisation removes is one) are set to 0 instead of being amplified.
    Source: the pre-processing of arXiv 1704.04932, section 6.

    Raises UserError for images of more than 64 x 64 colour pixels, and for fewer images than an image has values.
    """
    n, features = len(images), images[0].numel()
    if features > MOST_FEATURES:
        raise UserError(
            f"dataset.normalize=gcn_zca takes images of at most {MOST_FEATURES} values, these have {features}: "
            "lower dataset.image_size or take dataset.normalize=mean_std"
        )
    if n <= features:
        raise UserError(
            f"dataset.normalize=gcn_zca needs more training images than an image has values ({n} against {features}): "
            "lower dataset.image_size or take dataset.normalize=mean_std"
        )
    chunks = range(0, n, CHUNK)
    mean = torch.zeros(features, dtype=torch.float64)
    for start in chunks:
        mean += contrast_normalized(images[start : start + CHUNK]).double().sum(0) / n
    covariance = torch.zeros(features, features, dtype=torch.float64)
    for start in chunks:
        centred = contrast_normalized(images[start : start + CHUNK]) - mean.float()
        covariance += (centred.T @ centred).double() / n
    variances, axes = torch.linalg.eigh(covariance)
    deviations = variances.clamp_min(0).sqrt()
    scales = torch.where(deviations > 1e-5 * deviations[-1], 1 / (deviations + EPSILON), 0.0)
    matrix = (axes * scales) @ axes.T
    return GCNWhitening(mean.float(), matrix.float())
