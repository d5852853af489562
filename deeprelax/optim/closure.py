"""What a step asks of its closure."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Closure = Callable[[], Tensor]

MISSING_CLOSURE = """{name}.step needs a closure that evaluates the NEXT mini-batch each time it is called:
    def closure():
        optimizer.zero_grad()
        inputs, targets = next(batches)
        loss = criterion(model(inputs), targets)
        loss.backward()
        return loss
    optimizer.step(closure)"""


def call(closure: Closure) -> Tensor:
    """The closure's loss, detached: a 0-dim tensor of its own, for a captured graph may write over the original."""
    with torch.enable_grad():
        loss = closure()
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise TypeError(f"the closure must return the loss as a tensor of one element, not {loss!r}")
    return loss.detach().reshape(()).clone()
