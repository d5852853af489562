"""What a step asks of its closure and of its caller."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
from torch import Tensor

from ._lazy import outside_compiler

Closure = Callable[[], Tensor | float]

MISSING_CLOSURE = """{name}.step needs a closure that evaluates the NEXT mini-batch each time it is called:
    def closure():
        optimizer.zero_grad()
        inputs, targets = next(batches)
        loss = criterion(model(inputs), targets)
        loss.backward()
        return loss
    optimizer.step(closure)"""
ACCUMULATES = (
    "the closure accumulates: .grad held a gradient when the step began, and the closure added to it. Begin the "
    "closure with optimizer.zero_grad(), and leave accumulation over batches out (in Lightning, "
    "accumulate_grad_batches=1): a step takes its own number of gradients"
)
SCALED = (
    "GradScaler.step(optimizer, closure) leaves the gradients of the closure scaled: call optimizer.step(closure) "
    "itself, and in the closure, after scaler.scale(loss).backward(), multiply each p.grad by 1/scaler.get_scale(); "
    "bfloat16 needs no scaler"
)
SHARDED = (
    "ZeroRedundancyOptimizer gives each rank some of the parameters, and a step moves all of them between gradients: "
    "shard them with FSDP2 (torch.distributed.fsdp.fully_shard), or leave it out"
)


class Calls:
    """The closure in one step: its losses, each gradient in a .grad that was empty before."""

    def __init__(self, closure: Closure, params: list[Tensor]) -> None:
        self.losses: list[Tensor] = []
        self.zeroed = False  # has the closure called the optimizer's zero_grad?
        self._closure, self._params = closure, params
        self._there = [(p, p.grad) for p in params if p.grad is not None]

    def __call__(self) -> None:
        """Evaluate the next mini-batch.

        Raises ValueError if the closure adds to a gradient that was there when the step began, runs out of batches, or
        returns no loss.
        """
        first = not self.losses
        if not first:
            self.empty()
        with torch.enable_grad():
            try:
                loss = self._closure()
            except StopIteration:
                raise ValueError(
                    "the closure ran out of batches within a step: it needs an endless loader, as one that starts the "
                    "DataLoader anew where it ends"
                ) from None
        if first and not self.zeroed and any(p.grad is there for p, there in self._there):
            raise ValueError(ACCUMULATES)
        self.losses.append(self._detached(loss))

    def _detached(self, loss: Tensor | float) -> Tensor:
        """A 0-dim tensor of its own, for a captured graph may write over the original."""
        if isinstance(loss, float | int):
            device = self._params[0].device if self._params else None
            return torch.tensor(loss, dtype=torch.float64, device=device)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise TypeError(f"the closure must return the loss as a number or a tensor of one element, not {loss!r}")
        return loss.detach().reshape(()).clone()

    def empty(self) -> None:
        """No parameter has a .grad."""
        for p in self._params:
            p.grad = None


def called_from(module: str, frames: int = 12) -> object | None:
    """The `self` of the nearest caller whose code is of that module; None if there is none."""
    frame = sys._getframe(1)
    for _ in range(frames):
        if frame.f_back is None:
            return None
        frame = frame.f_back
        if frame.f_globals.get("__name__") == module:
            return frame.f_locals.get("self")
    return None


@outside_compiler
def refuse_scaler() -> None:
    """Raise ValueError if the step is called by a GradScaler that scales."""
    scaler = called_from("torch.amp.grad_scaler")
    if scaler is not None and scaler.is_enabled():  # type: ignore[attr-defined]
        raise ValueError(SCALED)


def refuse_zero() -> None:
    """Raise ValueError if the optimizer is built by a ZeroRedundancyOptimizer."""
    if called_from("torch.distributed.optim.zero_redundancy_optimizer") is not None:
        raise ValueError(SHARDED)
