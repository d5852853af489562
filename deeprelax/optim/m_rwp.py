"""Mixed random weight perturbation: a gradient at x and one at a random place nearby, of two mini-batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from .heat import perturb
from .hyperparameters import given, resolved
from .relaxation import Relaxation
from .scratch import Block, copy_


class MRWP(Relaxation):
    """Descent on (1 - a) f(x) + a E f(x + sigma z), z ~ N(0, I): d = (1 - a) grad f(x) + a grad f(x + sigma z).

    The two gradients are of two independent mini-batches, and two ranks may take one each (`divide`). a = 1 is Heat at
    twice its cost, a = 0 SGD.

    Source: arXiv 2404.00357, its m-RWP; sigma 0.01, in units of each filter's norm, and a 0.5 (there lambda) are the
    defaults of the authors' code.

    Args:
        params: parameters, or groups of them, as for every torch optimizer.
        lr: learning rate on d, by default 0.1, SGD's; 1e-3 for outer="adamw".
        sigma: standard deviation of the perturbation; in units of the filter's norm with `filter_normalized`.
        mixing: a, the share of the gradient at the perturbed weights.
        filter_normalized: scale the noise of each filter by its norm, as Heat's.
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

    same_each_step = True
    parts = 2

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | None = None,
        sigma: float = 0.01,
        mixing: float = 0.5,
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
        super().__init__(params, resolved("m_rwp", given(locals())))

    @property
    def evaluations(self) -> int:
        return 2

    @property
    def starts_away(self) -> bool:  # type: ignore[override]
        return self.mine[0] == 1 and any(group["sigma"] for group in self.param_groups)

    def scalars(self) -> dict[str, float]:
        return super().scalars() | {"sigma": float(self.param_groups[0]["sigma"])}

    def before(self, i: int, blocks: list[Block]) -> None:
        if self.mine[i] == 0 or not any(block.group["sigma"] for block in blocks):
            return
        self.noise().fill(self.buffers("noise"))
        for block in filter(lambda block: block.y and block.group["sigma"], blocks):
            perturb(block, self.scratch("noise", block.y))

    def after(self, i: int, blocks: list[Block]) -> None:
        for block in filter(lambda block: block.y, blocks):
            a = float(block.group["mixing"])
            # the mean of two ranks that have one gradient each is to be the sum
            share = self.parts / len(self.mine) * (a if self.mine[i] else 1.0 - a)
            if i == 0:
                copy_(block.d, block.gradients())
                torch._foreach_mul_(block.d, share)
            else:
                torch._foreach_add_(block.d, block.gradients(), alpha=share)
