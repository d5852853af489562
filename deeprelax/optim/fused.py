"""The rules on a GPU: torch's fused kernels, one launch for a list of tensors.

They read on the device what the host does not know, whether the step was finite, and change nothing if it was not. The
rate may be a tensor there, too, so a captured step follows a schedule.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ._lazy import outside_compiler
from .scratch import Block


@outside_compiler  # to which torch gives no form of these kernels
def fused_sgd_(
    block: Block, velocity: list[Tensor], momentum: float, nesterov: bool, decay: float, finite: Tensor
) -> None:
    """y by the rule of torch.optim.SGD on d, as its fused form has it; `velocity` is [] without momentum."""
    for y, d, v in alike(block.y, block.d, velocity or block.d):
        bad, lr = ~finite.to(y[0].device), rate_on(block.rate, y)
        if decay:
            torch._foreach_mul_(y, _factor(lr, decay, y[0], bad))
        torch._fused_sgd_(
            y, d, v if velocity else [], weight_decay=0.0, momentum=momentum, lr=lr, dampening=0.0,
            nesterov=nesterov and momentum > 0, maximize=False, is_first_step=False, found_inf=bad.float(),
        )  # fmt: skip


@outside_compiler
def fused_adamw_(
    block: Block,
    first: list[Tensor],
    second: list[Tensor],
    steps: list[Tensor],
    lr: float | Tensor,
    betas: Sequence[float],
    eps: float,
    decay: float,
    finite: Tensor | None = None,
) -> None:
    """y by the rule of torch.optim.AdamW on d, as its fused form has it; counts `steps`. Without `finite` it was."""
    laid_out = [
        g if g.stride() == p.stride() else torch.empty_like(p).copy_(g) for g, p in zip(block.d, block.y, strict=True)
    ]
    for y, d, m, v, t in alike(block.y, laid_out, first, second, steps):
        bad = None if finite is None else (~finite.to(y[0].device)).float()
        torch._foreach_add_(list(dict.fromkeys(t)), 1.0)  # one tensor may count for all
        torch._fused_adamw_(
            y, d, m, v, [], t, lr=rate_on(lr, y), beta1=betas[0], beta2=betas[1], weight_decay=decay, eps=eps,
            amsgrad=False, maximize=False, found_inf=bad,
        )  # fmt: skip
        if bad is not None:
            torch._foreach_sub_(t, [bad] * len(t))


def alike(*lists: list[Tensor]) -> Iterator[list[list[Tensor]]]:
    """The lists in parts of one device and data type of the first: what a fused kernel takes."""
    places: dict[object, list[int]] = {}
    for i, t in enumerate(lists[0]):
        places.setdefault((t.device, t.dtype), []).append(i)
    for numbers in places.values():
        yield [[tensors[i] for i in numbers] for tensors in lists]


def rate_on(lr: float | Tensor, y: list[Tensor]) -> float | Tensor:
    """The rate for these; where it could be a tensor it is rounded as that would be, so both give the same bits."""
    if isinstance(lr, Tensor):
        return lr.to(y[0].device)
    return struct.unpack("f", struct.pack("f", lr))[0] if y[0].dtype == torch.float32 else lr


def _factor(lr: float | Tensor, decay: float, like: Tensor, bad: Tensor) -> Tensor:
    """1 - lr decay, or 1 if the step was not finite; 0-dim, of a type that keeps it on the fast path."""
    precise = torch.float32 if like.dtype == torch.float32 else torch.float64
    rate = lr.double() if isinstance(lr, Tensor) else torch.full((), lr, dtype=torch.float64, device=like.device)
    return (1 - rate * decay).to(precise).masked_fill_(bad, 1.0)
