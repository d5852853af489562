"""Tasks on the CPU, and their networks in float64."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

from deeprelax.optim import Heat
from deeprelax.parallel.ranks import SOLO
from deeprelax.tasks import Chunks, LeastSquares, Setting, Task
from deeprelax.training.evaluation import score
from deeprelax.training.objective import Autocast, Loss, Objective

CPU = torch.device("cpu")
T = TypeVar("T", bound=Task)


def make(kind: type[T], batch_size: int, seed: int = 0, share: dict[str, Any] | None = None, **options: Any) -> T:
    """A task; `share`: part or chain of its setting."""
    return kind(Setting(CPU, seed, batch_size, **(share or {})), **options)


def training_rows(task: LeastSquares) -> tuple[Tensor, Tensor]:
    """Inputs and targets (n,) in float64."""
    inputs, targets = task.rows["train"]
    return inputs.double(), targets.double()[:, 0]


def scored(task: Task, model: torch.nn.Module, chunks: Chunks | None = None) -> dict[str, float]:
    """The scores on these chunks, else on the test part."""
    return score(task, model, chunks or task.splits()["test"], Autocast("float32", CPU), SOLO)


def heat_directions(task: Task, model: torch.nn.Module, sigma: float, count: int) -> Tensor:
    """d of so many steps at the same x, each with Gaussians of its own, (count, parameters)."""
    optimizer = Heat(model.parameters(), lr=0.0, sigma=sigma, filter_normalized=False, momentum=0.0)
    found: list[Tensor] = []
    optimizer.reduce_direction = lambda tensors: found.append(torch.cat([d.flatten() for d in tensors[:-1]]))
    objective = Objective(Loss(task, model, Autocast("float32", CPU)), task)
    for _ in range(count):
        optimizer.step(objective)
    return torch.stack(found).double()


def largest_z(samples: Tensor, expected: Tensor | float = 0.0) -> float:
    """|mean - expected| in standard errors, the largest over the columns."""
    errors = samples.std(0) / len(samples) ** 0.5
    return float(((samples.mean(0) - expected).abs() / errors).max())
