"""Outer rules: what a step does with its direction d. Stateless; what they keep lies in the optimizer's own state.

`RULES` are the choices of the keyword `outer`. The arithmetic of AdamW, `adamw_`, is also that of inner chains.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from .scratch import Block, copy_
from .state import State, slots, steps_taken

# of param_groups, and what they are if missing
OF_MOMENTUM: dict[str, Any] = {"momentum": 0.0, "nesterov": True}
OF_ADAMW_RULE: dict[str, Any] = {"betas": (0.9, 0.999), "eps": 1e-8}
KEYS = {"outer": "momentum", **OF_MOMENTUM, **OF_ADAMW_RULE, "weight_decay": 0.0, "decoupled_weight_decay": 0.0}


class Rule(Protocol):
    """x <- x - lr * (what the rule makes of d)."""

    def names(self, group: dict[str, Any]) -> tuple[str, ...]:
        """The names of its state, tensors like the parameters but for "step"."""

    def apply(self, block: Block, state: State, finite: bool | Tensor) -> None:
        """Descend; overwrites d. If the step was not finite, x and the state stay as they are.

        Two paths: on a CPU the host knows (`finite` is a bool) and leaves at once. On a GPU it does not wait for the
        answer, a 0-dim tensor there: the same kernels run on masked values that change nothing.
        """


class Momentum:
    """The rule of `torch.optim.SGD`, bit for bit: v <- m v + d, then x <- x - lr (d + m v) with Nesterov's look-ahead,
    or x <- x - lr v without.

    m is the group's "momentum". v lies in `state[p]["momentum_buffer"]`, under torch's name; without momentum there is
    none.
    """

    def names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def apply(self, block: Block, state: State, finite: bool | Tensor) -> None:
        if not block.y or finite is False:
            return
        lr, momentum = float(block.group["lr"]), float(block.group["momentum"])
        drop = ~finite.to(block.y[0].device) if isinstance(finite, Tensor) else None
        block.fill_d(drop, 0.0)
        if momentum:
            velocity = slots(state, block.params, "momentum_buffer")
            _scale(velocity, momentum, drop)
            torch._foreach_add_(velocity, block.d)
            if block.group["nesterov"]:
                torch._foreach_add_(block.d, velocity, alpha=momentum)
            else:
                torch._foreach_copy_(block.d, velocity)
            block.fill_d(drop, 0.0)  # again, after the momentum has been added
        if decay := _decay(block):
            _scale(block.y, 1 - lr * decay, drop)
        torch._foreach_add_(block.y, block.d, alpha=-lr)


class AdamW:
    """The rule of `torch.optim.AdamW`, on CPUs bit for bit; the moments see d once a step, after the ranks' mean.

    The step count and the moments lie in `state[p]` under torch's names: "step", "exp_avg", "exp_avg_sq".
    """

    def names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("step", "exp_avg", "exp_avg_sq")

    def apply(self, block: Block, state: State, finite: bool | Tensor) -> None:
        if not block.y or finite is False:
            return
        drop = ~finite.to(block.y[0].device) if isinstance(finite, Tensor) else None
        block.fill_d(drop, 0.0)
        first, second = (slots(state, block.params, name) for name in ("exp_avg", "exp_avg_sq"))
        group = block.group
        steps = steps_taken(state, block.params, "step", 1 if drop is None else ~drop)
        adamw_(block, first, second, steps, float(group["lr"]), group["betas"], group["eps"], _decay(block), drop)


RULES: dict[str, Rule] = {"momentum": Momentum(), "adamw": AdamW()}


def adamw_(
    block: Block,
    first: list[Tensor],
    second: list[Tensor],
    steps: list[Tensor] | list[float],
    lr: float,
    betas: Sequence[float],
    eps: float,
    decay: float,
    drop: Tensor | None = None,
) -> None:
    """y <- (1 - lr decay) y - lr m^ / (sqrt(v^) + eps), the moments having seen d. Overwrites d.

    The operations of torch.optim.AdamW in its order. `steps`, this one counted, are numbers or tensors on the device.
    With `drop` a true 0-dim tensor and d masked with 0, y and the moments stay as they are.
    """
    y, d, (beta1, beta2) = block.y, block.d, betas
    if decay:
        _scale(y, 1 - lr * decay, drop)
    if drop is None:
        torch._foreach_lerp_(first, d, 1 - beta1)
    else:
        _scale(first, beta1, drop)
        torch._foreach_add_(first, d, alpha=1 - beta1)
    _scale(second, beta2, drop)
    torch._foreach_addcmul_(second, d, d, 1 - beta2)
    copy_(d, second)
    torch._foreach_sqrt_(d)
    if not isinstance(steps[0], Tensor):
        torch._foreach_div_(d, [(1 - beta2**t) ** 0.5 for t in steps])
        torch._foreach_add_(d, eps)
        torch._foreach_addcdiv_(y, first, d, [-(lr / (1 - beta1**t)) for t in steps])
        return
    taken = torch.stack([t for t in steps if isinstance(t, Tensor)]).double()
    torch._foreach_div_(d, list((1 - beta2**taken).sqrt().unbind()))
    torch._foreach_add_(d, eps)
    torch._foreach_div_(d, list((lr / (1 - beta1**taken)).unbind()))
    block.fill_d(drop, torch.inf)  # of a first step that is not finite d is 0/0 by now
    torch._foreach_addcdiv_(y, first, d, -1.0)


def _decay(block: Block) -> float:
    """The decoupled weight decay that the outer rule has to do: an inner chain with AdamW does it itself."""
    return 0.0 if block.group.get("inner") == "adamw" else float(block.group["decoupled_weight_decay"])


def _scale(tensors: list[Tensor], factor: float, drop: Tensor | None) -> None:
    """Multiply by the factor; by 1 where `drop` is true."""
    if drop is None:
        torch._foreach_mul_(tensors, factor)
        return
    # of their own type, which keeps them on the fast path, or of one that rounds for none
    types = {t.dtype for t in tensors}
    precise = torch.float32 if types == {torch.float32} else torch.float64
    torch._foreach_mul_(tensors, torch.full((), factor, dtype=precise, device=drop.device).masked_fill_(drop, 1.0))
