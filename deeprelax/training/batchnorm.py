"""Batch-norm statistics for x: those gathered during training belong to the points y that it went through."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..configuration.schema import TrainConf
from ..data.batches import Batches, Images
from ..randomness import Purpose
from .objective import Autocast


def has_batch_norm(model: nn.Module) -> bool:
    """Does any layer normalise over the batch?"""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def statistics(conf: TrainConf, images: Images) -> tuple[Batches, int]:
    """The batches to re-estimate on, always the same, and how many: `train.bn_batches`, at most one pass."""
    batches = Batches(images, conf.batch_size, conf.seed, purpose=Purpose.STATISTICS)
    return batches, min(conf.train.bn_batches, max(1, len(images) // conf.batch_size))


@torch.no_grad()
def reestimate(model: nn.Module, batches: Batches, count: int, autocast: Autocast) -> None:
    """Replace the running statistics by the cumulative average over batches 0 to count - 1 at the present weights.

    Dropout is in eval mode meanwhile. The layers' momentum and the model's mode are what they were afterwards.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not layers:
        return
    mode, momenta = model.training, [layer.momentum for layer in layers]
    model.eval()
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # torch's word for the cumulative average
            layer.train()
        for k in range(count):
            with autocast():
                model(batches[k][0])
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        model.train(mode)
