"""Elastic averaging SGD: replicas that each descend f, pulled to a centre that follows their mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .hyperparameters import given
from .replicas import Replicated
from .scratch import Block
from .state import starting_at_x

CENTRE = "centre"  # the name of the state


class ElasticSGD(Replicated):
    """Descent of n replicas on f, each pulled to a centre c; between steps the parameters are their mean x.

        x_a <- x_a - lr grad f(x_a) - a (x_a - c)          the first by torch.optim.SGD's rule, the pull outside it
        c <- c + n a (x - c)                               with the x_a and the c of before the step on both lines

    a = moving_rate/n. On a quadratic of curvature lam, without momentum, (x, c) goes to
    [[1 - lr lam - a, a], [n a, 1 - n a]] (x, c), and x_a - x to (1 - lr lam - a)(x_a - x). c begins at x and lies in
    `state[p]["centre"]`, the same on all ranks. A step takes one gradient of each replica.

    Source: arXiv 1412.6651, synchronous EASGD with a communication period of 1; the momentum form is its EAMSGD's with
    torch.optim.SGD's rule. arXiv 1707.00424 has it as Parle of one inner step without a spring.
    Differs from the paper: the parameters, and so what is evaluated, are the mean of the replicas, which the centre
    follows with a lag of 1/moving_rate steps.

    Args:
        params: parameters, or groups of them, as for every torch optimizer.
        lr: learning rate of the replicas.
        replicas: n. Ranks of a run divide them.
        moving_rate: n a, the share of its distance from the mean that the centre goes in a step; 0 leaves all alone.
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
        moving_rate: float = 0.9,
        momentum: float = 0.9,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        closure_calls: str = "all",
    ) -> None:
        super().__init__(params, given(locals()))

    def after_one(self, i: int, blocks: list[Block]) -> None:
        for block in blocks:
            block.take_gradients()

    def descend(self, block: Block) -> None:
        if self.finite is False or not block.y:
            return
        centre = starting_at_x(self.state, block, CENTRE)
        ahead = self._offset(block.x, centre)
        super().descend(block)
        rate = float(block.group["moving_rate"])
        torch._foreach_add_(block.y, ahead, alpha=-rate / self.replicas)
        torch._foreach_add_(centre, ahead, alpha=rate)

    def move(self, block: Block, a: int, x_a: list[Tensor], d_a: list[Tensor]) -> None:
        ahead = self._offset(x_a, starting_at_x(self.state, block, CENTRE))
        super().move(block, a, x_a, d_a)
        torch._foreach_add_(x_a, ahead, alpha=-float(block.group["moving_rate"]) / self.replicas)

    def allocate(self, block: Block) -> None:
        super().allocate(block)
        starting_at_x(self.state, block, CENTRE)

    def _offset(self, x: list[Tensor], centre: list[Tensor]) -> list[Tensor]:
        """x - c; 0 in a step that a GPU found not to be finite."""
        found = list(torch._foreach_sub(x, centre))
        if isinstance(self.finite, Tensor):
            for each in found:
                each.mul_(self.finite.to(each.device))
        return found
