"""What a step asks of its closure and of its caller."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from ._lazy import outside_compiler

Closure = Callable[[], Tensor | float]

MISSING_CLOSURE = """{name}.direction is its own, so step needs a closure that evaluates the NEXT mini-batch each time:
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
AWAY = (
    "the first gradient of a step of {name} is taken away from x: call optimizer.begin() once, before the loop, which "
    "moves the weights there"
)
NO_LOSS = (
    "{name} goes by the loss where each gradient was taken: a loop without closures sets optimizer.loss = loss before "
    "each call of step"
)
UNDER_WAY = (
    "an outer step is under way, of which {taken} of {all} gradients have been taken by calls without a closure: "
    "finish it so"
)
NEW_GROUP = (
    "a parameter group joins between outer steps, and outside swapped_to_x(): one is under way, of which {taken} of "
    "{all} gradients have been taken by calls without a closure"
)
ONE_BATCH = (
    "this closure repeats one batch, and a step calls it for each of its gradients: give the optimizer "
    'closure_calls="once", by which such a step takes one gradient'
)
NO_REPEAT = (
    "{name} takes gradient {i} of a step on the batch of the gradient before: call optimizer.step(closure, "
    "again=closure2), closure2 being closure on the batch of its last call, images, augmentation and dropout alike"
)
NOT_ASKED = (
    "{name} takes gradient {i} of a step on the batch of the gradient before, and this loop has not asked whether: "
    "repeat the batch while optimizer.same_batch() is true, or give step a closure (docs/loops.md)"
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


def evaluate(closure: Closure, params: list[Tensor], there: list[Tensor | None], zeroed: Callable[[], bool]) -> Tensor:
    """The closure's loss, a 0-dim tensor of its own; a captured graph may write over the original.

    `there` are the gradients that the parameters had when the step began, in its first evaluation, else none; `zeroed`
    tells whether the closure has called the optimizer's zero_grad. Raises ValueError if the closure adds to a gradient
    that was there, runs out of batches, or returns no loss.
    """
    with torch.enable_grad():
        try:
            loss = closure()
        except StopIteration:
            raise ValueError(
                "the closure ran out of batches within a step: it needs an endless loader, as one that starts the "
                "DataLoader again where it ends"
            ) from None
    if not zeroed() and any(p.grad is grad is not None for p, grad in zip(params, there, strict=False)):
        raise ValueError(ACCUMULATES)
    if isinstance(loss, float | int):
        return torch.tensor(loss, dtype=torch.float64, device=params[0].device if params else None)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise TypeError(f"the closure must return the loss as a number or a tensor of one element, not {loss!r}")
    return loss.detach().reshape(()).clone()


def repeats_one_batch(closure: Closure) -> bool:
    """Is it a closure of Lightning's automatic optimization, or of skorch?"""
    module = getattr(_innermost(closure), "__module__", None) or ""
    return module.startswith(("skorch.", "lightning.pytorch.loops.", "pytorch_lightning.loops."))


def does_nothing(closure: Closure) -> bool:
    """Is it what Lightning's manual optimization gives in the place of none, around its hooks and its clipping?"""
    return getattr(_innermost(closure), "__name__", "") == "do_nothing_closure"


def _innermost(closure: Closure) -> Closure:
    while isinstance(closure, functools.partial) and closure.args:
        closure = closure.args[-1]  # Lightning wraps what it is given
    return closure


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
