"""Sharpness-aware minimisation: the gradient where a step uphill leads, on the same mini-batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from .finite import norm_of
from .fused import alike
from .hyperparameters import given, resolved
from .relaxation import Relaxation
from .scratch import Block, copy_


class SAM(Relaxation):
    """Descent on max f(x + e) over |e| <= rho, to first order: d = grad f(x + rho g/|g|), g = grad f(x).

    Both gradients are of one mini-batch, with the same augmentation and dropout, and each counts as an evaluation. The
    norm is over all tensors, groups and shards. On a quadratic with Hessian A, d = g + rho A g/|g|: in one dimension of
    curvature lambda no step converges, x ends in a cycle of two points, lr lambda rho/(2 - lr lambda) from x*.

    Source: arXiv 2010.01412, equations 2 and 3. On chains each rank takes e of its own batch, the paper's m-sharpness.

    Args:
        params: parameters, or groups of them, as for every torch optimizer.
        lr: learning rate on d, by default 0.1, SGD's; 1e-3 for outer="adamw".
        rho: radius of the ball; 0 is SGD at twice its cost.
        momentum: of the update, by default 0.9; 0 for outer="adamw".
        nesterov: Nesterov's look-ahead; without effect at momentum 0.
        weight_decay: coefficient c of c/2 |y|^2 in the loss, at both places.
        outer: the rule, "momentum" (torch.optim.SGD's) or "adamw" (torch.optim.AdamW's, of d).
        betas, eps: of outer="adamw".
        decoupled_weight_decay: c of (1 - lr c) times the weights at each step. Excludes weight_decay.
        closure_calls: "all", or "once": a step with a closure takes the gradients of one mini-batch, for which it calls
            the closure again. For closures that repeat one batch, as Lightning's automatic optimization and skorch
            give; SAM, whose step has one batch, knows those by itself.
    """

    choice = "sam"
    same_each_step = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | None = None,
        rho: float = 0.05,
        momentum: float | None = None,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        outer: str = "momentum",
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        decoupled_weight_decay: float = 0.0,
        closure_calls: str = "all",
    ) -> None:
        super().__init__(params, resolved("sam", given(locals())))

    @property
    def evaluations(self) -> int:
        return 2

    def again(self, i: int) -> bool:
        return i == 1

    def after(self, i: int, blocks: list[Block]) -> None:
        taking_part = [block for block in blocks if block.y]
        if i == 0:
            self._ascend(taking_part)
            return
        for block in taking_part:
            block.take_gradients()

    def _ascend(self, blocks: list[Block]) -> None:
        """y <- x + e."""
        uphill = [self.scaled(block, block.gradients()) for block in blocks]
        norm = norm_of([p for block in blocks for p in block.params], [g for each in uphill for g in each])
        for block, e in zip(blocks, uphill, strict=True):
            displace(block.y, self.scaled(block, e), float(block.group["rho"]), norm)

    def scaled(self, block: Block, tensors: list[Tensor]) -> list[Tensor]:
        """What the metric of the ball makes of tensors like the parameters, in their place: here nothing."""
        return tensors


def displace(y: list[Tensor], e: list[Tensor], length: float, norm: float | Tensor) -> None:
    """y <- y + length e/norm, and y where the norm is 0; may overwrite e. `norm` as `norm_of` gives it."""
    if isinstance(norm, Tensor):
        share = torch.where(norm == 0, 0.0, length / norm)
        for to, part in alike(y, e):
            torch._foreach_mul_(part, share.to(part[0].device))
            torch._foreach_add_(to, part)
    elif norm:
        torch._foreach_add_(y, e, alpha=length / norm)


class ASAM(SAM):
    """SAM in a ball whose radius is in proportion to each weight: e = rho |x|^2 g/| |x| g |, products by number.

    |e/x| = rho, so x + e is the same function for all scales that layers may take from each other without changing f,
    as c w1, w2/c in f(w1, w2) = f(w1 w2). A weight that is 0, as biases are at first, is not moved.

    Source: arXiv 2102.11600, equation 11 and algorithm 1.
    Differs from the authors' code: there |x| + eta takes the place of |x|, 1 for biases, and eta is 0.01 by default
    and 0 in their example, as here.

    Args:
        rho: radius of the ball in units of each weight, 0.5 in the authors' runs on CIFAR-10.
        All others are as SAM's.
    """

    choice = "asam"
    same_each_step = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | None = None,
        rho: float = 0.5,
        momentum: float | None = None,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        outer: str = "momentum",
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        decoupled_weight_decay: float = 0.0,
        closure_calls: str = "all",
    ) -> None:
        Relaxation.__init__(self, params, resolved("asam", given(locals())))

    def scaled(self, block: Block, tensors: list[Tensor]) -> list[Tensor]:
        """|x| times them."""
        size = self.scratch("d", block.y)  # d is not needed yet
        copy_(size, block.y)
        torch._foreach_abs_(size)
        torch._foreach_mul_(tensors, size)
        return tensors
