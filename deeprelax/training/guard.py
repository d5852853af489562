"""An outer step that can be given up, or left out, without a trace."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..optim import Relaxation
from ..parallel.signals import Requests, Stopped
from .objective import Objective


class GuardedStep:
    """Steps of the optimizer; one that is given up leaves weights, batch-norm buffers and the count as at its start.

    can_give_up: several ranks could not do so at the same moment, and a step of one evaluation has none to leave out.
    skips: a step that is not finite, which changes no weight, leaves no batch-norm statistics either.
    """

    def __init__(
        self, model: nn.Module, optimizer: Relaxation, objective: Objective, *, can_give_up: bool, skips: bool
    ) -> None:
        self._optimizer, self._objective = optimizer, objective
        self._can_give_up, self._skips = can_give_up, skips
        self._buffers = list(model.buffers()) if can_give_up or skips else []
        self._start = [buffer.clone() for buffer in self._buffers]

    def __call__(self, requests: Requests) -> Tensor:
        """The step's loss. Raises Stopped if a stop was asked for too long ago."""
        evaluations = self._objective.evaluations
        self._copy(self._start, self._buffers)
        self._objective.interrupt = requests.give_up if self._can_give_up else None
        try:
            loss = self._optimizer.step(self._objective)
        except Stopped:
            self._objective.evaluations = evaluations
            self._copy(self._buffers, self._start)
            raise
        if self._skips:
            self._restore_unless(self._optimizer.finite)
        return loss

    def _restore_unless(self, finite: bool | Tensor) -> None:
        if isinstance(finite, Tensor):  # on a GPU: the host does not ask
            for buffer, start in zip(self._buffers, self._start, strict=True):
                torch.where(finite, buffer, start, out=buffer)
        elif not finite:
            self._copy(self._buffers, self._start)

    @staticmethod
    def _copy(to: list[Tensor], source: list[Tensor]) -> None:
        if to:
            torch._foreach_copy_(to, source)
