"""Heat: descent on the loss smoothed by a Gaussian, the solution of the heat equation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from .hyperparameters import given, resolved
from .relaxation import Relaxation
from .scratch import Block, copy_
from .shards import filter_norms


class Heat(Relaxation):
    """Descent on u(x) = E f(x + sigma z), z ~ N(0, I).

    u solves the heat equation u_t = temperature/2 lap u, u(x, 0) = f(x), at the time t with sigma^2 = t temperature.
    d = the mean over `samples` of grad f(x + sigma z), each with its own z and mini-batch, an unbiased estimate of
    grad u. With `filter_normalized` the noise is in proportion to the weights: sigma multiplies the Euclidean norm of
    each filter (a row of the flattened weight; for one-dimensional tensors the whole tensor).

    Source: arXiv 1704.04932, section 3, for the equation; the filter-normalised form is that of LPF-SGD,
    arXiv 2201.08025.
    Differs from the paper: its HEAT averages the gradient along a chain of iterates anchored at x, which is not
    Gaussian smoothing.

    Args:
        params: parameters, or groups of them, as for every torch optimizer.
        lr: outer learning rate on d, by default 0.1, SGD's; 1e-3 for outer="adamw".
        sigma: standard deviation of the smoothing; in units of the filter's norm with `filter_normalized`.
        samples: closure calls of one step.
        filter_normalized: scale the noise of each filter by its norm.
        momentum: of the update, by default 0.9; 0 for outer="adamw".
        nesterov: Nesterov's look-ahead; without effect at momentum 0.
        weight_decay: coefficient c of c/2 |y|^2 in the loss.
        seed: of the Gaussian noise.
        outer: the rule, "momentum" (torch.optim.SGD's) or "adamw" (torch.optim.AdamW's, of d).
        betas, eps: of outer="adamw".
        decoupled_weight_decay: c of (1 - lr c) times the weights at each step. Excludes weight_decay.
        closure_calls: "all", or "once": a step with a closure takes one gradient of the outer step, as a call without
            one does. For closures that repeat one batch, as Lightning's automatic optimization and skorch give.
    """

    evaluations_key = "samples"
    same_each_step = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | None = None,
        sigma: float = 0.02,
        samples: int = 1,
        filter_normalized: bool = True,
        momentum: float | None = None,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        seed: int = 0,
        outer: str = "momentum",
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        decoupled_weight_decay: float = 0.0,
        closure_calls: str = "all",
    ) -> None:
        super().__init__(params, resolved("heat", given(locals())))

    def scalars(self) -> dict[str, float]:
        return super().scalars() | {"sigma": float(self.settings(self.param_groups[0])["sigma"])}

    @property
    def starts_away(self) -> bool:  # type: ignore[override]
        return any(self.settings(group)["sigma"] for group in self.param_groups)

    def before(self, i: int, blocks: list[Block]) -> None:
        for block in blocks if i > 0 else ():
            copy_(block.y, block.x)
        if not any(block.group["sigma"] for block in blocks):
            return
        self.noise(i).fill(self.buffers("noise"))
        for block in filter(lambda block: block.y and block.group["sigma"], blocks):
            perturb(block, self.scratch("noise", block.y))

    def after(self, i: int, blocks: list[Block]) -> None:
        samples = self.evaluations
        for block in filter(lambda block: block.y, blocks):
            if samples == 1:
                block.take_gradients()
            elif i == 0:
                copy_(block.d, block.gradients())
            else:
                torch._foreach_add_(block.d, block.gradients())
            if 1 < samples == i + 1:
                torch._foreach_div_(block.d, float(samples))


def perturb(block: Block, z: list[Tensor]) -> None:
    """y <- y + sigma z, y being x. Filter-normalised, sigma is in units of each filter's norm."""
    sigma = float(block.group["sigma"])
    if not block.group["filter_normalized"]:
        torch._foreach_add_(block.y, z, alpha=sigma)
        return
    norms = [filter_norms(p, y) for p, y in zip(block.params, block.y, strict=True)]
    torch._foreach_addcmul_(block.y, z, norms, sigma)
