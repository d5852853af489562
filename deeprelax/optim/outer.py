"""Outer rules: what a step does with its direction d. Stateless; what they keep lies in the optimizer's own state."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from .scratch import Block

State = MutableMapping[Any, Any]  # the optimizer's: parameter to a dictionary of tensors


class Momentum:
    """The rule of `torch.optim.SGD`, bit for bit: v <- m v + d, then x <- x - lr (d + m v) with Nesterov's look-ahead,
    or x <- x - lr v without.

    m is the group's "momentum". v lies in `state[p]["momentum_buffer"]`, under torch's name; without momentum there is
    none.
    """

    # of param_groups, and what they are if missing
    keys: ClassVar[dict[str, Any]] = {"momentum": 0.0, "nesterov": True}

    def apply(self, block: Block, state: State, finite: bool | Tensor) -> None:
        """Descend; overwrites d. If the step was not finite, x and v stay as they are.

        Two paths: on a CPU the host knows (`finite` is a bool) and leaves at once. On a GPU it does not wait for the
        answer, a 0-dim tensor there: d is masked with 0 and the momentum with 1, so that the same kernels change
        nothing. d is masked again after the momentum has been added to it.
        """
        if not block.y or finite is False:
            return
        lr, momentum = float(block.group["lr"]), float(block.group["momentum"])
        drop = ~finite.to(block.y[0].device) if isinstance(finite, Tensor) else None
        block.mask_d(drop)
        if momentum:
            velocity = [_velocity(state[p], p) for p in block.y]
            if drop is None:
                torch._foreach_mul_(velocity, momentum)
            else:
                kept = torch.full((), momentum, dtype=_precise(velocity), device=drop.device).masked_fill_(drop, 1.0)
                torch._foreach_mul_(velocity, kept)
            torch._foreach_add_(velocity, block.d)
            if block.group["nesterov"]:
                torch._foreach_add_(block.d, velocity, alpha=momentum)
            else:
                torch._foreach_copy_(block.d, velocity)
            block.mask_d(drop)
        torch._foreach_add_(block.y, block.d, alpha=-lr)


def _velocity(state: dict[str, Tensor], p: Tensor) -> Tensor:
    if "momentum_buffer" not in state:
        state["momentum_buffer"] = torch.zeros_like(p)
    return state["momentum_buffer"]


def _precise(tensors: list[Tensor]) -> torch.dtype:
    """Of a factor for all of them: their own type, which keeps them on the fast path, or one that rounds for none."""
    types = {t.dtype for t in tensors}
    return torch.float32 if types == {torch.float32} else torch.float64
