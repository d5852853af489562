"""A mean of x over the outer steps, kept beside it, at no gradient: EMA, SWA, LAWA."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from ..optim.scratch import copy_
from .cadence import Budget

Scores = dict[str, dict[str, float]]
log = logging.getLogger(__name__)
SUFFIX = "_average"  # of the names of its scores


class Average:
    """The mean m of x, the weights after outer steps; of relaxed optimizers too, whose inner points y are in no mean.

    ema     m <- x + a^n (m - x), a the `decay` of one gradient evaluation and n those of the step, so that a pass
            weighs the same for every optimizer; m begins without a bias: divided by 1 - a^N after N evaluations, it is
            the weighted mean of x_1, x_2, ... alone, not of the initial weights.
    swa     the mean of snapshots of x, one every `every` passes, from the share `start` of the budget's passes
            (Stochastic Weight Averaging, arXiv 1803.05407; the learning rate is the schedule's).
    lawa    the mean of the last `last` of such snapshots, from the beginning (arXiv 2209.14981).

    A snapshot is taken after the last outer step that ends at or before a multiple of `every`. A step that was skipped
    leaves x as it is and counts as any other: on a GPU the host does not know of it. No random number and no gradient
    is taken; x is the same on all ranks, and so is m, without communication. Means are in the parameters' type, of
    16-bit ones in float32. Frozen parameters and buffers have no mean: batch-norm statistics are re-estimated at m, and
    averaging them would be wrong.

    Attributes:
        buffers: the network's as the last evaluation of m left them, by name; empty before.
    """

    def __init__(
        self, model: nn.Module, budget: Budget, rule: str, *, decay: float, start: float, every: float, last: int
    ) -> None:
        self._model, self._budget, self._rule = model, budget, rule
        self._decay, self._every, self._last = decay, every, last
        self._params = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._start = Fraction(str(start)) * Fraction(str(budget.epochs)) if rule == "swa" else Fraction(0)
        self._kept: list[list[Tensor]] = []  # the mean itself; of lawa the snapshots, the oldest first
        self._count = 0  # of what was taken into it
        self._since = 0  # gradient evaluations before the first outer step in it
        self.buffers: dict[str, Tensor] = {}

    def check(self, evaluations: int) -> None:
        """Raise UserError if nothing is in it and no snapshot comes, from so many gradient evaluations to the end."""
        budget, every = self._budget, self._every
        if self._rule == "ema" or self._kept or budget.ends_at(every, budget.taken, evaluations, self._start):
            return
        start = max(float(self._start), budget.passes(evaluations))
        raise UserError(
            f"train.average={self._rule} takes a snapshot of x at the last step up to each multiple of "
            f"train.average_every={every:g} passes, and there is none after pass {start:.4g} up to "
            f"epochs={budget.epochs:g}: lower train.average_every"
        )

    def warn_if_empty(self) -> None:
        """At the end of a run: patience may have ended it before the first snapshot."""
        if not self._kept:
            log.warning("train.average=%s has no mean: the run ended before anything was averaged", self._rule)

    @torch.no_grad()
    def update(self, evaluations: int, before: int) -> None:
        """After the outer step from `before` to `evaluations` gradient evaluations."""
        if self._rule == "ema":
            if not self._count:
                self._since = before
            log = math.log(self._decay)
            share = math.expm1((evaluations - before) * log) / math.expm1((evaluations - self._since) * log)
        elif not self._budget.ends_at(self._every, evaluations, before, self._start):
            return
        else:
            share = 1 / (self._count + 1)
        x = [p.detach().to(_type(p)) for p in self._params.values()]
        if self._rule == "lawa" or not self._kept:
            self._kept = [*self._kept, [each.clone() for each in x]][-self._last :]
        else:
            torch._foreach_lerp_(self._kept[0], x, share)
        self._count += 1

    @property
    def mean(self) -> dict[str, Tensor]:
        """The mean of each trained parameter by name, in its type; empty before anything was taken into it."""
        if not self._kept:
            return {}
        found = self._kept[0]
        if len(self._kept) > 1:
            found = [tensor.clone() for tensor in found]
            for others in self._kept[1:]:
                torch._foreach_add_(found, others)
            torch._foreach_div_(found, len(self._kept))
        return {name: m.to(p.dtype) for (name, p), m in zip(self._params.items(), found, strict=True)}

    def beside(self, evaluate: Callable[..., Scores]) -> Callable[..., Scores]:
        """What returns the scores of x that `evaluate` does, and behind them those of m as NAME_average."""

        def both(**options: Any) -> Scores:
            found = evaluate(**options)
            if not self._kept:
                return found
            with self.in_network():
                own = evaluate(**options)
            return {
                split: values | {f"{name}{SUFFIX}": value for name, value in own[split].items()}
                for split, values in found.items()
            }

        return both

    @contextmanager
    def in_network(self) -> Iterator[None]:
        """Within the `with` the network has the mean's weights; afterwards x and its own buffers again, bit for bit."""
        params, buffers = list(self._params.values()), dict(self._model.named_buffers())
        x = [tensor.detach().clone() for tensor in (*params, *buffers.values())]
        with torch.no_grad():
            copy_([p.detach() for p in params], list(self.mean.values()))
        try:
            yield
            self.buffers = {name: buffer.detach().clone() for name, buffer in buffers.items()}
        finally:
            with torch.no_grad():
                copy_([tensor.detach() for tensor in (*params, *buffers.values())], x)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it: the mean and all that the next one follows from."""
        return {
            "mean": self.mean, "kept": self._kept, "count": self._count, "since": self._since, "buffers": self.buffers,
        }  # fmt: skip

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from what `state` returned."""
        self._count, self._since = state["count"], state["since"]
        params = self._params.values()
        self._kept = [[torch.empty_like(p, dtype=_type(p), requires_grad=False) for p in params] for _ in state["kept"]]
        for mine, theirs in zip(self._kept, state["kept"], strict=True):
            for to, value in zip(mine, theirs, strict=True):
                to.copy_(value)
        self.buffers = {name: state["buffers"][name].to(b.device) for name, b in self._model.named_buffers()
                        if name in state["buffers"]}  # fmt: skip


def _type(p: Tensor) -> torch.dtype:
    return torch.promote_types(p.dtype, torch.float32)
