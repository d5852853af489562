"""The problems as torch losses, for the optimizers of `deeprelax.optim` to run on. The only torch of this room."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..optim import SGD, EntropySGD, HamiltonJacobi, Heat, Relaxation
from .problems.functions import Problem
from .solvers.grid import Array

OPTIMIZERS: dict[str, Callable[..., Relaxation]] = {
    "sgd": SGD,
    "entropy_sgd": EntropySGD,
    "hj": HamiltonJacobi,
    "hj_proximal": HamiltonJacobi,
    "heat": Heat,
}


class _Summed(torch.autograd.Function):
    """sum of f over points, with f's own gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, problem: Problem) -> Tensor:
        points = x.detach().numpy()
        ctx.save_for_backward(torch.from_numpy(np.ascontiguousarray(problem.gradient(points))))
        return torch.tensor(float(problem.value(points).sum()), dtype=x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.saved_tensors[0], None


def loss(problem: Problem) -> Callable[[Tensor], Tensor]:
    """sum_j f(x_j) of points x, a CPU float64 tensor of shape (d, n): every point is a run of its own.

    The gradient is the problem's. TypeError for another dtype or device.
    """

    def summed(x: Tensor) -> Tensor:
        if x.dtype != torch.float64 or x.device.type != "cpu":
            raise TypeError(f"the points must be float64 on the CPU, not {x.dtype} on {x.device}")
        result: Tensor = _Summed.apply(x, problem)
        return result

    return summed


def direction(problem: Problem, optimizer: str, points: Array, **keywords: Any) -> Array:
    """d at each point, shape (d, n): one step of a fresh optimizer with lr = 1 and no outer momentum moves x by -d.

    `optimizer` is a name of `OPTIMIZERS`; the keywords are its constructor's.
    """
    start = torch.from_numpy(np.array(points, dtype=np.float64))
    x = torch.nn.Parameter(start.clone())
    stepper = make(optimizer, x, {"lr": 1.0, "momentum": 0.0, **keywords})
    f = loss(problem)

    def closure() -> Tensor:
        stepper.zero_grad()
        value = f(x)
        value.backward()
        return value

    stepper.step(closure)
    moved: Array = (start - x.detach()).numpy()
    return moved


def make(optimizer: str, x: torch.nn.Parameter, keywords: Mapping[str, Any]) -> Relaxation:
    """The optimizer of that name; hj_proximal is HamiltonJacobi's other solver, heat is not filter-normalised here."""
    own: dict[str, dict[str, Any]] = {"hj_proximal": {"solver": "proximal"}, "heat": {"filter_normalized": False}}
    return OPTIMIZERS[optimizer]([x], **{**own.get(optimizer, {}), **keywords})


def descend(
    problem: Problem,
    optimizer: str,
    starts: Array,
    evaluations: int,
    noise: float = 0.0,
    noise_seed: int = 0,
    **keywords: Any,
) -> tuple[Array, Array]:
    """Paths from the starts, shape (d, n), at no more than this many gradient evaluations.

    Each gradient carries N(0, noise^2) in every coordinate, as a mini-batch's would. Returns the evaluations spent
    after each outer step, shape (steps + 1,), and x there, shape (steps + 1, d, n). UserError if there is no step.
    """
    x = torch.nn.Parameter(torch.from_numpy(np.array(starts, dtype=np.float64)))
    stepper = make(optimizer, x, keywords)
    if evaluations < stepper.evaluations:
        raise UserError(
            f"gradient_evaluations={evaluations} is less than one step of {optimizer} takes, {stepper.evaluations}: "
            "raise it, or lower inner_steps"
        )
    f, generator = loss(problem), torch.Generator().manual_seed(noise_seed)

    def closure() -> Tensor:
        stepper.zero_grad()
        value = f(x)
        if noise:
            value = value + noise * (x * torch.randn(x.shape, generator=generator, dtype=x.dtype)).sum()
        value.backward()
        return value

    path = [x.detach().numpy().copy()]
    for _ in range(evaluations // stepper.evaluations):
        stepper.step(closure)
        stepper.nonfinite_steps()  # who asks is not warned: a path that diverges is seen as such
        path.append(x.detach().numpy().copy())
    return stepper.evaluations * np.arange(len(path), dtype=np.float64), np.stack(path)
