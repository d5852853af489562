"""Stochastic gradient descent: no relaxation, u = f."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .hyperparameters import given
from .relaxation import Relaxation
from .scratch import Block


class SGD(Relaxation):
    """d = grad f(x): `torch.optim.SGD`'s rule, bit for bit, through the interface of the relaxations.

    Args:
        params: parameters, or groups of them, as for every torch optimizer.
        lr: learning rate.
        momentum: of the update, in [0, 1).
        nesterov: Nesterov's look-ahead; without effect at momentum 0.
        weight_decay: coefficient c of c/2 |x|^2 in the loss.
        closure_calls: "all", or "once": a step with a closure takes one gradient of the outer step, as a call without
            one does. For closures that repeat one batch, as Lightning's automatic optimization and skorch give.
    """

    moves = False
    same_each_step = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.1,
        momentum: float = 0.9,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        closure_calls: str = "all",
    ) -> None:
        super().__init__(params, given(locals()))

    def after(self, i: int, blocks: list[Block]) -> None:
        for block in blocks:
            block.take_gradients()
