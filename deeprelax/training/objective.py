"""The closure that optimizers call: the loss and gradient of the next mini-batch."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..optim.batchnorm import kept_statistics
from ..randomness import Purpose, default_generator, derive_seed
from ..tasks.task import Task
from .clipping import Clip
from .graphs.graph import Graphed


class Loss(nn.Module):
    """The task's loss as one module: the thing that data-parallel training, compilers and graphs wrap."""

    def __init__(self, task: Task, network: nn.Module, autocast: Autocast) -> None:
        super().__init__()
        self.network = network
        self._task, self._autocast = task, autocast

    def forward(self, *batch: Tensor) -> Tensor:
        """f of a batch that `task.make` returned, a 0-dim tensor."""
        with self._autocast():
            return self._task.loss(self.network, *batch)


class Objective:
    """f at the network's present weights on the next batch, with its gradient; counts its calls.

    A call takes the next batch k of the task and the random numbers (dropout, the loss's own) that belong to
    (seed, k, rank); `again` takes those of the last call once more. So two counts are the whole state: of evaluations,
    and of batches drawn, the same for optimizers that repeat none. `loss` is a `Loss`, or what wraps one. With
    `graphs`, on a GPU, evaluations are replays of a CUDA graph. `after_backward` averages over the ranks; then `clip`,
    if it is set, acts. With `fixed` f is one function, that of call 0, at every call. Where ranks divide the
    evaluations of a step, `turn` is how many of them the others take before this one's, and after.

    `before_each`: hooks of all objectives of this process, called with the objective before each evaluation; one that
    raises ends the run there. For tests and benchmarks.
    """

    before_each: ClassVar[list[Callable[[Objective], None]]] = []

    def __init__(
        self, loss: nn.Module, task: Task, rank: int = 0, *, graphs: bool = False,
        after_backward: Callable[[Tensor], Tensor] | None = None, fixed: bool = False, turn: tuple[int, int] = (0, 0),
    ) -> None:  # fmt: skip
        self.loss, self.task, self.fixed, self._turn = loss, task, fixed, turn
        self.evaluations = self.batches = 0  # done, and drawn
        self._drawn: tuple[Tensor, ...] = ()
        self.seed, self.rank = task.setting.seed, rank
        self.clip: Clip | None = None
        self.interrupt: Callable[[], None] | None = None  # called before each evaluation; may raise to abort the step
        self._parameters = list(loss.parameters())
        self._generator = default_generator(task.setting.device)
        self.graphs, self._after_backward = graphs, after_backward
        # no method of this object: in a circle of references the graph would stay until the collector comes
        self._pass = functools.partial(forward_and_backward, loss, task.make)
        self._evaluate: Callable[..., Tensor] = Graphed(self._pass, self._parameters) if graphs else self._pass

    @property
    def counts(self) -> tuple[int, int]:
        """Evaluations and batches so far, to be put back."""
        return self.evaluations, self.batches

    @counts.setter
    def counts(self, counts: tuple[int, int]) -> None:
        self.evaluations, self.batches = counts

    def __call__(self) -> Tensor:
        """f of the next batch, a 0-dim tensor; its gradient is in the parameters' .grad."""
        return self._evaluated(*self.draw())

    def again(self) -> Tensor:
        """The same on the batch of the last call; batch norm's statistics are afterwards what they were."""
        drawn = self.draw(again=True)
        with kept_statistics(self.loss):
            return self._evaluated(*drawn)

    def _evaluated(self, *drawn: Tensor) -> Tensor:
        self._clear()
        loss = self._evaluate(*drawn)
        if self._after_backward is not None:
            loss = self._after_backward(loss)
        if self.clip is not None:
            self.clip(self._parameters)
        return loss

    def step(self, step: Callable[[], Tensor]) -> Tensor:
        """What an outer step returns, after which the counts are those of all ranks."""
        before, after = self._turn
        self.counts = self.evaluations + before, self.batches + before
        loss = step()
        self.counts = self.evaluations + after, self.batches + after
        return loss

    def draw(self, again: bool = False) -> tuple[Tensor, ...]:
        """All that happens on the host: the next evaluation's batch is drawn and its random numbers are seeded."""
        for hook in self.before_each:
            hook(self)
        if self.interrupt is not None:
            self.interrupt()
        if not again:
            if not self.fixed:
                self.task.evaluations = self.evaluations
            self._drawn = self.task.draw(0 if self.fixed else self.batches)
            self.batches += 1
        k = 0 if self.fixed else self.batches - 1
        # nn.Dropout draws from the default generator and takes no other. The global torch.manual_seed is slower.
        self._generator.manual_seed(derive_seed(self.seed, Purpose.DROPOUT, k, self.rank))
        self.evaluations += 1
        return self._drawn

    def on_device(self, *drawn: Tensor, again: bool = False) -> Tensor:
        """All that happens on the device: f of what was drawn, its gradient in the parameters' .grad."""
        self._clear()
        with kept_statistics(self.loss) if again else contextlib.nullcontext():
            loss = self._pass(*drawn)
        if self.clip is not None:
            self.clip(self._parameters)
        return loss

    def _clear(self) -> None:
        for p in self._parameters:
            p.grad = None


def forward_and_backward(loss: nn.Module, make: Callable[..., tuple[Tensor, ...]], *drawn: Tensor) -> Tensor:
    """The loss of the batch that `make` returns, whose gradient goes into the parameters' .grad."""
    found: Tensor = loss(*make(*drawn))
    found.backward()
    return found


class Autocast:
    """Mixed precision as configured: `float32` for none, `bfloat16` for torch.autocast."""

    def __init__(self, precision: str, device: torch.device) -> None:
        self.enabled, self._type = precision == "bfloat16", device.type

    def __call__(self) -> torch.autocast:
        return torch.autocast(self._type, dtype=torch.bfloat16, enabled=self.enabled)
