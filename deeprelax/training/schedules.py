"""Set the rates as functions of the passes done. No state: a resumed run needs none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from ..optim.hyperparameters import LARGEST

Schedule = Callable[[float], float]
OF_THE_TOTAL = ("cosine", "linear", "trapezoid")  # those that depend on how many passes there are
TAIL = 0.2  # of the passes, that trapezoid falls over unless `decay` says otherwise


def make_schedule(
    name: str, milestones: Sequence[float], factor: float, epochs: float, *, warmup: float = 0.0,
    decay: float | None = None, step: float = 0.0,
) -> Schedule:  # fmt: skip
    """passes done -> factor of the initial rate.

    constant: 1. step: `factor` to the power of the milestones passed. cosine, linear: from 1, at the end of the
    warm-up, to `factor` after `epochs` passes, along half a cosine or a line. trapezoid: 1, and over the last `decay`
    passes (by default a fifth of all) along a line to `factor`; also called warm-up, stable, decay (arXiv 2404.06395).

    With `warmup` all rise along a line from 0 in its passes: a step that begins at p has the share (p + step)/warmup,
    `step` the passes that an outer step takes, so that none has the rate 0.
    """
    tail = TAIL * epochs if decay is None else decay

    def shape(passes: float) -> float:
        if name == "step":
            return math.prod(factor for milestone in milestones if passes >= milestone)
        if name == "trapezoid":
            return 1 + (factor - 1) * _share(passes - (epochs - tail), tail)
        share = _share(passes - warmup, epochs - warmup)
        if name == "cosine":
            return factor + (1 - factor) * (1 + math.cos(math.pi * share)) / 2
        return 1 + (factor - 1) * share if name == "linear" else 1.0

    return (lambda passes: shape(passes) * min(1.0, (passes + step) / warmup)) if warmup else shape


def _share(done: float, of: float) -> float:
    """From 0 to 1."""
    return min(done / of, 1) if done > 0 and of > 0 else float(done > 0)


def moved(of: str) -> tuple[str, ...]:
    """The keys of the rates that `schedule.of` names: lr, inner_lr or both."""
    return ("lr", "inner_lr") if of == "both" else (of,)


def set_rates(optimizer: torch.optim.Optimizer, factor: float, of: str = "lr") -> None:
    """rate <- factor * initial rate in all groups, which keep the initial one as under torch's schedulers.

    of: which, as `moved` has it. The others stay as they are.
    """
    for group in optimizer.param_groups:
        for rate in moved(of):
            group[rate] = min(factor * group.setdefault(f"initial_{rate}", group[rate]), LARGEST)
