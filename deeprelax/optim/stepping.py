"""One outer step, by a closure that is called for each gradient, or by one call for each gradient that is there."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any, Protocol, overload

import torch
from torch import Tensor

from . import middle
from .closure import (
    AWAY,
    MISSING_CLOSURE,
    NO_REPEAT,
    NOT_ASKED,
    ONE_BATCH,
    UNDER_WAY,
    Closure,
    does_nothing,
    refuse_scaler,
    repeats_one_batch,
)
from .scratch import Block, copy_
from .state import wants_state_alone
from .step import Relaxed, Step


class Evaluate(Protocol):
    """Runs the closure where the parameters are now."""

    def __call__(self, again: bool = False) -> None:
        """On the next mini-batch, or with `again` on that of the evaluation before, which counts as one more."""


class Stepping(Relaxed):
    """The step of a relaxation, in both its forms."""

    def direction(self, evaluate: Evaluate, blocks: list[Block]) -> None:
        """Fill `block.d` of each block. `evaluate()` runs the closure where the parameters are now.

        `evaluate(again=True)` does so on the same mini-batch once more. A class may override this instead of `before`
        and `after`; it then needs a closure for every step.
        """
        for i in range(self.evaluations_here):
            self.before(i, blocks)
            evaluate(again=self.again(i))
            self.after(i, blocks)

    def zero_grad(self, set_to_none: bool = True) -> None:
        if self._calls is not None:
            self._calls.zeroed = True
        super().zero_grad(set_to_none)

    @overload  # type: ignore[override]
    def step(self, closure: Closure, again: Closure | None = None) -> Tensor: ...

    @overload
    def step(self, closure: None = None, again: None = None) -> None: ...

    @torch.no_grad()
    def step(self, closure: Closure | None = None, again: Closure | None = None) -> Tensor | None:
        """With a closure one outer step: exactly `evaluations` closure calls, one update of x.

        The closure must zero the gradients before it adds to them, else ValueError. A step begins all but its first
        evaluation with .grad None, and ends so. `again` is the closure on the batch of the last call of either, with
        the same random numbers: for optimizers that take several gradients of one batch, as SAM. By default it is the
        closure's own attribute `again`, if it has one.

        Returns the mean of the closure's losses, a 0-dim tensor: f at y, where the gradients were taken, NOT f at the
        new x. If the loss or d is not finite, weights and state stay as they were, the step counts, and
        `nonfinite_steps` tells of it. If the closure raises, the parameters are x again and nothing else changed.

        Without one, take in the gradient that is there: the next of the outer step, whose last updates x. Between these
        calls the weights are y (`at_x`). Bit for bit the same; returns None. Hyper-parameters are read at the first,
        and for its y, if that is away from x (sigma of Heat, rho of MSAM), as the step before ended.
        At lr 0 and gradients 0 a fresh optimizer allocates its state alone, for torch.distributed.checkpoint.
        """
        if closure is not None and does_nothing(closure):
            closure()
            closure = None
        if closure is None:
            self._take_gradient()
            return None
        refuse_scaler()
        repeat = getattr(closure, "again", None) if again is None else again
        if self.defaults.get("closure_calls") == "once":
            return self._take_batch(closure, repeat or closure)
        if repeats_one_batch(closure):
            repeat = closure
            if self.batches > 1 and not self._warned:
                self._warned = True
                warnings.warn(ONE_BATCH, stacklevel=4)
        if self.under_way is not None and self.under_way.taken:
            raise ValueError(UNDER_WAY.format(taken=self.under_way.taken, all=self.under_way.evaluations))
        self._put_back()
        with Step(self) as step:

            def evaluate(again: bool = False) -> None:
                self._evaluated(step, repeat if again else closure)

            self.direction(evaluate, step.blocks)
            assert len(step.losses) == step.evaluations, "direction() must evaluate exactly `evaluations` times"
            loss = step.examine()
        step.descend()
        return loss

    def _take_batch(self, closure: Closure, repeat: Closure) -> Tensor:
        """The gradients of the outer step that are of the closure's batch: one, and those that repeat it."""
        losses = [self._take_gradient(closure)]
        while self.same_batch():
            losses.append(self._take_gradient(repeat))
        return losses[0] if len(losses) == 1 else torch.stack(losses).mean()

    def same_batch(self) -> bool:
        """Is the next gradient to be taken on the batch of the last one, with the same random numbers?

        For loops without closures: they ask after each call of `step`, and repeat the batch where it is so.
        """
        self._asked = self.under_way is not None and self.again(self.under_way.taken)
        return self._asked

    def _take_gradient(self, closure: Closure | None = None) -> Tensor:
        """One gradient of the outer step: the closure's, or that which is there. Returns the closure's loss."""
        loss = torch.zeros(())
        if self.under_way is None and closure is None and wants_state_alone(self):
            for block in Step(self).blocks:
                self.allocate(block)
            return loss
        step = self._step_under_way(closure)
        if closure is None and self.again(step.taken) and not self._asked:
            raise ValueError(NOT_ASKED.format(name=type(self).__name__, i=step.taken + 1))
        self._asked = False
        try:
            loss = loss if closure is None else self._evaluated(step, closure)
            step.take()
            step.empty()
            if step.taken < step.evaluations:
                return loss
            step.examine()
        except BaseException:
            self.rewind.back()
            self._put_back()
            raise
        self._put_back()
        step.descend()
        if closure is None:
            self.begin()
        return loss

    def _step_under_way(self, closure: Closure | None) -> Step:
        if self.under_way is None:
            if type(self).direction is not Stepping.direction:
                raise ValueError(MISSING_CLOSURE.format(name=type(self).__name__))
            if closure is None and self.starts_away:
                raise ValueError(AWAY.format(name=type(self).__name__))
            self.under_way = Step(self)
            self.before(0, self.under_way.blocks)
        elif not self.under_way.taken:  # begun as the step before ended
            self.under_way.read_again()
        return self.under_way

    def _evaluated(self, step: Step, closure: Closure | None) -> Tensor:
        if closure is None:
            raise ValueError(NO_REPEAT.format(name=type(self).__name__, i=len(step.losses) + 1))
        self._calls = step
        try:
            return step.evaluate(closure)
        finally:
            self._calls = None

    @torch.no_grad()
    def begin(self) -> None:
        """Move the weights to where the first gradient of a step is taken: once, before a loop without closures.

        Needed by an optimizer that takes it away from x (`starts_away`, as Heat); the others stay where they are.
        """
        self._put_back()
        if self.starts_away:
            self.under_way = Step(self)
            self.before(0, self.under_way.blocks)

    @property
    def at_x(self) -> bool:
        """Are the weights x? In a loop without closures they are y within an outer step."""
        return self.under_way is None or not self.moves

    @contextlib.contextmanager
    def swapped_to_x(self) -> Iterator[None]:
        """Within it the weights are x, to be evaluated or saved; afterwards they are what they were."""
        blocks = [] if self.at_x or self.under_way is None else self.under_way.blocks
        with torch.no_grad():
            for block in blocks:
                copy_(self.scratch("y", block.y), block.y)
                copy_(block.y, block.x)
        self.swapped = True
        try:
            yield
        finally:
            self.swapped = False
            with torch.no_grad():
                for block in blocks:
                    copy_(block.y, self.scratch("y", block.y))

    def state_dict(self) -> dict[str, Any]:
        """As torch's; in the middle of an outer step with all that it needs to resume there (`middle.py`)."""
        found = super().state_dict()
        return found if self._between() else middle.add(found, self)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which hold no step: ValueError in the middle of one."""
        if self.under_way is not None and not self._between():
            raise ValueError(UNDER_WAY.format(taken=self.under_way.taken, all=self.under_way.evaluations))
        return super().__getstate__()

    def _between(self) -> bool:
        """Are the weights x, or is the next step only begun and they are swapped to x?"""
        return self.under_way is None or (self.swapped and not self.under_way.taken)

    def _put_back(self) -> None:
        """The weights are x, and no step is under way."""
        if self.under_way is not None:
            self.under_way.leave()
            self.under_way = None
