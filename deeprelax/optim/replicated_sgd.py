"""Replicated SGD: replicas that each descend f, pulled to their mean by a coupling that grows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from .hyperparameters import given, grown_coupling
from .replicas import Replicated, add_offset
from .scratch import Block


class ReplicatedSGD(Replicated):
    """Descent of n replicas on f plus a coupling; between steps the parameters are their mean x.

        x_a <- x_a - lr (grad f(x_a) + 2 g (x_a - x))                 by torch.optim.SGD's rule, the pull inside it

    the gradient of sum_a f(x_a) + g sum_a |x_a - x|^2, with the coupling g = g_0 (1 + scoping)^k after k steps. A step
    takes one gradient of each replica. On a quadratic of curvature lam, without momentum, x goes to (1 - lr lam) x and
    x_a - x to (1 - lr (lam + 2 g))(x_a - x), so that lr (lam + 2 g) must stay under 2, or 2 (1 + m)/(1 + 2 m) with
    Nesterov momentum m (1.357 at 0.9): lower lr as g grows.

    Source: arXiv 2006.07897; the values from the authors' code (sacreddnn, robust_dnn.py).
    Differs from the authors' code: the weight decay is that of SGD at the same lr, where theirs is n times as strong;
    the replicas all begin at x, where theirs begin apart, and g_0 is a number, where theirs by default is the loss over
    the distance of the initial weights (its comments note 0.0165); batch norm's statistics are re-estimated at the
    mean, where theirs are the mean of the replicas'.

    Args:
        params: parameters, or groups of them, as for every torch optimizer.
        lr: learning rate of a replica; theirs is divided by n in the loss and multiplied by n again.
        replicas: n. Ranks of a run divide them.
        coupling: g_0; 0 leaves the replicas alone.
        scoping: growth of g in a step. By default that of theirs, 1e4 times over 100 passes of 469 batches.
        momentum: of the replicas.
        nesterov: Nesterov's look-ahead; without effect at momentum 0.
        weight_decay: coefficient c of c/2 |x_a|^2 in the loss.
        closure_calls: "all", or "once", as of EntropySGD.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.1,
        replicas: int = 3,
        coupling: float = 0.0165,
        scoping: float = 1.96e-4,
        momentum: float = 0.9,
        nesterov: bool = True,
        weight_decay: float = 5e-4,
        closure_calls: str = "all",
    ) -> None:
        super().__init__(params, given(locals()))

    def scalars(self) -> dict[str, float]:
        return super().scalars() | {"coupling": grown_coupling(self.param_groups[0])}

    def after_one(self, i: int, blocks: list[Block]) -> None:
        for block in blocks:
            block.take_gradients()

    def pull(self, block: Block, x_a: list[Tensor], d_a: list[Tensor]) -> None:
        add_offset(d_a, x_a, block.x, 2.0 * grown_coupling(block.group))
