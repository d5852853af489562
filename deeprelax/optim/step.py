"""One outer step, from x to x, and what it needs of the optimizer whose step it is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from ._lazy import Optimizer
from .closure import Closure, evaluate
from .finite import Finiteness
from .outer import RULES, Rule
from .scratch import Block, Noise, Workspace, copy_
from .state import Rewind, allocate


class Relaxed(Optimizer):
    """What a relaxation is for its step; `stepping.py` and `relaxation.py` fill it."""

    moves: bool = True  # does `direction` move the parameters?
    starts_away: bool = False  # does `before(0)`?
    # Averages the given tensors (all d, then the loss) over ranks, in place. Set by data-parallel training, not state.
    reduce_direction: Callable[[list[Tensor]], None] | None = None
    # Averages a loss over ranks, in place, where they share a batch and closures return each its own part's; not state.
    reduce_loss: Callable[[Tensor], None] | None = None
    # f where the gradient that is there was taken: what the closure returned, or what a loop without closures says
    loss: Tensor | float | None = None
    finite: bool | Tensor  # were loss and d of the last step? On a GPU a 0-dim tensor there
    finiteness: Finiteness
    rewind: Rewind  # what is put back if the step fails
    _calls: Step | None = None  # while a closure is at work
    under_way: Step | None = None  # between calls without a closure
    swapped = False
    _warned = False  # of a closure that repeats one batch
    _asked = False  # has a loop without closures been told that the next gradient is of the same batch?

    @property
    @abstractmethod
    def evaluations(self) -> int: ...

    @property
    @abstractmethod
    def evaluations_here(self) -> int: ...

    def turn(self, i: int) -> None:
        """Gradient i, of those here, is the next: where a step resumes in the middle too."""

    @property
    def batches(self) -> int:
        """Mini-batches of one step: its gradients without those taken on the batch of the one before."""
        return self.evaluations - sum(map(self.again, range(self.evaluations)))

    @abstractmethod
    def again(self, i: int) -> bool: ...

    @abstractmethod
    def before(self, i: int, blocks: list[Block]) -> None: ...

    @abstractmethod
    def after(self, i: int, blocks: list[Block]) -> None: ...

    def rule(self, group: dict[str, Any]) -> Rule:
        """What a step does with d: the outer rule that is chosen, or a class's own."""
        return RULES[group["outer"]]

    def descend(self, block: Block) -> None:
        """x by the rule; the parameters are x. If the step was not finite, all stay as they are."""
        self.rule(block.group).apply(block, self.state, self.finite)

    def allocate(self, block: Block) -> None:
        """State as a step would leave it, zero, for a checkpoint to be loaded into."""
        allocate(block, self.state, self.rule(block.group).names(block.group))

    @abstractmethod
    def block(self, group: dict[str, Any]) -> Block: ...

    @abstractmethod
    def read(self, group: dict[str, Any]) -> tuple[dict[str, Any], float | Tensor]: ...

    @abstractmethod
    def scratch(self, name: str, params: list[Tensor]) -> list[Tensor]: ...

    workspace: Workspace

    @abstractmethod
    def noise(self, i: int = 0) -> Noise: ...

    @abstractmethod
    def draws(self) -> int: ...


class Step:
    """An outer step of the optimizer. Within its `with` an exception aborts it: weights and state are as before it."""

    def __init__(self, optimizer: Relaxed) -> None:
        """The hyper-parameters are read now."""
        self._optimizer = optimizer
        self._params = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        self.evaluations = optimizer.evaluations_here
        self.blocks = [optimizer.block(group) for group in optimizer.param_groups]
        self.losses: list[Tensor] = []
        self.taken = 0
        self.zeroed = False  # has the closure called the optimizer's zero_grad?
        optimizer.rewind.forget()

    def read_again(self) -> None:
        """The hyper-parameters as they are now: a scheduler may have changed them since the step was begun."""
        self.evaluations = self._optimizer.evaluations_here
        for block, group in zip(self.blocks, self._optimizer.param_groups, strict=True):
            block.group, block.rate = self._optimizer.read(group)

    def evaluate(self, closure: Closure) -> Tensor:
        """The loss of the next mini-batch, whose gradient goes into a .grad that was empty."""
        if self.losses:
            self.empty()
        self.zeroed = False
        there = [p.grad for p in self._params]
        self.losses.append(evaluate(closure, self._params, there, lambda: self.zeroed))
        if len(self.losses) == 1:
            self.split()
        self._optimizer.loss = self.losses[-1]
        return self.losses[-1]

    def split(self) -> None:
        """Parameters without a gradient leave the step."""
        self.blocks[:] = [block.split() for block in self.blocks]

    def take(self) -> None:
        """Take in the gradient that is there; then the weights are where the next is to be taken."""
        if self.taken == 0 and not self.losses:
            self.split()
        self._optimizer.after(self.taken, self.blocks)
        self.taken += 1
        if self.taken < self.evaluations:
            self._optimizer.before(self.taken, self.blocks)

    def loss(self) -> Tensor:
        """The mean of the losses that closures returned; 0 if there were none."""
        found = self.losses or [torch.zeros((), device=self._params[0].device if self._params else None)]
        return found[0] if len(found) == 1 else torch.stack(found).mean()

    def examine(self) -> Tensor:
        """Average d over ranks and ask whether it is finite. Returns the loss."""
        loss, optimizer = self.loss(), self._optimizer
        if optimizer.reduce_direction is not None:
            optimizer.reduce_direction([*(d for block in self.blocks for d in block.d), loss])
        optimizer.finite = optimizer.finiteness.examine(self.blocks, loss, optimizer.param_groups[0]["outer_steps"])
        return loss

    def descend(self) -> None:
        """x by the outer rule, unless the step was not finite. The parameters are x."""
        optimizer = self._optimizer
        optimizer.rewind.back(optimizer.finite)
        for block in self.blocks:
            optimizer.descend(block)
        for group in optimizer.param_groups:
            group["outer_steps"] += 1

    def empty(self) -> None:
        """No parameter has a .grad, and its loss is forgotten."""
        self._optimizer.loss = None
        for p in self._params:
            p.grad = None

    def leave(self) -> None:
        """The parameters are x."""
        for block in filter(lambda block: self._optimizer.moves, self.blocks):
            copy_(block.y, block.x)
        self.empty()

    def __enter__(self) -> Step:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None) -> None:
        if kind is not None:
            self._optimizer.rewind.back()
        self.leave()
