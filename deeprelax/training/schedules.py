"""Set the learning rate as a function of the passes done. No state: a resumed run needs none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from ..optim.hyperparameters import LARGEST

Schedule = Callable[[float], float]


def make_schedule(name: str, milestones: Sequence[float], factor: float, epochs: float) -> Schedule:
    """passes done -> factor of the initial lr.

    constant: 1. step: `factor` to the power of the milestones passed. cosine: from 1 to `factor` over `epochs` passes.
    """
    if name == "step":
        return lambda passes: math.prod(factor for milestone in milestones if passes >= milestone)
    if name == "cosine":
        return lambda passes: factor + (1 - factor) * (1 + math.cos(math.pi * min(passes / epochs, 1))) / 2
    return lambda passes: 1.0


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """lr <- factor * initial lr in all groups, which keep the initial lr as under torch's schedulers."""
    for group in optimizer.param_groups:
        group["lr"] = min(factor * group.setdefault("initial_lr", group["lr"]), LARGEST)
