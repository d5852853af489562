"""Momentum-SAM: the gradient where the momentum, not a gradient, has led."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .finite import norm_of
from .hyperparameters import given
from .relaxation import Relaxation
from .sam import displace
from .scratch import Block, copy_
from .shards import plain


class MSAM(Relaxation):
    """d = grad f(y), y = x - rho v/|v|, v the momentum buffer: SAM's idea at one gradient a step.

    The norm is over all tensors, groups and shards. rho > 0 leads downhill, to the side of Nesterov's look-ahead; the
    first step, and every one at momentum 0, is SGD's. A loop without closures that resumes calls `begin()` once.

    Source: arXiv 2401.12033, algorithm 1; rho 0.3 is the default of the authors' code.
    Differs from the authors' code: between steps the parameters are x, so nothing has to be moved back before an
    evaluation or a save, and there may be several groups.

    Args:
        params: parameters, or groups of them, as for every torch optimizer.
        lr: learning rate on d.
        rho: length of the way from x to y; 0 is SGD.
        momentum: of the update, in [0, 1).
        nesterov: Nesterov's look-ahead; without effect at momentum 0.
        weight_decay: coefficient c of c/2 |y|^2 in the loss.
        closure_calls: "all", or "once": a step with a closure takes one gradient of the outer step, as a call without
            one does. For closures that repeat one batch, as Lightning's automatic optimization and skorch give.
    """

    choice = "msam"
    same_each_step = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.1,
        rho: float = 0.3,
        momentum: float = 0.9,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        closure_calls: str = "all",
    ) -> None:
        super().__init__(params, given(locals()))

    @property
    def starts_away(self) -> bool:  # type: ignore[override]
        led = [group["params"] for group in self.param_groups if group["momentum"] and group["rho"]]
        return any("momentum_buffer" in self.state.get(p, {}) for params in led for p in params)

    def before(self, i: int, blocks: list[Block]) -> None:
        if not self.starts_away:
            return
        kept = [self._with_velocity(block) for block in blocks]
        velocities = [[plain(self.state[p]["momentum_buffer"]) for p, _ in pairs] for pairs in kept]
        norm = norm_of([p for pairs in kept for p, _ in pairs], [v for each in velocities for v in each])
        for block, pairs, velocity in zip(blocks, kept, velocities, strict=True):
            if pairs:
                y = [y for _, y in pairs]
                e = self.scratch("d", y)  # d is not needed yet
                copy_(e, velocity)
                displace(y, e, -float(block.group["rho"]), norm)

    def after(self, i: int, blocks: list[Block]) -> None:
        for block in blocks:
            block.take_gradients()

    def _with_velocity(self, block: Block) -> list[tuple[Any, Any]]:
        """The parameters that the momentum moves, each with its numbers."""
        if not block.group["momentum"]:  # a velocity that there was stays behind
            return []
        return [
            (p, y) for p, y in zip(block.params, block.y, strict=True) if "momentum_buffer" in self.state.get(p, {})
        ]
