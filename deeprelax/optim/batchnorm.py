"""Batch-norm statistics for x: those gathered during training belong to the points y that it went through."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .scratch import copy_


def has_batch_norm(model: nn.Module) -> bool:
    """Does any layer normalise over the batch?"""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def training_mode(model: nn.Module, mode: bool = True) -> None:
    """`model.train(mode)`, but batch norm whose weights are all frozen stays in eval mode: its statistics are kept."""
    model.train(mode)
    for module in model.modules():
        if isinstance(module, _BatchNorm) and is_frozen(module):
            module.eval()


def is_frozen(layer: nn.Module) -> bool:
    """Does it have weights, and does none of them require a gradient?"""
    weights = list(layer.parameters())
    return bool(weights) and not any(p.requires_grad for p in weights)


@contextlib.contextmanager
def kept_statistics(model: nn.Module) -> Iterator[None]:
    """Afterwards the buffers of the network, batch norm's running statistics among them, are what they were.

    For further passes over a batch that has been counted: batch norm normalises by the batch in them as ever. The
    backward pass belongs inside too, since autograd refuses one whose buffers have been written since.
    """
    places = [(module, *named) for module in model.modules() for named in module.named_buffers(recurse=False)]
    buffers = [buffer for *_, buffer in places]
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            copy_(buffers, before)
        for module, name, buffer in places:
            if getattr(module, name) is not buffer:  # a layer may put another tensor in its place
                setattr(module, name, buffer)


@torch.no_grad()
def reestimate_batchnorm(
    model: nn.Module,
    batches: Iterable[Any],
    device: torch.device | str | None = None,
    *,
    keep_frozen: bool = False,
) -> None:
    """Replace the running statistics by the cumulative average over the batches, at the present weights.

    To be called before x is evaluated, or saved for use. `torch.optim.swa_utils.update_bn` does the same but leaves
    dropout on, whose noise then is in the statistics.

    Args:
        model: the network. The layers' momentum and each module's mode are afterwards what they were, on an exception
            too. Batch-norm layers in eval mode are re-estimated as well.
        batches: inputs of the network, or tuples and lists whose first item is one, as a DataLoader gives; all are
            used, so take a part of a large set (some 50 batches do).
        device: where to put the inputs; by default they stay where they are.
        keep_frozen: skip layers whose weights require no gradient, those of a part that is not trained.

    Raises ValueError if there is no batch, as from an iterator that is used up.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    layers = [layer for layer in layers if not (keep_frozen and is_frozen(layer))]
    if not layers:
        return
    modes, momenta = [(m, m.training) for m in model.modules()], [layer.momentum for layer in layers]
    rest = iter(batches)
    if (first := next(rest, None)) is None:
        raise ValueError("batches must hold at least one: the iterable is empty, or used up")
    model.eval()  # no dropout
    calls = dict.fromkeys(layers, 0)

    def count(layer: _BatchNorm, _: Any) -> None:
        """The cumulative average of its calls. momentum=None says the same, but has torch ask a GPU for their count."""
        calls[layer] += 1
        layer.momentum = 1 / calls[layer]

    hooks = [layer.register_forward_pre_hook(count) for layer in layers]
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.train()
        for batch in itertools.chain([first], rest):
            inputs: Tensor = batch[0] if isinstance(batch, list | tuple) else batch
            model(inputs if device is None else inputs.to(device))
    finally:
        for hook in hooks:
            hook.remove()
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, mode in modes:
            module.training = mode
