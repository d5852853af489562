"""Outer rules: what a step does with its direction d. Stateless; what they keep lies in the optimizer's own state.

`RULES` are the choices of the keyword `outer`. The arithmetic of AdamW, `adamw_`, is also that of inner chains.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from .fused import fused_adamw_, fused_sgd_
from .scratch import Block, copy_
from .state import State, counts, slots, steps_taken

# of param_groups, and what they are if missing
OF_MOMENTUM: dict[str, Any] = {"momentum": 0.0, "nesterov": True}
OF_ADAMW_RULE: dict[str, Any] = {"betas": (0.9, 0.999), "eps": 1e-8}
KEYS = {"outer": "momentum", **OF_MOMENTUM, **OF_ADAMW_RULE, "weight_decay": 0.0, "decoupled_weight_decay": 0.0}


class Rule(Protocol):
    """x <- x - lr * (what the rule makes of d)."""

    def names(self, group: dict[str, Any]) -> tuple[str, ...]:
        """The names of its state, tensors like the parameters but for "step"."""

    def apply(self, block: Block, state: State, finite: bool | Tensor, prefix: str = "") -> None:
        """Descend; may overwrite d. If the step was not finite, x and the state stay as they are.

        prefix: what the names of its state begin with, where a parameter has several.

        Two paths: on a CPU the host knows (`finite` is a bool) and leaves at once. On a GPU it does not wait for the
        answer, a 0-dim tensor there, which torch's fused kernels read: they then change nothing.
        """


class Momentum:
    """The rule of `torch.optim.SGD`, bit for bit: v <- m v + d, then x <- x - lr (d + m v) with Nesterov's look-ahead,
    or x <- x - lr v without.

    m is the group's "momentum". v lies in `state[p]["momentum_buffer"]`, under torch's name; without momentum there is
    none. On a GPU it is that of torch.optim.SGD(fused=True).
    """

    def names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def apply(self, block: Block, state: State, finite: bool | Tensor, prefix: str = "") -> None:
        if not block.y or finite is False:
            return
        momentum, nesterov, decay = float(block.group["momentum"]), bool(block.group["nesterov"]), _decay(block)
        velocity = slots(state, block.params, f"{prefix}momentum_buffer") if momentum else []
        if isinstance(finite, Tensor):
            fused_sgd_(block, velocity, momentum, nesterov, decay, finite)
            return
        lr = float(block.group["lr"])
        if momentum:
            torch._foreach_mul_(velocity, momentum)
            torch._foreach_add_(velocity, block.d)
            if nesterov:
                torch._foreach_add_(block.d, velocity, alpha=momentum)
            else:
                torch._foreach_copy_(block.d, velocity)
        if decay:
            torch._foreach_mul_(block.y, 1 - lr * decay)
        torch._foreach_add_(block.y, block.d, alpha=-lr)


class AdamW:
    """The rule of `torch.optim.AdamW`, bit for bit; the moments see d once a step, after the ranks' mean.

    The step count and the moments lie in `state[p]` under torch's names: "step", "exp_avg", "exp_avg_sq". On a GPU it
    is that of torch.optim.AdamW(fused=True).
    """

    def names(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("step", "exp_avg", "exp_avg_sq")

    def apply(self, block: Block, state: State, finite: bool | Tensor, prefix: str = "") -> None:
        if not block.y or finite is False:
            return
        moments = (slots(state, block.params, f"{prefix}exp_avg"), slots(state, block.params, f"{prefix}exp_avg_sq"))
        betas, eps, decay = block.group["betas"], float(block.group["eps"]), _decay(block)
        if isinstance(finite, Tensor):
            steps = counts(state, block.params, f"{prefix}step")
            fused_adamw_(block, *moments, steps, block.rate, betas, eps, decay, finite)
            return
        taken = steps_taken(state, block.params, f"{prefix}step")
        adamw_(block, *moments, taken, float(block.group["lr"]), betas, eps, decay)


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
) -> None:
    """y <- (1 - lr decay) y - lr m^ / (sqrt(v^) + eps), the moments having seen d. Overwrites d.

    The operations of torch.optim.AdamW in its order. `steps`, this one counted, are numbers, or tensors for a compiler.
    """
    y, d, (beta1, beta2) = block.y, block.d, betas
    if decay:
        torch._foreach_mul_(y, 1 - lr * decay)
    torch._foreach_lerp_(first, d, 1 - beta1)
    torch._foreach_mul_(second, beta2)
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
    torch._foreach_addcdiv_(y, first, d, -1.0)


def _decay(block: Block) -> float:
    """The decoupled weight decay that the outer rule has to do: an inner chain with AdamW does it itself."""
    return 0.0 if block.group.get("inner") == "adamw" else float(block.group["decoupled_weight_decay"])
