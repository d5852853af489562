"""Measure what optimizer steps cost over the gradient evaluations that they consist of."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..configuration.registry import call
from ..configuration.schema import BenchConf
from ..errors import UserError
from ..optim import Relaxation
from ..runs.build import build_model
from ..tasks.task import Task
from ..training.graphs.graph import Graphed
from ..training.graphs.step import CapturedStep, Evaluates, can_capture
from ..training.objective import Autocast, Loss, Objective, forward_and_backward
from .timing import Ratio, Work, beside


@dataclass(slots=True)
class StepCost:
    """The cost of one optimizer: `alone` on one batch that lies on the device, `fed` with a training run's batches.

    Batches are normalised to mean 0 and standard deviation 1, and not augmented.
    """

    inner_steps: int
    floor_ms: float  # milliseconds of one bare pass
    alone: Ratio
    fed: Ratio
    images_per_second: float  # fed
    copies: float  # what the optimizer holds between its steps, in copies of the weights
    peak_megabytes: float | None  # on the GPU, of all that the measurement keeps there


class Bare:
    """The floor: `times` forward and backward passes on the task's batch 0, with `graphs` replayed as a CUDA graph.

    What no optimizer can be faster than, in the same autocast and without normalisation, closure or update.
    """

    def __init__(self, loss: nn.Module, task: Task, times: int, *, graphs: bool = False) -> None:
        self.times = times
        self._parameters = list(loss.parameters())
        batch = task.make(*task.draw(0))
        self._pass = functools.partial(forward_and_backward, loss, lambda: batch)
        self._evaluate: Callable[..., Tensor] = Graphed(self._pass, self._parameters) if graphs else self._pass

    def once(self) -> Tensor:
        """One pass. Returns the loss; gradients are in the parameters' .grad."""
        self._clear()
        return self._evaluate()

    def draw(self, again: bool = False) -> tuple[Tensor, ...]:
        """Nothing: it is always one batch."""
        return ()

    def on_device(self, *_: Tensor, again: bool = False) -> Tensor:
        """One pass that is not replayed."""
        self._clear()
        return self._pass()

    def _clear(self) -> None:
        for p in self._parameters:
            p.grad = None

    def __call__(self) -> None:
        for _ in range(self.times):
            self.once()


def step_costs(conf: BenchConf, task: Task, name: str) -> dict[str, StepCost]:
    """Measure a row of conf.optimizers, and in the same rounds the row that it names as `beside`, if it does.

    Both stand between bare passes of one network and take as many gradients. The keys: `name`, and `beside_name` of
    the other. Raises UserError for a row whose optimizer does not take its keywords, or is none.
    """
    device, repeats = task.setting.device, conf.repeats
    model = build_model(conf.model, task, 0, device, channels_last=conf.hardware.channels_last).train()
    row = conf.optimizers[name]
    optimizers = {name: built(row, model)}
    if "beside" in row:
        optimizers[beside_name(name, row)] = built(conf.optimizers[row["beside"]], model)
    least = math.lcm(*map(gradients, optimizers.values()))
    times = least * max(1, -(-conf.evaluations // least))  # rounded up
    graphs = conf.hardware.cuda_graphs
    loss = Loss(task, model, Autocast(conf.hardware.precision, device))
    objective = Objective(loss, task, graphs=graphs)
    floor = Bare(loss, task, times, graphs=graphs)
    works: dict[str, Work] = {}
    for key, optimizer in optimizers.items():
        alone = stepping(optimizer, floor, floor.once, graphs)
        fed = stepping(optimizer, objective, objective, graphs)
        works[f"{key} alone"] = functools.partial(steps, optimizer, alone, times)
        works[f"{key} fed"] = functools.partial(steps, optimizer, fed, times)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    found = beside(floor, works, repeats, device)
    peak = torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else None
    return {
        key: StepCost(
            inner_steps=gradients(optimizer),
            floor_ms=1e3 * found["floor"].median_seconds / times,
            alone=found[f"{key} alone"],
            fed=found[f"{key} fed"],
            images_per_second=times * conf.batch_size / found[f"{key} fed"].median_seconds,
            copies=held(optimizer) / sum(p.nbytes for p in model.parameters()),
            peak_megabytes=peak,
        )
        for key, optimizer in optimizers.items()
    }


def beside_name(name: str, row: dict[str, Any]) -> str:
    """What the row beside row `name` is called in its rounds; it has rounds of its own as well, by its own name."""
    return f"{row['beside']} beside {name}"


def built(row: dict[str, Any], model: nn.Module) -> Optimizer:
    """The optimizer of a row, with lr 0, so that all measurements are at one x.

    Raises UserError if it does not take the keywords, or is no torch optimizer.
    """
    given = {key: value for key, value in row.items() if key not in ("name", "beside")} | {"lr": 0.0}
    optimizer = call("optimizer", str(row["name"]), model.parameters(), **given)
    if not isinstance(optimizer, Optimizer):
        raise UserError(f"optimizers: {row['name']} is no torch.optim.Optimizer: name one that is")
    if isinstance(optimizer, torch.optim.LBFGS):
        raise UserError(f"optimizers: a step of {row['name']} has no cost of its own, for it varies: leave it out")
    return optimizer


def gradients(optimizer: Optimizer) -> int:
    """Gradients of one step; torch's own optimizers call their closure once."""
    return optimizer.evaluations if isinstance(optimizer, Relaxation) else 1


def stepping(
    optimizer: Optimizer, evaluates: Evaluates, closure: Callable[[], Tensor], graphs: bool
) -> Callable[[], object]:
    """A step as a run takes it: with `graphs` replayed whole, where that is possible."""
    if graphs and isinstance(optimizer, Relaxation) and can_capture(optimizer):
        return CapturedStep(optimizer, evaluates)
    step: Callable[..., object] = optimizer.step
    if isinstance(optimizer, Relaxation):  # of the floor every call is on the same batch
        return functools.partial(step, closure, again=getattr(closure, "again", closure))
    return functools.partial(step, closure)


def steps(optimizer: Optimizer, step: Callable[[], object], times: int) -> None:
    """As many steps as take `times` gradients."""
    optimizer.zero_grad()  # what was measured before leaves gradients, and a closure that keeps those would add to them
    for _ in range(times // gradients(optimizer)):
        step()


def held(optimizer: Optimizer) -> int:
    """Bytes that the optimizer keeps between its steps."""
    if isinstance(optimizer, Relaxation):
        return optimizer.memory()
    return sum(each.nbytes for state in optimizer.state.values() for each in state.values() if torch.is_tensor(each))
