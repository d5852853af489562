"""Schedule-Free: the gradient between an iterate and its running mean, which is what is evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .fused import alike, fused_adamw_, fused_sgd_, rate_on
from .hyperparameters import given, resolved
from .outer import Rule
from .relaxation import Relaxation
from .scratch import Block, copy_
from .shards import plain
from .state import State, counts, slots, steps_taken


class ScheduleFree(Relaxation):
    """x is the mean of iterates z, and d = grad f at a point y between the two. No relaxation: u = f.

        y = b x + (1 - b) z;   z <- z - lr grad f(y);   x <- (1 - c) x + c z,   c = lr^2 / sum of lr^2 so far

    b is `momentum`, or betas[0] with outer="adamw", where z takes a step of RMSprop along the gradient,
    grad f(y) / (sqrt(v^) + eps) with v^ = v/(1 - betas[1]^t), and decoupled weight decay is lr c y. At a constant rate
    c = 1/t, and x is the plain mean of z_1 ... z_t; while a rate is warmed up, early iterates weigh less. It wants no
    decreasing schedule.

    Between steps the parameters are x, the weights to evaluate and to save: there is no train() and eval() to forget.
    A step moves them to y by itself; a loop without closures calls `begin()` once, if it starts from a saved state.
    State: z - x, sum of lr^2, and with outer="adamw" v and t. Weights of 16 bits stall: x stays where it is once
    c (z - x) is under half a unit in its last place. Keep them in float32, under autocast.

    Source: arXiv 2405.15682, algorithm 1 and section 4.
    Differs from the authors' code: there a rate that falls keeps the weight of the largest one so far. The bias of v is
    corrected as in their present code, not by way of the rate as in the paper's.

    Args:
        params: parameters, or groups of them, as for every torch optimizer.
        lr: rate of z, by default 1; 2.5e-3 for outer="adamw". Some 10 to 50 times, or 1 to 10 times, what a schedule
            starts from, say the authors.
        momentum: b of outer="momentum", by default 0.9: the share of x in y. 0 is SGD with the mean of its iterates.
        weight_decay: coefficient c of c/2 |y|^2 in the loss.
        outer: the rule of z, "momentum" (plain SGD, since b takes the place of a velocity) or "adamw".
        betas, eps: of outer="adamw"; betas[0] is b.
        decoupled_weight_decay: c of lr c y, which z loses at each step. Excludes weight_decay.
        closure_calls: "all", or "once": a step with a closure takes one gradient of the outer step, as a call without
            one does. For closures that repeat one batch, as Lightning's automatic optimization and skorch give.
    """

    same_each_step = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | None = None,
        momentum: float | None = None,
        weight_decay: float = 0.0,
        outer: str = "momentum",
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        decoupled_weight_decay: float = 0.0,
        closure_calls: str = "all",
    ) -> None:
        super().__init__(params, resolved("schedule_free", given(locals())))

    @property
    def starts_away(self) -> bool:  # type: ignore[override]
        return any("offset" in kept for kept in self.state.values())

    def before(self, i: int, blocks: list[Block]) -> None:
        for block in blocks:
            pairs = zip(block.y, block.params, strict=True)
            moved = [(y, plain(self.state[p]["offset"])) for y, p in pairs if "offset" in self.state.get(p, {})]
            if moved:
                torch._foreach_add_([y for y, _ in moved], [e for _, e in moved], alpha=1 - _share(block.group))

    def after(self, i: int, blocks: list[Block]) -> None:
        for block in blocks:
            block.take_gradients()

    def rule(self, group: dict[str, Any]) -> Rule:
        return _MEAN


def _share(group: dict[str, Any]) -> float:
    """b, the share of x in y."""
    return float(group["betas"][0] if group["outer"] == "adamw" else group["momentum"])


class _Mean:
    """z along d, then x to the mean of z. What is kept is e = z - x: y = x + (1 - b) e, and e is 0 at first."""

    def names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("offset", "weight_sum", *(("step", "exp_avg_sq") if group["outer"] == "adamw" else ()))

    def apply(self, block: Block, state: State, finite: bool | Tensor, prefix: str = "") -> None:
        if not block.y or finite is False:
            return
        offset, sums = slots(state, block.params, "offset"), counts(state, block.params, "weight_sum")
        where, lr = (finite.device, rate_on(block.rate, block.y)) if isinstance(finite, Tensor) else (None, block.rate)
        rate = torch.full((), 1.0, dtype=torch.float64, device=where) * finite * lr
        if decay := float(block.group["decoupled_weight_decay"]):
            for x, e in alike(block.x, offset):  # of y = x + (1 - b) e; the block's x is not needed any more
                lost = decay * rate.to(x[0].device)
                torch._foreach_mul_(x, lost)
                torch._foreach_mul_(e, 1 - lost * (1 - _share(block.group)))
                torch._foreach_sub_(e, x)
        self._move(replace(block, y=offset), state, finite)
        for y, e, d, total in alike(block.y, offset, block.d, sums):
            copy_(d, e)
            torch._foreach_mul_(d, _weighed(total, rate.to(total[0].device).square()))
            torch._foreach_add_(y, d)
            torch._foreach_sub_(e, d)

    def _move(self, block: Block, state: State, finite: bool | Tensor) -> None:
        """z, and so e, along d."""
        group, adamw = block.group, block.group["outer"] == "adamw"
        beta, eps = float(group["betas"][1]) if adamw else 0.0, float(group["eps"]) if adamw else 0.0
        second = slots(state, block.params, "exp_avg_sq") if adamw else []
        if not isinstance(finite, Tensor):
            if adamw:
                _precondition(block, second, steps_taken(state, block.params, "step"), beta, eps)
            torch._foreach_add_(block.y, block.d, alpha=-float(group["lr"]))
        elif adamw:  # whose first moment is d itself
            steps = counts(state, block.params, "step")
            fused_adamw_(block, block.d, second, steps, block.rate, (0.0, beta), eps, 0.0, finite)
        else:
            fused_sgd_(block, [], 0.0, False, 0.0, finite)


_MEAN = _Mean()


def _precondition(
    block: Block, second: list[Tensor], steps: list[Tensor] | list[float], beta: float, eps: float
) -> None:
    """d <- d / (sqrt(v^) + eps), v having seen d. Overwrites block.x."""
    root = block.x
    torch._foreach_mul_(second, beta)
    torch._foreach_addcmul_(second, block.d, block.d, 1 - beta)
    copy_(root, second)
    torch._foreach_sqrt_(root)
    exact = [t.double() if isinstance(t, Tensor) else t for t in steps]
    torch._foreach_div_(root, [(1 - beta**t) ** 0.5 for t in exact])
    torch._foreach_add_(root, eps)
    torch._foreach_div_(block.d, root)


def _weighed(sums: list[Tensor], weight: Tensor) -> list[Tensor]:
    """The share of this step's weight in the sums, which it joins; 0 where there is none yet."""
    weights = [weight] * len(sums)
    torch._foreach_add_(sums, weights)
    return list(torch._foreach_div(weights, torch._foreach_clamp_min(sums, 1e-300)))
