"""Stochastic gradient Langevin dynamics: the chain of Entropy-SGD without its spring, and x itself."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .hyperparameters import check_ranges, given
from .relaxation import Relaxation
from .scratch import Block


class SGLD(Relaxation):
    """d = grad f(x) + sqrt(2 T/lr) xi, xi ~ N(0, I): x <- x - lr grad f(x) + sqrt(2 lr T) xi, without momentum.

    x samples exp(-f/T) as lr goes to 0, T the temperature. With f the mean loss of N examples, T = 1/N makes that the
    posterior of their likelihood, and weight_decay c the prior N(0, T/c). Along a curvature lam the stationary variance
    is (T/lam)/(1 - lr lam/2); the noise of mini-batches, of variance C for each weight, adds lr C/2 to T.

    Source: Welling and Teh, Bayesian learning via stochastic gradient Langevin dynamics, ICML 2011, equation 4.
    Differs from it: a step of theirs is lr = epsilon N/2 here, since f is a mean and no sum; the rate is a schedule's.
    Momentum is refused, within which the noise would sample another law: the authors of arXiv 1704.04932 have it there.

    Args:
        params: parameters, or groups of them, as for every torch optimizer.
        lr: learning rate. At 0 nothing moves, by noise neither.
        temperature: T, 1/beta; 0 draws no noise and is SGD without momentum.
        weight_decay: coefficient c of c/2 |x|^2 in the loss.
        seed: of the noise.
        closure_calls: "all", or "once": a step with a closure takes one gradient of the outer step, as a call without
            one does. For closures that repeat one batch, as Lightning's automatic optimization and skorch give.
    """

    moves = False
    same_each_step = True
    choice = "sgld"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.1,
        temperature: float = 1e-5,
        weight_decay: float = 0.0,
        seed: int = 0,
        closure_calls: str = "all",
    ) -> None:
        super().__init__(params, given(locals()))

    def settings(self, group: dict[str, Any]) -> dict[str, Any]:
        check_ranges({"momentum": group["momentum"]}, self.choice)  # a change by hand, or by a scheduler that cycles it
        return group

    def read(self, group: dict[str, Any]) -> tuple[dict[str, Any], float | Tensor]:
        """With the noise's scale, from lr in double precision, as a replay has it: else their last bits differ."""
        values, rate = super().read(group)
        exact = values["lr"] if self.rates is None else self.rates[id(group)]
        return values | {"scale": _scale(exact, float(values["temperature"]))}, rate

    def after(self, i: int, blocks: list[Block]) -> None:
        if any(block.group["temperature"] for block in blocks):
            self.noise(i).fill(self.buffers("d"))
        for block in filter(lambda block: block.y, blocks):
            if not block.group["temperature"]:
                block.take_gradients()
                continue
            torch._foreach_mul_(block.d, block.group["scale"])
            torch._foreach_add_(block.d, block.gradients())


def _scale(rate: float | Tensor, temperature: float) -> float | Tensor:
    """sqrt(2 T/lr), 0 at lr 0."""
    if isinstance(rate, Tensor):
        return torch.where(rate > 0, (2 * temperature / rate).sqrt(), 0.0).float()
    return math.sqrt(2 * temperature / rate) if rate else 0.0
