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
    x: list[Tensor]  # their values at the start of the step; they themselves in an optimizer that does not move them
    d: list[Tensor]  # the direction, filled by the subclass
    d_is_gradient: bool = False  # d is no memory of the optimizer's, but the parameters' .grad

    def gradients(self) -> list[Tensor]:
        """grad f(y), weight decay included: f holds weight_decay/2 |y|^2. Overwrites the parameters' .grad."""
        for p in self.y:
            if p.grad is None:  # the first evaluation of the step reached it, this one did not
                p.grad = torch.zeros_like(p)
        grads = [p.grad for p in self.y if p.grad is not None]
        if grads and self.group["weight_decay"]:
            torch._foreach_add_(grads, self.y, alpha=self.group["weight_decay"])
        return grads

    def take_gradients(self) -> None:
        """d <- grad f(y). On a CPU d becomes the gradients themselves: memory traffic is what a step costs there."""
        gradients = self.gradients()
        if all(g.device.type == "cpu" for g in gradients):
            self.d, self.d_is_gradient = gradients, True
        else:
            copy_(self.d, gradients)

    def split(self) -> Block:
        """Keep the parameters that have a gradient; the others return to x and leave the step."""
        if all(p.grad is not None for p in self.y):
            return self
        used = [i for i, p in enumerate(self.y) if p.grad is not None]
        unused = [i for i, p in enumerate(self.y) if p.grad is None]
        copy_([self.y[i] for i in unused], [self.x[i] for i in unused])
        y, x, d = ([tensors[i] for i in used] for tensors in (self.y, self.x, self.d))
        return Block(self.group, y, x, d)


def copy_(to: list[Tensor], source: list[Tensor]) -> None:
    """torch._foreach_copy_ that takes empty lists."""
    if to:
        torch._foreach_copy_(to, source)
