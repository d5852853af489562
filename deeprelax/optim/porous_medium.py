"""The porous-medium equation: diffusion that is strong where the loss is low, and none where it is high."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .averaging import own_loss
from .closure import NO_LOSS
from .finite import norm_of
from .fused import alike
from .hyperparameters import given
from .relaxation import Relaxation
from .scratch import Block, copy_, host_knows

PATIENCE = 100  # steps in a row with a loss above the bound, before a warning


class PorousMedium(Relaxation):
    """Ascent on w = max(bound - f, 0) after an explicit step of the porous-medium equation w_t = lap(w^2).

        d = (1 - B w(x)) grad f(x) + B <w(y) grad f(y)>,   y = x + h r,   r ~ N(0, I/N),   h = sigma |grad f(x)|

    B is `strength`, N the number of weights of all groups, <> the mean of `samples` places on the mini-batch of x;
    |y - x| is about h. d is minus the gradient of w(x) + (B/2)(<w(y)^2> - w(x)^2), for fixed h: a step in time of
    B h^2/(4N). On a quadratic with Hessian A, in its eigenvectors, the mean of d is
    E d_i = lambda_i x_i (1 - (B h^2/N)(tr A/2 + lambda_i)).

    The equation diffuses by 2 w. Where f is above the bound the authors' rule has a negative w: diffusion runs
    backwards, and sharpens the loss (100 classes begin at ln 100 = 4.6, above their 3). Here w is 0 there, as it is in
    the equation, and d = grad f(x): descent on f, for w has no slope. A warning says so after 100 such steps in a row,
    on a CPU. f holds weight decay.

    Source: the authors' code of arXiv 1704.04932, where it is PME; the paper has another equation.
    Differs from it: w is never negative; all gradients are of one mini-batch; they are samples + 1, not samples + 2,
    and 4 samples for 100. Revisions of it have h = sqrt(g) |grad f| or |grad f|/sqrt(g), g = 0.01: sigma is sqrt(g).

    Args:
        params: parameters, or groups of them, as for every torch optimizer.
        lr: learning rate on d.
        sigma: h in units of |grad f(x)|, over all tensors; 0 is SGD at (samples + 1) times its cost.
        strength: B, of the diffusion.
        bound: M, the loss under which there is diffusion; no batch should be above it for long.
        samples: places y; a step takes samples + 1 gradients, all of one mini-batch.
        momentum: of the update, in [0, 1).
        nesterov: Nesterov's look-ahead; without effect at momentum 0.
        weight_decay: coefficient c of c/2 |y|^2 in the loss.
        seed: of r.
        closure_calls: "all", or "once": a step with a closure takes the gradients of one mini-batch, for which it calls
            the closure again. For closures that repeat one batch, as Lightning's automatic optimization and skorch
            give; this step has one batch, and knows those by itself.

    A loop without closures says the loss of each gradient, `optimizer.loss = loss`, before each call of `step`; raises
    ValueError without it. Where ranks share a batch, `reduce_loss` averages it in place; a warning tells several ranks
    that have none.
    """

    same_each_step = True
    _above = 0  # steps in a row, the last among them, with the loss at x above the bound

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.1,
        sigma: float = 0.1,
        strength: float = 0.5,
        bound: float = 3.0,
        samples: int = 4,
        momentum: float = 0.9,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        seed: int = 0,
        closure_calls: str = "all",
    ) -> None:
        super().__init__(params, given(locals()))

    @property
    def evaluations(self) -> int:
        return int(self.shared("samples")) + 1

    def again(self, i: int) -> bool:
        return i > 0

    def before(self, i: int, blocks: list[Block]) -> None:
        taking_part = [block for block in blocks if block.y]
        if i == 0 or not self.shared("sigma") or not taking_part:
            return
        self.noise(i - 1).fill(self.buffers("noise"))
        norm, scale = self._norm(taking_part), float(self.shared("sigma")) / math.sqrt(self._weights())
        for block in taking_part:
            r = self.scratch("noise", block.y)
            for (part,) in alike(r):
                _times(part, scale, norm.to(part[0].device))
            copy_(block.y, block.x)
            torch._foreach_add_(block.y, r)

    def after(self, i: int, blocks: list[Block]) -> None:
        taking_part = [block for block in blocks if block.y]
        weight = float(self.shared("strength")) * (float(self.shared("bound")) - self._loss(taking_part)).clamp(min=0.0)
        gradients = [block.gradients() for block in taking_part]
        if i == 0:
            self._note(weight)
        if i == 0 and taking_part:
            params = [p for block in taking_part for p in block.params]
            norm = norm_of(params, [g for each in gradients for g in each])
            kept = self._norm(taking_part)
            kept.copy_(norm) if isinstance(norm, Tensor) else kept.fill_(norm)
        for block, each in zip(taking_part, gradients, strict=True):
            for d, g in alike(block.d, each):
                here = weight.to(d[0].device)
                if i == 0:
                    copy_(d, g)
                    torch._foreach_mul_(d, 1.0 - here)
                else:
                    torch._foreach_mul_(g, here / (self.evaluations - 1))
                    torch._foreach_add_(d, g)

    def _norm(self, blocks: list[Block]) -> Tensor:
        """Where |grad f(x)| lies from gradient 0 of a step to its last."""
        return self.workspace.number("norm", blocks[0].y[0].device)

    def _weights(self) -> int:
        """N."""
        return sum(p.numel() * (2 if p.is_complex() else 1) for p in self._trainable())

    def _loss(self, blocks: list[Block]) -> Tensor:
        """f, weight decay included, where the gradients were taken."""
        if self.loss is None:
            raise ValueError(NO_LOSS.format(name=type(self).__name__))
        found = torch.as_tensor(self.loss, dtype=None if isinstance(self.loss, Tensor) else torch.float64)
        found = found.detach().clone()
        (self.reduce_loss or own_loss)(found)
        for block in blocks:
            if decay := float(block.group["weight_decay"]):
                norm = norm_of(block.params, block.y)
                found = found + 0.5 * decay * (norm.to(found.device) if isinstance(norm, Tensor) else norm) ** 2
        return found

    def _note(self, weight: Tensor) -> None:
        if torch.compiler.is_compiling() or not host_knows(weight):
            return
        self._above = 0 if weight.item() else self._above + 1
        if self._above == PATIENCE and self.shared("strength"):
            warnings.warn(
                f"{PATIENCE} steps in a row had a loss above bound={self.shared('bound'):g}, where nothing diffuses: "
                f"d is the gradient, for the price of {self.evaluations}; raise bound",
                stacklevel=6,
            )


def _times(r: list[Tensor], scale: float, norm: Tensor) -> None:
    """r <- scale norm r. In half precision norm alone may be beyond the largest number, and scale r under the least."""
    if r[0].element_size() < 4:
        torch._foreach_mul_(r, (scale * norm).float())
    else:
        torch._foreach_mul_(r, scale)
        torch._foreach_mul_(r, norm.to(r[0].dtype))
