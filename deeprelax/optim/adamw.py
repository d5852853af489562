"""AdamW: no relaxation, u = f, by the outer rule of that name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .hyperparameters import given
from .relaxation import Relaxation
from .scratch import Block


class AdamW(Relaxation):
    """d = grad f(x): `torch.optim.AdamW`'s rule through the interface of the relaxations, on CPUs bit for bit.

    The moments see d: m <- beta1 m + (1 - beta1) d, v <- beta2 v + (1 - beta2) d^2; then
    x <- (1 - lr weight_decay) x - lr m^ / (sqrt(v^) + eps), with m^ = m/(1 - beta1^t), v^ = v/(1 - beta2^t) at step t.

    Source: arXiv 1711.05101, algorithm 2.

    Args:
        params: parameters, or groups of them, as for every torch optimizer.
        lr: learning rate.
        betas: of the two moments, each in [0, 1).
        eps: added to sqrt(v^).
        weight_decay: decoupled from the gradient, as in torch.optim.AdamW; 0.01 by default, as there.
        closure_calls: "all", or "once": a step with a closure takes one gradient of the outer step, as a call without
            one does. For closures that repeat one batch, as Lightning's automatic optimization and skorch give.
    """

    moves = False
    same_each_step = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        closure_calls: str = "all",
    ) -> None:
        super().__init__(params, {**given(locals()), "outer": "adamw"})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if "decoupled_weight_decay" in param_group:
            raise ValueError("AdamW's weight_decay is decoupled: give a group that, not decoupled_weight_decay")
        super().add_param_group(param_group)

    def settings(self, group: dict[str, Any]) -> dict[str, Any]:
        return {**group, "weight_decay": 0.0, "decoupled_weight_decay": group["weight_decay"]}

    def after(self, i: int, blocks: list[Block]) -> None:
        for block in blocks:
            block.take_gradients()
