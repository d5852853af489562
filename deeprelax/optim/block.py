"""What a step holds of one parameter group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(slots=True)
class Block:
    """The parameters of one group that take part in a step."""

    group: dict[str, Any]
    y: list[Tensor]  # the parameters themselves: where the gradient is taken
    x: list[Tensor]  # their values at the start of the step
    d: list[Tensor]  # the direction, filled by the subclass

    def gradients(self) -> list[Tensor]:
        """grad f(y), weight decay included: f holds weight_decay/2 |y|^2. Overwrites the parameters' .grad."""
        for p in self.y:
            if p.grad is None:  # the first evaluation of the step reached it, this one did not
                p.grad = torch.zeros_like(p)
        grads = [p.grad for p in self.y if p.grad is not None]
        if grads and self.group["weight_decay"]:
            torch._foreach_add_(grads, self.y, alpha=self.group["weight_decay"])
        return grads

    def split(self) -> Block:
        """Keep the parameters that have a gradient; the others return to x and leave the step."""
        used = [i for i, p in enumerate(self.y) if p.grad is not None]
        if len(used) < len(self.y):
            copy_(self.y, self.x)
        return Block(self.group, *([tensors[i] for i in used] for tensors in (self.y, self.x, self.d)))


def copy_(to: list[Tensor], source: list[Tensor]) -> None:
    """torch._foreach_copy_ that takes empty lists."""
    if to:
        torch._foreach_copy_(to, source)
