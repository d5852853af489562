"""The training loss of a run over its examples, as measures of flatness take it: deterministic, batch by batch.

It is f of training without augmentation, dropout and autocast, batch norm in eval mode with statistics that are
estimated at these weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..configuration.check import load
from ..configuration.registry import resolve
from ..errors import UserError
from ..flatness.loss import Closure, Composite
from ..optim.batchnorm import has_batch_norm, reestimate_batchnorm
from ..randomness import Purpose, seeded
from ..records.directory import RunDirectory
from ..records.flatness import Asked
from ..tasks.task import Task
from .restored import Restored, restored


def restore(path: Path, asked: Asked) -> Restored:
    conf = load(RunDirectory(path).config, asked.overrides) if path.is_dir() else None
    kind = None if conf is None else resolve("task", conf.task.name)
    precise = isinstance(kind, type) and issubclass(kind, Task) and kind.derivatives
    precision = f"hardware.precision={asked.dtype if precise else 'float32'}"
    run = restored(path, [*asked.overrides, precision], asked.weights)
    if not run.task.additive:
        raise UserError(
            f"the loss of task={run.conf.task.name} is no mean over examples, so what some of them say of its flatness "
            "is not what all say: take a run of another task"
        )
    if run.data != run.task.fingerprint:
        raise UserError(f"the data are not those that {path} was trained on: put them back, or set data_dir")
    return run


def prepare(run: Restored, asked: Asked) -> str:
    """The network in eval mode and in this data type, its statistics re-estimated; what was done, in words."""
    run.model.to(dtype=_dtype(asked))
    if not has_batch_norm(run.model):
        run.model.eval()
        return "none in the network"
    statistics = run.task.statistics(run.conf.train.bn_batches)
    inputs = (_cast(statistics.take(i), asked)[0] for i in range(statistics.count))
    reestimate_batchnorm(run.model, inputs, keep_frozen=True)
    run.model.eval()
    return f"eval mode, re-estimated at these weights on {statistics.count} training batches"


def _dtype(asked: Asked) -> torch.dtype:
    found: torch.dtype = getattr(torch, asked.dtype)
    return found


def _cast(batch: Iterable[Tensor], asked: Asked) -> tuple[Tensor, ...]:
    return tuple(each.to(_dtype(asked)) if each.is_floating_point() else each for each in batch)


class Examples:
    """The training examples in batches: the first `count` of the order that batch-norm statistics are taken in."""

    def __init__(self, run: Restored, asked: Asked) -> None:
        self.run, self.asked, self.whole = run, asked, run.task.examples
        most = self.whole if asked.images is None else asked.images
        if not 1 <= most <= self.whole:
            raise UserError(
                f"--images {most} is out of range: it must be an integer from 1 to {self.whole}, the run's training "
                f"{run.task.noun}s"
            )
        size = run.conf.batch_size
        self.count = most if not run.task.derivatives else size * max(1, most // size)
        self._stored, self._made = run.task.statistics(1), (-1, tuple[Tensor, ...]())

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [p for p in self.run.model.parameters() if p.requires_grad]

    def losses(self, most: int | None = None) -> list[tuple[float, Closure]]:
        """The mean loss of each batch with its number of examples; of the first `most` of them.

        Of tasks that make their points in whole batches.
        """
        size, most = self.run.conf.batch_size, min(self.count, self.count if most is None else most)
        drawn = self.run.task.derivatives
        kept = [size if drawn else min(size, most - start) for start in range(0, most, size)]
        return [(float(count), self._closure(i, count)) for i, count in enumerate(kept)]

    def batch(self, i: int, count: int) -> tuple[Tensor, ...]:
        """The first `count` examples of batch i, which is made when it is another than last time: one is kept.

        Of tasks that make their points a batch as training would draw it next.
        """
        if self._made[0] != i:
            task, conf = self.run.task, self.run.conf
            done = int(conf.epochs * task.examples / conf.batch_size)
            drawn = task.make(*task.draw(done + i)) if task.derivatives else self._stored.take(i)
            self._made = i, _cast(drawn, self.asked)
        batch = self._made[1]
        return batch if count == self.run.conf.batch_size else tuple(each[:count] for each in batch)

    def _closure(self, i: int, count: int) -> Closure:
        task, model = self.run.task, self.run.model
        if self.has_outputs:
            return Composite(
                lambda: model(self.batch(i, count)[0]), lambda z: task.loss(_Constant(z), *self.batch(i, count))
            )

        def loss() -> Tensor:  # which may draw: the same numbers each time
            batch = self.batch(i, count)
            with seeded(self.run.device, self.asked.seed, Purpose.FLATNESS, "loss", i):
                return task.loss(model, *batch)

        return loss

    @cached_property
    def has_outputs(self) -> bool:
        """Is the loss a function of what the network returns for its input, which is asked for once?"""
        if self.run.task.derivatives:
            return False
        batch = self.batch(0, min(self.count, self.run.conf.batch_size))
        seen, loss = _Recorder(self.run.model), self.run.task.loss
        try:
            with torch.no_grad(), seeded(self.run.device, 0, Purpose.FLATNESS):
                found = loss(seen, *batch)
            if not (len(seen.calls) == 1 and seen.calls[0][0] is batch[0] and isinstance(seen.calls[0][1], Tensor)):
                return False
            with torch.no_grad():
                return bool(torch.equal(found, loss(_Constant(seen.calls[0][1]), *batch)))
        except AttributeError:  # it asks the network for something else
            return False


class _OutputsOnly(nn.Module):
    """What may be called, and has nothing else to ask for: of a penalty of the weights nothing would be left."""

    def named_parameters(self, *_: Any, **__: Any) -> Any:
        raise AttributeError("only outputs are known here")

    named_buffers = named_modules = named_children = state_dict = named_parameters


class _Recorder(_OutputsOnly):
    """Calls a network, and remembers inputs and outputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = (network,)  # as no part of this one
        self.calls: list[tuple[Any, Any]] = []

    def forward(self, inputs: Any) -> Any:
        outputs = self._network[0](inputs)
        self.calls.append((inputs, outputs))
        return outputs


class _Constant(_OutputsOnly):
    """A network that returns what it was given, whatever its input."""

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, _: Any) -> Tensor:
        return self.outputs
