"""Abort or skip a step without a trace, and let nothing reach a checkpoint that is not finite, or drifts apart."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import Stopped, UserError
from ..optim import Relaxation
from ..optim.scratch import copy_
from .cadence import Due
from .graphs.step import CapturedStep, can_capture
from .objective import Objective
from .stepper import Stepper

log = logging.getLogger(__name__)


class GuardedStep:
    """Steps of the optimizer that leave nothing behind where they are aborted or skipped.

    An aborted step (a stop is overdue) leaves weights, batch-norm buffers and the counts of evaluations and batches as
    at its start. Of one rank only, and only if a step has several evaluations: one alone has no middle to leave in.

    graphs: steps are replayed whole as CUDA graphs, where that is possible.
    skips: a step that is not finite changes no weight by the optimizer's own rule; with `skips` the batch-norm buffers
    that its evaluations wrote are put back, too.
    """

    def __init__(
        self, model: nn.Module, optimizer: Stepper, objective: Objective, *, can_abort: bool, skips: bool,
        graphs: bool = False,
    ) -> None:  # fmt: skip
        self._optimizer, self._objective = optimizer, objective
        self._step: Callable[[], Tensor] = lambda: optimizer.step(objective)
        if graphs and isinstance(optimizer, Relaxation) and can_capture(optimizer):
            self._step = CapturedStep(optimizer, objective)
        self._can_abort = can_abort and optimizer.evaluations > 1
        self._skips = skips
        counts = [objective.clip.counts] if objective.clip is not None else []
        self._buffers = [*model.buffers(), *counts] if self._can_abort or skips else []
        self._start = [buffer.clone() for buffer in self._buffers]
        self._alike = list(_by_type(self._buffers, self._start))

    def __call__(self, interrupt: Callable[[], None] | None) -> Tensor:
        """The step's loss. Passes on what `interrupt`, called before each evaluation, raises to abort the step."""
        counts = self._objective.counts
        for buffers, start in self._alike:
            copy_(start, buffers)
        self._objective.interrupt = interrupt if self._can_abort else None
        try:
            loss = self._objective.step(self._step)
        except Stopped:
            self._objective.counts = counts
            self._put_back()
            raise
        if self._skips:
            self._restore_unless(self._optimizer.finite)
        return loss

    def _restore_unless(self, finite: bool | Tensor) -> None:
        if isinstance(finite, Tensor):  # on a GPU the host does not wait for the answer: both cases in one kernel
            for buffer, start in zip(self._buffers, self._start, strict=True):
                torch.where(finite, buffer, start, out=buffer)
        elif not finite:
            self._put_back()

    def _put_back(self) -> None:
        for buffers, start in self._alike:
            copy_(buffers, start)


def _by_type(tensors: list[Tensor], others: list[Tensor]) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Both lists in parts of one device and data type: torch copies a mixture one by one."""
    keys = [(t.device, t.dtype) for t in tensors]
    for key in dict.fromkeys(keys):
        mine = [i for i, each in enumerate(keys) if each == key]
        yield [tensors[i] for i in mine], [others[i] for i in mine]


@dataclass
class Guard:
    """No record and no checkpoint holds what is not finite: steps, weights and scores are checked before.

    Where a checkpoint is due, as at every evaluation, the weights of all ranks are equal too, bit for bit.

    skips: a step that is not finite is counted in `skipped` instead of ending the run.
    advice: what to change, by the number of the outer step, the end of the message. has_checkpoint: has the run reached
    one? passes: done so far. drifted: the ranks that have other weights than the main one, called on all of them.
    """

    model: nn.Module
    optimizer: Stepper
    skips: bool
    advice: Callable[[int], str]
    has_checkpoint: Callable[[], bool]
    passes: Callable[[], float]
    drifted: Callable[[Iterable[Tensor]], list[int]] = lambda weights: []
    skipped: int = 0

    def check(self, due: Due) -> None:
        """After each step. Raises UserError.

        A CPU knows whether the step was finite. A GPU has it in a flag, which is read, and so waited for, only where
        something is to be written.
        """
        if due.record or due.save or isinstance(self.optimizer.finite, bool):
            self.check_steps()
        if due.save:
            self.check_weights()

    def check_steps(self) -> None:
        """All steps since the last call. Raises UserError, or counts those that were skipped."""
        count, step = self.optimizer.nonfinite_steps()
        if not count:
            return
        if self.skips:
            self.skipped += count
            more = f" and {count - 1} more" if count > 1 else ""
            log.warning("outer step %d%s: not finite, skipped", step, more)
            return
        latest = step == self._steps() - 1  # not so on a GPU, which is asked at records
        weights = "The weights are as before it" if latest else "It changed no weight, the steps since then did"
        raise UserError(
            f"outer step {step} (pass {self.passes():.3g}): the loss or its direction is not finite "
            f"({self._in_force()}). {weights}, {self._kept()}; {self.advice(step)}"
        )

    @torch.no_grad()
    def check_weights(self) -> None:
        """A finite step may lead to weights or batch-norm statistics that are not, and ranks may drift apart.

        To be called on all ranks. Waits for the device. Raises UserError.
        """
        if drifted := self.drifted(self.model.parameters()):  # first: the weights of some alone may not be finite
            who = f"rank{'s' * (len(drifted) > 1)} {', '.join(map(str, drifted))}"
            raise UserError(
                f"after outer step {self._steps()} (pass {self.passes():.3g}) {who} had other weights than rank 0, and "
                "all must have the same bits: since the last check something was not equal on all ranks (GPUs or CPUs "
                "of different kinds, versions of torch, a class of your own that draws by itself, a fault of the "
                f"hardware). Nothing of it is written, {self._kept()}; make them equal, and the same command resumes",
                resumes=True,
            )
        tensors = [t for t in (*self.model.parameters(), *self.model.buffers()) if t.is_floating_point()]
        if tensors and not torch.stack([torch.isfinite(t).all() for t in tensors]).all():
            raise self._not_finite("weights or batch-norm statistics are")

    def check_scores(self, scores: dict[str, dict[str, float]]) -> None:
        """All scores of x on all splits. Raises UserError."""
        wrong = [name for found in scores.values() for name, value in found.items() if not math.isfinite(value)]
        if wrong:
            raise self._not_finite(f"the {wrong[0]} of x is")

    def _not_finite(self, what: str) -> UserError:
        return UserError(
            f"after outer step {self._steps()} (pass {self.passes():.3g}) {what} not finite ({self._in_force()}). "
            f"Nothing of it is written, {self._kept()}; {self.advice(self._steps())}"
        )

    def _steps(self) -> int:
        return int(self.optimizer.param_groups[0]["outer_steps"])

    def _in_force(self) -> str:
        values = self.optimizer.scalars()
        with contextlib.suppress(RuntimeError):  # an evaluation made on resume comes before the first step
            values |= {"direction_norm": float(self.optimizer.direction_norm())}
        return ", ".join(f"{name} {value:.3g}" for name, value in values.items())

    def _kept(self) -> str:
        return "and the last checkpoint is kept" if self.has_checkpoint() else "and there was no checkpoint yet"
