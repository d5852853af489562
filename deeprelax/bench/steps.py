"""Measure what optimizer steps cost over the gradient evaluations that they consist of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..configuration.registry import call
from ..configuration.schema import BenchConf
from ..optim import Relaxation
from ..runs.build import build_model
from ..tasks.task import Task
from ..training.graph import Graphed
from ..training.objective import Autocast, Loss, Objective
from .timing import Ratio, beside


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
        self._loss, self._batch = loss, task.make(*task.draw(0))
        self._parameters = list(loss.parameters())
        self._pass = Graphed(self._eager, self._parameters) if graphs else self._eager

    def once(self) -> Tensor:
        """One pass. Returns the loss; gradients are in the parameters' .grad."""
        for p in self._parameters:
            p.grad = None
        return self._pass()

    def _eager(self) -> Tensor:
        loss: Tensor = self._loss(*self._batch)
        loss.backward()
        return loss

    def __call__(self) -> None:
        for _ in range(self.times):
            self.once()


def step_cost(conf: BenchConf, task: Task, keywords: dict[str, Any]) -> StepCost:
    """Measure an optimizer beside the bare passes of its own network.

    keywords: the optimizer's name and keyword arguments; lr is replaced by 0, so that all measurements are at one x.
    Raises UserError if it does not take the keywords.
    """
    device = task.setting.device
    model = build_model(conf.model, task, 0, device).train()
    given = {**keywords, "lr": 0.0}
    optimizer: Relaxation = call("optimizer", str(given.pop("name")), model.parameters(), **given)
    steps = max(1, -(-conf.evaluations // optimizer.evaluations))  # rounded up
    graphs = conf.hardware.cuda_graphs
    loss = Loss(task, model, Autocast(conf.hardware.precision, device))
    objective = Objective(loss, task, graphs=graphs)
    floor = Bare(loss, task, steps * optimizer.evaluations, graphs=graphs)

    def alone() -> None:
        for _ in range(steps):
            optimizer.step(floor.once)

    def fed() -> None:
        for _ in range(steps):
            optimizer.step(objective)

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    found = beside(floor, {"alone": alone, "fed": fed}, conf.repeats, device)
    images = floor.times * conf.batch_size
    peak = torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else None
    return StepCost(
        inner_steps=optimizer.evaluations,
        floor_ms=1e3 * found["floor"].median_seconds / floor.times,
        alone=found["alone"],
        fed=found["fed"],
        images_per_second=images / found["fed"].median_seconds,
        copies=optimizer.memory() / sum(p.nbytes for p in model.parameters()),
        peak_megabytes=peak,
    )
