"""What optimizer steps cost over the gradient evaluations that they consist of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..configuration.registry import call
from ..configuration.schema import BenchConf
from ..data.batches import Batches
from ..errors import UserError
from ..optim import Relaxation
from ..runs.build import Data, build_model
from ..training.graph import Graphed
from ..training.objective import Autocast, Objective
from ..training.share import compile_problem
from .timing import Ratio, beside, seconds


@dataclass(slots=True)
class StepCost:
    """One optimizer's: `alone` on one batch that lies on the device, `fed` with a training run's batches.

    Those are normalised to mean 0 and standard deviation 1, and not augmented.
    """

    inner_steps: int
    floor_ms: float  # one bare pass
    alone: Ratio
    fed: Ratio
    images_per_second: float  # fed
    copies: float  # what the optimizer holds between its steps, in copies of the weights
    peak_megabytes: float | None  # on the GPU, of all that the measurement keeps there


class Bare:
    """The floor: forward and backward pass of a network on one batch, as often as asked; or its replay as a graph."""

    def __init__(
        self, model: nn.Module, batch: tuple[Tensor, Tensor], precision: str, times: int, *, graphs: bool = False
    ) -> None:
        self.model, self.times = model, times
        self.images, self.labels = batch
        self.network: Any = model  # what is called: the model, or it compiled
        self.parameters = list(model.parameters())
        self.autocast = Autocast(precision, self.images.device)
        self._pass = Graphed(self._eager, self.parameters) if graphs else self._eager

    def once(self) -> Tensor:
        """The loss; gradients are in the parameters' .grad."""
        for p in self.parameters:
            p.grad = None
        return self._pass()

    def _eager(self) -> Tensor:
        with self.autocast():
            loss = nn.functional.cross_entropy(self.network(self.images), self.labels)
        loss.backward()
        return loss

    def __call__(self) -> None:
        for _ in range(self.times):
            self.once()


def step_cost(conf: BenchConf, data: Data, keywords: dict[str, Any]) -> StepCost:
    """Measure the optimizer that `keywords` describe, beside the bare passes of its own network. lr is 0 meanwhile."""
    device = data.train.device
    model = build_model(conf.model, data, 0, device).train()
    given = {**keywords, "lr": 0.0}
    optimizer: Relaxation = call("optimizer", str(given.pop("name")), model.parameters(), **given)
    batches = Batches(data.train, conf.batch_size, 0)
    steps = max(1, -(-conf.evaluations // optimizer.evaluations))
    graphs = conf.hardware.cuda_graphs
    floor = Bare(model, batches[0], conf.hardware.precision, steps * optimizer.evaluations, graphs=graphs)
    objective = Objective(model, batches, 0, conf.hardware.precision, graphs=graphs)

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


def layouts(conf: BenchConf, data: Data) -> tuple[dict[str, Ratio], float | None]:
    """The bare pass in other forms, over the eager one in channels_last; seconds of compilation."""
    device = data.train.device
    images, labels = Batches(data.train, conf.batch_size, 0)[0]

    def bare(memory_format: torch.memory_format, *, graphs: bool = False) -> Bare:
        model = build_model(conf.model, data, 0, device).train().to(memory_format=memory_format)
        # .contiguous() would leave the strides of one channel as they are, and the network would go by them
        laid_out = torch.empty_like(images, memory_format=memory_format).copy_(images)
        return Bare(model, (laid_out, labels), conf.hardware.precision, conf.evaluations, graphs=graphs)

    works = {"contiguous": bare(torch.contiguous_format)}
    if conf.hardware.cuda_graphs:
        works["as a CUDA graph"] = bare(torch.channels_last, graphs=True)
    compilation = None
    if conf.compile:
        for name, layout in [("compiled", torch.channels_last), ("compiled, contiguous", torch.contiguous_format)]:
            works[name] = bare(layout)
            works[name].network = torch.compile(works[name].model)
            try:
                taken = seconds(works[name].once, device)
            except Exception as error:
                if (problem := compile_problem(error)) is None:
                    raise
                raise UserError(f"compile=true, but {problem}") from None
            compilation = taken if compilation is None else compilation
    found = beside(bare(torch.channels_last), dict(works), conf.repeats, device)
    return {name: found[name] for name in works}, compilation
